"""How likely each strategy is to find the bug of 2011 as the moved area grows: a table of docs/search.md.

lkml-2011, unpatched; each cell is one hunt. Counts are exact for a seed, so they come again on any machine.
"""

from typing import Any

from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.bench.measure import Options, require

STRATEGIES = (
    "portfolio", "surw", "urw", "pos", "pct:depth=2", "pct:depth=3", "preempt", "delay", "starve", "sticky", "random",
)  # fmt: skip
PAGES = (2, 4, 16, 64, 256)  # of each area; half of them move, and 2 is the least
AIM = 20  # the portfolio and SURW beside PCT of depth 3, at the largest size
YARDSTICK = "pct:depth=3"
CHECKED = 2000


def measure(strategy: str, pages: int, executions: int) -> dict[str, Any]:
    """One cell of the table."""
    found = hunt("lkml-2011", {"pages": pages}, ["unpatched"], strategy, "fibers", runs=executions, classes=0).results[
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
    }


def run(options: Options) -> dict[str, Any]:
    rows = []
    for strategy in STRATEGIES:
        patched = hunt("lkml-2011", None, ["moveto-tail"], strategy, "fibers", runs=CHECKED).results[0]
        require(not patched.violations, f"pages: {strategy}: moveto-tail never goes wrong")
        for pages in PAGES:
            options.tell(f"pages: {strategy}, {pages} pages")
            rows.append(measure(strategy, pages, options.executions))
    at_most = {row["strategy"]: row for row in rows if row["pages"] == PAGES[-1]}
    require(at_most["surw"]["violations"] > 0, "pages: surw finds the bug at any size")
    yardstick = at_most[YARDSTICK]["upper_bound_95"]
    times = {strategy: at_most[strategy]["probability"] / yardstick for strategy in ("surw", "portfolio")}
    return {"results": rows, "times_the_yardstick": times, "yardstick": YARDSTICK, "aim": AIM}


def text(result: dict[str, Any]) -> str:
    lines = [
        f"| strategy | {' | '.join(map(str, PAGES))} |",
        "|---|" + "---|" * len(PAGES),
    ]
    for strategy in STRATEGIES:
        row = [one for one in result["results"] if one["strategy"] == strategy]
        lines.append(f"| `{strategy}` | {' | '.join(map(cell, row))} |")
    for strategy, times in result["times_the_yardstick"].items():
        lines += [
            "",
            f"{strategy}, {PAGES[-1]} pages: at least {times:.0f} times {result['yardstick']} (its upper bound); aim "
            f"{result['aim']}",
        ]
    return "\n".join(lines)


def cell(row: dict[str, Any]) -> str:
    return f"{row['probability']:.2g}" if row["violations"] else f"none in {row['executions']}"
