"""SCTBench, the programs of an empirical study of bounded scheduling: which bugs each strategy finds, and how soon.

suite.py says how each program is built, published.py what others have measured. Accesses that race are steps, as in the
study, and no bug by themselves. A program has so many seconds, which its strategies share; a seed for which there is no
time left has found nothing.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, STRATEGIES
from anonvma_rt.programs.subject import native
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.judges.alone import ask
from anonvma_rt.stress.judges.published import COLUMNS, PUBLISHED
from anonvma_rt.stress.judges.suite import benchmarks, prepared
from anonvma_rt.stress.search.first import Looked, look

__all__ = ["TO_COMPILE", "answer", "questions", "run", "text"]

SECONDS = 40.0
TO_COMPILE = 120.0
FIRST_RUNS = 20
# A loop that waits, and a scheduler that is not fair; a main that returns what it likes: no bug of the program, and the
# search goes on behind it.
NO_BUG = {"livelock", "exit-code"}


@dataclass(frozen=True)
class Compiled:
    """A program that is compiled once for many hunts."""

    scenario: Any
    program: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scenario, name)

    def bind(self, values: Mapping[str, Any]) -> Any:
        return self.program


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What look() says of one program."""
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        how = prepared(question, Path(folder))
        named = native(*how.pop("files"), races="point", **how)
        looked = Looked(Compiled(named, named.bind({})), no_bug=NO_BUG)
        # What races is known from then on, and is not looked for within the time.
        hunt(looked.subject, strategy="random", runs=FIRST_RUNS, carrier="fibers", classes=0)
        found = look(looked, question)
        os.chdir("/")
    return found


def questions(root: Path, only: list[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each program: what is told of it, and what answer() has to be asked of it beside how to look; None where it
    cannot run here, and `left_out` says why. Raises UserError where there is no such checkout."""
    for one in benchmarks(root):
        if only and one["name"] not in only:
            continue
        row = {key: one[key] for key in ("name", "suite", "threads", "steps")}
        if one["left_out"]:
            yield row | {"left_out": one["left_out"]}, None
        else:
            yield row, {key: one[key] for key in ("name", "key", "folder", "files")}


def run(root: Path, strategies: list[str], seeds: int, runs: int, only: list[str], seconds: float) -> dict[str, Any]:
    """Raises UserError where there is no such checkout."""
    rows = []
    for row, question in questions(root, only):
        if question is None:
            rows.append(row)
            continue
        question |= {"strategies": strategies, "seeds": seeds, "runs": runs, "seconds": seconds}
        answered = ask("sctbench", question, 2 * seconds + TO_COMPILE)
        if "lives" in answered:
            answered["firsts"] = {name: firsts_of(lives) for name, lives in answered.pop("lives").items()}
        rows.append(row | answered)
    ran = [row for row in rows if "firsts" in row]
    return {
        "seeds": seeds,
        "runs": runs,
        "seconds": seconds,
        "strategies": strategies,
        "results": rows,
        "ran": len(ran),
        "found": {name: sum(found(row["firsts"][name]) for row in ran) for name in strategies},
        "found_by_any": sum(any(map(found, row["firsts"].values())) for row in ran),
        "as_expected": all(any(found(first) for first in row["firsts"].values()) for row in ran),
    }


def firsts_of(lives: list[Any]) -> list[int | None]:
    """How many executions it took each seed; None where there was no violation."""
    return [executions if there else None for executions, there in lives]


def found(firsts: list[int | None]) -> bool:
    """Within the limit with each seed, or with more of them than not: what the median says."""
    return median(first or float("inf") for first in firsts) < float("inf")


def shown(firsts: list[int | None], hurried: int) -> str:
    """Median, mean and spread of those seeds that found it; how many did not, and whether for want of time."""
    there = [first for first in firsts if first is not None]
    missed = len(firsts) - len(there)
    without = (f"({missed}{'t' if hurried else ''})") if missed else ""
    if not there:
        return f"-{without if hurried else ''}"
    spread = stdev(there) if len(there) > 1 else 0.0
    return f"{median(there):.0f} {fmean(there):.0f}±{spread:.0f}{without}"


def usual() -> list[str]:
    """Those for which others have published figures, and the default."""
    return [DEFAULT_STRATEGY, *(name for name in STRATEGIES if name in ("surw", "pct", "pos", "random"))]


def text(result: dict[str, Any]) -> str:
    strategies = result["strategies"]
    lines = [
        f"Executions to the first violation, {result['seeds']} seeds, at most {result['runs']} each: median, mean ± "
        "standard deviation of the seeds that found one,",
        f"(n): n did not, t: for want of time ({result['seconds']:.0f} s for a program); -: none did. Behind the line: "
        "the published means.",
        f"{'program':34}{'threads':>8}{'points':>8}  {'found':18}"
        + "".join(f"{name:>20}" for name in strategies)
        + " |"
        + "".join(f"{name:>11}" for name in COLUMNS),
    ]
    for row in result["results"]:
        if "firsts" not in row:
            lines.append(f"{row['name']:34}{row['threads']:>8}{'':8}  {row.get('left_out') or row.get('failed')}")
            continue
        cells = "".join(f"{shown(row['firsts'][name], row['hurried'][name]):>20}" for name in strategies)
        kinds = ",".join(row["kinds"])[:17] or "nothing"
        told = "".join(f"{cell:>11}" for cell in PUBLISHED.get(row["name"], ()))
        lines.append(f"{row['name']:34}{row['threads']:>8}{row['points']:>8}  {kinds:18}{cells} |{told}".rstrip())
    totals = "".join(f"{result['found'][name]:>20}" for name in strategies)
    lines.append(f"{'found by more seeds than not, of ' + str(result['ran']) + ' that ran':70}{totals}")
    return "\n".join([*lines, f"{result['found_by_any']} of {result['ran']} found by one strategy or another"])
