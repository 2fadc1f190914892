"""How long the lab looks until it sees each bug: executions until the first violation, for every scenario and algorithm
of which one is expected, under the scenario's own strategy or else PCT.

python -m anonvma_rt.stress.bench.zoo [--seeds 20] [--json]. The median over seeds, and the extremes. docs/zoo.md has
the table; an execution count is exact for a seed, so the figures come again on any machine.
"""

import argparse
import json
from statistics import median
from typing import Any

from anonvma_rt.hunt import hunt
from anonvma_rt.scenario import Scenario

LIMIT = 1 << 20


def executions_until_first(scenario: Scenario, algorithm: str, seed: int) -> int:
    """How many executions of a hunt with this seed it takes until one is a violation."""
    start, runs = 0, 256
    while start < LIMIT:
        found = hunt(scenario, None, [algorithm], scenario.strategy or "pct", seed=seed, start=start, runs=runs)
        first = found.results[0].first
        if first is not None:
            return first.index + 1
        start += runs
        runs *= 2
    raise RuntimeError(f"{scenario.name} under {algorithm}: no violation in {LIMIT} executions")


def measure(seeds: int) -> list[dict[str, Any]]:
    rows = []
    for name in Scenario.builtin_names():
        scenario = Scenario.load(name)
        for algorithm in scenario.algorithms():
            kind = scenario.expected(algorithm)
            # A preset that "*" stands for is one of many that fail alike.
            if kind == "none" or algorithm not in scenario.expect:
                continue
            counts = sorted(executions_until_first(scenario, algorithm, seed) for seed in range(seeds))
            rows.append(
                {
                    "zoo": scenario.zoo,
                    "scenario": name,
                    "algorithm": algorithm,
                    "kind": kind,
                    "median": int(median(counts)),
                    "least": counts[0],
                    "most": counts[-1],
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    options = parser.parse_args()
    rows = measure(options.seeds)
    if options.json:
        print(json.dumps(rows))
        return
    print("| scenario | algorithm | violation | executions until the first: median (least to most) |")
    print("|---|---|---|---|")
    for row in rows:
        print(
            f"| `{row['scenario']}` | `{row['algorithm']}` | {row['kind']} | {row['median']} ({row['least']} to "
            f"{row['most']}) |"
        )


if __name__ == "__main__":
    main()
