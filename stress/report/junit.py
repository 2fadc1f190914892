"""A campaign for CI systems: JUnit's XML, each cell a test."""

import re
from xml.sax.saxutils import escape, quoteattr

from anonvma_rt.stress.report.report import Report, Row
from anonvma_rt.text.parameters import spelled

__all__ = ["junit_report"]

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0


def junit_report(report: Report) -> str:
    """A cell that is not as expected is a failure, one that cannot be executed an error, an unfinished one skipped."""
    verdicts = [row.verdict for row in report.rows]
    counts = {
        "tests": len(verdicts),
        "failures": verdicts.count("NOT AS EXPECTED"),
        "errors": verdicts.count("failed") + verdicts.count("poisoned"),
        "skipped": verdicts.count("unfinished"),
        "time": f"{sum(row.totals.sums['seconds'] for row in report.rows):.3f}",
    }
    attributes = " ".join(f'{name}="{value}"' for name, value in counts.items())
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<testsuites {attributes}>",
        f"<testsuite name={_quoted(report.campaign.name)} {attributes}>",
        *map(_case, report.rows),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _case(row: Row) -> str:
    cell, totals = row.cell, row.totals
    values = "".join(f", {value}" for value in spelled(cell.parameters).split())
    name = f"{cell.algorithm}, {cell.strategy}, seed {cell.seed}{values}"
    group, seconds = _quoted(f"anonvma_rt.{cell.scenario}"), totals.sums["seconds"]
    head = f'<testcase classname={group} name={_quoted(name)} time="{seconds:.3f}"'
    element = {"NOT AS EXPECTED": "failure", "failed": "error", "poisoned": "error", "unfinished": "skipped"}
    inside = ""
    if row.verdict in element:
        tag = element[row.verdict]
        inside += f"<{tag} message={_quoted(row.problem or row.verdict)}/>"
    out = f"{totals.executions} executions: {row.kinds or 'no violation'}; ranges_sha256 {totals.ranges_sha256}"
    if totals.reproducer is not None:
        out += f"\nthe first reproducer:\n{totals.reproducer}"
    return f"{head}>{inside}<system-out>{escape(_allowed(out))}</system-out></testcase>"


def _quoted(text: str) -> str:
    return quoteattr(_allowed(text))


def _allowed(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
