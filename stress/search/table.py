"""The table strategy by subject: mean executions until the first bug with their spread, and survival curves.

Each subject is asked in a process of its own, and so many at once as there are jobs. The figures are counts of
executions, exact for a seed: they come again on any machine and with any number of jobs, unless a row had no time for
all of its seeds, which its cells then say. Where a seed did not find the bug the mean is not known; what stands there
is its lower bound, with how many did not.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import fmean, stdev
from typing import Any

from anonvma_rt.errors import UserError
from anonvma_rt.lab.strategies import STRATEGIES, make_strategy
from anonvma_rt.stress.bench.measure import Options
from anonvma_rt.stress.judges.alone import ask
from anonvma_rt.stress.judges.published import COLUMNS
from anonvma_rt.stress.report.survival import Life, curve, median
from anonvma_rt.stress.search.rows import Row, rows

__all__ = ["run", "text"]

# Beside the time to look, for a process to begin and to end.
AROUND = 60.0
# Within so much of the row's best one a strategy counts as good there.
GOOD = 2.0


def run(options: Options) -> dict[str, Any]:
    """Raises UserError for a strategy or a subject that there is not."""
    strategies = list(options.strategies or STRATEGIES)
    for strategy in strategies:
        make_strategy(strategy)
    how = {"strategies": strategies, "seeds": options.seeds, "runs": options.limit, "seconds": options.seconds}
    every = rows(options.subjects, options.sctbench)
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            results = list(pool.map(partial(_ask, options, how), every))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    ran = [row for row in results if "cells" in row]
    if not ran:
        raise UserError("search: none of the subjects can run here")
    return {
        "seeds": options.seeds,
        "limit": options.limit,
        "seconds": options.seconds,
        "strategies": strategies,
        "results": results,
        "survival": {name: curve([Life(*life) for row in ran for life in row["cells"][name]["lives"]])
                     for name in strategies},
        "found": {name: sum(row["cells"][name]["median"] is not None for row in ran) for name in strategies},
        "good": {name: sum(_is_good(row, name) for row in ran) for name in strategies},
        "ran": len(ran),
    }  # fmt: skip


def _ask(options: Options, how: dict[str, Any], one: Row) -> dict[str, Any]:
    row, asked = one
    if asked is None:
        return row
    whom, question, more = asked
    seconds = 2 * options.seconds + AROUND + more
    answered = ask(whom, question | how, seconds, lambda name: options.tell(f"search: {name}"))
    if "failed" in answered:
        return row | answered
    lives, hurried = answered.pop("lives"), answered.pop("hurried")
    return row | answered | {"cells": {name: _cell(lives[name], hurried[name]) for name in lives}}


def _cell(answered: Sequence[Sequence[Any]], hurried: int) -> dict[str, Any]:
    """mean: where every seed found it, else None; at_least: what the mean is at least. median: None where most did not.
    curve: executions, and the share of seeds that have not found it after them."""
    lives = [Life(*life) for life in answered]
    counts = [life.executions for life in lives]
    missed = sum(not life.found for life in lives)
    return {
        "mean": None if missed else fmean(counts),
        "spread": None if missed else stdev(counts) if len(counts) > 1 else 0.0,
        "median": median(lives),
        "at_least": fmean(counts),
        "missed": missed,
        "hurried": hurried,
        "lives": lives,
        "curve": curve(lives),
    }


def _is_good(row: Mapping[str, Any], name: str) -> bool:
    means = {other: cell["mean"] for other, cell in row["cells"].items() if cell["mean"] is not None}
    return name in means and means[name] <= GOOD * min(means.values())


def text(result: dict[str, Any]) -> str:
    strategies = result["strategies"]
    lines = [
        f"Executions until the first violation, {result['seeds']} seeds, at most {result['limit']} each: mean ± "
        "standard deviation (median).",
        "[n]: n seeds did not find it, and the mean is at least what stands there; t: some for want of time "
        f"({result['seconds']:g} s for a row).",
        "",
    ]
    published = any(row.get("published") for row in result["results"])
    columns = [f"`{name}`" for name in strategies] + [f"published: {name}" for name in COLUMNS if published]
    lines += [f"| subject | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for row in result["results"]:
        name = f"`{row['name']}`" + (f" `{row['algorithm']}`" if "algorithm" in row else "")
        if "cells" not in row:
            lines.append(f"| {name} | {row.get('left_out') or row['failed']} |")
            continue
        cells = [shown(row["cells"][strategy]) for strategy in strategies]
        cells += [row.get("published", {}).get(column, "") for column in COLUMNS if published]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for what, said in (
        ("found", "found by more seeds than not"),
        ("good", f"mean within {GOOD:g} x of the row's best"),
    ):
        cells = [str(result[what][strategy]) for strategy in strategies]
        lines.append(f"| {said}, of {result['ran']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_survival(result)])


def shown(cell: Mapping[str, Any]) -> str:
    """
    >>> shown({"mean": 12.25, "spread": 3.0, "median": 10, "missed": 0})
    '12 ± 3.0 (10)'
    >>> shown({"mean": None, "at_least": 7300.0, "median": None, "missed": 14, "hurried": 2})
    '≥7300 (-) [14t]'
    """
    middle = "-" if cell["median"] is None else cell["median"]
    if cell["mean"] is not None:
        return f"{_figure(cell['mean'])} ± {_figure(cell['spread'])} ({middle})"
    return f"≥{_figure(cell['at_least'])} ({middle}) [{cell['missed']}{'t' if cell['hurried'] else ''}]"


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _survival(result: Mapping[str, Any]) -> list[str]:
    """The share of all seeds of all subjects that have not found the bug after so many executions."""
    limit = result["limit"]
    marks = [mark for power in range(len(str(limit))) for mark in (10**power, 3 * 10**power) if mark < limit] + [limit]
    lines = [
        "Share of the seeds of all subjects without the violation after so many executions:",
        "",
        f"| strategy | {' | '.join(map(str, marks))} |",
        "|---" * (1 + len(marks)) + "|",
    ]
    for name, steps in result["survival"].items():
        lines.append(f"| `{name}` | {' | '.join(f'{_share(steps, at):.2f}' for at in marks)} |")
    return lines


def _share(steps: Sequence[Sequence[Any]], at: int) -> float:
    return [share for executions, share in steps if executions <= at][-1]
