"""What the lab shows of a simulated kernel that an explorer holds: where vmas began, and its state in words."""

from collections.abc import Callable

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.history import Trace

__all__ = ["kernel_lock_names", "kernel_state", "vma_starts"]


def vma_starts(explorer: Explorer) -> dict[int, tuple[int, int]]:
    """Where each vma begins and whose it is, by serial, in the state that the explorer holds."""
    world = World(explorer)
    return {
        vma["id"]: (vma["start"], process)
        for process in range(explorer.subject.processes)
        for vma in world.maps(process)
    }


def kernel_lock_names(explorer: Explorer) -> Callable[[int], str]:
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


def kernel_state(explorer: Explorer, trace: Trace) -> str:
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
