"""A campaign as one HTML file: no script, nothing from a network, every word of the store escaped.

Curves are SVG that is written here. Reproducers are links that carry their file with them.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from math import log10
from typing import TypeAlias

from anonvma_rt.stress.report.report import Comparison, Report, Row, interval_95
from anonvma_rt.stress.report.survival import Life, curve, median
from anonvma_rt.text.expected import expected_text

__all__ = ["html_report"]

MOST_EMBEDDED = 16 << 20  # bytes of reproducers; those behind are named and not embedded
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 300, 52, 40, 12, 150
COLOURS = ("#0b62a4", "#c1440e", "#3a7d2c", "#7b3fa0", "#a67c00", "#00808a", "#b3246b", "#555555")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
Across: TypeAlias = Callable[[int], float]  # from executions to pixels
Down: TypeAlias = Callable[[float], float]  # from a share to pixels
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --faint: #57606a; --bad: #b42318;
  --good: #1a7f37; --open: #8a5a00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0f1419; --line: #30363d; --faint: #9aa4ae;
  --bad: #ff7b72; --good: #56d364; --open: #e3b341 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 100rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p.about { margin-top: 0; color: var(--faint) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; white-space: nowrap }
th { font-weight: 600 } td.v { white-space: nowrap } td.v .faint { white-space: normal }
code { font-size: .9em } .faint { color: var(--faint) }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 } .open { color: var(--open) }
svg { width: 40rem; max-width: 100%; height: auto; display: block; margin-bottom: .8rem }
svg text { fill: var(--ink); font-size: 12px }
"""


def html_report(report: Report) -> str:
    """The whole file."""
    campaign = report.campaign
    began = datetime.fromtimestamp(campaign.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    wrong = [row for row in report.rows if row.problem and row.verdict != "unfinished"]
    said = f"{len(wrong)} of {len(report.rows)} cells not as expected" if wrong else "Nothing unexpected"
    executions = sum(row.totals.executions for row in report.rows)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(campaign.name)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(campaign.name)}</h1>",
        f'<p class="about">{escape(campaign.about)}</p>',
        f"<p><b>{said}</b>, in {executions:,} executions."
        f' <span class="faint">Begun {began} by anonvma_rt {escape(campaign.made_by)}.'
        f"{'' if report.finished else ' Not finished.'}</span></p>",
    ]
    if wrong:
        parts.append("<h2>Not as expected</h2>")
        parts.append(_table(wrong))
    if report.comparisons:
        parts.append("<h2>Strategies</h2>")
        parts.append(
            "<p>How many executions a strategy needs until it sees its first violation, over seeds: the share of cells "
            "that has seen none yet (Kaplan and Meier). A tick is a cell whose budget ended before it saw one.</p>"
        )
    parts += map(_comparison, report.comparisons)
    parts.append("<h2>Cells</h2>")
    parts.append(_table(report.rows))
    parts.append(f"<h2>The campaign</h2><pre class='wide'>{escape(campaign.text)}</pre></body></html>\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    head = (
        "<tr><th>verdict<th>scenario<th>algorithm<th>strategy<th class=n>seed<th class=n>executions<th>violations"
        "<th>expected<th class=n>first at<th class=n>P per execution (95 %)<th class=n>classes<th>reproducer</tr>"
    )
    lines, embedded = [], 0
    for row in rows:
        reproducer = row.totals.reproducer
        embedded += len(reproducer or "")
        lines.append(_row(row, reproducer if embedded <= MOST_EMBEDDED else None))
    return f'<div class="wide"><table><thead>{head}</thead><tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def _row(row: Row, reproducer: str | None) -> str:
    cell, totals = row.cell, row.totals
    found = ", ".join(f"{count:,} {kind}" for kind, count in totals.violations.items()) or "none"
    expected = expected_text(cell.expected) or "nothing stated"
    low, high, _ = interval_95(totals.found, totals.executions)
    first = "" if totals.first is None else f"{totals.first.index:,}"
    kind = {"as expected": "good", "measured": "good", "unfinished": "open"}.get(row.verdict, "bad")
    problem = (
        f'<br><span class="faint">{escape(row.problem or "")}</span>' if row.verdict in ("failed", "poisoned") else ""
    )
    time = ' <span class="faint">(time is over)</span>' if totals.ended == "time" else ""
    link = ""
    if reproducer is not None:
        name = escape(f"{cell.scenario}-{cell.number}.json", quote=True)
        data = b64encode(reproducer.encode()).decode()
        link = f'<a download="{name}" href="data:application/json;base64,{data}">replay it</a>'
    elif totals.reproducer is not None:
        link = "<code>campaign reproducers</code>"
    return (
        f'<tr><td class="v {kind}">{escape(row.verdict)}{problem}<td>{escape(row.title)}'
        f"<td><code>{escape(cell.algorithm)}</code><td><code>{escape(cell.strategy)}</code><td class=n>{cell.seed}"
        f"<td class=n>{totals.executions:,}{time}<td>{escape(found)}<td>{escape(expected)}<td class=n>{first}"
        f"<td class=n>{low:.2e} &ndash; {high:.2e}{_classes(row)}<td>{link}</tr>"
    )


