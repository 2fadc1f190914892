"""`show --svg`: one picture of an execution, for a talk or a mail: lanes, locks, waits, and what happened where.

The happenings that explain the violation have numbers in the lanes and a line each below. Light and dark follow whoever
looks at it.
"""

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from textwrap import wrap

from anonvma_rt.errors import UserError, printable
from anonvma_rt.show.story import Story
from anonvma_rt.subjects.history import Event

__all__ = ["svg_picture"]

WIDTH, LABEL, RUN, SLOT, GAP, LINE = 960, 110, 18, 14, 16, 17
LONGEST = 20_000  # steps, as for a page
MOST_SLOTS = 5
MOST_MARKS = 12
COLOURS = (("#245fc0", "#82b2ff"), ("#9c4a06", "#f09a4e"), ("#7a3fb8", "#bd8cf5"), ("#0f6a4d", "#4cc79c"),
           ("#a8225f", "#f07ab2"), ("#525f00", "#b9c84a"))  # fmt: skip


def svg_picture(story: Story) -> str:
    """The picture as text. Raises UserError where there are too many steps to see anything."""
    if story.end > LONGEST:
        raise UserError(f"{story.end} steps are too many for a picture ({LONGEST} at most): shrink it first")
    return "\n".join(_Picture(story).parts())


class _Picture:
    def __init__(self, story: Story) -> None:
        self.story = story
        self.unit = (WIDTH - LABEL - 20) / max(1, story.end)
        self.spans = [self.slots(task) for task in range(len(story.trace.tasks))]
        self.tops: list[float] = []
        y = 78.0
        for spans in self.spans:
            self.tops.append(y)
            y += RUN + SLOT * max([slot + 1 for *_, slot in spans], default=0) + GAP
        self.bottom = y
        self.marks = story.trace.marks()[-MOST_MARKS:]

    def x(self, step: float) -> float:
        return LABEL + self.unit * step

    def slots(self, task: int) -> list[tuple[int, int, str, bool, int]]:
        """(first, last, lock, whether it waits, slot) of a task's holds and waits."""
        locks = self.story.locks
        spans = [(h.first, -h.last, h.lock, False) for h in locks.holds if h.task == task]
        spans += [(w.first, -w.last, w.lock, True) for w in locks.waits if w.task == task]
        ends: list[int] = []
        placed = []
        for first, end, lock, waits in sorted(spans):
            slot = next((i for i, busy in enumerate(ends) if busy <= first), len(ends))
            if slot < MOST_SLOTS:
                ends[slot : slot + 1] = [-end]
                placed.append((first, -end, printable(self.story.trace.lock(lock)), waits, slot))
        return placed

    def parts(self) -> Iterator[str]:
        story = self.story
        title = f"{story.scenario} under {story.algorithm}: {story.kind or 'no violation'}"
        first, *table = (story.why or "").split("\n")
        why = [*wrap(printable(first), 112), *(printable(line).replace(" ", "\u00a0") for line in table)]
        below = self.bottom + 8
        height = below + LINE * (len(self.marks) + len(why)) + 24
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-labelledby="title why">'
        )
        yield f'<title id="title">{_text(title)}</title><desc id="why">{_text(story.why or "")}</desc>'
        yield f"<style>{_style()}</style>"
        yield f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" class="back"/>'
        yield f'<text x="16" y="28" class="title">{_text(title)}</text>'
        yield from self.axis()
        for task, top in enumerate(self.tops):
            yield from self.lane(task, top)
        yield from self.handoffs()
        yield from self.flows()
        for number, (event, _) in enumerate(self.marks, 1):
            yield self.mark(number, event)
        y = below + 10.0
        for number, (event, text) in enumerate(self.marks, 1):
            who = printable(story.trace.task(event.task))
            place = story.trace.source(event)
            line = f"{number}. step {event.step}, {who}: {text}{f' ({place.full})' if place else ''}"
            yield f'<text x="16" y="{y:.0f}" class="t{max(0, event.task) % len(COLOURS)}">{_text(line)}</text>'
            y += LINE
        for line in why:
            yield f'<text x="16" y="{y + 6:.0f}" class="bad">{_text(line)}</text>'
            y += LINE
        yield "</svg>\n"

    def axis(self) -> Iterator[str]:
        gap = next((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n * self.unit >= 60), 2000)
        for step in range(0, self.story.end + 1, gap):
            x = self.x(step)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="60" y2="{self.bottom - 8:.0f}" class="axis"/>'
            yield f'<text x="{x + 3:.1f}" y="56" class="soft">{step}</text>'
        yield '<text x="16" y="56" class="soft">step</text>'

    def lane(self, task: int, top: float) -> Iterator[str]:
        name = printable(self.story.trace.tasks[task])
        name = name if len(name) <= 14 else f"{name[:13]}…"
        colour = f"t{task % len(COLOURS)}"
        yield f'<text x="16" y="{top + 13:.0f}" class="{colour} name">{_text(name)}</text>'
        for owner, first, last in self.story.schedule.runs():
            if owner == task:
                yield self.bar(first - 1, last, top, RUN - 3, f"run {colour}")
        for first, last, lock, waits, slot in self.spans[task]:
            y = top + RUN + SLOT * slot
            yield self.bar(first, last, y, SLOT - 3, "wait" if waits else f"hold {colour}")
            if self.unit * (last - first) > 5.8 * len(lock) + 8:
                yield f'<text x="{self.x(first) + 4:.1f}" y="{y + 9:.0f}" class="lock">{_text(lock)}</text>'

    def bar(self, first: int, last: int, y: float, height: float, kind: str) -> str:
        width = max(1.5, self.unit * (last - first))
        return (
            f'<rect x="{self.x(first):.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="2" class="{kind}"/>'
        )

    def handoffs(self) -> Iterator[str]:
        for (task, _, last), (other, _, _) in pairwise(self.story.schedule.runs()):
            x = f'x1="{self.x(last):.1f}" x2="{self.x(last):.1f}"'
            yield f'<line {x} y1="{self.tops[task] + 7:.0f}" y2="{self.tops[other] + 7:.0f}" class="flow"/>'

    def flows(self) -> Iterator[str]:
        for flow in self.story.locks.flows:
            x1, x2 = self.x(flow.from_step), self.x(flow.to_step)
            y1, y2 = (self.tops[task] + RUN - 3 for task in (flow.from_task, flow.to_task))
            yield (
                f'<path d="M{x1:.1f} {y1:.1f} C{x1 + 14:.1f} {y1 + 14:.1f}, {x2 - 14:.1f} {y2 + 14:.1f}, '
                f'{x2:.1f} {y2:.1f}" class="flow"/>'
            )

    def mark(self, number: int, event: Event) -> str:
        x = self.x(event.step - 0.5)
        y = self.tops[max(0, event.task)] - 3
        return (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" class="mark"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}" class="number">{number}</text>'
        )


