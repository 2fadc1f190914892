"""All small worlds in which a racing mremap merges into a vma of the source's own vm_pgoff.

A world is what a few calls make of three touched pages at the beginning of a few places, one page each. There "<" and
"<=" of need_rmap_locks differ, and nowhere else.
"""

from itertools import product
from typing import NamedTuple

from anonvma_rt.kernel.machine import Machine
from anonvma_rt.kernel.recording import Recording

PAGE, FIRST = 4096, 1 << 30
TREE = "interval-tree"


class World(NamedTuple):
    setup: tuple  # calls
    move: tuple  # the racing one
    page: int  # which of its pages migrates
    order: int  # vm_pgoff of the destination less that of the source


def at(place):
    return FIRST + place * PAGE


def moves(places):
    for pages, source, to in product((1, 2), range(places), range(places)):
        if abs(source - to) >= pages and max(source, to) + pages <= places:
            yield ("move", source, pages, to)


def calls(places):
    yield from moves(places)
    for place in range(places):
        yield ("unmap", place)
        yield ("map", place)
        yield ("touch", place)
    yield ("fork",)


def make(process, call):
    """One call of a Machine's or a Recording's process."""
    verb, *args = call
    if verb == "move":
        process.mremap(at(args[0]), args[1], args[1], to=at(args[2]))
    elif verb == "unmap":
        process.munmap(at(args[0]), 1)
    elif verb == "map":
        process.mmap(1, at=at(args[0]))
    elif verb == "touch":
        process.mmap(1, at=at(args[0]))
        process.touch(at(args[0]), 1)
    else:
        process.fork()


def begin(made, setup):
    process = made.process()
    process.mmap(3, at=at(0))
    process.touch(at(0), 3)
    for call in setup:
        make(process, call)
    return process


def machine(setup):
    """The process after these calls, or None where one of them is refused."""
    try:
        return begin(Machine(TREE), setup)
    except OSError:
        return None


def holds(maps, place):
    return next((vma for vma in maps if vma.start <= at(place) < vma.end), None)


def look(process, setup, places):
    """What decides the future of a world. Two things cannot be seen, and there the past does: the order of equal
    entries in a tree, and which vmas have which anon_vma where there is more than one."""
    maps = process.maps()
    offsets = [vma.pgoff for vma in maps]
    ptes = tuple(process.pte(at(place)).pfn > 0 for place in range(places) if holds(maps, place))
    seen = (tuple(maps), ptes, ("fork",) in setup)
    hidden = len(set(offsets)) < len(offsets) or any(call[0] == "touch" for call in setup)
    return (*seen, setup) if hidden else seen


def setups(places, depth):
    """All that can be made by at most so many calls, each once; at most one fork."""
    found, layer = [()], [()]
    known = {look(machine(()), (), places)}
    for _ in range(depth):
        following = []
        for setup in layer:
            for call in calls(places):
                longer = (*setup, call)
                process = machine(longer) if longer.count(("fork",)) < 2 else None
                if process is None:
                    continue
                key = look(process, longer, places)
                if key not in known:
                    known.add(key)
                    following.append(longer)
        found += following
        layer = following
    return found


def merging(places, depth):
    """Every world whose racing mremap merges into another vma that has pages of the same anon_vma."""
    for setup in setups(places, depth):
        before = machine(setup).maps()
        for move in moves(places):
            _, source, pages, to = move
            maps = before
            if any(holds(maps, to + i) for i in range(pages)):
                # The call unmaps what is at the destination first, and that may be a part of the source's vma.
                maps = machine((*setup, *(("unmap", to + i) for i in range(pages)))).maps()
            old = holds(maps, source)
            if not old or not old.faulted or holds(maps, source + pages - 1) is not old:
                continue
            process = machine((*setup, move))
            new = process and holds(process.maps(), to)
            if not new or new.pages == pages:
                continue
            for page in range(source, source + pages):
                yield World(setup, move, page, new.pgoff - old.pgoff)


def raced(world):
    """The world as a scenario, or None where that page cannot migrate."""
    r = Recording("small-world", algorithm=TREE)
    process = begin(r, world.setup)
    if process.pte(at(world.page)).pfn == 0:
        return None
    with r.thread("mremap"):
        make(process, world.move)
    with r.thread("migrate"):
        process.migrate(at(world.page))
    return r.scenario(expect={TREE: "none"})
