"""How likely each strategy is to find the bug of 2011 as the moved area grows: the table of docs/search.md.

python -m anonvma_rt.stress.bench.search [--executions 50000] [--json]. lkml-2011, unpatched; each cell is one hunt.
Counts are exact for a seed, so they come again on any machine; executions per second do not.
"""

import argparse
import json
from typing import Any

from anonvma_rt.hunt import hunt

STRATEGIES = (
    "portfolio", "surw", "urw", "pos", "pct:depth=2", "pct:depth=3", "preempt", "delay", "starve", "sticky", "random",
)  # fmt: skip
PAGES = (2, 4, 16, 64, 256)  # of each area; half of them move, and 2 is the least
AIM = 20  # the portfolio and SURW beside PCT of depth 3, at the largest size
YARDSTICK = "pct:depth=3"


def measure(strategy: str, pages: int, executions: int, seed: int) -> dict[str, Any]:
    """One cell of the table."""
    found = hunt("lkml-2011", {"pages": pages}, ["unpatched"], strategy, seed=seed, runs=executions, classes=0).results[
        0
    ]
    violations = sum(found.violations.values())
    return {
        "strategy": strategy,
        "pages": pages,
        "executions": executions,
        "violations": violations,
        "probability": violations / executions,
        "upper_bound_95": found.upper_bound_95,
        "executions_per_second": found.executions_per_second,
    }


def cell(row: dict[str, Any]) -> str:
    if not row["violations"]:
        return f"none in {row['executions']}"
    return f"{row['probability']:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--executions", type=int, default=50_000, metavar="N", help="per cell, default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")
    options = parser.parse_args()
    cells = {(s, p): measure(s, p, options.executions, options.seed) for s in STRATEGIES for p in PAGES}
    if options.json:
        print(json.dumps(list(cells.values())))
        return
    print("| strategy | " + " | ".join(f"{pages}" for pages in PAGES) + " | executions/s at " + f"{PAGES[-1]} |")
    print("|---|" + "---|" * (len(PAGES) + 1))
    for strategy in STRATEGIES:
        row = [cells[strategy, pages] for pages in PAGES]
        print(f"| `{strategy}` | {' | '.join(map(cell, row))} | {row[-1]['executions_per_second']:.0f} |")
    yardstick = cells[YARDSTICK, PAGES[-1]]["upper_bound_95"]
    for strategy in ("surw", "portfolio"):
        ratio = cells[strategy, PAGES[-1]]["probability"] / yardstick
        print(f"\n{strategy}, {PAGES[-1]} pages: at least {ratio:.0f} times {YARDSTICK} (its upper bound); aim {AIM}")


if __name__ == "__main__":
    main()
