"""Two explorers on two cores beside one: what more cores are worth."""

from functools import partial
from typing import Any

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.lab.explorers import CARRIERS
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.bench.measure import Options, in_turns, ratio, require, shown

STRATEGY = "portfolio"
AIM = 1.8  # on an idle machine
RUNS = {"fibers": 50_000, "threads": 10_000}  # long beside the last block, in which one explorer waits


def run(options: Options) -> dict[str, Any]:
    sums: dict[str, set[str]] = {carrier: set() for carrier in CARRIERS}

    def seconds_of(carrier: str, jobs: int) -> float:
        found = hunt("lkml-2011", None, ["unpatched"], STRATEGY, carrier, runs=RUNS[carrier], jobs=jobs, classes=0)
        one = found.results[0]
        require(sum(one.violations.values()) > one.executions // 10, "jobs: lkml-2011, unpatched goes wrong")
        sums[carrier].add(one.schedules_sha256)
        require(len(sums[carrier]) == 1, "jobs: any number of explorers makes the same executions")
        return one.seconds

    calls = {(carrier, jobs): partial(seconds_of, carrier, jobs) for carrier in CARRIERS for jobs in (1, 2)}
    seconds = in_turns(options, "jobs", calls)
    rows = [
        {"carrier": carrier, "two_over_one": ratio(seconds[carrier, 1], seconds[carrier, 2]), "aim": AIM}
        for carrier in CARRIERS
    ]
    return {"rounds": options.rounds, "strategy": STRATEGY, "cores": len(set(cores(64))), "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        f"Two explorers beside one, lkml-2011 under {result['strategy']}, {result['cores']} cores; median (min-max) of "
        f"{result['rounds']} rounds.",
        "",
    ]
    for row in result["results"]:
        times = shown(row["two_over_one"])
        lines.append(
            f"  {row['carrier']:9}{times} times as many executions   aim: at least {row['aim']} on an idle machine"
        )
    return "\n".join(lines)
