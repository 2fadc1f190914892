"""`show --perfetto`: the execution in the trace event format that ui.perfetto.dev and chrome://tracing open.

A task is a thread and a step is a microsecond. What a task does in a row, the locks it holds and those it waits for are
slices, points and what the subject says are instants; arrows lead from the release of a lock to whom it let go on.
Counters come from the scenes. The format: "Trace Event Format" (Google), as JSON.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonvma_rt.errors import UserError, printable, reason
from anonvma_rt.show.story import Story
from anonvma_rt.subjects.scenes import VMAS, EntryAt, Key, PageFrame, Value
from anonvma_rt.text.writing import write_whole

__all__ = ["perfetto_events", "write_perfetto"]

PROCESS = 1
# Holds and waits may overlap without being nested, which slices of one thread may not: each task has rows of its own.
ROWS = 16


def perfetto_events(story: Story) -> list[dict[str, Any]]:
    """All events, metadata first, then by time."""
    found = [*_tasks(story), *_locks(story), *_points(story), *_counters(story)]
    found.sort(key=lambda event: (event["ts"], event["ph"] == "f"))
    return [*_metadata(story, found), *found]


def write_perfetto(story: Story, path: Path) -> None:
    """Writes the trace; compressed where the name ends in .gz. Raises UserError where it cannot be written."""
    encoder = json.JSONEncoder(separators=(",", ":"))
    about = {
        "scenario": printable(story.scenario),
        "algorithm": printable(story.algorithm),
        "violation": story.kind or "none",
        "cause": printable(story.why or ""),
        "time": "a microsecond is a step",
        "counters": _how_exact(story),
    }
    text = encoder.encode({"traceEvents": perfetto_events(story), "otherData": about, "displayTimeUnit": "ns"})
    data = text.encode()
    if path.name.endswith(".gz"):
        # No name and no time: the same execution gives the same file.
        data = gzip.compress(data, compresslevel=4, mtime=0)
    try:
        write_whole(path, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {reason(error)}") from None


def _how_exact(story: Story) -> str:
    if story.scenes is None:
        return "none: there is too much memory to follow"
    return f"known at one step in {story.every}" if story.every > 1 else "exact"


def _thread(task: int, row: int = 0) -> int:
    return 1 + task * (ROWS + 1) + row


def _metadata(story: Story, events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    title = printable(f"{story.scenario} under {story.algorithm}")
    yield {"ph": "M", "pid": PROCESS, "tid": 0, "ts": 0, "name": "process_name", "args": {"name": title}}
    for thread in sorted({event["tid"] for event in events}):
        task, row = divmod(thread - 1, ROWS + 1)
        name = printable(story.trace.task(task)) if thread else "the check"
        name = f"{name}: locks {row}" if thread and row else name
        common = {"ph": "M", "pid": PROCESS, "tid": thread, "ts": 0}
        yield {**common, "name": "thread_name", "args": {"name": name}}
        yield {**common, "name": "thread_sort_index", "args": {"sort_index": thread}}


def _tasks(story: Story) -> Iterator[dict[str, Any]]:
    for task, first, last in story.schedule.runs():
        steps = f"steps {first} to {last}"
        yield {"ph": "X", "pid": PROCESS, "tid": _thread(task), "ts": first, "dur": last - first + 1, "cat": "task",
               "name": steps}  # fmt: skip


def _locks(story: Story) -> Iterator[dict[str, Any]]:
    """Slices in the first row of the task that is free, and the arrows between them."""
    names: dict[int, str] = {}
    busy: dict[tuple[int, int], int] = {}
    where: dict[tuple[int, int, int], int] = {}  # (task, lock, step of its end or beginning): thread
    spans = [(h.first, -h.last, h.task, h.lock, "holds", h.shared) for h in story.locks.holds]
    spans += [(w.first, -w.last, w.task, w.lock, "waits for", False) for w in story.locks.waits]
    for first, end, task, lock, verb, shared in sorted(spans):
        last = -end
        row = next((i for i in range(1, ROWS) if busy.get((task, i), 0) <= first), ROWS)
        busy[task, row] = max(last, busy.get((task, row), 0))
        thread = _thread(task, row)
        if verb == "holds":
            where[task, lock, last] = where[task, lock, first] = thread
        if lock not in names:
            names[lock] = printable(story.trace.lock(lock))
        yield {"ph": "X", "pid": PROCESS, "tid": thread, "ts": first, "dur": last - first,
               "cat": "lock" if verb == "holds" else "wait",
               "name": names[lock] if verb == "holds" else f"waits for {names[lock]}",
               **({"args": {"shared": True}} if shared else {})}  # fmt: skip
    for number, flow in enumerate(story.locks.flows, 1):
        source = where.get((flow.from_task, flow.lock, flow.from_step), _thread(flow.from_task))
        target = where.get((flow.to_task, flow.lock, flow.to_step), _thread(flow.to_task))
        common = {"pid": PROCESS, "cat": "lock", "name": "lets go on", "id": number}
        yield {**common, "ph": "s", "tid": source, "ts": flow.from_step}
        yield {**common, "ph": "f", "bp": "e", "tid": target, "ts": flow.to_step}


def _points(story: Story) -> Iterator[dict[str, Any]]:
    for event, text in story.trace.texts(full=True):
        place = story.trace.source(event)
        yield {"ph": "i", "s": "t", "pid": PROCESS, "tid": _thread(event.task) if event.task >= 0 else 0,
               "ts": event.step, "cat": "note" if event.is_note else "point",
               "name": printable(text.strip()),
               **({"args": {"where": place.short, "source": printable(place.text)}} if place else {})}  # fmt: skip
    if story.kind and story.trace.finding:
        task = story.trace.finding.task
        yield {"ph": "i", "s": "g", "pid": PROCESS, "tid": _thread(task) if task >= 0 else 0,
               "ts": story.trace.finding.step, "cat": "violation", "name": story.kind,
               "args": {"cause": printable(story.why or "")}}  # fmt: skip


def _counters(story: Story) -> Iterator[dict[str, Any]]:
    """How many entries of each kind there are, the mapcount of each page that changes, the values of a litmus test."""
    if story.scenes is None:
        return
    state: dict[Key, Any] = dict(story.scenes.first)
    entries = {"present": 0, "migration": 0, "huge": 0}
    pages = {key for _, changes in story.scenes.later for key in changes if isinstance(key, PageFrame)}
    for key, value in state.items():
        if isinstance(key, EntryAt):
            entries[value.state] += 1

    def counted(step: int, name: str, values: dict[str, int]) -> dict[str, Any]:
        return {"ph": "C", "pid": PROCESS, "tid": 0, "ts": step, "name": printable(name), "args": values}

    def of_one(step: int, key: Key, value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(key, PageFrame):
            yield counted(step, f"mapcount of page {key.pfn}", {"mapcount": value.mapcount})
        elif isinstance(key, Value):
            yield counted(step, key.name, {"value": value})

    if VMAS in state:
        yield counted(0, "entries", dict(entries))
    named: list[Key] = [*sorted(pages & set(state), key=str), *(key for key in state if isinstance(key, Value))]
    for key in named:
        yield from of_one(0, key, state[key])
    for step, changes in story.scenes.later:
        before = dict(entries)
        for key, value in changes.items():
            old = state.get(key)
            state[key] = value
            if isinstance(key, EntryAt):
                for entry, change in ((old, -1), (value, 1)):
                    if entry:
                        entries[entry.state] += change
            elif not isinstance(key, PageFrame) or old is None or old.mapcount != value.mapcount:
                yield from of_one(step, key, value)
        if entries != before:
            yield counted(step, "entries", dict(entries))
