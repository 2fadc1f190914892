"""How long the lab looks until it sees each bug: executions until the first violation, for every scenario and algorithm
of which one is expected, under the scenario's own strategy or else the usual one.

The median over seeds, and the extremes. docs/zoo.md has the table; an execution count is exact for a seed, so the
figures come again on any machine.
"""

from statistics import median
from typing import Any

from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.bench.measure import Options, Untrue
from anonvma_rt.text.expected import expected_text

LIMIT = 1 << 20


def executions_until_first(scenario: Scenario, algorithm: str, seed: int) -> int:
    """How many executions of a hunt with this seed it takes until one is a violation."""
    start, runs = 0, 256
    while start < LIMIT:
        found = hunt(scenario, None, [algorithm], carrier="fibers", seed=seed, start=start, runs=runs, classes=0)
        first = found.results[0].first
        if first is not None:
            return first.index + 1
        start += runs
        runs *= 2
    raise Untrue(f"zoo: {scenario.name} under {algorithm}: a violation in {LIMIT} executions")


def run(options: Options) -> dict[str, Any]:
    rows = []
    for name in Scenario.builtin_names():
        scenario = Scenario.load(name)
        options.tell(f"zoo: {name}")
        for algorithm in scenario.algorithms():
            kind = scenario.expected(algorithm)
            # A preset that "*" stands for is one of many that fail alike.
            if kind == "none" or algorithm not in scenario.expect:
                continue
            counts = sorted(executions_until_first(scenario, algorithm, seed) for seed in range(options.seeds))
            rows.append(
                {
                    "zoo": scenario.zoo,
                    "scenario": name,
                    "algorithm": algorithm,
                    "kind": expected_text(kind),
                    "median": int(median(counts)),
                    "least": counts[0],
                    "most": counts[-1],
                }
            )
    return {"seeds": options.seeds, "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        "| scenario | algorithm | violation | executions until the first: median (least to most) |",
        "|---|---|---|---|",
    ]
    for row in result["results"]:
        lines.append(
            f"| `{row['scenario']}` | `{row['algorithm']}` | {row['kind']} | {row['median']} ({row['least']} to "
            f"{row['most']}) |"
        )
    return "\n".join(lines)
