"""What an execution of `lkml-2011` costs, and what that is made of: hand-overs, the bodies alone, and threads that are
pooled instead of created."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import CARRIERS
from anonvma_rt.stress.bench.measure import Options, Turns, explorer_of, ratio, require, shown, spread

# Strategy: the least probability that unpatched goes wrong; the random walk finds nothing here.
STRATEGIES = {"portfolio": 0.15, "surw": 0.2, "pct:depth=2": 0.01, "pct:depth=3": 0.01, "sticky": 0.002, "random": 0.0}
POINTS = 90, 140
CHECKED = 2000
FEW = 40  # executions, each of a block of its own


def run(options: Options) -> dict[str, Any]:
    program = Scenario.load("lkml-2011").bind({})
    unpatched, patched = Algorithm.parse("unpatched"), Algorithm.parse("moveto-tail")
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        explorers: dict[tuple[str, str], Explorer] = {}
        for strategy, least in STRATEGIES.items():
            with explorer_of(program, patched, strategy, "fibers") as right:
                require(not right.run(0, CHECKED).failures, f"lkml-2011: {strategy}: moveto-tail never goes wrong")
            digests = set()
            for carrier in CARRIERS:
                explorer = stack.enter_context(explorer_of(program, unpatched, strategy, carrier))
                block = explorer.run(0, CHECKED)
                points, hits = block.points / CHECKED, len(block.failures) / CHECKED
                require(POINTS[0] < points < POINTS[1], f"lkml-2011: {strategy}: an execution has 90 to 140 points")
                require(hits >= least, f"lkml-2011: {strategy}: unpatched goes wrong in {least} of all executions")
                digests.add(block.digests)
                explorers[carrier, strategy] = explorer
                rows.append(
                    {
                        "carrier": carrier, "strategy": strategy, "points": points,
                        "switches": block.switches / CHECKED, "probability": hits,
                    }
                )  # fmt: skip
            require(len(digests) == 1, f"lkml-2011: {strategy}: all carriers make the same executions")
        turns = Turns(options, "lkml-2011")
        for key, explorer in explorers.items():
            turns.add(key, partial(explorer.run, 0))
        turns.add("floor", explorers["fibers", "random"].floor)
        turns.add_handoff()
        for strategy in STRATEGIES:
            turns.add(("single", strategy), partial(single, explorers["threads", strategy]), FEW)
            turns.add(("created", strategy), partial(created, explorers["threads", strategy]), FEW)
        seconds = turns.measure()
    floor = seconds["floor"]
    for row in rows:
        cost = seconds[row["carrier"], row["strategy"]]
        row["microseconds"] = spread(cost, 1e6)
        row["floors"] = ratio(cost, floor)
        row["handoffs"] = ratio(cost, seconds["handoff"])
        if row["carrier"] == "threads":
            made_of = [row["switches"] * h + b for h, b in zip(seconds["handoff"], floor, strict=True)]
            row["over_switches_and_bodies"] = ratio(cost, made_of)
            # What creation adds, without what Python adds to a block of one.
            extra = zip(seconds["created", row["strategy"]], seconds["single", row["strategy"]], cost, strict=True)
            row["created_over_pooled"] = ratio([max(0.0, c - s) + p for c, s, p in extra], cost)
    return {
        "rounds": options.rounds,
        "floor_microseconds": spread(floor, 1e6),
        "handoff_microseconds": spread(seconds["handoff"], 1e6),
        "results": rows,
    }


def single(explorer: Explorer, n: int) -> None:
    for index in range(n):
        explorer.run(index, 1)


def created(explorer: Explorer, n: int) -> None:
    for index in range(n):
        explorer.close_threads()
        explorer.open_threads()
        explorer.run(index, 1)


def text(result: dict[str, Any]) -> str:
    lines = [
        f"lkml-2011, unpatched, 16 pages; median (min-max) of {result['rounds']} rounds, all in turns.",
        f"  floor (the same bodies, no scheduler, modelled locks)   {shown(result['floor_microseconds'])} us",
        f"  hand-over between two threads on one core               {shown(result['handoff_microseconds'])} us",
        "",
        f"  {'carrier':9}{'strategy':13}{'P(bug)':>8}{'switches':>9}{'us':>9}{'floors':>18}{'hand-overs':>19}"
        f"{'over (switches x':>22}{'threads created':>19}",
        f"  {'':85}{'hand-over + floor)':>22}{'/ pooled':>19}",
    ]
    for row in result["results"]:
        line = (
            f"  {row['carrier']:9}{row['strategy']:13}{row['probability']:8.4f}{row['switches']:9.1f}"
            f"{row['microseconds']['median']:9.2f}{shown(row['floors'], 1):>18}{shown(row['handoffs'], 1):>19}"
        )
        if "created_over_pooled" in row:
            line += f"{shown(row['over_switches_and_bodies']):>22}{shown(row['created_over_pooled'], 1):>19}"
        lines.append(line)
    return "\n".join(lines)