def _text(text: str) -> str:
    return escape(printable(text), quote=False).replace('"', "&quot;")


def _style() -> str:
    def scheme(which: int, back: str, text: str, soft: str, line: str, bad: str) -> str:
        tasks = "".join(f".t{i}{{fill:{pair[which]}}}" for i, pair in enumerate(COLOURS))
        return (
            f"{tasks}.back{{fill:{back}}}.title,.lock{{fill:{text}}}.soft{{fill:{soft}}}.axis{{stroke:{line}}}"
            f".flow,.wait{{stroke:{soft}}}.bad{{fill:{bad}}}.mark{{fill:{text}}}.number{{fill:{back}}}"
        )

    light = scheme(0, "#ffffff", "#1b1f26", "#566070", "#d9dde4", "#b3141d")
    dark = scheme(1, "#14171c", "#e7eaf0", "#a3adbd", "#3a414d", "#ff8b8b")
    return (
        "text{font:13px system-ui,'DejaVu Sans',sans-serif}.title{font-size:17px;font-weight:600}.name{font-weight:600}"
        ".lock,.soft{font-size:11px}.number{font-size:11px;font-weight:700;text-anchor:middle}"
        ".hold{opacity:.45}.wait,.flow{fill:none}.wait{stroke-dasharray:2 2}.bad{font-weight:600}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    )
