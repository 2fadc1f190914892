"""Line plots as SVG, written by hand: a few kilobytes, no library, readable offline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, log2

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 320, 62, 46, 130, 46
# Told apart by people who do not see all colours (Okabe and Ito), and by their dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3", "4 4")


@dataclass
class Curve:
    """points: (x, y), x above 0; drawn in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass
class Panel:
    """One plot; x is logarithmic (base 2), y begins at 0. level: a horizontal line to compare with."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve] = field(default_factory=list)
    level: float | None = None


def page(title: str, panels: Sequence[Panel]) -> str:
    """An SVG text with the panels side by side."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT + 24}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({WIDTH * i} 20)">{_panel(panel)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def ticks(top: float) -> list[float]:
    """About five round numbers from 0 up to `top`.

    >>> ticks(9.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if top <= 0:
        return [0.0]
    step = 10.0 ** floor(_log10(top / 5))
    step *= next((m for m in (1, 2, 5, 10) if top / (m * step) <= 5), 10)
    return [n * step for n in range(int(top / step) + 1)]


def _log10(value: float) -> float:
    return log2(value) / log2(10)


def _panel(panel: Panel) -> str:
    points = [point for curve in panel.curves for point in curve.points]
    if not points:
        return f'<text x="{LEFT}" y="{TOP}">{escape(panel.title)}: nothing measured</text>'
    xs = sorted({x for x, _ in points})
    top = max([y for _, y in points] + ([panel.level] if panel.level is not None else [])) * 1.08
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span = (log2(xs[-1]) - log2(xs[0])) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + width * (log2(x) - log2(xs[0])) / span, TOP + height * (1 - y / top)

    parts = [f'<text x="{LEFT}" y="{TOP - 12}" font-size="12">{escape(panel.title)}</text>']
    for y in ticks(top):
        _, at_y = at(xs[0], y)
        parts.append(f'<path d="M{LEFT} {at_y:.1f}H{LEFT + width}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at_y + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in xs:
        at_x, _ = at(x, 0)
        parts.append(f'<text x="{at_x:.1f}" y="{TOP + height + 16}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{TOP + height}H{LEFT + width}" fill="none" stroke="black"/>')
    if panel.level is not None:
        _, level = at(xs[0], panel.level)
        parts.append(f'<path d="M{LEFT} {level:.1f}H{LEFT + width}" stroke="black" stroke-dasharray="3 3"/>')
    for i, curve in enumerate(panel.curves):
        if not curve.points:
            continue
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        placed = [at(x, y) for x, y in sorted(curve.points)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in placed]
        y = TOP + 8 + 16 * i
        parts.append(
            f'<path d="M{LEFT + width + 10} {y}h20" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
        )
        parts.append(f'<text x="{LEFT + width + 34}" y="{y + 4}">{escape(curve.name)}</text>')
    middle = TOP + height / 2
    parts.append(f'<text x="{LEFT + width / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.x)}</text>')
    parts.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{escape(panel.y)}</text>"
    )
    return "".join(parts)
