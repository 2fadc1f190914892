"""The history of an execution of the simulated kernel: names of its objects, the words of its notes, why it went wrong.

Vmas are letters by age, A the oldest one that takes part; A+8 is the page 8 after the place where A began. Each note
has its sentence in a table here, each kind of violation in reasons.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anonvma_rt.engine.run.records import Finding, Recorded
from anonvma_rt.kernel.reasons import ARRIVALS, CAUSES, RESTORE, Miss
from anonvma_rt.mm.hooks.notes import ALLOCATIONS, NOTES
from anonvma_rt.subjects.history import Event, Trace
from anonvma_rt.subjects.scenes import EntryAt, Key, Scenes, Walker, WalkerState
from anonvma_rt.text.expression import PAGE

__all__ = ["KernelTrace"]

WALKS = {1: "unmap walk", 2: "restore walk", 3: "split walk", 4: "referenced walk"}
MEMORY = dict(enumerate(ALLOCATIONS))
STATES = ("none", "present", "migration entry", "swap entry")


class Note(NamedTuple):
    """text: the sentence, or several, of which the number in the field `by` says the right one. letters: the fields
    with vmas that take part. shown: "" always, "page" if it is about the page that the violation is about, "full" only
    in a full history. telling: it says what became of an entry, a list or a page; the others only lead there."""

    text: str | tuple[str, ...]
    letters: str = ""
    by: str = ""
    shown: str = ""
    telling: bool = True


def _leads(text: str | tuple[str, ...], letters: str = "", by: str = "", shown: str = "") -> Note:
    return Note(text, letters, by, shown, telling=False)


NOTE_SENTENCES: Mapping[str, Note] = {
    "step": _leads(("step {next_a} begins", "step {next_a} returns errno {c}"), by="b"),
    "walk": _leads(("{walk} for page {b} begins", "{walk} for page {b} ends"), by="c"),
    "list": _leads("  list: {next_c}. {vma_b}", "b"),
    "look": Note("looks at {place}: {pte}", "a"),
    "no-look": Note("skips {vma_a}: page {b} would not be inside", "a"),
    "unmap": Note("puts a migration entry at {place}", "a"),
    "restore": Note("maps page {c} at {place}", "a"),
    "clear": Note("takes {pte} out of {place}", "a", shown="page"),
    "set": Note("puts it at {place}", "a", shown="page"),
    "merge": Note(
        ("merges into {vma_a} (case {b}, no lock)", "merges into {vma_a} (case {b}, under the root's mutex)"),
        "a", by="c",
    ),
    "fresh-vma": Note("clones {vma_a} from {vma_c}", "a"),
    "move": _leads(("moves from {vma_a} to {vma_b}", "moves BACK from {vma_a} to {vma_b}"), "ab", by="c"),
    "tail": Note("moves {vma_a} to the tail of its lists", "a"),
    "split": Note("splits {vma_b} off {vma_a}", "ab"),
    "vma-gone": Note("{vma_a} is gone"),
    "migrate": _leads(
        ("migrates page {a} to page {b}", "page {a} has migrated", "tries page {a} again", "gives up"), by="c"
    ),
    "fault": _leads("faults page {c} in at {b:#x}"),
    "zap": Note("zaps {pte} at {b:#x}"),
    "free-page": Note("frees page {a}"),
    "wait": Note("fault at {b:#x} waits for page {a}"),
    "alloc-fails": _leads(("no {memory}: it is to fail", "allocation {b} fails: no {memory}"), by="c"),
    "fork": _leads(("fork begins", "fork ends"), by="c"),
    "child-vma": _leads("gives the child {vma_a}, a copy of {vma_c}", "a"),
    "copy": Note("copies {pte} to {place}", "a", shown="page"),
    "cow": Note("copies on write: page {c} at {b:#x}"),
    "protect": _leads("write-protects {b:#x}", shown="full"),
    "range": Note("moves the beginning of {vma_a} to {b:#x}, vm_pgoff {c:#x}", "a"),
    "huge-fault": _leads("faults huge page {c} in at {b:#x}"),
    "huge-look": Note("looks at the pmd of {place}: {pmd}", "a"),
    "huge-move": Note("puts the huge pmd at {place}", "a"),
    "huge-split": Note(
        ("splits huge page {a}", "has marked {c} pmds of page {a}", "has replaced {c} pmds of page {a}",
         "has split page {a}", "leaves huge page {a} as it is"), by="b"
    ),
    "collapse": _leads("makes a huge page of the small ones at {b:#x}: page {c}"),
    "retract": Note("frees the page table of {b:#x}"),
    "table-move": Note("moves the whole page table to {place}", "a"),
    "swap": Note(
        ("page {a} gets slot {b} of the swap area", "writes page {a} to slot {b}",
         "page {a} is in the swap cache no more (slot {b})", "reads slot {b} into page {a}"), by="c",
    ),
    "swap-out": Note("puts a swap entry at {place}, of page {c}", "a"),
    "discard": Note("drops page {c} from {place}", "a"),
    "keep": Note("puts the pte of page {c} back at {place}", "a"),
    "swap-in": Note("maps page {c} at {b:#x} again"),
    "reclaim": _leads(("reclaims page {a}", "page {a} is free", "keeps page {a}"), by="b"),
    "pin": Note("takes a reference of page {c} at {b:#x}"),
    "unpin": Note("gives the reference of page {c} back"),
    "dma": Note("writes {b:#x} to page {a} through a reference"),
    "tlb-fill": Note("its CPU keeps the translation of {b:#x} to page {c}"),
    "tlb-hit": Note("accesses page {c} by a translation of {b:#x}"),
    "tlb-flush": Note(("flushes the TLB from {b:#x} on: nothing was there", "flushes the TLB from {b:#x} on"), by="c"),
    "pmd-split": Note(
        ("makes a table of the huge pmd at {place}", "makes migration entries of the huge pmd at {place}"), "a", by="c"
    ),
}  # fmt: skip

# Of the notes about entries, those of which the entry is the one at their own place.
AT_PLACE = ("look", "set", "copy", "unmap", "clear", "restore")
# What a picture shows of a missed entry beside the walk that missed it.
MOVING = ("unmap", "clear", "set", "copy", "merge", "restore", "range")


Naming = Callable[[int], tuple[str, int, Any] | None]


@dataclass
class KernelTrace(Trace):
    """name: what, number and field of the object at an offset. starts: where each vma began, by serial, in bytes.
    owners: the process of each vma."""

    name: Naming
    starts: dict[int, int] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, recorded: Recorded, tasks: Sequence[str], kinds: Mapping[int, str], name: Naming,
           built: Mapping[int, tuple[int, int]]) -> "KernelTrace":  # fmt: skip
        """From what Explorer.trace() returned; built: start and process of each vma before the tasks ran."""
        trace = cls.read(recorded, tasks, kinds, NOTES, name=name)
        starts, owners = trace.starts, trace.owners
        starts.update({serial: start for serial, (start, _) in built.items()})
        owners.update({serial: process for serial, (_, process) in built.items()})
        forks: dict[int, int] = {}
        for event in trace.events:
            if event.what == "fork":
                forks[event.task] = event.b
            elif event.what in ("fresh-vma", "child-vma"):
                starts[event.a] = event.b
                owners[event.a] = forks[event.task] if event.what == "child-vma" else owners.get(event.c, 0)
            elif event.what == "split":
                starts[event.b] = event.c
                owners[event.b] = owners.get(event.a, 0)
        return trace

    # ---- names -----------------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        notes = ((event, NOTE_SENTENCES[event.what].letters) for event in self.events if event.what in NOTE_SENTENCES)
        taking_part = {getattr(event, letter) for event, letters in notes for letter in letters}
        self._letters = {serial: _letter(i) for i, serial in enumerate(sorted(taking_part))}

    def keep_names_of(self, longer: Trace) -> None:
        assert isinstance(longer, KernelTrace)
        self._letters = {**self._letters, **longer._letters}
        taken = set(longer._letters.values())
        for serial, letter in self._letters.items():
            if serial not in longer._letters and letter in taken:
                self._letters[serial] = f"vma {serial}"

    def vma(self, serial: int) -> str:
        return self._letters.get(serial, f"vma {serial}" if serial else "a freed vma")

    def place(self, serial: int, address: int) -> str:
        """A+8 for an address inside a vma; the plain address where the vma is unknown."""
        if serial not in self.starts:
            return f"{address:#x}"
        return f"{self.vma(serial)}{(address - self.starts[serial]) // PAGE:+d}"

    def object(self, offset: int) -> str:
        found = self.name(offset)
        if found is None:
            return super().object(offset)
        what, number, of = found
        match what, of:
            case "mm" | "kernel", _:
                return str(of)
            case "vma", _:
                return f"{of} of {self.vma(number)}"
            case "anon_vma", "mutex":
                return f"the root's mutex ({number})"
            case "page", "PG_locked":
                return f"page {number}"
            case "table", "ptl":
                return f"ptl of {number:#x}"
            case "table", int():
                return f"the pte of {of:#x}"
        return f"{of} of {what} {number}" if what in ("anon_vma", "page") else f"{of} of {what}"

    def lock(self, offset: int) -> str:
        match self.name(offset):
            case None:
                return super().object(offset)
            case "mm", number, of:
                return f"{of} of process {number}"
            case "vma", number, _:
                return f"vm_lock of {self.vma(number)}"
            case "table", number, _:
                return f"ptl {number:#x}"
            case what, number, _:
                return f"{what} {number}"

    # ---- sentences -------------------------------------------------------------------------------------------------

    def tells(self, lock: int) -> bool:
        found = self.name(lock)
        return found is not None and found[2] in ("mutex", "PG_locked")

    def note(self, event: Event, full: bool) -> str | None:
        note = NOTE_SENTENCES.get(event.what)
        if note is None or (event.what == "step" and event.b and not event.c):
            return None
        if not full and (note.shown == "full" or (note.shown == "page" and not self._of_the_page(event))):
            return None
        text = note.text
        if isinstance(text, tuple):
            text = text[min(getattr(event, note.by), len(text) - 1)]
        return self.fill(text, event)

    def _of_the_page(self, event: Event) -> bool:
        return self.kind != "stale-migration-entry" or not self.finding or event.c >> 8 == self.finding.c

    def fill(self, sentence: str, one: Event | Finding) -> str:
        """A sentence with its words in braces, which speak of the numbers of a note or of a violation."""
        a, b, c = one.a, one.b, one.c
        return sentence.format(
            a=a, b=b, c=c, next_a=a + 1, next_c=c + 1, vma_a=self.vma(a), vma_b=self.vma(b), vma_c=self.vma(c),
            place=self.place(a, b), pte=_pte(c), pmd=_pmd(c), walk=WALKS.get(a), memory=MEMORY.get(a),
            who=self.task(one.task), step=one.step,
        )  # fmt: skip

    def cause(self) -> str | None:
        finding = self.finding
        if finding is None:
            return None
        sentence = CAUSES.get(self.kind or "")
        if sentence is None:
            return super().cause()
        return self.fill(sentence if isinstance(sentence, str) else sentence(self, finding), finding)

    # ---- what `show` draws -----------------------------------------------------------------------------------------

    def missed(self) -> Key | None:
        if self.finding and self.kind in ("stale-migration-entry", "unreachable-pte"):
            return EntryAt(self.finding.a, self.finding.b)
        return None

    def key(self, event: Event) -> Key | None:
        return EntryAt(self.owners.get(event.a, 0), event.b) if event.what in AT_PLACE else None

    def misses(self) -> list[Event]:
        return Miss(self, self.finding).looks() if self.finding and self.kind == "stale-migration-entry" else []

    def accesses(self) -> list[tuple[Event, str]]:
        if self.finding is None or self.kind != "stale-migration-entry":
            return []
        arrived = Miss(self, self.finding).arrival(ARRIVALS)
        looked = next(reversed(self.misses()), None)
        if looked is None or arrived is None:
            return []
        seen = self.place(looked.a, looked.b) if looked.what == "look" else f"(skipped) {self.vma(looked.a)}"
        return [
            (looked, f"read of pte {seen}"),
            (arrived, f"write to pte {self.place(arrived.a, arrived.b)} ({arrived.b:#x})"),
        ]

    def concerns(self, event: Event) -> bool:
        found = self.finding
        if found is None:
            return False
        addresses = {"lost-page": {found.a, found.b}, "unreachable-pte": {found.b}, "lost-pin": {found.b}}.get(
            self.kind or "", set()
        )
        objects = {
            "mapcount-mismatch": {("page", found.a)},
            "use-after-free": {("page", found.b)},
            "list-corruption": {("vma", found.a), ("anon_vma", found.b)},
        }.get(self.kind or "", set())
        if event.is_note:
            note = NOTE_SENTENCES.get(event.what)
            return event.b in addresses or bool(note and "a" in note.letters and ("vma", event.a) in objects)
        what, number, of = self.name(event.a) or ("", 0, "")
        return (what, number) in objects or of in addresses

    def must_find(self, event: Event) -> bool:
        return event.what == "walk" and event.a == RESTORE and not event.c

    def marks(self) -> list[tuple[Event, str]]:
        """Of a missed entry, its way and the walk that missed it."""
        rows = [(e, text) for e, text in super().marks() if e.what in NOTE_SENTENCES and NOTE_SENTENCES[e.what].telling]
        if self.kind == "stale-migration-entry" and self.finding:
            walk = {id(event) for event in Miss(self, self.finding).last_walk() or []}
            rows = [(event, text) for event, text in rows if id(event) in walk or event.what in MOVING]
        return rows

    def walkers(self) -> list[tuple[int, dict[Key, Any]]]:
        found: list[tuple[int, dict[Key, Any]]] = []
        walks: dict[int, WalkerState] = {}
        for event in self.events:
            walk = walks.get(event.task)
            if event.what == "walk" and event.c:
                walks.pop(event.task, None)
            elif event.what == "walk":
                walks[event.task] = WalkerState(WALKS[event.a], event.b, 0, "")
            elif event.what == "list" and walk:
                walks[event.task] = walk._replace(anon_vma=event.a)
            elif event.what in ("look", "no-look", "huge-look") and walk:
                walks[event.task] = walk._replace(vma=self.vma(event.a))
            else:
                continue
            now: dict[Key, Any] = {Walker(event.task): walks.get(event.task)}
            if found and found[-1][0] == event.step:
                found[-1][1].update(now)
            else:
                found.append((event.step, now))
        return found

    def stale(self, scenes: Scenes, end: int) -> dict[Key, int]:
        ended: dict[int, int] = {}
        for event in self.events:
            if event.what == "walk" and event.a == RESTORE:
                ended[event.b] = event.step if event.c else 0
        changed = {key: step for step, changes in scenes.later for key in changes}
        return {
            key: max(ended[entry.page], changed.get(key, 0))
            for key, entry in scenes.at(end).items()
            if isinstance(key, EntryAt) and entry.state == "migration" and ended.get(entry.page)
        }


def _pte(pte: int) -> str:
    state = STATES[pte & 3]
    what = "slot" if pte & 3 == 3 else "page"
    return state if pte & 3 == 0 else f"{state} ({what} {pte >> 8})"


def _pmd(pmd: int) -> str:
    if not pmd & 1:
        return "a table" if pmd else "none"
    return f"huge{', splitting' if pmd & 2 else ''} (page {pmd >> 8})"


def _letter(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"V{i}"
