"""What an execution costs: the ratios that the `threads` carrier promises, from one interleaved run.

python -m anonvma_rt.stress.bench.engine [--json]. Shared machines are noisy, so each figure is a median over rounds in
which all measurements take turns, with the spread beside it. The unpatched algorithm must be seen to fail meanwhile.
"""

import argparse
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from anonvma_rt.algorithm import Algorithm
from anonvma_rt.engine.explorer import cores, handoff
from anonvma_rt.lab import make_explorer, make_strategy, profile
from anonvma_rt.scenario import Scenario

STRATEGIES = ("pct:depth=2", "pct:depth=3", "sticky", "random")


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter()
    result = call()
    return perf_counter() - start, result


def measure(strategy: str, rounds: int, runs: int) -> dict[str, Any]:
    """Microseconds per execution of lkml-2011 under one strategy, and what they are made of."""
    program, algorithm = Scenario.load("lkml-2011").bind({}), Algorithm.parse("unpatched")
    cpu = cores(1)[0]
    columns: dict[str, list[float]] = {key: [] for key in ("pooled", "handoff", "body", "single", "created", "hits")}
    switches = points = 0.0
    with make_explorer(program, algorithm, make_strategy(strategy), seed=1, cpu=cpu) as explorer:
        shape = profile(program, explorer)
        explorer.strategy.profiled(shape["steps"])
        explorer.bound = shape["bound"]
        few = max(20, runs // 20)

        def created() -> None:
            for index in range(few):
                explorer.close_threads()
                explorer.open_threads()
                explorer.run(index, 1)

        def single() -> None:
            for index in range(few):
                explorer.run(index, 1)

        for _ in range(rounds):
            seconds, block = timed(lambda: explorer.run(0, runs))
            columns["pooled"].append(seconds / runs)
            columns["hits"].append(len(block["failures"]))
            switches, points = block["switches"] / runs, block["points"] / runs
            columns["handoff"].append(handoff(cpu, 10_000))
            columns["body"].append(timed(lambda: explorer.floor(runs))[0] / runs)
            columns["single"].append(timed(single)[0] / few)
            columns["created"].append(timed(created)[0] / few)
    cost = [
        p / (switches * h + b) for p, h, b in zip(columns["pooled"], columns["handoff"], columns["body"], strict=True)
    ]
    # A hunt with threads created per execution: what creation adds, without what Python adds to a block of one.
    gain = [
        (c - s + p) / p for p, s, c in zip(columns["pooled"], columns["single"], columns["created"], strict=True)
    ]  # fmt: skip
    return {
        "strategy": strategy,
        "points": points,
        "switches": switches,
        "hits": median(columns["hits"]) / runs,
        "microseconds": {name: _spread([1e6 * v for v in columns[name]]) for name in columns if name != "hits"},
        "over_switches_and_body": _spread(cost),
        "created_over_pooled": _spread(gain),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=4000, help="executions per round")
    options = parser.parse_args(arguments)
    rows = [measure(strategy, options.rounds, options.runs) for strategy in STRATEGIES]
    if options.json:
        print(json.dumps(rows))
        return
    print("lkml-2011, unpatched; microseconds per execution and ratios: median (min-max)\n")
    print(
        "strategy      points switches    P(bug)  execution  hand-over       body   exec/(sw*ho+body)   created/pooled"
    )
    for row in rows:
        us = {name: value["median"] for name, value in row["microseconds"].items()}
        cost, gain = row["over_switches_and_body"], row["created_over_pooled"]
        print(
            f"{row['strategy']:14}{row['points']:6.0f}{row['switches']:9.1f}{row['hits']:10.4f}{us['pooled']:11.2f}"
            f"{us['handoff']:11.2f}{us['body']:11.2f}   {cost['median']:.2f} ({cost['min']:.2f}-{cost['max']:.2f})"
            f"   {gain['median']:6.1f} ({gain['min']:.1f}-{gain['max']:.1f})"
        )


if __name__ == "__main__":
    main()
