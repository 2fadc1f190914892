"""A campaign as one HTML file: no script, nothing from a network, everything of the store escaped (markup.py).

The page itself forbids scripts and networks (its Content-Security-Policy), so that a mistake here would have no effect.
Curves are SVG that is written here. Reproducers are links that carry their file with them.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import log10
from typing import TypeAlias

from anonvma_rt.stress.report.markup import Markup, joined, markup
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
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = Markup("""
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
""")


def html_report(report: Report) -> str:
    """The whole file."""
    campaign = report.campaign
    began = datetime.fromtimestamp(campaign.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    wrong = [row for row in report.rows if row.problem and row.verdict != "unfinished"]
    said = f"{len(wrong)} of {len(report.rows)} cells not as expected" if wrong else "Nothing unexpected"
    executions = sum(row.totals.executions for row in report.rows)
    parts = [
        markup('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'),
        markup('<meta http-equiv="Content-Security-Policy" content="{}">', POLICY),
        markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        markup("<title>{}</title><style>{}</style></head><body>", campaign.name, STYLE),
        markup("<h1>{}</h1>", campaign.name),
        markup('<p class="about">{}</p>', campaign.about),
        markup("<p><b>{}</b>, in {:,} executions.", said, executions),
        markup(' <span class="faint">Begun {} by anonvma_rt {}.', began, campaign.made_by),
        markup("{}</span></p>", "" if report.finished else " Not finished."),
    ]
    if wrong:
        parts.append(markup("<h2>Not as expected</h2>"))
        parts.append(_table(wrong))
    if report.comparisons:
        parts.append(markup("<h2>Strategies</h2>"))
        parts.append(
            markup(
                "<p>How many executions a strategy needs until it sees its first violation, over seeds: the share of "
                "cells that has seen none yet (Kaplan and Meier). A tick is a cell whose budget ended before it saw "
                "one.</p>"
            )
        )
    parts += map(_comparison, report.comparisons)
    parts.append(markup("<h2>Cells</h2>"))
    parts.append(_table(report.rows))
    parts.append(markup('<h2>The campaign</h2><pre class="wide">{}</pre></body></html>\n', campaign.text))
    return joined(parts, "\n")


def _table(rows: Sequence[Row]) -> Markup:
    head = markup(
        "<tr><th>verdict<th>scenario<th>algorithm<th>strategy<th class=n>seed<th class=n>executions<th>violations"
        "<th>expected<th class=n>first at<th class=n>P per execution (95 %)<th class=n>classes<th>reproducer</tr>"
    )
    lines, embedded = [], 0
    for row in rows:
        reproducer = row.totals.reproducer
        embedded += len(reproducer or "")
        lines.append(_row(row, reproducer if embedded <= MOST_EMBEDDED else None))
    table = '<div class="wide"><table><thead>{}</thead><tbody>\n{}\n</tbody></table></div>'
    return markup(table, head, joined(lines, "\n"))


def _row(row: Row, reproducer: str | None) -> Markup:
    cell, totals = row.cell, row.totals
    found = ", ".join(f"{count:,} {kind}" for kind, count in totals.violations.items()) or "none"
    expected = expected_text(cell.expected) or "nothing stated"
    low, high, _ = interval_95(totals.found, totals.executions)
    first = "" if totals.first is None else f"{totals.first.index:,}"
    kind = {"as expected": "good", "measured": "good", "unfinished": "open"}.get(row.verdict, "bad")
    problem = time = link = markup("")
    if row.verdict in ("failed", "poisoned"):
        problem = markup('<br><span class="faint">{}</span>', row.problem or "")
    if totals.ended == "time":
        time = markup(' <span class="faint">(time is over)</span>')
    if reproducer is not None:
        link = markup(
            '<a download="{}-{}.json" href="data:application/json;base64,{}">replay it</a>',
            cell.scenario, cell.number, b64encode(reproducer.encode()).decode(),
        )  # fmt: skip
    elif totals.reproducer is not None:
        link = markup("<code>campaign reproducers</code>")
    return joined(
        [
            markup('<tr><td class="v {}">{}{}<td>{}', kind, row.verdict, problem, row.title),
            markup("<td><code>{}</code><td><code>{}</code>", cell.algorithm, cell.strategy),
            markup("<td class=n>{}<td class=n>{:,}{}", cell.seed, totals.executions, time),
            markup("<td>{}<td>{}<td class=n>{}", found, expected, first),
            markup("<td class=n>{:.2e} &ndash; {:.2e}{}<td>{}</tr>", low, high, _classes(row), link),
        ]
    )


def _classes(row: Row) -> Markup:
    """A field: distinct interleavings among the executions of the first range, and how much may be unseen."""
    seen = row.totals.classes
    if not seen:
        return markup("<td>")
    unseen = markup("of {:,}<br>unseen &lt; {:.2g} %", seen["observed"], 100 * seen["unseen_upper_95"])
    return markup('<td class=n>{:,}<br><span class="faint">{}</span>', seen["distinct"], unseen)


def _comparison(comparison: Comparison) -> Markup:
    rows = []
    for name, lives in comparison.groups.items():
        half = median(lives)
        rows.append(
            markup(
                "<tr><td><code>{}</code><td class=n>{}<td class=n>{}<td class=n>{}</tr>",
                name, len(lives), sum(one.found for one in lives), "not reached" if half is None else f"{half:,}",
            )
        )  # fmt: skip
    said = of_pairs = markup("")
    if comparison.test is not None:
        test = comparison.test
        said = markup(
            "<p>Log-rank test that all are alike: &chi;&sup2; = {:.3g} with {} degrees of freedom, p = {:.2g}.</p>",
            test.statistic, test.freedom, test.p,
        )  # fmt: skip
    pairs = [
        markup(
            "<tr><td><code>{}</code><td><code>{}</code><td class=n>{:.3g}<td class=n>{:.2g}</tr>",
            a, b, test.statistic, test.p,
        )
        for a, b, test in comparison.pairs
        if test is not None
    ]  # fmt: skip
    head = markup("<tr><th>strategy<th class=n>cells<th class=n>found it<th class=n>median executions</tr>")
    if pairs:
        table = "<table><tr><th>strategy<th>and<th class=n>&chi;&sup2;<th class=n>p</tr>{}</table>"
        of_pairs = markup(table, joined(pairs))
    return joined(
        [
            markup("<h3>{}</h3>{}", comparison.title, _curves(comparison)),
            markup("<table>{}{}</table>{}", head, joined(rows), said),
            markup("<details><summary>Pairs of strategies, not corrected for their number</summary>{}", of_pairs),
            markup("</details>"),
        ]
    )


def _curves(comparison: Comparison) -> Markup:
    """Step curves over a logarithmic number of executions."""
    most = max(life.executions for lives in comparison.groups.values() for life in lives)
    decades = max(1, len(str(most - 1)) if most > 1 else 1)

    def x(executions: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, log10(max(1, executions)) / decades)

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    title = f"Survival curves: {comparison.title}"
    parts = [
        markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">', WIDTH, HEIGHT, title),
        markup("<title>{}</title>", title),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_line(LEFT, WIDTH - RIGHT, y(share), y(share), markup('stroke="var(--line)"')))
        parts.append(
            markup('<text x="{}" y="{:.1f}" text-anchor="end">{:.0f} %</text>', LEFT - 8, y(share) + 4, 100 * share)
        )
    for power in range(decades + 1):
        at = x(10**power)
        parts.append(_line(at, at, y(0), y(0) + 4, markup('stroke="var(--faint)"')))
        parts.append(
            markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>', at, y(0) + 18, _short(10**power))
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(markup('<text x="{}" y="{}" text-anchor="middle">executions</text>', middle, HEIGHT - 4))
    for number, (name, lives) in enumerate(comparison.groups.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number % len(DASHES)]  # so that curves which coincide can be told apart
        style = markup('stroke="{}"', colour)
        if dash:
            style = markup('{} stroke-dasharray="{}"', style, dash)
        style = markup('stroke-width="2" {}', style)
        parts.append(markup('<path d="{}" fill="none" {}/>', _steps(lives, x, y), style))
        parts += _ticks(lives, x, y, colour)
        at = TOP + 10 + 18 * number
        parts.append(_line(WIDTH - RIGHT + 14, WIDTH - RIGHT + 34, at, at, style))
        parts.append(markup('<text x="{}" y="{}">{}</text>', WIDTH - RIGHT + 40, at + 4, name[:16]))
    return joined([*parts, markup("</svg>")])


def _line(x1: float, x2: float, y1: float, y2: float, style: Markup) -> Markup:
    return markup('<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" {}/>', x1, x2, y1, y2, style)


def _steps(lives: Sequence[Life], x: Across, y: Down) -> str:
    points = curve(lives)
    path = [f"M{x(1):.1f} {y(1.0):.1f}"]
    for at, share in points[1:]:
        path.append(f"H{x(at):.1f}V{y(share):.1f}")
    path.append(f"H{x(max(life.executions for life in lives)):.1f}")
    return "".join(path)


def _ticks(lives: Sequence[Life], x: Across, y: Down, colour: str) -> list[Markup]:
    """A mark at each number of executions after which a cell gave up."""
    points = curve(lives)
    style = markup('stroke="{}" stroke-width="2"', colour)
    ticks = []
    for at in sorted({life.executions for life in lives if not life.found}):
        share = [share for when, share in points if when <= at][-1]
        ticks.append(_line(x(at), x(at), y(share) - 5, y(share) + 5, style))
    return ticks


def _short(number: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number // size}{letter}"
    return str(number)
