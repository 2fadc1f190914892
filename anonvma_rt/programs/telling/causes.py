"""Races and mistakes with memory in words: which variable, which places of the source, who made and freed an object.

The numbers are those of programs/memory.pyx. A place is how far the address that a call returns to lies before the
globals, so it is the same wherever the program is loaded; where the calls were seen, all of them are told.
"""

from typing import TYPE_CHECKING

from anonvma_rt.programs.telling.seen import LOW, race_of
from anonvma_rt.subjects.history import Told
from anonvma_rt.subjects.stacks import Frame

if TYPE_CHECKING:
    from anonvma_rt.programs.telling.trace import NativeTrace

__all__ = ["told", "wrong"]

BEFORE_WRITES, NOW_WRITES, BEFORE_ANNOUNCED, NOW_ANNOUNCED, WIDE, FREES = (1 << i for i in range(6))
BYTE = 255
MOST_CALLS = 4  # that a sentence tells of


def where(calls: list[Frame]) -> str:
    """The calls and their lines, as in " in add (tally.c:7), called by main (tally.c:20)"; "" where there are none."""
    said = [frame.short for frame in calls[:MOST_CALLS]]
    more = ["..."] if len(calls) > MOST_CALLS else []
    return f" in {', called by '.join([*said, *more])}" if said else ""


def wrong(trace: "NativeTrace", kind: str, task: int, a: int, b: int, c: int) -> str | None:
    """A sentence for one of the kinds that are known here, else None."""
    who = trace.task(task)
    made, freed = where(trace.answer("made")), where(trace.answer("freed"))
    if kind == "data-race":
        return _race(trace, task, a, b, c)
    if kind == "freed":
        now = where(trace.end or trace.at(b & LOW))
        made, freed = made or where(trace.at(c & LOW)), freed or where(trace.at(b >> 32 & LOW))
        freed_by, made_by = trace.task(c >> 32 & BYTE), trace.task(c >> 40 & BYTE)
        gone = f"{trace.object(a)}, which {made_by} allocated{made} and {freed_by} freed{freed}"
        return f"{who} used freed memory{now}: {gone}."
    if kind == "out-of-bounds":
        beyond, size = c & LOW, c >> 32 & LOW
        beyond = beyond - (1 << 32) if beyond >> 31 else beyond
        how = f"{-beyond} bytes before" if beyond < 0 else f"{beyond} bytes behind" if beyond else "right behind"
        now, made = where(trace.end or trace.at(b & LOW)), made or where(trace.at(b >> 32 & LOW))
        return f"{who} used memory {how} an object of {size} bytes{now}; the object was allocated{made}."
    if kind == "double-free":
        now, freed = where(trace.end or trace.at(c & LOW)), freed or where(trace.at(c >> 32 & LOW))
        first = f"; first{freed}" if freed else ""
        return (
            f"{who} freed {trace.object(b)}{f', which was allocated{made},' if made else ''} a second time{now}{first}."
        )
    if kind == "use-after-return":
        now = where(trace.end or trace.at(b & LOW))
        whose = "its own stack" if c == task else f"the stack of {trace.task(c)}"
        return f"{who} used memory on {whose} that no call has any more{now}."
    if kind == "leak":
        size, many = c & LOW, c >> 32
        more = f", one of {many}" if many > 1 else ""
        made = made or where(trace.at(b & LOW))
        lost = f"{who} allocated {size} bytes{made}, and nothing points there at the end"
        return f"Nobody frees {trace.object(a)}{more}: {lost}."
    if kind == "bad-free":
        return f"{who} freed {trace.object(b)}, which is no object of the heap,{where(trace.end or trace.at(c & LOW))}."
    return None


def _race(trace: "NativeTrace", task: int, a: int, b: int, c: int) -> str:
    race = race_of(a, b, c)
    made = where(trace.answer("made")[:1])
    verbs = _verbs(race.flags, race.first, race.second)
    first, second = (where(calls) for calls in _sides(trace, b, c))
    return (
        f"A data race on {trace.raced(a, race.stack)}{f', allocated{made}' if made else ''}: "
        f"{trace.task(race.other)} {verbs[0]} it{first} (step {race.step}), "
        f"{trace.task(task)} {verbs[1]} it{second}, and nothing orders the two."
    )


def _verbs(flags: int, first: int, second: int) -> list[str]:
    verbs = [
        f"{'atomically ' if announced else ''}{'writes' if writes else 'reads'}"
        for writes, announced in (
            (flags & BEFORE_WRITES, flags & BEFORE_ANNOUNCED),
            (flags & NOW_WRITES, flags & NOW_ANNOUNCED),
        )
    ]
    if not first and flags & BEFORE_ANNOUNCED:
        verbs[0] = "synchronises with"
    if not second and flags & NOW_ANNOUNCED:
        verbs[1] = "synchronises with"
    if flags & FREES:
        verbs[1] = "frees"
    return verbs


def _sides(trace: "NativeTrace", b: int, c: int) -> tuple[list[Frame], list[Frame]]:
    """The calls of the two accesses of a race."""
    race = race_of(0, b, c)
    first = trace.answer("access") or trace.at(race.first) or trace.calls_at(race.other, race.step)
    return first, trace.end or trace.at(race.second)


def told(trace: "NativeTrace") -> list[Told]:
    """Those who take part, with their calls, for a report; empty for kinds that are told otherwise."""
    if trace.finding is None:
        return []
    _, task, step, a, b, c = trace.finding
    found = []
    if trace.kind == "data-race":
        race = race_of(a, b, c)
        first, second = _sides(trace, b, c)
        done = [verb.replace("writes", "write").replace("reads", "read").replace("frees", "free")
                .replace("atomically ", "atomic ").replace("synchronises with", "synchronisation")
                for verb in _verbs(race.flags, race.first, race.second)]  # fmt: skip
        found = [Told(done[1], task, step, second), Told(done[0], race.other, race.step, first)]
        if trace.answer("made"):
            found.append(Told("allocated", trace.block_of(a).made_by, None, trace.answer("made")))
    elif trace.kind == "freed":
        found = [
            Told("use", task, step, trace.end or trace.at(b & LOW)),
            Told("freed", c >> 32 & BYTE, None, trace.answer("freed") or trace.at(b >> 32 & LOW)),
            Told("allocated", c >> 40 & BYTE, None, trace.answer("made") or trace.at(c & LOW)),
        ]
    elif trace.kind == "out-of-bounds":
        found = [
            Told("use", task, step, trace.end or trace.at(b & LOW)),
            Told("allocated", trace.block_of(a).made_by, None, trace.answer("made") or trace.at(b >> 32 & LOW)),
        ]
    elif trace.kind == "double-free":
        found = [
            Told("second free", task, step, trace.end or trace.at(c & LOW)),
            Told("first free", -1, None, trace.answer("freed") or trace.at(c >> 32 & LOW)),
            Told("allocated", trace.block_of(b).made_by, None, trace.answer("made")),
        ]
    elif trace.kind == "use-after-return":
        found = [Told("use", task, step, trace.end or trace.at(b & LOW))]
    elif trace.kind == "leak":
        found = [Told("allocated", task, None, trace.answer("made") or trace.at(b & LOW))]
    elif trace.kind == "bad-free":
        found = [Told("free", task, step, trace.end or trace.at(c & LOW))]
    return found
