"""ORDER with four pages, the yardstick of the literature's scheduling limits: what an execution costs on each carrier
under each strategy, beside the bodies alone and beside a hand-over between two threads on one core."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer, cores, handoff, mutex_pairs
from anonvma_rt.lab.lab import CARRIERS, STRATEGIES, load
from anonvma_rt.stress.bench.measure import Options, block_of, explorer_of, in_turns, ratio, said, sized, spread, stood

ABOUT = "ORDER, 4 pages: an execution on each carrier under each strategy, in floors and in hand-overs"
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
    cpu = cores(1)[0]
    with ExitStack() as stack:
        explorers: dict[tuple[str, str], Explorer] = {}
        chances: dict[str, float] = {}
        for strategy in STRATEGY_LINES:
            for carrier in CARRIERS:
                explorer = stack.enter_context(explorer_of(program, program.choose("unpatched"), strategy, carrier))
                explorers[carrier, strategy] = explorer
            chances[strategy] = checked([explorers[carrier, strategy] for carrier in CARRIERS], strategy)
            with explorer_of(program, program.choose("patched"), strategy, "fibers") as patched:
                stood(not patched.run(0, CHECKED).failures, f"order: {strategy}: patched, no execution is wrong")
        bare = explorers["fibers", "random"]
        size: dict[Any, int] = {key: sized(partial(explorer.run, 0)) for key, explorer in explorers.items()}
        size["floor"] = sized(bare.floor)
        size["mutex"] = sized(mutex_pairs)
        calls: dict[Any, Any] = {key: block_of(explorer, size[key]) for key, explorer in explorers.items()}
        calls["floor"] = lambda: bare.floor(size["floor"])
        calls["mutex"] = lambda: mutex_pairs(size["mutex"])
        calls["handoff"] = lambda: handoff(cpu, 1000)
        size["handoff"] = 1
        seconds = {key: [took / size[key] for took in row] for key, row in in_turns(options, "order", calls).items()}
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
        "results": rows,
    }


def checked(explorers: list[Explorer], strategy: str) -> float:
    """The probability of the violation, after a look at whether every carrier makes the executions that it should."""
    blocks = [explorer.run(0, CHECKED) for explorer in explorers]
    for block in blocks:
        stood(block.points == POINTS * CHECKED, f"order: {strategy}: every execution has {POINTS} points")
        stood(block.digests == blocks[0].digests, f"order: {strategy}: all carriers make the same executions")
    chance = len(blocks[0].failures) / CHECKED
    stood(0 < chance < 1, f"order: {strategy}: unpatched, some executions are wrong and some are not")
    if strategy == "random":
        stood(0.42 < chance < 0.6, "order: random: half of the executions are wrong")
    return chance


def text(result: dict[str, Any]) -> str:
    floor, mutex = result["floor_microseconds"], result["mutex_nanoseconds"]
    real = floor["median"] + result["mutex_pairs"] * mutex["median"] / 1000
    lines = [
        f"ORDER, {result['pages']} pages, unpatched, {POINTS} points an execution; median (min-max) of "
        f"{result['rounds']} rounds, all in turns.",
        f"  floor (the same bodies, no scheduler, modelled locks)   {said(floor)} us",
        f"    with {result['mutex_pairs']} real mutexes at {said(mutex, 1)} ns it would be {real:.2f} us at most",
        f"  hand-over between two threads on one core               {said(result['handoff_microseconds'])} us",
        "",
        f"  {'carrier':9}{'strategy':13}{'P(bug)':>8}{'switches':>9}{'us':>9}{'floors':>24}{'hand-overs':>22}",
    ]
    for row in result["results"]:
        aim = f"   aim: at most {row['aim_floors']:.0f} floors" if "aim_floors" in row else ""
        lines.append(
            f"  {row['carrier']:9}{row['strategy']:13}{row['probability']:8.3f}{row['switches']:9.1f}"
            f"{row['microseconds']['median']:9.2f}{said(row['floors'], 1):>24}{said(row['handoffs'], 2):>22}{aim}"
        )
    return "\n".join(lines)
