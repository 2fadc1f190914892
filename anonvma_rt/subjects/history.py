"""The history of one execution: what each task did, and a table with a column per task. cause.py has the sentence.

The engine records points and notes as numbers; here they get the names of the field. Vmas are letters by age, A the
oldest one that takes part; A+8 is the page 8 after the place where A began.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, ClassVar, NamedTuple

from anonvma_rt.engine.run.explorer import EVENT, OPS
from anonvma_rt.engine.run.records import Finding, Pending, Recorded
from anonvma_rt.mm.lab.notes import ALLOCATIONS, NOTES
from anonvma_rt.mm.lab.world import World

__all__ = ["Event", "Trace"]

PAGE = 4096
# Notes whose first number is a vma.
VMA_FIRST = (
    "look", "no-look", "unmap", "restore", "clear", "set", "merge", "fresh-vma", "tail", "copy", "range", "huge-look",
    "huge-move", "table-move",
)  # fmt: skip
WALKS = {1: "unmap walk", 2: "restore walk", 3: "split walk", 4: "referenced walk"}
STATES = ("none", "present", "migration entry", "?")
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

    tasks: names by task id. starts: where each vma began, by serial, in bytes. owners: the process of each vma.
    kind: the name of the violation. told: why it went wrong,
    where the subject itself says so; else cause.py works it out. pending: what each task stood at in the end, as
    Explorer.trace() says it.
    """

    events: list[Event]
    tasks: Sequence[str]
    starts: dict[int, int]
    owners: dict[int, int]
    finding: Finding | None
    kind: str | None
    name: Any
    told: str | None = None
    pending: Sequence[Pending | None] = ()

    @classmethod
    def of(cls, recorded: Recorded, tasks: Sequence[str], built: dict[int, tuple[int, int]],
           kinds: dict[int, str], world: World) -> "Trace":  # fmt: skip
        """From what Explorer.trace() returned; built: start and process of each vma before the tasks ran."""
        events = list(_decode(recorded.events))
        starts = {serial: start for serial, (start, _) in built.items()}
        owners = {serial: process for serial, (_, process) in built.items()}
        forks: dict[int, int] = {}
        for event in events:
            if event.what == "fork":
                forks[event.task] = event.b
            elif event.what in ("fresh-vma", "child-vma"):
                starts[event.a] = event.b
                owners[event.a] = forks[event.task] if event.what == "child-vma" else owners.get(event.c, 0)
            elif event.what == "split":
                starts[event.b] = event.c
                owners[event.b] = owners.get(event.a, 0)
        finding = recorded.finding
        return cls(events, tasks, starts, owners, finding, kinds[finding.kind] if finding else None, world.name,
                   pending=recorded.pending)  # fmt: skip

    # Whether every step is told in words of its own, as in a litmus test.
    steps_are_told: ClassVar[bool] = False

    # ---- names -----------------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        taking_part: set[int] = set()
        for event in self.events:
            if event.what in VMA_FIRST:
                taking_part.add(event.a)
            elif event.what in ("move", "split", "child-vma"):
                taking_part |= {event.a, event.b}
            elif event.what == "list":
                taking_part.add(event.b)
        self._letters = {serial: _letter(i) for i, serial in enumerate(sorted(taking_part))}

    def name_vmas_like(self, other: "Trace") -> None:
        """Takes over the letters of a longer history, so that a vma has one name at every step of it."""
        self._letters = {**self._letters, **other._letters}
        taken = set(other._letters.values())
        for serial, letter in self._letters.items():
            if serial not in other._letters and letter in taken:
                self._letters[serial] = f"vma {serial}"

    def vma(self, serial: int) -> str:
        return self._letters.get(serial, f"vma {serial}" if serial else "a freed vma")

    def place(self, serial: int, address: int) -> str:
        """A+8 for an address inside a vma; the plain address where the vma is unknown."""
        if serial not in self.starts:
            return f"{address:#x}"
        pages = (address - self.starts[serial]) // PAGE
        return f"{self.vma(serial)}{pages:+d}"

    def task(self, task: int) -> str:
        return self.tasks[task] if 0 <= task < len(self.tasks) else "the check"

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
        return str(field) if what == "kernel" else f"{field} of {what}"

    def lock(self, offset: int) -> str:
        """A short name for a lock, which tells it from every other one."""
        what, number, field = self.name(offset) or ("object", offset, "")
        names = {
            "mm": f"{field} of process {number}",
            "vma": f"vm_lock of {self.vma(number)}",
            "anon_vma": f"anon_vma {number}",
            "page": f"page {number}",
            "table": f"ptl {number:#x}",
        }
        return names.get(what, f"{what} {number}")

    def rows(self, full: bool = False) -> Iterator[tuple[int, int, str]]:
        """(step, task, text) of what is worth a row; with `full`, of every point too."""
        for event, text in self.told_events(full):
            yield event.step, event.task, text

    def told_events(self, full: bool = False) -> Iterator[tuple[Event, str]]:
        """The events behind rows(), each with its text."""
        pfn = self.finding.c if self.finding and self.kind == "stale-migration-entry" else None
        for event in self.events:
            text = self._note(event, pfn, full) if event.is_note else self._point(event, full)
            if text:
                yield event, text

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
            return f"{WALKS[e.a]} for page {e.b} {'ends' if e.c else 'begins'}"
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
            return f"allocation {e.b} fails: no {ALLOCATIONS[e.a]}" if e.c else f"no {ALLOCATIONS[e.a]}: it is to fail"
        return self._later_note(e, about_page, full)

    def _later_note(self, e: Event, about_page: bool, full: bool) -> str | None:
        """What fork, copy on write, mprotect, exec and huge pages say."""
        if e.what == "fork":
            return f"fork {'ends' if e.c else 'begins'}"
        if e.what == "child-vma":
            return f"gives the child {self.vma(e.a)}, a copy of {self.vma(e.c)}"
        if e.what == "copy":
            return f"copies {_pte(e.c)} to {self.place(e.a, e.b)}" if about_page else None
        if e.what == "cow":
            return f"copies on write: page {e.c} at {e.b:#x}"
        if e.what == "protect":
            return f"write-protects {e.b:#x}" if full else None
        if e.what == "range":
            return f"moves the beginning of {self.vma(e.a)} to {e.b:#x}, vm_pgoff {e.c:#x}"
        if e.what == "huge-fault":
            return f"faults huge page {e.c} in at {e.b:#x}"
        if e.what == "huge-look":
            return f"looks at the pmd of {self.place(e.a, e.b)}: {_pmd(e.c)}"
        if e.what == "huge-move":
            return f"puts the huge pmd at {self.place(e.a, e.b)}"
        if e.what == "huge-split":
            stages = ("splits huge page {a}", "has marked {c} pmds of page {a}", "has replaced {c} pmds of page {a}")
            return stages[e.b].format(a=e.a, c=e.c)
        if e.what == "table-move":
            return f"moves the whole page table to {self.place(e.a, e.b)}"
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


def _pmd(pmd: int) -> str:
    if not pmd & 1:
        return "a table" if pmd else "none"
    return f"huge{', splitting' if pmd & 2 else ''} (page {pmd >> 8})"


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"V{i}"
