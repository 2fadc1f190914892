"""`show --html`: one file that needs nothing but a browser: a timeline, and below it the state at the selected step.

The file holds what each step changed, not the states, so it stays small. Whatever comes from a reproducer is put into
the page as JSON inside a script element that is no program, and from there as text: names cannot become markup.
"""

import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.errors import UserError, printable
from anonvma_rt.show.story import Story
from anonvma_rt.show.terminal import GLYPHS, Style, show_text
from anonvma_rt.subjects.scenes import Key
from anonvma_rt.text.parameters import spelled

__all__ = ["LONGEST", "html_page"]

MARK = re.compile(r"@(title|style|script|text|data)@")
LONGEST = 20_000  # steps that a browser still draws without a pause
TEXT_STEPS = 5_000  # up to here the page has the story as plain text, too


def html_page(story: Story, beside: Story | None = None) -> str:
    """The page of one execution, and of another under the same schedule beside it."""
    sides = [story, *([beside] if beside else [])]
    if max(side.end for side in sides) > LONGEST:
        raise UserError(f"{story.end} steps are too many for a page ({LONGEST} at most): shrink it, or use --perfetto")
    data = {
        "scenario": printable(story.scenario),
        "parameters": spelled(story.parameters),
        "version": __version__,
        "differs": story.first_difference(beside) if beside else None,
        "sides": [_side(side) for side in sides],
    }
    plain = "\n\n".join(show_text(side, 110, Style(False, GLYPHS)) for side in sides if side.end <= TEXT_STEPS)
    folder = resources.files("anonvma_rt.show") / "page"
    page, style, script = ((folder / f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    parts = {
        "title": escape(f"{data['scenario']}: {story.kind or 'no violation'}", quote=False),
        "style": style,
        "script": script,
        "text": escape(plain, quote=False),
        "data": _json(data),
    }
    # In one go: what is put in may look like a mark, too.
    return MARK.sub(lambda mark: parts[mark[1]], page)


def _side(story: Story) -> dict[str, Any]:
    trace = story.trace
    worth = {id(event) for event, _ in trace.texts()}
    events = []
    for event, text in trace.texts(full=True):
        flags = (1 if id(event) in worth else 0) | (2 if story.about_missed(event) else 0)
        place = trace.source(event)
        at = f" ({place.full})" if place else ""
        events.append([event.step, event.task, printable(text.strip() + at), flags])
    offsets: dict[int, int] = {}
    for lock in [*(h.lock for h in story.locks.holds), *(w.lock for w in story.locks.waits)]:
        offsets.setdefault(lock, len(offsets))
    later: dict[int, dict[str, Any]] = {}
    for step, changes in [*(story.scenes.later if story.scenes else []), *story.walkers]:
        later.setdefault(step, {}).update(_named(changes))
    return {
        "algorithm": printable(story.algorithm),
        "kind": story.kind,
        "why": "\n".join(printable(line) for line in (story.why or "").split("\n")),
        "end": story.end,
        "at": story.trace.finding.step if story.trace.finding else None,
        "tasks": [printable(task) for task in trace.tasks],
        "runs": story.schedule.runs(),
        "events": events,
        "locks": [printable(trace.lock(offset)) for offset in offsets],
        "holds": [[h.task, offsets[h.lock], h.first, h.last, h.shared, h.given_back] for h in story.locks.holds],
        "waits": [[w.task, offsets[w.lock], w.first, w.last, w.ended] for w in story.locks.waits],
        "flows": [
            [offsets[f.lock], f.from_task, f.from_step, f.to_task, f.to_step]
            for f in story.locks.flows
            if f.lock in offsets
        ],
        "first": _named(story.scenes.first) if story.scenes else {},
        "later": sorted(later.items()),
        "missed": str(story.missed) if story.missed else None,
        "miss": story.miss,
        "stale": _named(story.stale),
        "every": story.every,
    }


def _named(values: Mapping[Key, Any]) -> dict[str, Any]:
    """With the names that the page's script takes apart."""
    return {str(key): value for key, value in values.items()}


def _json(data: Any) -> str:
    """JSON that cannot end the script element it is in."""
    return (
        json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
