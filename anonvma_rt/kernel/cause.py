"""Why an execution went wrong, in one or two plain sentences, worked out of its history (trace.py)."""

from anonvma_rt.mm.lab.notes import BUGS
from anonvma_rt.subjects.history import Event, Trace

__all__ = ["Miss", "cause", "miss_of"]

RESTORE = 2
ARRIVALS = ("set", "copy")
# The types of mm/mm_types.pxd that can leak.
PAGES = 6
LOST = {3: "vmas", 4: "anon_vmas", 5: "anon_vma_chains", 7: "page tables", 8: "directories of page tables"}


def cause(trace: Trace) -> str | None:
    """The sentences for trace.finding. None without a violation."""
    if trace.finding is None or trace.told:
        return trace.told
    _, task, step, a, b, c = trace.finding
    who = trace.task(task)
    if trace.kind == "stale-migration-entry":
        return miss_of(trace).sentence()
    if trace.kind == "deadlock":
        waiting = [f"{trace.task(i)} waits for {_wanted(trace, i)}" for i in range(len(trace.tasks)) if a >> i & 1]
        return f"Nobody can go on: {'; '.join(waiting)}."
    if trace.kind == "livelock":
        return f"After {a} steps the tasks still have not ended."
    if trace.kind == "lost-page":
        return f"The content at {a:#x} is {c >> 32:#x}, and at {b:#x} it is {c & 0xFFFFFFFF:#x}: a page was lost."
    if trace.kind == "mapcount-mismatch":
        return f"Page {a} counts {b} mappings, and the page tables hold {c}."
    if trace.kind == "unreachable-pte":
        return f"The pte at {b:#x} of process {a} cannot be found through the reverse map of its page."
    if trace.kind == "wrong-merge":
        return f"{who} counted {b} vmas from {a:#x} on, and {c} would be right."
    if trace.kind == "wrong-root-unlock":
        return f"{who} unlocked {trace.object(c)} at step {step}, and it did not hold it."
    if trace.kind == "use-after-free":
        return _use_after_free(trace)
    if trace.kind == "list-corruption" and task >= 0:
        what = "is damaged" if a else "changed without the lock, which another task holds"
        return f"At step {step} of {who} the list of anon_vma {b} {what}."
    if trace.kind == "list-corruption":
        return f"vma {a} and anon_vma {b} are not linked as they should be (rule {c})."
    if trace.kind == "bug-on":
        return f"{who} stopped at step {step}: {_bug(trace, a, b, c)}."
    if trace.kind == "leak":
        if a == PAGES:
            return f"At the end page {b} has {c} references that nobody holds."
        if b:
            return f"At the end anon_vma {b} counts {c} users that it does not have."
        return f"At the end {c} {LOST.get(a, 'objects')} are allocated that nothing leads to."
    if trace.kind == "lock-order":
        return f"{who} took a lock of class {b} while it held one of class {a}; the order is the opposite one."
    return f"{who} stopped at step {step}: {trace.kind}."


def miss_of(trace: Trace) -> "Miss":
    """The miss that a stale migration entry at the end of `trace` tells of."""
    assert trace.finding is not None
    _, _, _, process, address, pfn = trace.finding
    return Miss(trace, pfn, process, address)


