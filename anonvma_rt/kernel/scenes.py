"""The scenes of a simulated kernel: its vmas, the lists of its anon_vmas, what its page tables hold, its pages.

Only what a step wrote to is read again: an entry, a page, or, where it was a vma, a list or a page directory, all of
the small structures.
"""

from collections.abc import Callable
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.scenes import END, Scenes, changed_steps

__all__ = ["MOST_ENTRIES", "kernel_scenes", "names_in_time"]

# Entries and pages that are followed from the beginning; beyond them, only those that change.
MOST_ENTRIES = 4096


def kernel_scenes(explorer: Explorer, trace: Trace) -> Scenes:
    """Of the execution that the explorer has recorded with a journal. Names are those of `trace`."""
    reader = _Reader(explorer, trace)
    explorer.travel(0)
    first = reader.structure() | reader.entries()
    pages = sorted({int(value[1]) for name, value in first.items() if name.startswith("pte:")})
    first |= {f"page:{pfn}": reader.page(pfn) for pfn in pages if pfn}
    reader.known = dict(first)
    later = []
    for step, offsets in changed_steps(explorer):
        changes = {name: value for name, value in reader.changed(offsets).items() if reader.known.get(name) != value}
        if changes:
            reader.known |= changes
            later.append((step, changes))
    return Scenes(first, later)


def names_in_time(explorer: Explorer, trace: Trace) -> Callable[[int], Any]:
    """Trace.name for an execution with a journal: every object by the name that it had when it was first used, because
    at the end it may have been freed."""
    explorer.travel(END)
    world = World(explorer)
    world.name(0)
    known: dict[int, Any] = {}
    for event in trace.events:
        if not event.is_note and event.a not in known:
            explorer.travel(event.step)
            known[event.a] = world.name(event.a)
    explorer.travel(END)
    return lambda offset: known.get(offset) or world.name(offset)


class _Reader:
    def __init__(self, explorer: Explorer, trace: Trace) -> None:
        # Made of the end, where every object that ever was has its name.
        explorer.travel(END)
        self.world = World(explorer)
        self.world.name(0)
        self.trace = trace
        self.known: dict[str, Any] = {}
        self.small = True

    def structure(self) -> dict[str, Any]:
        """The vmas and lists as they are, and None for the lists that are no more."""
        vmas, lists = [], {}
        for process in range(self.world.processes):
            for vma in self.world.maps(process):
                name = self.trace.vma(vma["id"])
                vmas.append([name, process, vma["start"], vma["end"], vma["pgoff"], vma["anon_vma"] or 0])
            for anon_vma, order in self.world.lists(process).items():
                lists[f"list:{anon_vma}"] = [self.trace.vma(vma) for vma in order]
        gone = {name: None for name in self.known if name.startswith("list:") and name not in lists}
        return {"vmas": vmas, **gone, **lists}

    def entries(self) -> dict[str, Any]:
        """Everything in the page tables, and None for what is there no more."""
        now: dict[str, Any] = {}
        for process in range(self.world.processes):
            found = self.world.entries(process, MOST_ENTRIES)
            self.small = self.small and len(found) < MOST_ENTRIES
            now |= {f"pte:{process}:{address:#x}": list(entry) for address, entry in found.items()}
        gone = {name: None for name in self.known if name.startswith("pte:") and name not in now}
        return {**gone, **now}

    def page(self, pfn: int) -> list[Any]:
        page = self.world.page(pfn)
        fields = ("mapcount", "refcount", "locked", "anon_vma", "index", "tag")
        return [int(value) if isinstance(value := page[name], bool) else value for name in fields]

    def changed(self, offsets: list[int]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        kinds = set()
        for offset in offsets:
            what, number, field = self.world.name(offset) or ("structure", 0, None)
            kinds.add(what)
            if what == "page" and 0 < number < self.world.page_frames:
                values[f"page:{number}"] = self.page(number)
            elif what == "table" and isinstance(field, int):
                values |= self.entry(field)
            elif what == "table":
                # The lock, or a table that is new or serves another address.
                kinds.add("directory")
        if kinds - {"page", "table"}:
            values |= self.structure()
        if "directory" in kinds and self.small:
            values |= self.entries()
        return values

    def entry(self, address: int) -> dict[str, Any]:
        """What each process has at an address. Of a table that is not in use yet, nobody has it."""
        values: dict[str, Any] = {}
        for process in range(self.world.processes):
            state, pfn, writable = self.world.pte(address, process)
            name = f"pte:{process}:{address:#x}"
            if state != "none":
                values[name] = [state, pfn, writable]
            elif name in self.known:
                values[name] = None
        return values
