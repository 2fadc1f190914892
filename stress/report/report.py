"""What a campaign found: a row for each cell, strategies beside each other, as text and as one JSON object.

Everything is computed from the ranges in the store when it is asked for. html.py and junit.py show the same Report.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from anonvma_rt.search.bounds import wilson_95
from anonvma_rt.stress.campaign.cell import Cell
from anonvma_rt.stress.campaign.store import Campaign, Store
from anonvma_rt.stress.campaign.totals import ENDINGS, Totals
from anonvma_rt.stress.report.survival import Life, LogRank, curve, log_rank, median
from anonvma_rt.text.expected import expected_text
from anonvma_rt.text.parameters import spelled

__all__ = ["Comparison", "Report", "Row", "interval_95", "make_report", "text_report"]


@dataclass(frozen=True)
class Row:
    """One cell. verdict: "as expected", "NOT AS EXPECTED", "measured" (where anything is expected), "unfinished",
    "poisoned" or "failed"."""

    totals: Totals
    verdict: str

    @property
    def cell(self) -> Cell:
        return self.totals.cell

    @property
    def title(self) -> str:
        values = spelled(self.cell.parameters)
        return f"{self.cell.scenario} ({values})" if values else self.cell.scenario

    @property
    def kinds(self) -> str:
        """How many violations of each kind; nothing where there are none."""
        return ", ".join(f"{count} {kind}" for kind, count in self.totals.violations.items())

    @property
    def problem(self) -> str | None:
        """In one sentence, what is not as it should be."""
        totals, cell = self.totals, self.cell
        if totals.failure is not None:
            return totals.failure
        if totals.poisoned:
            one = totals.poisoned[0]
            index, last = one.outcome.index, one.start + one.runs - 1
            place = f"one of executions {one.start} to {last}" if index is None else f"execution {index}"
            more = f" (and {len(totals.poisoned) - 1} ranges more)" if len(totals.poisoned) > 1 else ""
            return f"{place} is lost with whoever makes it: {one.outcome.why}{more}"
        if totals.tried != totals.confirmed:
            other = totals.tried - totals.confirmed
            return f"a bug of the lab: {other} of {totals.tried} violations were others on threads than on fibers"
        if self.verdict == "unfinished":
            return "not finished: resume the campaign"
        if self.verdict == "NOT AS EXPECTED":
            wanted = expected_text(cell.expected) or "none (no expectation stated)"
            return f"expected {wanted}, found {self.kinds or 'none'} in {totals.executions} executions"
        return None

    def as_dict(self) -> dict[str, Any]:
        totals, cell = self.totals, self.cell
        low, high, method = interval_95(totals.found, totals.executions)
        return {
            "number": cell.number,
            "scenario": cell.scenario,
            "parameters": cell.parameters,
            "algorithm": cell.algorithm,
            "strategy": cell.strategy,
            "carrier": cell.carrier,
            "seed": cell.seed,
            "ended": totals.ended,
            "ranges": totals.ranges,
            "executions": totals.executions,
            "violations": dict(sorted(totals.violations.items())),
            "benign_misses": totals.sums["benign_misses"],
            "classes": totals.classes,
            "first": totals.first and totals.first._asdict(),
            "indices": totals.indices,
            "tried": totals.tried,
            "confirmed": totals.confirmed,
            "interval_95": [low, high],
            "interval_method": method,
            "upper_bound_95": totals.upper_bound_95,
            "points": totals.sums["points"],
            "switches": totals.sums["switches"],
            "seconds": totals.sums["seconds"],
            "ranges_sha256": totals.ranges_sha256,
            "poisoned": [one.as_dict() for one in totals.poisoned],
            "expected": cell.expected,
            "verdict": self.verdict,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Comparison:
    """Strategies that looked for the same bug: what each of their cells took."""

    title: str
    groups: dict[str, list[Life]]

    @property
    def test(self) -> LogRank | None:
        return log_rank(self.groups)

    @property
    def pairs(self) -> list[tuple[str, str, LogRank | None]]:
        groups = self.groups
        return [(a, b, log_rank({a: groups[a], b: groups[b]})) for a, b in combinations(groups, 2)]

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "strategies": {
                name: {
                    "cells": len(lives),
                    "found": sum(life.found for life in lives),
                    "median_executions": median(lives),
                    "survival": curve(lives),
                }
                for name, lives in self.groups.items()
            },
            "log_rank": self.test and self.test._asdict(),
            "pairs": [{"a": a, "b": b, "log_rank": test and test._asdict()} for a, b, test in self.pairs],
        }


@dataclass(frozen=True)
class Report:
    """A campaign and what it found up to now."""

    campaign: Campaign
    rows: list[Row]
    comparisons: list[Comparison]

    @property
    def finished(self) -> bool:
        return all(row.totals.ended for row in self.rows)

    @property
    def as_expected(self) -> bool:
        return all(row.verdict in ("as expected", "measured") for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        return {
            "campaign": self.campaign.name,
            "about": self.campaign.about,
            "made_by": self.campaign.made_by,
            "finished": self.finished,
            "cells": [row.as_dict() for row in self.rows],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "as_expected": self.as_expected,
        }


def make_report(store: Store) -> Report:
    """Adds up the ranges in a store. Raises StoreError where it is damaged."""
    rows = [Row(totals, _verdict(totals)) for totals in map(store.totals, store.cells())]
    return Report(store.campaign, rows, _compare(rows))


def _verdict(totals: Totals) -> str:
    if totals.failure is not None:
        return "failed"
    if totals.poisoned:
        return "poisoned"
    if not totals.as_expected:
        return "NOT AS EXPECTED"
    if not totals.ended:
        return "unfinished"
    return "as expected" if totals.cell.judged else "measured"


def _compare(rows: Iterable[Row]) -> list[Comparison]:
    """One comparison for each scenario, parameters and algorithm of which several strategies found something."""
    found: dict[tuple[str, str], dict[str, list[Life]]] = {}
    for row in rows:
        totals = row.totals
        if totals.executions:
            first = totals.first
            life = Life(totals.executions, False) if first is None else Life(first.index + 1, True)
            groups = found.setdefault((row.title, row.cell.algorithm), {})
            groups.setdefault(row.cell.strategy, []).append(life)
    return [
        Comparison(f"{title}, {algorithm}", groups)
        for (title, algorithm), groups in found.items()
        if len(groups) > 1 and any(life.found for lives in groups.values() for life in lives)
    ]


def interval_95(hits: int, trials: int) -> tuple[float, float, str]:
    """A two-sided interval for the probability of a hit: exact (Clopper and Pearson) where SciPy is installed, else
    Wilson's (JASA 1927), and its name.

    >>> low, high, _ = interval_95(10, 1000)
    >>> 0.004 < low < 0.006 and 0.018 < high < 0.019
    True
    """
    if trials == 0:
        return 0.0, 1.0, "none"
    try:
        from scipy.stats import beta  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return *wilson_95(hits, trials), "wilson"
    low = float(beta.ppf(0.025, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high, "exact"


def text_report(report: Report) -> str:
    """For a terminal: a line per cell, what is wrong with those that are not as expected, and the comparisons."""
    campaign = report.campaign
    lines = [f"{campaign.name}{f': {campaign.about}' if campaign.about else ''}", ""]
    widest = max(len(row.title) for row in report.rows)
    widest = min(max(widest, 8), 48)
    lines.append(
        f"  {'scenario':{widest}}  {'algorithm':26}{'strategy':14}{'seed':>6}{'executions':>12}  {'violations':32}"
        f"{'first at':>9}{'P (95 %)':>22}  verdict"
    )
    for row in report.rows:
        totals, cell = row.totals, row.cell
        low, high, _ = interval_95(totals.found, totals.executions)
        first = "-" if totals.first is None else str(totals.first.index)
        lines.append(
            f"  {row.title[:widest]:{widest}}  {cell.algorithm:26}{cell.strategy:14}{cell.seed:>6}"
            f"{totals.executions:>12}  {row.kinds or 'none':32}{first:>9}{f'{low:.2e} - {high:.2e}':>22}  {row.verdict}"
            + (f" ({ENDINGS['time']})" if totals.ended == "time" else "")
        )
    problems = [f"  {row.title}, {row.cell.algorithm}, {row.cell.strategy}, seed {row.cell.seed}: {row.problem}"
                for row in report.rows if row.problem]  # fmt: skip
    if problems:
        lines += ["", f"{len(problems)} of {len(report.rows)} cells are not as expected, or not finished:", *problems]
    for comparison in report.comparisons:
        lines += ["", f"Executions until the first violation: {comparison.title}"]
        for name, lives in comparison.groups.items():
            half = median(lives)
            lines.append(
                f"  {name:16} found by {sum(life.found for life in lives)} of {len(lives)}, median "
                f"{half if half is not None else 'not reached'}"
            )
        if comparison.test is not None:
            lines.append(f"  log-rank test that all are alike: p = {comparison.test.p:.2g}")
    return "\n".join(lines)