class Miss:
    """How the last restore walk for a page came to pass an entry that stayed at one address of one process."""

    def __init__(self, trace: Trace, pfn: int, process: int, address: int) -> None:
        self.trace, self.pfn, self.process, self.address = trace, pfn, process, address

    def sentence(self) -> str:
        walk = self.last_walk()
        if walk is None:
            return f"A migration entry for page {self.pfn} stays at {self.address:#x}: no restore walk came for it."
        missed = (self.missed(e) if e.what == "look" else self.skipped(e) for e in walk)
        looks = [phrase for phrase in missed if phrase]
        where = next(
            (
                self.trace.place(e.a, e.b)
                for e in reversed(self.trace.events)
                if e.what in (*ARRIVALS, "unmap") and self.here(e)
            ),
            f"{self.address:#x}",
        )
        walker = self.trace.task(walk[0].task)
        why = f"{walker} {', then '.join(looks)}. " if looks else f"{walker} never looked there. "
        return (
            f"{why}So its restore walk missed the migration entry of page {self.pfn}, which stays at {where} for ever."
        )

    def looks(self) -> list[Event]:
        """The events of the last restore walk that passed over the entry; all its looks where none can be blamed."""
        walk = self.last_walk() or []
        blamed = [e for e in walk if (self.missed(e) if e.what == "look" else self.skipped(e))]
        return blamed or [e for e in walk if e.what in ("look", "no-look")]

    def here(self, event: Event) -> bool:
        return event.b == self.address and self.trace.owners.get(event.a, 0) == self.process

    def same_place(self, one: Event, other: Event) -> bool:
        return one.b == other.b and self.trace.owners.get(one.a, 0) == self.trace.owners.get(other.a, 0)

    def last_walk(self) -> list[Event] | None:
        """The events of the last restore walk for the page, its task's only."""
        events = self.trace.events
        begins = [i for i, e in enumerate(events) if e.what == "walk" and (e.a, e.b, e.c) == (RESTORE, self.pfn, 0)]
        if not begins:
            return None
        walk = []
        for event in events[begins[-1] :]:
            if event.task == events[begins[-1]].task:
                walk.append(event)
                if event.what == "walk" and event.c == 1:
                    break
        return walk

    def missed(self, look: Event) -> str | None:
        """Why one look did not see the entry: it had not come yet, or it had left; None if it never was there."""
        if look.c & 3 == 2 and look.c >> 8 == self.pfn:
            return None
        place = self.trace.place(look.a, look.b)
        moves = [
            e
            for e in self.trace.events
            if e is look or (e.what in ("clear", *ARRIVALS) and e.c & 3 == 2 and e.c >> 8 == self.pfn)
        ]
        position = next(i for i, e in enumerate(moves) if e is look)
        left = next(
            (i for i in range(position, -1, -1) if moves[i].what == "clear" and self.same_place(moves[i], look)), None
        )
        if left is not None:
            landed = next((i for i in range(left, len(moves)) if moves[i].what == "set"), None)
            if landed is None:
                return f"looked at {place} after it had left"
            if landed > position:
                mover = self.trace.task(moves[left].task)
                return f"looked at {place} when {mover} had taken it out and not yet put it anywhere"
            return f"looked at {place} after it had left for {self.trace.place(moves[landed].a, moves[landed].b)}"
        comes = next((e for e in moves[position:] if e.what in ARRIVALS and self.same_place(e, look)), None)
        if comes is None:
            changed = self.changing(look)
            vma = self.trace.vma(look.a)
            return f"looked at {place} while {changed} was moving the beginning of {vma}" if changed else None
        verb = "copied" if comes.what == "copy" else "moved"
        return f"looked at {place} before {self.trace.task(comes.task)} had {verb} the entry there"

    def changing(self, event: Event) -> str | None:
        """The task that is changing the range of the vma that a walk computes an address in."""
        if self.trace.owners.get(event.a, 0) != self.process:
            return None
        ranges = (e for e in self.trace.events if e.what == "range" and e.a == event.a and e.task != event.task)
        return next((self.trace.task(e.task) for e in ranges), None)

    def skipped(self, event: Event) -> str | None:
        """Why a vma was passed over although the entry was or came there: its range was changing, or did not reach that
        far yet."""
        if event.what != "no-look":
            return None
        if changed := self.changing(event):
            return f"passed over {self.trace.vma(event.a)} while {changed} was moving its beginning"
        events = iter(self.trace.events)
        any(e is event for e in events)
        mover = next((e for e in events if e.what == "set" and e.a == event.a), None)
        if mover is None:
            return None
        who = self.trace.task(mover.task)
        return f"passed over {self.trace.vma(event.a)} before {who} had merged the destination into it"


def _use_after_free(trace: Trace) -> str:
    _, task, step, _, b, c = trace.finding or (0, 0, 0, 0, 0, 0)
    if task < 0:
        return f"At the end something is named that has been freed: page {b} or process {b} leads to it."
    found = trace.name(b) if b > 0 else None
    what = f"{found[0]} {found[1]}" if found else "an object"
    pointer = f"page {c}" if c else "a pointer"
    return f"{trace.task(task)} followed {pointer} to {what} at step {step}, after it was freed."


def _wanted(trace: Trace, task: int) -> str:
    stands = trace.pending[task] if task < len(trace.pending) else None
    return trace.object(stands[1]) if stands else "something"


def _bug(trace: Trace, bug: int, b: int, c: int) -> str:
    name = BUGS.get(bug, f"assertion {bug}")
    if name == "page-not-locked":
        return f"it decoded a migration entry at {c:#x}, and page {b} is not locked: its migration has ended"
    if name == "order":
        return f"it moves ptes from {trace.vma(b)} to {trace.vma(c)}, and the source is not listed first"
    if name == "destination-not-none":
        return f"a move would write over the pte at {b:#x}"
    if name == "self-merge":
        return f"a faulted source merged with itself ({trace.vma(b)})"
    if name == "split-count":
        return f"split_huge_page counted {b} pmds, and {c} are mapped"
    return f"{name} (page {b})"
