"""The history of one execution: what each task did, one sentence of cause, and a table with a column per task.

The engine records points and notes as numbers; here they get the names of the field. Vmas are letters by age, A the
oldest one that takes part; A+8 is the page 8 after the place where A began.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, NamedTuple

from anonvma_rt.engine.explorer import EVENT, OPS
from anonvma_rt.mm.notes import BUGS, NOTES
from anonvma_rt.mm.world import World

__all__ = ["Event", "Trace"]

PAGE = 4096
STATES = ("none", "present", "migration entry", "?")
UNMAP, RESTORE = 1, 2
LOCK_WORDS = {
    "lock": "locks",
    "trylock": "tries to lock",
    "read-lock": "locks for reading",
    "unlock": "unlocks",
    "read-unlock": "unlocks",
}


class Event(NamedTuple):
    """A point (`what` is the operation, a the object) or a note (`what` is its name), at the step it belongs to."""

    step: int
    task: int
    what: str
    is_note: bool
    a: int
    b: int
    c: int


@dataclass
class Trace:
    """The recorded events of an execution, with all that is needed to name what they speak of.

    tasks: names by task id. starts: where each vma began, by serial, in bytes. finding: None, or (kind number, task,
    step, a, b, c); kind: the name of the violation.
    """

    events: list[Event]
    tasks: Sequence[str]
    starts: dict[int, int]
    finding: tuple[int, int, int, int, int, int] | None
    kind: str | None
    name: Any

    @classmethod
    def of(cls, recorded: dict[str, Any], tasks: Sequence[str], built: dict[int, int], kinds: dict[int, str],
           world: World) -> "Trace":  # fmt: skip
        """From what Explorer.trace() returned; built: the starts of the vmas before the tasks ran."""
        events = list(_decode(recorded["events"]))
        starts = dict(built)
        for event in events:
            if event.what == "fresh-vma":
                starts[event.a] = event.b
            elif event.what == "split":
                starts[event.b] = event.c
        finding = recorded["finding"]
        return cls(events, tasks, starts, finding, kinds[finding[0]] if finding else None, world.name)

    # ---- names -----------------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        taking_part: set[int] = set()
        for event in self.events:
            if event.what in ("look", "no-look", "unmap", "restore", "clear", "set", "merge", "fresh-vma", "tail"):
                taking_part.add(event.a)
            elif event.what in ("move", "split"):
                taking_part |= {event.a, event.b}
            elif event.what == "list":
                taking_part.add(event.b)
        self._letters = {serial: _letter(i) for i, serial in enumerate(sorted(taking_part))}

    def vma(self, serial: int) -> str:
        return self._letters.get(serial, f"vma {serial}")

    def place(self, serial: int, address: int) -> str:
        """A+8 for an address inside a vma; the plain address where the vma is unknown."""
        if serial not in self.starts:
            return f"{address:#x}"
        pages = (address - self.starts[serial]) // PAGE
        return f"{self.vma(serial)}{pages:+d}"

    def task(self, task: int) -> str:
        return self.tasks[task] if 0 <= task < len(self.tasks) else "the check"

    # ---- the cause -------------------------------------------------------------------------------------------------

    def cause(self) -> str | None:
        """One or two plain sentences: why the violation happened. None without a violation."""
        if self.finding is None:
            return None
        _, task, step, a, b, c = self.finding
        who = self.task(task)
        if self.kind == "stale-migration-entry":
            return self._stale(c, b)
        if self.kind == "deadlock":
            waiting = [f"{self.task(i)} waits for {self._wanted(i)}" for i in range(len(self.tasks)) if a >> i & 1]
            return f"Nobody can go on: {'; '.join(waiting)}."
        if self.kind == "livelock":
            return f"After {a} steps the tasks still have not ended."
        if self.kind == "lost-page":
            return f"The content at {a:#x} is {c >> 32:#x}, and at {b:#x} it is {c & 0xFFFFFFFF:#x}: a page was lost."
        if self.kind == "mapcount-mismatch":
            return f"Page {a} counts {b} mappings, and the page tables hold {c}."
        if self.kind == "unreachable-pte":
            return f"The pte at {b:#x} of process {a} cannot be found through the reverse map of its page."
        if self.kind == "bug-on":
            return f"{who} stopped at step {step}: {_bug(self, a, b, c)}."
        if self.kind == "lock-order":
            return f"{who} took a lock of class {b} while it held one of class {a}; the order is the opposite one."
        return f"{who} stopped at step {step}: {self.kind}."

    def _stale(self, pfn: int, address: int) -> str:
        walk = self._last_walk(pfn)
        if walk is None:
            return f"A migration entry for page {pfn} stays at {address:#x}: no restore walk came for it."
        missed = (self._missed(e, pfn) if e.what == "look" else self._skipped(e) for e in walk)
        looks = [phrase for phrase in missed if phrase]
        where = next((self.place(e.a, e.b) for e in reversed(self.events) if e.what in ("set", "unmap")
                      and e.b == address), f"{address:#x}")  # fmt: skip
        walker = self.task(walk[0].task)
        why = f"{walker} {', then '.join(looks)}. " if looks else f"{walker} never looked there. "
        return f"{why}So its restore walk missed the migration entry of page {pfn}, which stays at {where} for ever."

    def _last_walk(self, pfn: int) -> list[Event] | None:
        """The events of the last restore walk for a page, its task's only."""
        begins = [i for i, e in enumerate(self.events) if e.what == "walk" and (e.a, e.b, e.c) == (RESTORE, pfn, 0)]
        if not begins:
            return None
        events = []
        for event in self.events[begins[-1] :]:
            if event.task == self.events[begins[-1]].task:
                events.append(event)
                if event.what == "walk" and event.c == 1:
                    break
        return events

    def _missed(self, look: Event, pfn: int) -> str | None:
        """Why one look did not see the entry: it had not come yet, or it had left; None if it never was there."""
        if look.c & 3 == 2 and look.c >> 8 == pfn:
            return None
        place = self.place(look.a, look.b)
        moves = [
            e for e in self.events if e is look or (e.what in ("clear", "set") and e.c & 3 == 2 and e.c >> 8 == pfn)
        ]
        position = next(i for i, e in enumerate(moves) if e is look)
        left = next((i for i in range(position, -1, -1) if moves[i].what == "clear" and moves[i].b == look.b), None)
        if left is not None:
            landed = next((i for i in range(left, len(moves)) if moves[i].what == "set"), None)
            if landed is None:
                return f"looked at {place} after it had left"
            if landed > position:
                return (
                    f"looked at {place} when {self.task(moves[left].task)} had taken it out and not yet put it anywhere"
                )
            return f"looked at {place} after it had left for {self.place(moves[landed].a, moves[landed].b)}"
        comes = next((e for e in moves[position:] if e.what == "set" and e.b == look.b), None)
        if comes is not None:
            return f"looked at {place} before {self.task(comes.task)} had moved the entry there"
        return None

    def _skipped(self, event: Event) -> str | None:
        """Why a vma was passed over although the entry came to it: it did not reach that far yet."""
        if event.what != "no-look":
            return None
        events = iter(self.events)
        any(e is event for e in events)
        mover = next((e for e in events if e.what == "set" and e.a == event.a), None)
        if mover is None:
            return None
        return f"passed over {self.vma(event.a)} before {self.task(mover.task)} had merged the destination into it"

    def _wanted(self, task: int) -> str:
        last = next((e for e in reversed(self.events) if e.task == task and not e.is_note), None)
        return self.object(last.a) if last else "something"

    # ---- the table -------------------------------------------------------------------------------------------------

    def object(self, offset: int) -> str:
        """The words for an object of a point."""
        found = self.name(offset)
        if found is None:
            return f"object {offset}"
        what, number, field = found
        if what == "mm":
            return str(field)
        if what == "vma":
            return f"{field} of {self.vma(number)}"
        if what == "anon_vma":
            return f"the root's mutex ({number})" if field == "mutex" else f"{field} of anon_vma {number}"
        if what == "page":
            return f"page {number}" if field == "PG_locked" else f"{field} of page {number}"
        if what == "table":
            return f"ptl of {number:#x}" if field == "ptl" else f"the pte of {field:#x}"
        return f"{field} of {what}"

    def rows(self, full: bool = False) -> Iterator[tuple[int, int, str]]:
        """(step, task, text) of what is worth a row; with `full`, of every point too."""
        pfn = self.finding[5] if self.finding and self.kind == "stale-migration-entry" else None
        for event in self.events:
            text = self._note(event, pfn, full) if event.is_note else self._point(event, full)
            if text:
                yield event.step, event.task, text

    def _point(self, event: Event, full: bool) -> str | None:
        if event.what in LOCK_WORDS and (
            full or ((found := self.name(event.a)) and found[2] in ("mutex", "PG_locked"))
        ):
            return f"{LOCK_WORDS[event.what]} {self.object(event.a)}"
        if not full:
            return None
        return "starts" if event.what == "start" else f"{event.what} {self.object(event.a)}"

    def _note(self, e: Event, pfn: int | None, full: bool) -> str | None:
        about_page = full or pfn is None or e.c >> 8 == pfn
        if e.what == "walk":
            walk = "unmap walk" if e.a == UNMAP else "restore walk"
            return f"{walk} for page {e.b} {'ends' if e.c else 'begins'}"
        if e.what == "list":
            return f"  list: {e.c + 1}. {self.vma(e.b)}"
        if e.what == "look":
            return f"looks at {self.place(e.a, e.b)}: {_pte(e.c)}"
        if e.what == "no-look":
            return f"skips {self.vma(e.a)}: page {e.b} would not be inside"
        if e.what == "unmap":
            return f"puts a migration entry at {self.place(e.a, e.b)}"
        if e.what == "restore":
            return f"maps page {e.c} at {self.place(e.a, e.b)}"
        if e.what == "clear":
            return f"takes {_pte(e.c)} out of {self.place(e.a, e.b)}" if about_page else None
        if e.what == "set":
            return f"puts it at {self.place(e.a, e.b)}" if about_page else None
        if e.what == "merge":
            lock = "under the root's mutex" if e.c else "no lock"
            return f"merges into {self.vma(e.a)} (case {e.b}, {lock})"
        if e.what == "fresh-vma":
            return f"clones {self.vma(e.a)} from {self.vma(e.c)}"
        if e.what == "move":
            return f"moves {'BACK ' if e.c else ''}from {self.vma(e.a)} to {self.vma(e.b)}"
        if e.what == "tail":
            return f"moves {self.vma(e.a)} to the tail of its lists"
        if e.what == "split":
            return f"splits {self.vma(e.b)} off {self.vma(e.a)}"
        if e.what == "vma-gone":
            return f"{self.vma(e.a)} is gone"
        if e.what == "migrate":
            endings = ("migrates page {a} to page {b}", "page {a} has migrated", "tries page {a} again", "gives up")
            return endings[e.c].format(a=e.a, b=e.b)
        if e.what == "fault":
            return f"faults page {e.c} in at {e.b:#x}"
        if e.what == "zap":
            return f"zaps {_pte(e.c)} at {e.b:#x}"
        if e.what == "free-page":
            return f"frees page {e.a}"
        if e.what == "wait":
            return f"fault at {e.b:#x} waits for page {e.a}"
        if e.what == "alloc-fails":
            return f"no page table for {e.a:#x}: the allocation fails"
        if e.what == "step" and (e.b == 0 or e.c):
            return f"step {e.a + 1} begins" if e.b == 0 else f"step {e.a + 1} returns errno {e.c}"
        return None

    def table(self, width: int = 110, full: bool = False) -> str:
        """The interleaving as text: one row per happening, a column per task, long gaps of one task elided."""
        column = max(24, (width - 8) // max(1, len(self.tasks)) - 1)
        lines = ["   step  " + "".join(name[: column - 1].ljust(column) for name in self.tasks).rstrip()]
        for step, task, text in self.rows(full):
            for i, part in enumerate(wrap(text, column - 1, subsequent_indent="  ") or [""]):
                number = f"{step:7d}" if i == 0 else " " * 7
                lines.append(f"{number}  {' ' * column * max(0, task)}{part}".rstrip())
        return "\n".join(lines)


def _decode(data: bytes) -> Iterator[Event]:
    for step, task, op, code, a, b, c in EVENT.iter_unpack(data):
        is_note = OPS[op] == "note"
        yield Event(step, task, NOTES.get(code, f"note {code}") if is_note else OPS[op], is_note, a, b, c)


def _pte(pte: int) -> str:
    state = STATES[pte & 3]
    return state if pte & 3 == 0 else f"{state} (page {pte >> 8})"


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"V{i}"


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
    return f"{name} (page {b})"
