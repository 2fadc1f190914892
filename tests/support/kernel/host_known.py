"""What Linux does otherwise today than in the 3.x that most algorithms stand for: one entry per change.

Each entry has a predicate of (maps, call) that recognises the situation before the call, and an example that shows it.
The judge passes over such calls where the host is new enough to have the change, and over no other.
"""

from collections.abc import Callable
from dataclasses import replace
from errno import EFAULT, EINVAL
from typing import NamedTuple

from host_calls import FIRST, PAGE
from host_sequences import grows_in_place, holder, rights, word


class Change(NamedTuple):
    """since: the version of Linux. calls: the last of them is decided otherwise; old, new: its result and the vmas, as
    (first page, end page, writable), before the change and after it."""

    name: str
    since: tuple
    commit: str
    recognises: Callable
    calls: list
    old: tuple
    new: tuple


def at(page):
    return FIRST + page * PAGE


def index(vma, address):
    """The vm_pgoff that the page at `address` would have in this vma."""
    return vma.pgoff + (address - vma.start) // PAGE


def inside_one(maps, address, pages):
    vma = holder(maps, address)
    return vma is not None and address + pages * PAGE <= vma.end


def any_in(maps, address, pages):
    return any(vma.start < address + pages * PAGE and address < vma.end for vma in maps)


def unfaulted_beside(maps, address, pages, first_index, right):
    """Whether a vma without pages touches the range and would go on with its indexes and its rights."""
    end = address + pages * PAGE
    for vma in maps:
        if vma.faulted or rights(vma) != right:
            continue
        if vma.start < address <= vma.end and index(vma, address) == first_index:
            return True
        if vma.start <= end < vma.end and index(vma, end) == first_index + pages:
            return True
    return False


# ---- the predicates --------------------------------------------------------------------------------------------------


def moves_faulted_beside_unfaulted(maps, call):
    if call[0] != "mremap" or call[4] is None:
        return False
    _, address, _, new, to, *_ = call
    source = holder(maps, address)
    return (
        source is not None
        and source.faulted
        and unfaulted_beside(maps, to, new, index(source, address), rights(source))
    )


