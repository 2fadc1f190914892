"""Exhaustive search on ORDER: classes per second on each carrier, and the counts on which three other tools agree."""

from functools import partial
from typing import Any

from anonvma_rt.lab.explorers import CARRIERS
from anonvma_rt.lab.load import load
from anonvma_rt.search.verify import verify
from anonvma_rt.stress.bench.measure import Options, Turns, explorer_of, ratio, require, shown, spread

PAGES = 5
CLASSES = {1: (3, 1), 2: (15, 7), 3: (84, 46), 4: (495, 299)}  # all, and the violating ones
# Executions per second, on an idle machine like that of the measurements; never asserted.
AIMS = {"fibers": 1_000_000, "threads": 50_000}


def searched(pages: int, carrier: str, algorithm: str = "unpatched") -> Any:
    return verify("order", {"pages": pages}, [algorithm], carrier, all_violations=True).results[0]


def run(options: Options) -> dict[str, Any]:
    for pages, expected in CLASSES.items():
        for carrier in CARRIERS:
            found = searched(pages, carrier)
            counted = found.classes, sum(found.violating_classes.values())
            require(
                found.complete and counted == expected, f"dpor: ORDER, {pages} pages: {expected} classes, {counted}"
            )
    require(not searched(3, "fibers", "patched").violating_classes, "dpor: patched, no class is wrong")
    classes = searched(PAGES, "fibers").classes
    program = load("order").bind({"pages": PAGES})
    with explorer_of(program, program.choose("unpatched"), "random", "fibers") as bare:

        def search(carrier: str, n: int) -> float:
            found = searched(PAGES, carrier)
            require(found.classes == n, f"dpor: the search visits {n} classes each time")
            return float(found.seconds)

        turns = Turns(options, "dpor")
        for carrier in CARRIERS:
            turns.add(carrier, partial(search, carrier), classes)
        turns.add("floor", bare.floor)
        turns.add_handoff()
        seconds = turns.measure()
    rows = []
    for carrier in CARRIERS:
        cost = seconds[carrier]
        rows.append(
            {
                "carrier": carrier,
                "executions_per_second": spread([1 / one for one in cost]),
                "floors": ratio(cost, seconds["floor"]),
                "handoffs": ratio(cost, seconds["handoff"]),
                "aim_executions_per_second": AIMS.get(carrier),
            }
        )
    return {"pages": PAGES, "classes": classes, "rounds": options.rounds, "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        f"Exhaustive search of ORDER, {result['pages']} pages: {result['classes']} classes, one execution each; median "
        f"(min-max) of {result['rounds']} searches, with all that comes before one.",
        "",
        f"  {'carrier':9}{'executions/s':>30}{'floors':>22}{'hand-overs':>22}",
    ]
    for row in result["results"]:
        aim = row["aim_executions_per_second"]
        lines.append(
            f"  {row['carrier']:9}{shown(row['executions_per_second'], 0):>30}{shown(row['floors'], 1):>22}"
            f"{shown(row['handoffs'], 2):>22}" + (f"   aim: {aim} executions/s" if aim else "")
        )
    return "\n".join(lines)
