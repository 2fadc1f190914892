"""How long the lab looks until it sees each bug: executions until the first violation, for every scenario and algorithm
of which one is expected, under the scenario's own strategy or else the usual one.

The median over seeds, and the extremes. docs/zoo.md has the table; an execution count is exact for a seed, so the
figures come again on any machine.
"""

from statistics import median
from typing import Any

from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.stress.bench.measure import Options, Untrue
from anonvma_rt.stress.search.first import Looked
from anonvma_rt.stress.search.rows import racing
from anonvma_rt.text.expected import expected_text

LIMIT = 1 << 20


def executions_until_first(scenario: Scenario, algorithm: str, seed: int) -> int:
    """How many executions of a hunt with this seed it takes until one is a violation."""
    life, _ = Looked(scenario, [algorithm]).first(None, seed, LIMIT)
    if not life.found:
        raise Untrue(f"zoo: {scenario.name} under {algorithm}: a violation in {LIMIT} executions")
    return life.executions


def run(options: Options) -> dict[str, Any]:
    rows = []
    for name in Scenario.builtin_names():
        scenario = Scenario.load(name)
        options.tell(f"zoo: {name}")
        for algorithm, kind in racing(scenario):
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
