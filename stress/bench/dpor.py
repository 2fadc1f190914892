"""Exhaustive search on ORDER: classes per second on each carrier, and the counts on which three other tools agree."""

from functools import partial
from typing import Any

from anonvma_rt.engine.run.explorer import cores, handoff
from anonvma_rt.lab.lab import CARRIERS, load
from anonvma_rt.search.verify import verify
from anonvma_rt.stress.bench.measure import Options, explorer_of, in_turns, ratio, said, sized, spread, stood

ABOUT = "the exhaustive search on ORDER, 5 pages: executions per second on each carrier"
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
            stood(found.complete and counted == expected, f"dpor: ORDER, {pages} pages: {expected} classes, {counted}")
    stood(not searched(3, "fibers", "patched").violating_classes, "dpor: patched, no class is wrong")
    classes = searched(PAGES, "fibers").classes
    cpu = cores(1)[0]
    program = load("order").bind({"pages": PAGES})
    with explorer_of(program, program.choose("unpatched"), "random", "fibers") as bare:
        size = sized(bare.floor)

        def search(carrier: str) -> float:
            found = searched(PAGES, carrier)
            stood(found.classes == classes, f"dpor: the search visits {classes} classes each time")
            return float(found.seconds)

        calls: dict[str, Any] = {carrier: partial(search, carrier) for carrier in CARRIERS}
        calls["floor"] = lambda: bare.floor(size)
        calls["handoff"] = lambda: handoff(cpu, 1000)
        seconds = in_turns(options, "dpor", calls)
    floor = [took / size for took in seconds["floor"]]
    rows = []
    for carrier in CARRIERS:
        cost = [took / classes for took in seconds[carrier]]
        rows.append(
            {
                "carrier": carrier,
                "executions_per_second": spread([1 / one for one in cost]),
                "floors": ratio(cost, floor),
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
            f"  {row['carrier']:9}{said(row['executions_per_second'], 0):>30}{said(row['floors'], 1):>22}"
            f"{said(row['handoffs'], 2):>22}" + (f"   aim: {aim} executions/s" if aim else "")
        )
    return "\n".join(lines)
