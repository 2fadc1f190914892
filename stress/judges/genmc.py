"""GenMC's own tests: how many executions there are, counted by a proof, beside the number that GenMC expects.

A folder has a program in several variants, the flags in args.sc.mo.in (one line for each number) and the numbers in
expected.sc.mo.in. GenMC counts an execution only where no thread is blocked for good; here those end in a deadlock, and
are subtracted. Tests of what is wrong have no number: there an error must be found.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.errors import UserError
from anonvma_rt.programs.subject import native
from anonvma_rt.search.verify import verify
from anonvma_rt.stress.judges.alone import ask

__all__ = ["answer", "run", "text"]

INCLUDE = Path(__file__).with_name("include")
SUFFIXES = (".c", ".cpp")
FAMILIES = ("correct/litmus", "correct/infr")
WRONG = ("wrong/safety", "wrong/memory", "wrong/locking", "wrong/racy")
SECONDS = 120.0
LIMIT = 2_000_000  # executions of one proof
# What is no execution that GenMC counts: somebody waits for good.
BLOCKED = {"deadlock", "lost-wakeup"}


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def cases(folder: Path) -> Iterator[dict[str, Any]]:
    """Each variant of a test with each line of flags, and the number that is expected, None in a test of an error."""
    arguments = lines_of(folder / "args.sc.mo.in") or [""]
    numbers = [int(line) for line in lines_of(folder / "expected.sc.mo.in") if line.strip().isdigit()]
    for program in sorted((folder / "variants").glob("*")):
        if program.suffix not in SUFFIXES:
            continue
        for i, line in enumerate(arguments):
            flags = [word for word in shlex.split(line.partition("|")[2]) if word.startswith(("-D", "-I", "-std"))]
            yield {
                "program": str(program),
                "name": "/".join((folder.parent.name, folder.name, program.name)) + (" " + " ".join(flags)).rstrip(),
                "flags": flags,
                "races": "point" if "-disable-race-detection" in line else "report",
                "expected": numbers[i] if i < len(numbers) else None,
            }


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """How many classes there are, by how they end."""
    flags = [f"-I{INCLUDE}", "-w", "-include", "genmc.h", *question["flags"]]
    began = perf_counter()
    program = native(question["program"], cflags=flags, races=question["races"])
    (found,) = verify(program, all_violations=question["expected"] is not None, limit=LIMIT).results
    blocked = sum(n for kind, n in found.violating_classes.items() if kind in BLOCKED)
    whole = question["expected"] is not None
    return {
        "counted": found.classes - blocked if whole else None,
        "blocked": blocked,
        "complete": found.complete,
        "violations": dict(found.violating_classes),
        "seconds": round(perf_counter() - began, 2),
    }


def run(root: Path, families: list[str], seconds: float = SECONDS) -> dict[str, Any]:
    """Raises UserError where there is no such checkout."""
    tests = root / "tests"
    if not tests.is_dir():
        raise UserError(f"{root}: there is no folder tests in it: name a checkout of GenMC")
    rows = []
    for family in families:
        for folder in sorted(path for path in (tests / family).glob("*") if (path / "variants").is_dir()):
            for case in cases(folder):
                if case["expected"] is None and family.startswith("correct"):
                    continue
                rows.append(row_of(case, ask("genmc", case, seconds)))
    if not rows:
        raise UserError(f"{tests}: none of {', '.join(families)} is there")
    return {"families": families, "results": rows, "as_expected": all(row["equal"] for row in rows)}


def row_of(case: dict[str, Any], answered: dict[str, Any]) -> dict[str, Any]:
    row = {key: case[key] for key in ("name", "expected")} | answered
    others = {kind: n for kind, n in answered.get("violations", {}).items() if kind not in BLOCKED}
    if case["expected"] is None:
        # A loop that GenMC cuts is no error.
        row["equal"] = bool(answered.get("violations", {}).keys() - {"livelock"})
    else:
        row["equal"] = bool(answered.get("complete")) and not others and answered["counted"] == case["expected"]
    return row


def text(result: dict[str, Any]) -> str:
    lines = [f"{'program':44}{'expected':>9}{'counted':>9}{'blocked':>9}{'seconds':>9}"]
    for row in map(dict, result["results"]):
        said = "" if row["equal"] else "  DIFFERS"
        if "failed" in row:
            said += f": {row['failed']}"
            row = row | {"counted": None, "blocked": "-", "seconds": "-"}
        elif row["expected"] is None or row["violations"].keys() - BLOCKED:
            said += "  " + ", ".join(f"{kind} {n}" for kind, n in row["violations"].items())
        row["counted"] = "-" if row["counted"] is None else row["counted"]
        wanted = "an error" if row["expected"] is None else row["expected"]
        name = re.sub(r"(.{43}).+", r"\1", row["name"])
        lines.append(f"{name:44}{wanted:>9}{row['counted']:>9}{row['blocked']:>9}{row['seconds']:>9}{said}")
    equal = sum(row["equal"] for row in result["results"])
    return "\n".join([*lines, f"{equal} of {len(result['results'])} as expected"])
