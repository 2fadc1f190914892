"""SCTBench, the programs of an empirical study of bounded scheduling: which bugs each strategy finds, and how soon.

The benchmarks are named by the checkout's own list, benchmarks/buggy.txt, with their threads and steps. Those that are
one program with its own files are compiled as they stand; the rest is named, with the reason. Accesses that race are
steps, as in the study, and no bug by themselves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from anonvma_rt.errors import UserError
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, STRATEGIES
from anonvma_rt.programs.subject import native
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.judges.alone import ask

__all__ = ["answer", "run", "text"]

SECONDS = 900.0
# A loop that waits, and a scheduler that is not fair; a main that returns what it likes: no bug of the program, and the
# search goes on behind it.
NO_BUG = {"livelock", "exit-code"}
# What the study's own scripts set.
NUMTHREADS = "2"
# Where a benchmark's main file has another name than the benchmark, or another file goes with it.
FILES = {
    "conc-bugs/stringbuffer-jdk1.4": ("stringbuffer-jdk1.4/main.cpp", "stringbuffer-jdk1.4/stringbuffer.cpp"),
    "safestack/bug1": ("SafeStack.cpp",),
}
# What no single process with threads and memory alone can be.
LEFT_OUT = {
    "aget-bug2": "it downloads a file over a socket",
    "pbzip2-0.9.4": "it is built with its own library and compresses files",
    "radbench": "it runs a JavaScript engine, a browser's runtime or a server",
    "parsec-2.0": "it is built by its suite's own configuration and reads large inputs",
    "splash2": "its sources are macros for m4",
}


def benchmarks(root: Path) -> Iterator[dict[str, Any]]:
    """What stands in buggy.txt, and where its files are."""
    folder = root / "benchmarks"
    try:
        listed = (folder / "buggy.txt").read_text()
    except OSError:
        raise UserError(f"{root}: there is no benchmarks/buggy.txt: name a checkout of SCTBench") from None
    for line in listed.splitlines():
        words = line.split()
        if len(words) != 4 or line.startswith("#"):
            continue
        suite, name, threads, steps = words
        own = FILES.get(f"{suite}/{name}")
        files = [folder / suite / file for file in own or (f"{name}.c", f"{name}.cpp")]
        there = [str(file) for file in files if file.is_file()]
        yield {
            "name": name,
            "suite": suite,
            "threads": int(threads),
            "steps": int(steps),
            "files": there,
            "left_out": "" if there else LEFT_OUT.get(name) or LEFT_OUT.get(suite) or "its file is not there",
        }


def arguments(file: str) -> list[str]:
    """What main is given: a benchmark's first lines may say it, for its scripts to fill in."""
    for line in Path(file).read_text(errors="replace").splitlines()[:3]:
        words = line.replace("//args:", "// args: ").split()
        if words[:2] == ["//", "args:"]:
            return [word.replace("{NUMTHREADS}", NUMTHREADS) for word in words[2:]]
    return []


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
    """For each strategy and seed, how many executions it took: None where there was no violation."""
    named = native(
        *question["files"],
        # A function that returns nothing where it should is no bug of its threads.
        cflags=["-w", "-fpermissive", "-O0"] if question["cxx"] else ["-w"],
        races="point",
        args=arguments(question["files"][0]),
    )
    program: Any = Compiled(named, named.bind({}))
    kinds: set[str] = set()
    firsts: dict[str, list[int | None]] = {}
    steps = 0.0
    for strategy in question["strategies"]:
        firsts[strategy] = []
        for seed in range(question["seeds"]):
            start: int | None = 0
            while start is not None and start < question["runs"]:
                how = {"strategy": strategy, "seed": seed, "start": start, "runs": question["runs"] - start}
                (found,) = hunt(program, until_violation=True, carrier="fibers", classes=0, **how).results
                steps = max(steps, found.points / max(found.executions, 1))
                start = found.first.index + 1 if found.first else None
                if found.first and found.first.kind not in NO_BUG:
                    break
            firsts[strategy].append(start if start is not None and found.first.kind not in NO_BUG else None)
            kinds |= found.violations.keys() - NO_BUG
    return {"kinds": sorted(kinds), "firsts": firsts, "points": round(steps)}


def run(root: Path, strategies: list[str], seeds: int, runs: int, only: list[str], seconds: float) -> dict[str, Any]:
    """Raises UserError where there is no such checkout."""
    rows = []
    for one in benchmarks(root):
        if only and one["name"] not in only:
            continue
        row = {key: one[key] for key in ("name", "suite", "threads", "steps")}
        if one["left_out"]:
            rows.append(row | {"left_out": one["left_out"]})
            continue
        cxx = one["files"][0].endswith(".cpp")
        question = {"name": one["name"], "files": one["files"], "cxx": cxx, "strategies": strategies, "seeds": seeds}
        question["runs"] = runs
        rows.append(row | ask("sctbench", question, seconds))
    ran = [row for row in rows if "firsts" in row]
    return {
        "seeds": seeds,
        "runs": runs,
        "strategies": strategies,
        "results": rows,
        "ran": len(ran),
        "found": {name: sum(found(row["firsts"][name]) for row in ran) for name in strategies},
        "as_expected": all(any(found(first) for first in row["firsts"].values()) for row in ran),
    }


def found(firsts: list[int | None]) -> bool:
    """Within the limit with each seed, or with more of them than not: what the median says."""
    return median(first or float("inf") for first in firsts) < float("inf")


def shown(firsts: list[int | None]) -> str:
    value = median(first or float("inf") for first in firsts)
    missed = sum(first is None for first in firsts)
    return ("-" if value == float("inf") else f"{value:.0f}") + (f"({missed})" if 0 < missed < len(firsts) else "")


def usual() -> list[str]:
    return [DEFAULT_STRATEGY, *(name for name in STRATEGIES if name != DEFAULT_STRATEGY)]


def text(result: dict[str, Any]) -> str:
    strategies = result["strategies"]
    lines = [
        f"Executions to the first violation: median of {result['seeds']} seeds, at most {result['runs']}; -: "
        "none in most of them; (n): none with n seeds",
        f"{'program':26}{'threads':>8}{'points':>8}  {'found':18}" + "".join(f"{name:>11}" for name in strategies),
    ]
    for row in result["results"]:
        if "firsts" not in row:
            lines.append(f"{row['name']:26}{row['threads']:>8}{'':8}  {row.get('left_out') or row.get('failed')}")
            continue
        cells = "".join(f"{shown(row['firsts'][name]):>11}" for name in strategies)
        kinds = ",".join(row["kinds"])[:17] or "nothing"
        lines.append(f"{row['name']:26}{row['threads']:>8}{row['points']:>8}  {kinds:18}{cells}")
    totals = "".join(f"{result['found'][name]:>11}" for name in strategies)
    return "\n".join([*lines, f"{'found, of ' + str(result['ran']) + ' that run':62}{totals}"])
