"""`show` in a terminal: a column per task with the locks it holds as bars, and the state at the moments that matter.

A bar begins with the number of its lock, which the legend explains, so nothing needs colour; colour is for those who
have it. Where the columns would be too narrow, there is one column, and each line says whose it is.
"""

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import NamedTuple, TextIO

from anonvma_rt.errors import printable
from anonvma_rt.show.moments import in_words, moments
from anonvma_rt.show.story import Story
from anonvma_rt.subjects.history import Event
from anonvma_rt.subjects.places import Place, cells, source_lines
from anonvma_rt.subjects.scenes import VMAS
from anonvma_rt.text.parameters import spelled

__all__ = ["GLYPHS", "Style", "show_text", "style_for"]

NARROWEST = 20  # columns of a task's text
MOST_BARS = 6  # beside each other, per task
DIGITS = "123456789abcdefghijklmnopqrstuvwxyz"
GLYPHS = ("│", "╵", "┊", "◀", "─")
TASK_COLOURS = ("36", "33", "35", "32", "34", "31")
DIM, RED, BOLD = "2", "1;31", "1"


@dataclass(frozen=True)
class Style:
    """colour: escape sequences may be used. glyphs: held, given back, waiting, mark of what was missed, rule."""

    colour: bool
    glyphs: tuple[str, str, str, str, str]

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text.strip() else text


def style_for(out: TextIO | None = None) -> Style:
    """What the terminal behind `out` (stdout) can show; no colour under NO_COLOR and TERM=dumb."""
    out = out or sys.stdout
    colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        "".join(GLYPHS).encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return Style(colour, ("|", "'", ":", "<", "-"))
    return Style(colour, GLYPHS)


class Bar(NamedTuple):
    """What a task holds or waits for, drawn in one slot of its column from one line to another."""

    task: int
    slot: int
    first: int
    last: int
    number: str
    waits: bool


class Line(NamedTuple):
    event: Event | None
    step: int
    text: str


def show_text(story: Story, width: int, style: Style, full: bool = False) -> str:
    """The whole story as text of at most `width` columns."""
    table = _Table(story, width, style, full)
    parameters = spelled(story.parameters)
    title = f"{story.scenario}{f' ({parameters})' if parameters else ''} under {story.algorithm}"
    what = f"{story.kind or 'no violation'}, {story.end} steps, {story.schedule.switches} switches"
    parts = [style.paint(_fold(title, width, ""), BOLD), style.paint(_fold(what, width, ""), RED)]
    if story.why:
        first, *lines = story.why.split("\n")
        parts += ["", _fold(first, width, "  "), *([""] if lines else []), *(f"  {printable(line)}" for line in lines)]
    parts += ["", *table.legend(), *table.lines(), *table.source()]
    return "\n".join(parts)


