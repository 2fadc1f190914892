"""All litmus files below a folder, each searched under one memory model, beside what the files themselves say.

    python -m anonvma_rt.stress.judges.litmus PATH --memory sc|tso|pso [--jobs 2] [--limit N] [--json FILE]

A file says by "Result:" whether the state that it asks for is reached Never, Sometimes or Always in the kernel's memory
model. The lab's models are stronger: what is never reached there must not be reached here, and what always is must be.
What a file cannot be read for is counted by its construct. A data race ends an execution, so where there is one, the
state is searched for once more as if no access were plain. Exit code 0: no contradiction; 1: one; 2: bad input.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.engine.memory.buffers import MODELS, Buffers
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.litmus.compile import Code, subject_of
from anonvma_rt.litmus.lowering.document import HerdDocument, read_herd

__all__ = ["answer", "run", "text"]

LIMIT = 4_000
BOUND = 20_000  # steps of one execution
FIRST_BLOCK, LARGEST_BLOCK = 64, 4096
VERDICTS = ("Never", "Sometimes", "Always")
COLUMNS = ("found", "none", "not complete")


def files_below(root: Path) -> list[Path]:
    found = [Path(at) / name for at, _, names in os.walk(root) for name in names if name.endswith(".litmus")]
    if not found:
        raise UserError(f"{root}: there is no litmus file there")
    return sorted(found)


def search(code: Code, memory: str, limit: int) -> dict[str, Any]:
    """Every class of interleavings, until the state is reached or `limit` executions are made."""
    dpor = Dpor(None, False)
    buffers = Buffers(memory) if memory != "sc" else None
    kinds: set[str] = set()
    done, size = 0, FIRST_BLOCK
    with Explorer(code.subject, dpor, carrier="fibers", memory=buffers) as explorer:
        explorer.bound = BOUND
        names = code.subject.kinds()
        while not dpor.exhausted and done < limit and "assertion" not in kinds:
            block = explorer.run(done, min(size, limit - done))
            kinds |= {names[kind] for _, kind in block.failures}
            done, size = done + block.ran, min(2 * size, LARGEST_BLOCK)
            # A search that is over ends its block.
            if block.halt is not None and not dpor.exhausted:
                raise UserError(f"the search was ended: {block.halt}")
        return {"kinds": sorted(kinds), "complete": dpor.exhausted, "executions": done}


def reached(document: HerdDocument, memory: str, limit: int) -> dict[str, Any]:
    code = document.code({})
    found = search(code, memory, limit)
    if "data-race" in found["kinds"] and "assertion" not in found["kinds"]:
        again = search(without_plain(code), memory, limit)
        found = again | {"kinds": sorted({*again["kinds"], "data-race"})}
    return found


def without_plain(code: Code) -> Code:
    def marked(words: tuple[Any, ...]) -> tuple[Any, ...]:
        return (words[0].removeprefix("plain_"), *words[1:])

    threads = tuple(
        one._replace(instructions=tuple(step._replace(words=marked(step.words)) for step in one.instructions))
        for one in code.threads
    )
    subject = subject_of(code.setup, threads, code.forbidden, code.registers, code.declared)
    return replace(code, threads=threads, subject=subject)


def answer(question: tuple[str, str, int]) -> dict[str, Any]:
    """What is to be told of one file."""
    path, memory, limit = question
    row: dict[str, Any] = {"file": path}
    try:
        document = read_herd(Path(path).read_text(errors="replace"), path)
        found = reached(document, memory, limit)
        result, condition = document.test.result, document.test.condition
        always = result is not None and result.verdict == "Always" and condition.quantifier != "forall"
        if always and "assertion" in found["kinds"]:
            # That it is reached is not all that "Always" says.
            contrary = replace(document.test, condition=condition._replace(quantifier="forall"))
            found["always"] = "assertion" not in reached(replace(document, test=contrary), memory, limit)["kinds"]
    except ScenarioError as error:
        return row | {"unread": str(error).removeprefix(f"{path}: ")}
    said = result.verdict if result else "nothing"
    expected = next(iter(document.expect.values()), None) if document.allows(memory) else None
    column = "found" if "assertion" in found["kinds"] else "none" if found["complete"] else "not complete"
    if column == "none" and "loop-bound" in found["kinds"]:
        column = "not complete"
    contradicts = (
        expected in ("none", "assertion")
        and column != "not complete"
        and (column == "found") != (expected == "assertion")
    )
    more = result.more if result else ""
    contradicts = contradicts or found.get("always") is False
    return row | found | {"says": said, "more": more, "column": column, "contradicts": contradicts}


def run(root: Path, memory: str, jobs: int, limit: int) -> dict[str, Any]:
    """Raises UserError where there is nothing to read."""
    paths = files_below(root)
    started = perf_counter()
    rows = list(answers([(str(path), memory, limit) for path in paths], jobs))
    read = [row for row in rows if "unread" not in row]
    unread = Counter(construct_of(row["unread"]) for row in rows if "unread" in row)
    table = Counter((row["says"] if row["says"] in VERDICTS else "other", row["column"]) for row in read)
    return {
        "memory": memory,
        "files": len(rows),
        "read": len(read),
        "unread": dict(unread.most_common()),
        "table": {says: {column: table[says, column] for column in COLUMNS} for says in (*VERDICTS, "other")},
        "kinds": dict(Counter(kind for row in read for kind in row["kinds"])),
        "contradictions": [row for row in read if row["contradicts"]],
        "executions": sum(row["executions"] for row in read),
        "seconds": perf_counter() - started,
        "rows": rows,
    }


def answers(questions: list[tuple[str, str, int]], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(answer, questions)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap(answer, questions, chunksize=16)


def construct_of(why: str) -> str:
    """Why a file is not read, without where it stands: what is alike is counted together.

    >>> construct_of("line 19: P1: smp_memb() is not understood")
    'smp_memb() is not understood'
    """
    return re.sub(r"^P\d+: ", "", re.sub(r"^line \d+: ", "", why))


def text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['read']} of {result['files']} litmus files read and searched under {result['memory'].upper()}: "
        f"{result['executions']} executions in {result['seconds']:.0f} s",
        *(f"  not read: {count:4}  {why}" for why, count in result["unread"].items()),
        "",
        f"  {'the file says':16}" + "".join(f"{column:>14}" for column in COLUMNS),
    ]
    for says, columns in result["table"].items():
        lines.append(f"  {says:16}" + "".join(f"{columns[column]:>14}" for column in COLUMNS))
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(result["kinds"].items()) if kind != "assertion")
    lines += ["", f"Violations beside the state: {others or 'none'}", ""]
    for row in result["contradictions"]:
        lines.append(
            f"CONTRADICTION: {row['file']}: it says {row['says']} {row['more']}".rstrip() + f"; {row['column']}"
        )
    return "\n".join([*lines, f"{len(result['contradictions'])} contradictions"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m anonvma_rt.stress.judges.litmus", description=__doc__.splitlines()[0]
    )
    parser.add_argument("path", type=Path, help="the folder, with all that are below it")
    parser.add_argument("--memory", choices=tuple(MODELS), default="sc")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--limit", type=int, default=LIMIT, help="executions of one file (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, file by file")
    options = parser.parse_args(arguments)
    try:
        result = run(options.path, options.memory, max(1, options.jobs), options.limit)
    except UserError as error:
        print(f"litmus: {error}", file=sys.stderr)
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(text(result))
    return 1 if result["contradictions"] else 0


if __name__ == "__main__":
    sys.exit(main())
