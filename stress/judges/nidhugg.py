"""Nidhugg beside the lab: how many traces the small programs of `shapes` have under SC, TSO and PSO.

Each program is written as LLVM assembly, which Nidhugg takes, and counted by both. The lab's classes are Shasha-Snir
traces, as are Nidhugg's. One difference is known: for Nidhugg a compare-exchange that fails is a read, and for the lab
a write, as for the processor.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.engine.memory.buffers import Buffers
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.errors import UserError
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.judges import shapes

__all__ = ["assembly", "run", "text"]

SECONDS = 120.0
BLOCK = 4096
# Its manual has optimal DPOR for SC alone (under TSO the two ways of its commit 0aea4d23 count differently).
WAYS = {"sc": ("source", "optimal"), "tso": ("source",), "pso": ("source",)}
RMW = {"exchange": "xchg", "add": "add", "fetch_add": "add"}
HEAD = """%union.pthread_attr_t = type { i64, [48 x i8] }
declare i32 @pthread_create(i64*, %union.pthread_attr_t*, i8*(i8*)*, i8*)
"""


class Body:
    """The instructions of a thread. Registers of the program are names for the last value that was given to them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, str] = {}

    def give(self, instruction: str) -> str:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def add(self, step: Sequence[str | int]) -> None:
        verb, *operands = step
        if verb == "mb":
            self.lines.append("fence seq_cst")
            return
        where = f"i64* @{operands[0]}"
        values = [f"i64 {self.values.get(str(v), v)}" for v in operands[1:]]
        register = str(operands[-1])
        if verb == "store":
            self.lines.append(f"store {values[0]}, {where}, align 8")
        elif verb == "load":
            self.values[register] = self.give(f"load i64, {where}, align 8")
        elif verb in RMW:
            found = self.give(f"atomicrmw {RMW[str(verb)]} {where}, {values[0]} seq_cst")
            if verb != "add":
                self.values[register] = found
        elif verb == "cas":
            pair = self.give(f"cmpxchg {where}, {values[0]}, {values[1]} seq_cst seq_cst")
            done = self.give(f"extractvalue {{ i64, i1 }} {pair}, 1")
            self.values[register] = self.give(f"zext i1 {done} to i64")
        else:
            raise ValueError(f"{verb} has no translation for Nidhugg")


def assembly(threads: Iterable[Sequence[Sequence[str | int]]]) -> str:
    """A program as a module of LLVM. Its main only begins the threads, and one that does nothing before each: under
    TSO, Nidhugg takes a locked operation for one of the thread that began right before, and does not wake its flush, so
    that executions are missing where such a thread stores to the same variable."""
    threads = list(threads)
    variables = sorted({str(step[1]) for steps in threads for step in steps if len(step) > 1})
    parts = [HEAD, *(f"@{name} = global i64 0, align 8" for name in variables)]
    for i, steps in enumerate(threads):
        body = Body()
        for step in steps:
            body.add(step)
        parts += [f"define i8* @thread{i}(i8* %arg) {{", *body.lines, "ret i8* null", "}"]
    null = "i64* null, %union.pthread_attr_t* null"
    bodies = [name for i in range(len(threads)) for name in ("idle", f"thread{i}")]
    begun = [f"call i32 @pthread_create({null}, i8*(i8*)* @{name}, i8* null)" for name in bodies]
    idle = ["define i8* @idle(i8* %arg) {", "ret i8* null", "}"]
    return "\n".join([*parts, *idle, "define i32 @main() {", *begun, "ret i32 0", "}", ""])


def counted_by_nidhugg(binary: Path, module: Path, model: str, way: str, seconds: float) -> int | str:
    """Its number of traces, or why there is none."""
    command = [str(binary), f"--{model}", f"--{way}", "--no-commute-rmws", str(module)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done in {seconds:.0f} s"
    except OSError as error:
        raise UserError(f"{binary}: {error.strerror}: name the program nidhugg") from None
    found = re.search(r"^Trace count: (\d+)", done.stdout, re.M)
    return int(found[1]) if found else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def counted(threads: shapes.Threads, model: str) -> int:
    """How many classes the lab's search visits, each once."""
    search, ran, visited = Dpor(), 0, 0
    memory = None if model == "sc" else Buffers(model)
    with Explorer(Program(threads), search, carrier="fibers", memory=memory) as explorer:
        while not search.exhausted:
            block = explorer.run(ran, BLOCK)
            if block.ran + block.pruned == 0 and not search.exhausted:
                raise UserError(f"the search stopped: {block.halt}")
            ran += block.ran + block.pruned
            visited += block.ran
    return visited


def run(binary: Path, families: list[str], seconds: float = SECONDS) -> dict[str, Any]:
    """Raises UserError where there is no such program, or no such family."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for family, name, threads in shapes.programs():
            if families and family not in families:
                continue
            module = Path(folder) / "program.ll"
            module.write_text(assembly(threads))
            for model, ways in WAYS.items():
                theirs = {way: counted_by_nidhugg(binary, module, model, way, seconds) for way in ways}
                began = perf_counter()
                row = {"family": family, "name": name, "model": model, "counted": counted(threads, model)}
                row |= {"expected": theirs, "seconds": round(perf_counter() - began, 2)}
                rows.append(row | {"equal": all(number == row["counted"] for number in theirs.values())})
    if not rows:
        known = ", ".join(dict.fromkeys(family for family, _, _ in shapes.programs()))
        raise UserError(f"no family {', '.join(families)}; there are {known}")
    return {"results": rows, "as_expected": all(row["equal"] for row in rows)}


def text(result: dict[str, Any]) -> str:
    lines = [f"{'program':28}{'model':>6}{'source':>10}{'optimal':>10}{'counted':>10}"]
    for row in result["results"]:
        theirs = [row["expected"].get(way, "-") for way in ("source", "optimal")]
        said = "" if row["equal"] else "  DIFFERS"
        lines.append(f"{row['name']:28}{row['model']:>6}{theirs[0]:>10}{theirs[1]:>10}{row['counted']:>10}{said}")
    equal = sum(row["equal"] for row in result["results"])
    return "\n".join([*lines, f"{equal} of {len(result['results'])} as Nidhugg counts"])
