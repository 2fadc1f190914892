"""What the lab shows of a simulated kernel that an explorer holds.

Its state in words, a closer look at one thing of it, names for its locks, and the scenes of a recorded execution: its
vmas, the lists of its anon_vmas, what its page tables hold, its pages. Of the scenes only what a step wrote to is read
again: an entry, a page, or, where it was a vma, a list or a page directory, all of the small structures.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import UserError, quote
from anonvma_rt.kernel.history import KernelTrace
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.scenes import (
    END,
    VMAS,
    Entry,
    EntryAt,
    Key,
    ListOf,
    PageFrame,
    PageState,
    Scenes,
    VmaRow,
    changed_steps,
)  # fmt: skip
from anonvma_rt.text.expression import PAGE

__all__ = ["THINGS", "lock_names", "look", "names_in_time", "scenes", "state", "vma_starts"]

THINGS = "vma NAME, list NUMBER, page NUMBER, pte ADDRESS (or A+8), world"
# Entries and pages that are followed from the beginning; beyond them, only those that change.
MOST_ENTRIES = 4096


def vma_starts(explorer: Explorer) -> dict[int, tuple[int, int]]:
    """Where each vma begins and whose it is, by serial, in the state that the explorer holds."""
    world = World(explorer)
    return {
        vma["id"]: (vma["start"], process)
        for process in range(explorer.subject.processes)
        for vma in world.maps(process)
    }


def lock_names(explorer: Explorer) -> Callable[[int], str]:
    """Words for what lies at an offset, for objects that are there already: later ones have a number only."""
    world = World(explorer)
    end = explorer.arena_bytes
    world.name(end - 1)

    def name(offset: int) -> str:
        found = world.name(offset) if offset < end else None
        if found is None:
            return f"a lock made since (offset {offset})"
        what, number, field = found
        return f"the {field} of {what} {number:#x}" if what == "table" else f"the {field} of {what} {number}"

    return name


def state(explorer: Explorer, trace: KernelTrace) -> str:
    """The state in which a recorded execution stopped: vmas, lists and what ptes hold."""
    world = World(explorer)
    lines = [""]
    for process in range(explorer.subject.processes):
        lines.append(f"process {process}:")
        for vma in world.maps(process):
            chain = ", ".join(map(str, vma["chain"])) or "unfaulted"
            place = f"[{vma['start']:#x},{vma['end']:#x}) pgoff {vma['pgoff']:#x}"
            lines.append(f"  {trace.vma(vma['id']):6} {place} anon_vma {chain}")
        for anon_vma, order in world.lists(process).items():
            lines.append(f"  list of anon_vma {anon_vma}: {', '.join(trace.vma(vma) for vma in order)}")
    return "\n".join(lines)


# ---- one thing -------------------------------------------------------------------------------------------------------


def look(explorer: Explorer, trace: KernelTrace, words: list[str]) -> list[str]:
    """words: what to look at, as THINGS says it. Raises UserError for anything else."""
    thing = _Look(World(explorer), trace)
    match words:
        case ["vma", name]:
            return list(thing.vma(name))
        case ["list", number]:
            return [thing.list(_whole(number))]
        case ["page", number]:
            return list(thing.page(_whole(number)))
        case ["pte", place]:
            return list(thing.pte(place))
    raise UserError(f"nothing is called {quote(' '.join(words))} here ({THINGS})")


def _whole(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise UserError(f"a number is wanted, not {quote(word)}") from None


class _Look:
    def __init__(self, world: World, trace: KernelTrace) -> None:
        self.world, self.trace = world, trace
        self.vmas = [(process, vma) for process in range(world.processes) for vma in world.maps(process)]

    def lists(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for process in range(self.world.processes):
            found |= self.world.lists(process)
        return found

    def vma(self, name: str) -> Iterator[str]:
        found = [(process, vma) for process, vma in self.vmas if self.trace.vma(vma["id"]) == name]
        if not found:
            there = ", ".join(self.trace.vma(vma["id"]) for _, vma in self.vmas)
            raise UserError(f"no vma {quote(name)} now (there are {there})")
        for process, vma in found:
            pages = (vma["end"] - vma["start"]) // PAGE
            yield f"{name}: process {process}, [{vma['start']:#x}, {vma['end']:#x}), {pages} pages"
            yield f"  vm_pgoff {vma['pgoff']:#x}, anon_vma {vma['anon_vma'] or 'none'}, flags {vma['flags']:#x}"
            for anon_vma in vma["chain"]:
                yield f"  {self.list(anon_vma)}"

    def list(self, number: int) -> str:
        order = self.lists().get(number)
        if order is None:
            raise UserError(f"no vma is on the list of an anon_vma {number} now")
        return f"list of anon_vma {number}, oldest first: {', '.join(map(self.trace.vma, order)) or 'empty'}"

    def page(self, pfn: int) -> Iterator[str]:
        """Its counters, and what a walk of the reverse map would find of it, in order."""
        if not 0 < pfn < self.world.page_frames:
            raise UserError(f"no page {pfn} (1 to {self.world.page_frames - 1})")
        page = self.world.page(pfn)
        locked = "locked" if page["locked"] else "not locked"
        yield f"page {pfn}: mapcount {page['mapcount']}, count {page['refcount']}, {locked}, index {page['index']:#x}"
        if page["anon_vma"] is None:
            yield "  no mapping: nobody can walk to its ptes"
            return
        yield f"  mapping: anon_vma {page['anon_vma']}; a walk looks at"
        by_id = {vma["id"]: (process, vma) for process, vma in self.vmas}
        for serial in self.lists().get(page["anon_vma"], []):
            if serial in by_id:
                yield f"    {self.walked(page, pfn, *by_id[serial])}"

    def walked(self, page: dict[str, Any], pfn: int, process: int, vma: dict[str, Any]) -> str:
        name = self.trace.vma(vma["id"])
        address = vma["start"] + (page["index"] - vma["pgoff"]) * PAGE
        if not vma["start"] <= address < vma["end"]:
            return f"{name}: not inside"
        return (
            f"{self.trace.place(vma['id'], address)} ({address:#x}, process {process}): {self.entry(address, process)}"
        )

    def entry(self, address: int, process: int) -> str:
        state, pfn, writable = self.world.pte(address, process)
        if state == "none":
            return "none"
        kind = {"present": "page", "migration": "migration entry of page", "huge": "inside a huge page, page"}[state]
        return f"{kind} {pfn}{', writable' if writable else ''}"

    def pte(self, place: str) -> Iterator[str]:
        if found := re.fullmatch(r"(\w+?)([+-]\d+)", place):
            serials = [s for s in self.trace.starts if self.trace.vma(s) == found[1]]
            if not serials:
                raise UserError(f"no vma {quote(found[1])}")
            address = self.trace.starts[serials[0]] + int(found[2]) * PAGE
        else:
            address = _whole(place)
        if not 0 <= address < 1 << 39:
            raise UserError(f"{place} is no address of a process (below {1 << 39:#x})")
        for process in range(self.world.processes):
            yield f"pte of {address:#x}, process {process}: {self.entry(address, process)}"


# ---- scenes ----------------------------------------------------------------------------------------------------------


def scenes(explorer: Explorer, trace: KernelTrace) -> Scenes:
    """Of the execution that the explorer has recorded with a journal. Names are those of `trace`."""
    reader = _Reader(explorer, trace)
    explorer.travel(0)
    first = reader.structure() | reader.entries()
    pages = sorted({entry.page for key, entry in first.items() if isinstance(key, EntryAt)})
    first |= {PageFrame(pfn): reader.page(pfn) for pfn in pages if pfn}
    reader.known = dict(first)
    later = []
    for step, offsets in changed_steps(explorer):
        changes = {key: value for key, value in reader.changed(offsets).items() if reader.known.get(key) != value}
        if changes:
            reader.known |= changes
            later.append((step, changes))
    return Scenes(first, later)


def names_in_time(explorer: Explorer, trace: KernelTrace) -> Callable[[int], Any]:
    """KernelTrace.name for an execution with a journal: every object by the name that it had when it was first used,
    because at the end it may have been freed."""
    world = _world_at_the_end(explorer)
    known: dict[int, Any] = {}
    for event in trace.events:
        if not event.is_note and event.a not in known:
            explorer.travel(event.step)
            known[event.a] = world.name(event.a)
    explorer.travel(END)
    return lambda offset: known.get(offset) or world.name(offset)


def _world_at_the_end(explorer: Explorer) -> World:
    """Made of the end, where every object that ever was has its name."""
    explorer.travel(END)
    world = World(explorer)
    world.name(0)
    return world


class _Reader:
    def __init__(self, explorer: Explorer, trace: KernelTrace) -> None:
        self.world = _world_at_the_end(explorer)
        self.trace = trace
        self.known: dict[Key, Any] = {}
        # What each process has in its page tables, as far as it was read: most of it stays as it is.
        self.tables: list[dict[int, tuple[str, int, bool]]] = [{} for _ in range(self.world.processes)]
        self.small = True

    def structure(self) -> dict[Key, Any]:
        """The vmas and lists as they are, and None for the lists that are no more."""
        now: dict[Key, Any] = {VMAS: []}
        for process in range(self.world.processes):
            for vma in self.world.maps(process):
                name, range_ = self.trace.vma(vma["id"]), (vma["start"], vma["end"])
                now[VMAS].append(VmaRow(name, process, *range_, vma["pgoff"], vma["anon_vma"] or 0))
            for anon_vma, order in self.world.lists(process).items():
                now[ListOf(anon_vma)] = [self.trace.vma(vma) for vma in order]
        gone = {key: None for key in self.known if isinstance(key, ListOf) and key not in now}
        return gone | now

    def entries(self) -> dict[Key, Any]:
        """What is new in the page tables, and None for what is there no more."""
        changes: dict[Key, Any] = {}
        for process, before in enumerate(self.tables):
            found = self.tables[process] = self.world.entries(process, MOST_ENTRIES)
            self.small = self.small and len(found) < MOST_ENTRIES
            changes |= {EntryAt(process, address): None for address in before if address not in found}
            changes |= {EntryAt(process, at): Entry(*entry) for at, entry in found.items() if before.get(at) != entry}
        return changes

    def page(self, pfn: int) -> PageState:
        page = self.world.page(pfn)
        counts = (page["mapcount"], page["refcount"], int(page["locked"]))
        return PageState(*counts, page["anon_vma"], page["index"], page["tag"])

    def changed(self, offsets: list[int]) -> dict[Key, Any]:
        values: dict[Key, Any] = {}
        kinds = set()
        for offset in offsets:
            what, number, of = self.world.name(offset) or ("structure", 0, None)
            kinds.add(what)
            if what == "page" and 0 < number < self.world.page_frames:
                values[PageFrame(number)] = self.page(number)
            elif what == "table" and isinstance(of, int):
                values |= self.entry(of)
            elif what == "table":
                # The lock, or a table that is new or serves another address.
                kinds.add("directory")
        if kinds - {"page", "table"}:
            values |= self.structure()
        if "directory" in kinds and self.small:
            values |= self.entries()
        return values

    def entry(self, address: int) -> dict[Key, Any]:
        """What each process has at an address. Of a table that is not in use yet, nobody has it."""
        values: dict[Key, Any] = {}
        for process, table in enumerate(self.tables):
            entry, key = Entry(*self.world.pte(address, process)), EntryAt(process, address)
            if entry.state != "none":
                values[key] = table[address] = entry
            elif table.pop(address, None) is not None:
                values[key] = None
        return values
