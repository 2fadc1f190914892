"""A closer look at one thing of a simulated kernel that an execution has stopped in: a vma, a list, a page, a pte."""

import re
from collections.abc import Iterator
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import UserError, quote
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.history import PAGE, Trace

__all__ = ["KERNEL_THINGS", "kernel_look"]

KERNEL_THINGS = "vma NAME, list NUMBER, page NUMBER, pte ADDRESS (or A+8), world"


def kernel_look(explorer: Explorer, trace: Trace, words: list[str]) -> list[str]:
    """words: what to look at, as KERNEL_THINGS says it. Raises UserError for anything else."""
    look = _Look(World(explorer), trace)
    match words:
        case ["vma", name]:
            return list(look.vma(name))
        case ["list", number]:
            return [look.list(whole(number))]
        case ["page", number]:
            return list(look.page(whole(number)))
        case ["pte", place]:
            return list(look.pte(place))
    raise UserError(f"nothing is called {quote(' '.join(words))} here ({KERNEL_THINGS})")


def whole(word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise UserError(f"a number is wanted, not {quote(word)}") from None


class _Look:
    def __init__(self, world: World, trace: Trace) -> None:
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
            address = whole(place)
        if not 0 <= address < 1 << 39:
            raise UserError(f"{place} is no address of a process (below {1 << 39:#x})")
        for process in range(self.world.processes):
            yield f"pte of {address:#x}, process {process}: {self.entry(address, process)}"