def protects_faulted_beside_unfaulted(maps, call):
    verb, address, pages, *rest = call
    if verb != "mprotect":
        return False
    end, (right,) = address + pages * PAGE, rest
    for vma in maps:
        first, last = max(vma.start, address), min(vma.end, end)
        if first >= last or not vma.faulted or rights(vma) == right:
            continue
        # What lies before this vma in the range has the new rights already, and has perhaps merged.
        same = {"writable": right is True, "prot": word(right)}
        around = [replace(other, **same) if address < other.end <= first else other for other in maps]
        if unfaulted_beside(around, first, (last - first) // PAGE, index(vma, first), right):
            return True
    return False


def grows_up_to_the_next(maps, call):
    verb, address, pages, *rest = call
    if verb != "mremap" or rest[1] is not None or not grows_in_place(maps, address, pages, rest[0]):
        return False
    vma, end = holder(maps, address), address + rest[0] * PAGE
    next_one = holder(maps, end)
    return next_one is not None and rights(next_one) == rights(vma) and next_one.pgoff == index(vma, end)


def sound(call):
    """Whether mremap finds nothing wrong with the arguments alone. Unequal lengths with DONTUNMAP are wrong."""
    _, address, pages, new, to, maymove, dontunmap = call
    if address % PAGE or new == 0 or (dontunmap and (not maymove or pages != new)):
        return False
    if to is None:
        return True
    apart = to + new * PAGE <= address or address + pages * PAGE <= to
    return bool(maymove) and to % PAGE == 0 and apart


def moves_several(maps, call):
    if call[0] != "mremap" or not sound(call):
        return False
    _, address, pages, new, to, *_ = call
    if to is None or pages != new:
        return False
    return holder(maps, address) is not None and not inside_one(maps, address, pages)


def unmaps_and_then_fails(maps, call):
    if call[0] != "mremap" or not sound(call):
        return False
    _, address, pages, new, to, *_ = call
    if to is None or inside_one(maps, address, min(pages, new)):
        return False
    return any_in(maps, to, new) or (new < pages and any_in(maps, address + new * PAGE, pages - new))


def has_no_old_length(maps, call):
    return call[0] == "mremap" and call[2] == 0


def shrinks_nothing(maps, call):
    if call[0] != "mremap" or not sound(call):
        return False
    _, address, pages, new, to, *_ = call
    return to is None and new <= pages and holder(maps, address) is None


def protects_what_was_never_written(maps, call):
    verb, address, pages, *rest = call
    end = address + pages * PAGE
    return (
        verb == "mprotect"
        and rest[0] is not True
        and any(vma.charged and not vma.faulted and vma.start < end and address < vma.end for vma in maps)
    )


# ---- the list --------------------------------------------------------------------------------------------------------

R, RW = False, True


def mmap(page, pages, writable=RW):
    return ["mmap", at(page), pages, writable]


def mprotect(page, pages, writable):
    return ["mprotect", at(page), pages, writable]


def write(page, pages=1):
    return ["write", at(page), pages, 7]


def mremap(page, pages, new, to=None):
    return ["mremap", at(page), pages, new, None if to is None else at(to), to is not None, False]


CHANGES = [
    Change(
        "a faulted range that moves joins an unfaulted neighbour", (6, 16), "879bca0a2c4f",
        moves_faulted_beside_unfaulted,
        # Page 1 comes back to where it was, next to page 0, which was mapped anew meanwhile.
        [mmap(1, 1), write(1), mremap(1, 1, 1, to=20), mmap(0, 1), mremap(20, 1, 1, to=1)],
        (at(1), [(0, 1, RW), (1, 2, RW)]), (at(1), [(0, 2, RW)]),
    ),
    Change(
        "a faulted range that mprotect changes joins an unfaulted neighbour", (6, 16), "879bca0a2c4f",
        protects_faulted_beside_unfaulted,
        [mmap(1, 1), write(1), mprotect(1, 1, R), mmap(0, 1), mprotect(1, 1, RW)],
        (0, [(0, 1, RW), (1, 2, RW)]), (0, [(0, 2, RW)]),
    ),
    Change(
        "growth in place merges with what is behind", (6, 1), "ca3d76b0aa80", grows_up_to_the_next,
        [mmap(0, 1), mmap(2, 1), mremap(0, 1, 2)],
        (at(0), [(0, 2, RW), (2, 3, RW)]), (at(0), [(0, 3, RW)]),
    ),
    Change(
        "a fixed move takes several vmas", (6, 17), "d23cb648e365", moves_several,
        [mmap(0, 1), mmap(1, 1, R), mmap(3, 1), mremap(0, 4, 4, to=20)],
        (-EFAULT, [(0, 1, RW), (1, 2, R), (3, 4, RW)]), (at(20), [(20, 21, RW), (21, 22, R), (23, 24, RW)]),
    ),
    Change(
        "a fixed move that fails has unmapped nothing", (6, 17), "a85dc3718658", unmaps_and_then_fails,
        [mmap(20, 1), mremap(0, 1, 1, to=20)],
        (-EFAULT, []), (-EFAULT, [(20, 21, RW)]),
    ),
    Change(
        "private memory cannot be duplicated by an old length of 0", (4, 14), "dba58d3b8c50", has_no_old_length,
        [mmap(0, 1), mremap(0, 0, 1, to=20)],
        (at(20), [(0, 1, RW), (20, 21, RW)]), (-EINVAL, [(0, 1, RW)]),
    ),
    Change(
        "where nothing is mapped nothing can be shrunk", (5, 17), "550a7d60bd5e, and its repair in 5.17",
        shrinks_nothing,
        [mremap(0, 2, 1)],
        (at(0), []), (-EFAULT, []),
    ),
    Change(
        "what mprotect makes read-only before its first fault is charged for no longer", (6, 7),
        "mm/mprotect: allow unfaulted VMAs to be unaccounted on mprotect()", protects_what_was_never_written,
        [mmap(0, 1, R), mmap(1, 1), mprotect(1, 1, R)],
        (0, [(0, 1, R), (1, 2, R)]), (0, [(0, 2, R)]),
    ),
]  # fmt: skip