def _fold(text: str, width: int, indent: str) -> str:
    lines = wrap(printable(text), max(20, width), initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


class _Table:
    def __init__(self, story: Story, width: int, style: Style, full: bool) -> None:
        self.story, self.style = story, style
        self.width = max(30, width)
        self.tasks = [printable(name) for name in story.trace.tasks]
        self.rows = list(_merge(story, full))
        self.numbers: dict[int, str] = {}
        self.bars = self._place_bars()
        self.waiting = list(reversed(self.bars))  # those that have not begun yet, the next one last
        self.begun: list[Bar] = []  # those that have, and have not ended
        self.slots = [
            max([bar.slot + 1 for bar in self.bars if bar.task == i], default=0) for i in range(len(self.tasks))
        ]
        self.places: dict[int, Place | None] = {
            id(row.event): story.trace.source(row.event) for row in self.rows if row.event
        }
        self.heading, self.cells = cells(self.places.values())
        wide = max(map(len, (self.heading, *self.cells.values()))) + 2 if self.heading else 0
        self.margin = 9 + wide
        column = (self.width - self.margin) // max(1, len(self.tasks))
        self.columns = all(column - slots - 2 >= NARROWEST for slots in self.slots)
        self.column = column

    # ---- bars ------------------------------------------------------------------------------------------------------

    def _place_bars(self) -> list[Bar]:
        """A slot for each hold and wait that reaches a line of its own; the longest ones first come to be numbered."""
        bars: list[Bar] = []
        shown = sorted({row.step for row in self.rows if row.event})
        spans = [(h.task, h.lock, h.first, h.last, False) for h in self.story.locks.holds]
        spans += [(w.task, w.lock, w.first, w.last - w.ended, True) for w in self.story.locks.waits]
        busy: dict[tuple[int, int], int] = {}
        for task, lock, first, last, waits in sorted(spans, key=lambda span: (span[2], -span[3])):
            if bisect_left(shown, first) == bisect_right(shown, last):
                continue
            slot = next((i for i in range(MOST_BARS) if busy.get((task, i), -1) < first), None)
            if slot is None:
                continue
            busy[task, slot] = last
            number = self.numbers.setdefault(lock, DIGITS[min(len(self.numbers), len(DIGITS) - 1)])
            bars.append(Bar(task, slot, first, last, number, waits))
        return bars

    def legend(self) -> list[str]:
        if not self.numbers:
            return []
        held, over, waiting, *_ = self.style.glyphs
        names = "  ".join(f"{number} {printable(self.story.trace.lock(lock))}" for lock, number in self.numbers.items())
        bars = f"a bar: held {held}, last line {over}, waiting {waiting}"
        indent = " " * 7
        return [
            *wrap(f"locks: {names}", self.width, subsequent_indent=indent, break_on_hyphens=False),
            *wrap(bars, self.width, initial_indent=indent, subsequent_indent=indent),
            "",
        ]

    def gutters(self, step: int) -> list[str]:
        """The bars of each task beside a line; asked for one line after the other."""
        held, over, waiting, *_ = self.style.glyphs
        cells = [[" "] * slots for slots in self.slots]
        self.begun = [bar for bar in self.begun if bar.last >= step]
        for bar in self.begun:
            cells[bar.task][bar.slot] = waiting if bar.waits else over if step == bar.last else held
        while self.waiting and self.waiting[-1].first <= step:
            bar = self.waiting.pop()
            if bar.last >= step:
                cells[bar.task][bar.slot] = bar.number
                self.begun.append(bar)
        return ["".join(row) for row in cells]

    # ---- lines -----------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        draw = self._in_columns if self.columns else self._in_one_column
        if self.columns:
            names = "".join(
                self.style.paint(
                    (" " * (self.slots[i] + 1) + name)[: self.column - 1].ljust(self.column), self._colour(i)
                )
                for i, name in enumerate(self.tasks)
            )
            yield f"   step  {self.heading:{self.margin - 9}}{names}".rstrip()
        for row in self.rows:
            if row.event is None:
                yield from self._scene(row)
            else:
                yield from draw(row, row.event)

    def _in_columns(self, row: Line, event: Event) -> Iterator[str]:
        gutters = self.gutters(row.step)
        room = self.column - self.slots[max(0, event.task)] - 2
        for number, part in enumerate(self._parts(row, event, room)):
            line = self._left(row, event) if number == 0 else " " * self.margin
            for i, gutter in enumerate(gutters):
                # A bar goes on beside the rest of its line; its number does not.
                cells = gutter if number == 0 else "".join(self._goes_on(cell) for cell in gutter)
                text = part if i == max(0, event.task) else ""
                line += (
                    self.style.paint(cells, DIM) + " " + self._painted(text.ljust(self.column - len(cells) - 1), event)
                )
            yield line.rstrip()

    def _in_one_column(self, row: Line, event: Event) -> Iterator[str]:
        gutter = self.gutters(row.step)[max(0, event.task)]
        indent = " " * self.margin
        who = self._name(event.task)
        place = self.places[id(event)]
        text = f"{who}: {row.text}{f' | {place.text}' if place and place.text else ''}"
        parts = self._parts(row._replace(text=text), event, self.width - self.margin - 1 - len(gutter))
        for number, part in enumerate(parts):
            cells = gutter if number == 0 else "".join(self._goes_on(cell) for cell in gutter)
            line = self._left(row, event) if number == 0 else indent
            yield (line + self.style.paint(cells, DIM) + (" " if cells else "") + self._painted(part, event)).rstrip()

    def _left(self, row: Line, event: Event) -> str:
        place = self.places[id(event)]
        return f"{row.step:7d}  {self.cells[place] if place else '':{self.margin - 9}}"

    def _goes_on(self, cell: str) -> str:
        held, over, waiting, *_ = self.style.glyphs
        return " " if cell in (" ", over) else waiting if cell == waiting else held

    def _parts(self, row: Line, event: Event, room: int) -> Sequence[str]:
        mark = f" {self.style.glyphs[3]}" if self.story.about_missed(event) else ""
        text = printable(row.text.strip()) + mark
        return wrap(text, max(12, room), subsequent_indent="  ") or [""]

    def source(self) -> Iterator[str]:
        """The lines at which the steps of the columns are made."""
        if self.columns and any(place and place.text for place in self.places.values()):
            yield ""
            for line in source_lines(self.places.values(), self.width):
                yield self.style.paint(printable(line), DIM)

    def _scene(self, row: Line) -> Iterator[str]:
        """A line of the state, across all columns."""
        rule = self.style.glyphs[4]
        head = "at the beginning" if row.step == 0 else f"after step {row.step}"
        yield self.style.paint(f"      {rule * 2} {head} ".ljust(min(self.width, 60), rule), DIM)
        for line in in_words(self.story, row.step):
            for part in wrap(printable(line), self.width - 9, subsequent_indent="  "):
                yield self.style.paint(f"         {part}", RED if "STALE" in part else DIM)

    def _painted(self, text: str, event: Event) -> str:
        return self.style.paint(text, RED if self.story.about_missed(event) else self._colour(event.task))

    def _colour(self, task: int) -> str:
        return TASK_COLOURS[task % len(TASK_COLOURS)]

    def _name(self, task: int) -> str:
        return self.tasks[task] if 0 <= task < len(self.tasks) else "the check"


def _merge(story: Story, full: bool) -> Iterator[Line]:
    """The rows of the trace, and after those of a step the scenes that follow it."""
    scenes = moments(story)
    if story.scenes and VMAS not in story.scenes.first:
        scenes = scenes[-1:]  # of a few named values those at the end
    for event, text in story.trace.texts(full):
        while scenes and scenes[0] < event.step:
            yield Line(None, scenes.pop(0), "")
        yield Line(event, event.step, text)
    for step in scenes:
        yield Line(None, step, "")
