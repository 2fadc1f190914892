"""ORDER with four pages, the yardstick of the literature's scheduling limits: what an execution costs on each carrier
under each strategy, beside the bodies alone and beside a hand-over between two threads on one core."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Any

from anonvma_rt.engine.run.carrier import mutex_pairs
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.lab.explorers import CARRIERS
from anonvma_rt.lab.load import load
from anonvma_rt.lab.strategies import STRATEGIES
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.bench.measure import (
    Options,
    Turns,
    explorer_of,
    less,
    ratio,
    require,
    sequential,
    shown,
    spread,
)

PAGES = 4
# Two tasks begin, and a page takes ten locks and unlocks.
POINTS = 2 + 10 * PAGES
LOCK_PAIRS = 5 * PAGES
STRATEGY_LINES = ("pct:depth=2", *STRATEGIES)
CHECKED = 400  # executions that are looked at before anything is timed
# Carrier and strategy: at most so many floors.
AIMS = {("fibers", "random"): 8.0, ("fibers", "pct:depth=2"): 5.0, ("threads", "pct:depth=2"): 75.0}


def run(options: Options) -> dict[str, Any]:
    program = load("order").bind({"pages": PAGES})
    with ExitStack() as stack:
        explorers: dict[tuple[str, str], Explorer] = {}
        chances: dict[str, float] = {}
        for strategy in STRATEGY_LINES:
            for carrier in CARRIERS:
                explorer = stack.enter_context(explorer_of(program, program.choose("unpatched"), strategy, carrier))
                explorers[carrier, strategy] = explorer
            chances[strategy] = checked([explorers[carrier, strategy] for carrier in CARRIERS], strategy)
            with explorer_of(program, program.choose("patched"), strategy, "fibers") as patched:
                require(not patched.run(0, CHECKED).failures, f"order: {strategy}: patched, no execution is wrong")
        turns = Turns(options, "order")
        for key, explorer in explorers.items():
            turns.add(key, partial(explorer.run, 0))
        turns.add("floor", explorers["fibers", "random"].floor)
        turns.add("mutex", mutex_pairs)
        turns.add_handoff()
        random = explorers["fibers", "random"]
        for key, explorer in steps_to_random(random, stack).items():
            turns.add(key, partial(explorer.run, 0))
        turns.add("told", lambda n: told(random, n))
        seconds = turns.measure()
        rows = []
        for (carrier, strategy), explorer in explorers.items():
            block = explorer.run(0, CHECKED)
            cost = seconds[carrier, strategy]
            row = {
                "carrier": carrier,
                "strategy": strategy,
                "points": block.points / CHECKED,
                "switches": block.switches / CHECKED,
                "probability": chances[strategy],
                "microseconds": spread(cost, 1e6),
                "floors": ratio(cost, seconds["floor"]),
                "handoffs": ratio(cost, seconds["handoff"]),
            }
            if (carrier, strategy) in AIMS:
                row["aim_floors"] = AIMS[carrier, strategy]
            rows.append(row)
    return {
        "pages": PAGES,
        "rounds": options.rounds,
        "floor_microseconds": spread(seconds["floor"], 1e6),
        "mutex_nanoseconds": spread(seconds["mutex"], 1e9),
        "mutex_pairs": LOCK_PAIRS,
        "handoff_microseconds": spread(seconds["handoff"], 1e6),
        "parts": parts(seconds),
        "results": rows,
    }


def steps_to_random(random: Explorer, stack: ExitStack) -> dict[str, Explorer]:
    """Explorers of fibers that do less than the random walk: two tasks of one step, and the tasks of ORDER one after
    the other."""
    small = stack.enter_context(sequential(Program([[("add", "x", 1)]] * 2)))
    in_turn = stack.enter_context(sequential(random.subject))
    block = in_turn.run(0, 1)
    require((block.points, block.switches) == (POINTS, 1), f"order: one after the other, {POINTS} points, 1 switch")
    return {"small": small, "in turn": in_turn}


def told(explorer: Explorer, n: int) -> float:
    """Seconds in which what n executions came to is made into objects of Python."""
    explorer.run(0, n)
    started = perf_counter()
    explorer.collect()
    return perf_counter() - started


def parts(seconds: Mapping[Any, list[float]]) -> dict[str, dict[str, float]]:
    """Where the microseconds of an execution under `random` on fibers go: differences of what was measured in the same
    round, which add up to the whole."""
    whole, small, in_turn, floor, tell = (
        seconds[key] for key in (("fibers", "random"), "small", "in turn", "floor", "told")
    )
    found = {
        "restore, begin, end": small,
        "interpretation": less(floor, small, 1),
        "points": less(in_turn, floor, 1),
        "decisions, draws, switches": less(less(whole, in_turn, 1), tell, 1),
        "told to Python": tell,
    }
    return {name: spread(values, 1e6) for name, values in found.items()}


def checked(explorers: list[Explorer], strategy: str) -> float:
    """The probability of the violation, after a look at whether every carrier makes the executions that it should."""
    blocks = [explorer.run(0, CHECKED) for explorer in explorers]
    for block in blocks:
        require(block.points == POINTS * CHECKED, f"order: {strategy}: every execution has {POINTS} points")
        require(block.digests == blocks[0].digests, f"order: {strategy}: all carriers make the same executions")
    chance = len(blocks[0].failures) / CHECKED
    require(0 < chance < 1, f"order: {strategy}: unpatched, some executions are wrong and some are not")
    if strategy == "random":
        require(0.42 < chance < 0.6, "order: random: half of the executions are wrong")
    return chance


def text(result: dict[str, Any]) -> str:
    floor, mutex = result["floor_microseconds"], result["mutex_nanoseconds"]
    real = floor["median"] + result["mutex_pairs"] * mutex["median"] / 1000
    lines = [
        f"ORDER, {result['pages']} pages, unpatched, {POINTS} points an execution; median (min-max) of "
        f"{result['rounds']} rounds, all in turns.",
        f"  floor (the same bodies, no scheduler, modelled locks)   {shown(floor)} us",
        f"    with {result['mutex_pairs']} real mutexes at {shown(mutex, 1)} ns it would be {real:.2f} us at most",
        f"  hand-over between two threads on one core               {shown(result['handoff_microseconds'])} us",
        "",
        "  where the time of `random` on fibers goes, us",
        *(f"    {name:28}{shown(figure)}" for name, figure in result["parts"].items()),
        "",
        f"  {'carrier':9}{'strategy':13}{'P(bug)':>8}{'switches':>9}{'us':>9}{'floors':>24}{'hand-overs':>22}",
    ]
    for row in result["results"]:
        aim = f"   aim: at most {row['aim_floors']:.0f} floors" if "aim_floors" in row else ""
        lines.append(
            f"  {row['carrier']:9}{row['strategy']:13}{row['probability']:8.3f}{row['switches']:9.1f}"
            f"{row['microseconds']['median']:9.2f}{shown(row['floors'], 1):>24}{shown(row['handoffs'], 2):>22}{aim}"
        )
    return "\n".join(lines)
