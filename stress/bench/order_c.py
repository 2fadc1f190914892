"""ORDER in plain C with pthread_mutex beside the same as a litmus test, and beside what a process for each execution
costs at least: fork, exec and exit of the same program."""

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.errors import UserError
from anonvma_rt.lab.load import load
from anonvma_rt.programs.subject import native
from anonvma_rt.stress.bench.measure import Options, Turns, explorer_of, ratio, require, spread

PAGES = 4
STRATEGIES = ("random", "pct", "portfolio")
AIM_LITMUS, AIM_PROCESS = 1 / 3, 50.0
CHECKED = 400
SOURCE = Path(__file__).resolve().parents[2] / "tests" / "programs" / "sources" / "order.c"


def processes(program: str, n: int) -> float:
    began = perf_counter()
    for _ in range(n):
        _, status = os.waitpid(os.posix_spawn(program, [program], {}), 0)
        require(status == 0, "order-c: the program alone ends as it should")
    return perf_counter() - began


def run(options: Options) -> dict[str, Any]:
    if not SOURCE.is_file():
        raise UserError(f"order-c needs {SOURCE.name} of the checkout's tests")
    c, litmus = native(SOURCE).bind({"P": PAGES}), load("order").bind({"pages": PAGES})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        alone = f"{folder}/order"
        subprocess.run(["gcc", "-O1", "-pthread", f"-DP={PAGES}", "-DPATCHED", "-o", alone, str(SOURCE)], check=True)
        for strategy in STRATEGIES:
            with (
                explorer_of(c, c.choose("program"), strategy, "fibers") as own,
                explorer_of(litmus, litmus.choose("unpatched"), strategy, "fibers") as given,
            ):
                for explorer in (own, given):
                    wrong = len(explorer.run(0, CHECKED).failures)
                    require(0 < wrong < CHECKED, f"order-c: {strategy}: some executions are wrong and some are not")
                turns = Turns(options, "order-c")
                turns.add("c", partial(own.run, 0))
                turns.add("litmus", partial(given.run, 0))
                turns.add("process", partial(processes, alone))
                seconds = turns.measure()
            rows.append(
                {
                    "strategy": strategy,
                    "microseconds": spread(seconds["c"], 1e6),
                    "litmus_microseconds": spread(seconds["litmus"], 1e6),
                    "process_microseconds": spread(seconds["process"], 1e6),
                    "of_litmus": ratio(seconds["litmus"], seconds["c"]),
                    "of_process": ratio(seconds["process"], seconds["c"]),
                }
            )
    return {"pages": PAGES, "rounds": options.rounds, "aims": [AIM_LITMUS, AIM_PROCESS], "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        f"ORDER of {result['pages']} pages in C, on fibers; median of {result['rounds']} rounds, all in turns.",
        "Executions per second beside the litmus test's (aim: 1/3 at least) and a process each (aim: 50 at least).",
        f"  {'strategy':12}{'us':>9}{'litmus us':>11}{'process us':>12}{'of litmus':>11}{'of a process':>14}",
    ]
    for row in result["results"]:
        us = [row[key]["median"] for key in ("microseconds", "litmus_microseconds", "process_microseconds")]
        lines.append(
            f"  {row['strategy']:12}{us[0]:>9.2f}{us[1]:>11.2f}{us[2]:>12.1f}{row['of_litmus']['median']:>11.2f}"
            f"{row['of_process']['median']:>14.0f}"
        )
    return "\n".join(lines)