def _classes(row: Row) -> str:
    """A field: distinct interleavings among the executions of the first range, and how much may be unseen."""
    seen = row.totals.classes
    if not seen:
        return "<td>"
    unseen = f"of {seen['observed']:,}<br>unseen &lt; {100 * seen['unseen_upper_95']:.2g} %"
    return f'<td class=n>{seen["distinct"]:,}<br><span class="faint">{unseen}</span>'


def _comparison(comparison: Comparison) -> str:
    rows = []
    for name, lives in comparison.groups.items():
        half = median(lives)
        rows.append(
            f"<tr><td><code>{escape(name)}</code><td class=n>{len(lives)}<td class=n>{sum(one.found for one in lives)}"
            f"<td class=n>{'not reached' if half is None else f'{half:,}'}</tr>"
        )
    said = ""
    if comparison.test is not None:
        test = comparison.test
        said = (
            f"<p>Log-rank test that all are alike: &chi;&sup2; = {test.statistic:.3g} with {test.freedom} degrees of "
            f"freedom, p = {test.p:.2g}.</p>"
        )
    pairs = "".join(
        f"<tr><td><code>{escape(a)}</code><td><code>{escape(b)}</code><td class=n>{test.statistic:.3g}<td class=n>"
        f"{test.p:.2g}</tr>"
        for a, b, test in comparison.pairs
        if test is not None
    )
    head = "<tr><th>strategy<th class=n>cells<th class=n>found it<th class=n>median executions</tr>"
    of_pairs = (
        f"<table><tr><th>strategy<th>and<th class=n>&chi;&sup2;<th class=n>p</tr>{pairs}</table>" if pairs else ""
    )
    return (
        f"<h3>{escape(comparison.title)}</h3>{_curves(comparison)}<table>{head}{''.join(rows)}</table>{said}"
        f"<details><summary>Pairs of strategies, not corrected for their number</summary>{of_pairs}</details>"
    )


def _curves(comparison: Comparison) -> str:
    """Step curves over a logarithmic number of executions."""
    most = max(life.executions for lives in comparison.groups.values() for life in lives)
    decades = max(1, len(str(most - 1)) if most > 1 else 1)

    def x(executions: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, log10(max(1, executions)) / decades)

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    title = escape(f"Survival curves: {comparison.title}")
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        )
    for power in range(decades + 1):
        at = x(10**power)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(0):.1f}" y2="{y(0) + 4:.1f}" stroke="var(--faint)"/>'
            f'<text x="{at:.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{_short(10**power)}</text>'
        )
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">executions</text>')
    for number, (name, lives) in enumerate(comparison.groups.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number % len(DASHES)]  # so that curves which coincide can be told apart
        style = f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        parts.append(f'<path d="{_steps(lives, x, y)}" fill="none" stroke-width="2" {style}/>')
        parts += _ticks(lives, x, y, colour)
        at = TOP + 10 + 18 * number
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 14}" x2="{WIDTH - RIGHT + 34}" y1="{at}" y2="{at}" stroke-width="2" {style}/>'
            f'<text x="{WIDTH - RIGHT + 40}" y="{at + 4}">{escape(name[:16])}</text>'
        )
    return "".join(parts) + "</svg>"


def _steps(lives: Sequence[Life], x: Across, y: Down) -> str:
    points = curve(lives)
    path = [f"M{x(1):.1f} {y(1.0):.1f}"]
    for at, share in points[1:]:
        path.append(f"H{x(at):.1f}V{y(share):.1f}")
    path.append(f"H{x(max(life.executions for life in lives)):.1f}")
    return "".join(path)


def _ticks(lives: Sequence[Life], x: Across, y: Down, colour: str) -> list[str]:
    """A mark at each number of executions after which a cell gave up."""
    points = curve(lives)
    ticks = []
    for at in sorted({life.executions for life in lives if not life.found}):
        share = [share for when, share in points if when <= at][-1]
        ticks.append(
            f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y(share) - 5:.1f}" y2="{y(share) + 5:.1f}" '
            f'stroke="{colour}" stroke-width="2"/>'
        )
    return ticks


def _short(number: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number // size}{letter}"
    return str(number)
