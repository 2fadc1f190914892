"""What a world of the simulated kernel looks like, in pages from BASE. vm_pgoff is counted in the same way, so that a
vma which never moved has equal numbers in both.
"""

from typing import NamedTuple

from calls import BASE, PAGE, at


class Vma(NamedTuple):
    start: int
    end: int
    pgoff: int


def vmas(world, process=0):
    pages = [(v["start"], v["end"], v["pgoff"] * PAGE) for v in world.maps(process)]
    return [Vma(*((number - BASE) // PAGE for number in numbers)) for numbers in pages]


def only_list(world):
    """The one anon_vma list that there is, as the first page of each vma on it, oldest first."""
    starts = {v["id"]: (v["start"] - BASE) // PAGE for v in world.maps()}
    (order,) = world.lists().values()
    return [starts[vma] for vma in order]


def anon_vmas(world, process=0):
    return [v["anon_vma"] for v in world.maps(process)]


def tables(world, process=0):
    """The first pages of all page tables."""
    return [(address - BASE) // PAGE for address in world.tables(process)]


def contents(world, page, pages=1, process=0):
    """The content tag of each page: None where nothing is mapped by a pte, 0 for the zero page."""
    found = []
    for number in range(page, page + pages):
        state, frame, _ = world.pte(at(number), process)
        found.append(None if state == "none" else state if state == "migration" else
                     world.page(frame)["tag"] if frame else 0)  # fmt: skip
    return found


def frame(world, page, process=0):
    state, number, _ = world.pte(at(page), process)
    assert state == "present", state
    return number


def pages_at(world, page, process=0):
    """What is known of the page at an address: World.page() of it."""
    return world.page(world.pte(at(page), process)[1])


def writable(world, page, pages=1, process=0):
    """Whether each entry gives the right to write."""
    return [world.pte(at(number), process)[2] for number in range(page, page + pages)]
