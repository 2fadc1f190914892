"""`show --dmesg`: the violation as a kernel's own detectors would report it in the log.

Who was where, with its call stack, the locks it held, and the list and the entries that matter. A step is a microsecond
of the log's time. The words are our own; the order of things is that of KCSAN's and lockdep's reports.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from anonvma_rt.errors import printable
from anonvma_rt.show.moments import in_words
from anonvma_rt.show.story import Story
from anonvma_rt.subjects.history import Event
from anonvma_rt.subjects.stacks import Frame, Stacks
from anonvma_rt.text.parameters import spelled

__all__ = ["dmesg"]

RULE = "=" * 66


@dataclass(frozen=True)
class Side:
    """One of those who take part: the event at which it is shown, by its place among all events."""

    place: int
    event: Event
    heading: str


def dmesg(story: Story) -> str:
    """The report. story: made with stacks. Where nothing was violated, one line says so."""
    step = story.trace.finding.step if story.trace.finding else story.end
    prefix = f"[{step / 1e6:12.6f}] "
    return "\n".join((prefix + printable(line)).rstrip() for line in _lines(story, step))


def _lines(story: Story, step: int) -> Iterator[str]:
    if story.kind is None:
        yield f"anonvma_rt: no violation in {story.scenario} under {story.algorithm}"
        return
    trace = story.trace
    told = trace.told()
    sides = [] if told else _sides(story)
    stacks = Stacks()
    if story.stacks is not None:
        stacks.resolve([story.stacks[side.place] for side in sides])
    functions = [_function(story, stacks, side) for side in sides]
    functions += [one.calls[0].function for one in told[:2] if one.calls]
    yield RULE
    yield f"BUG: anonvma_rt: {story.kind} in {' / '.join(dict.fromkeys(functions)) or story.scenario}"
    for side in sides:
        yield ""
        who = f"{trace.task(side.event.task)}/{side.event.task}"
        yield f"{side.heading} by task {who}, step {side.event.step}:"
        yield from (f"  {line}" for line in _stack(story, stacks, side))
        yield from _held(story, who, side.event.task, side.event.step)
    for one in told:
        yield ""
        who = f"{trace.task(one.task)}/{one.task}"
        by = f" by task {who}" if one.task >= 0 else ""
        yield f"{one.what}{by}{f', step {one.step}' if one.step is not None else ''}:"
        yield from (f"  {line}" for line in _calls(one.calls))
        if one.step is not None:
            yield from _held(story, who, one.task, one.step)
    if story.why:
        yield ""
        first, *table = story.why.split("\n")
        yield from (sentence.strip() + ("" if table else ".") for sentence in first.rstrip(".").split(". "))
        yield from table
    state = in_words(story, step)
    if state:
        yield ""
        yield f"state after step {step}:"
        yield from (f"  {line}" for line in state)
    yield ""
    parameters = spelled(story.parameters)
    yield f"scenario {story.scenario} ({parameters or 'no parameters'}), algorithm {story.algorithm}"
    yield RULE


def _sides(story: Story) -> list[Side]:
    """The one that found it or missed it first, then the others, each at what it did last that matters."""
    trace = story.trace
    if accesses := trace.accesses():
        places = {id(event): i for i, event in enumerate(trace.events)}
        return [Side(places[id(event)], event, heading) for event, heading in accesses]
    task = trace.finding.task if trace.finding else -1
    order = (
        [task, *(other for other in range(len(trace.tasks)) if other != task)] if task >= 0 else range(len(trace.tasks))
    )
    matters = trace.concerns if task < 0 else None
    sides = []
    for one in order:
        last = _last(story, one, matters)
        if last is None:
            continue
        pending = story.pending[one]
        if one == task and (pending is None or pending.enabled):
            heading = "detected"
        elif pending is None:
            heading = "ended, last seen"
        else:
            heading = "on its way" if pending.enabled else f"waiting for {trace.lock(pending.object)}"
        sides.append(Side(last, trace.events[last], heading))
    return sides


def _last(story: Story, task: int, matters: Callable[[Event], bool] | None) -> int | None:
    """The place of the task's last event, of those that matter if there is one."""
    own = [i for i, event in enumerate(story.trace.events) if event.task == task and event.what != "step"]
    chosen = [i for i in own if matters is None or matters(story.trace.events[i])]
    return next(reversed(chosen or own), None)


def _frames(story: Story, stacks: Stacks, side: Side) -> list[Frame]:
    standing = story.trace.standing(side.event.task)
    return standing or (stacks.of(story.stacks[side.place]) if story.stacks else [])


def _function(story: Story, stacks: Stacks, side: Side) -> str:
    frames = _frames(story, stacks, side)
    return frames[0].function if frames else story.trace.task(side.event.task)


def _calls(frames: list[Frame]) -> Iterator[str]:
    for frame in frames:
        house = "cython_src/" if frame.file.startswith("anonvma_rt/") else ""
        yield f"{frame.function} at {house}{frame.file}:{frame.line}"


def _stack(story: Story, stacks: Stacks, side: Side) -> Iterator[str]:
    frames = _frames(story, stacks, side)
    yield from _calls(frames)
    if not frames:
        text = next((text for event, text in story.trace.texts(full=True) if event is side.event), side.event.what)
        yield f"in: {text.strip()}"
        if stacks.why_not and story.stacks:
            yield f"(no call stack: {stacks.why_not})"


def _held(story: Story, who: str, task: int, step: int) -> Iterator[str]:
    held = story.locks.held(task, step)
    if not held:
        yield f"no locks held by {who}"
        return
    yield f"{len(held)} lock{'s' if len(held) > 1 else ''} held by {who}:"
    for number, hold in enumerate(held):
        shared = " (shared)" if hold.shared else ""
        yield f"  #{number}: {story.trace.lock(hold.lock)}{shared}, since step {hold.first}"
