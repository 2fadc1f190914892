"""Random sequences of calls for the host's judge (host_calls.py), made by a Machine on the way.

Each call is chosen at random and made on the Machine; what it did there is what the host has to do as well. Only moves
to a place of the kernel's choice are left out, because nobody can know it.
"""

import random
from typing import NamedTuple

from host_calls import FIRST, NONE, PAGE

SPAN = 24  # pages in which sequences begin their ranges
MOST = 60  # calls of a sequence
LENGTHS = (1, 1, 2, 2, 3, 4, 6, 9)
# With OF_PAGES: what asks about pages, and a read that leaves the zero page.
OF_PAGES = ("read",) * 3 + ("move_pages",) * 3 + ("uffd_move",) * 6
VERBS = ("mmap",) * 3 + ("munmap", "dontneed") + ("mprotect",) * 2 + ("write",) * 3 + ("mremap",) * 6


class Sequence(NamedTuple):
    """calls; after each its result and the vmas as [start, end, rights]; what pages that may be read hold at last."""

    calls: list
    steps: list
    contents: dict


def rights(vma):
    """As a call has them."""
    return NONE if vma.prot == NONE else vma.writable


def vmas(process):
    return [[vma.start, vma.end, rights(vma)] for vma in process.maps()]


def word(rights):
    return rights if rights == NONE else "write" if rights else "read"


def make(process, call, huge=False):
    """One call on the Machine's process: its result, or a negative errno. huge: what it maps may have huge pages."""
    verb, address, pages, *rest = call
    try:
        if verb == "mmap":
            return process.mmap(pages, at=address, prot=word(rest[0]), huge=huge, noreserve=any(rest[1:]))
        if verb == "munmap":
            return process.munmap(address, pages) or 0
        if verb == "dontneed":
            return process.dontneed(address, pages) or 0
        if verb == "collapse":
            return process.collapse(address) or 0
        if verb == "mprotect":
            return process.mprotect(address, pages, prot=word(rest[0])) or 0
        if verb == "mremap":
            new, to, maymove, dontunmap = rest
            return process.mremap(address, pages, new, to, maymove, dontunmap)
        if verb == "move_pages":
            return [-errno for errno in process.move_pages(address, pages)]
        if verb == "uffd_move":
            return process.uffd_move(address, rest[0], pages) or 0
        for page in range(pages):
            if verb == "read":
                process.read(address + page * PAGE)
            else:
                process.write(address + page * PAGE, rest[0])
        return 0
    except OSError as refusal:
        return -refusal.errno


def follow(machine, calls):
    """The Sequence that these calls are on a Machine, from an empty process on."""
    family, steps = [machine.process()], []
    for call in calls:
        if call[0] == "fork":
            family.append(family[-1].fork())
            steps.append([0, vmas(family[-1])])
        else:
            steps.append([make(family[-1], call), vmas(family[-1])])
    return finish(family, calls, steps)


def finish(family, calls, steps):
    process = family[-1]
    open_ones = [vma for vma in process.maps() if vma.prot != NONE]
    contents = {at: process.read(at) for vma in open_ones for at in range(vma.start, vma.end, PAGE)}
    for process in family:
        process.exit()
    return Sequence(calls, steps, contents)


# ---- random calls ----------------------------------------------------------------------------------------------------


def place(rng):
    """An address; one in a hundred is not that of a page."""
    return FIRST + rng.randrange(SPAN) * PAGE + (8 if rng.random() < 0.01 else 0)


def length(rng):
    return 0 if rng.random() < 0.02 else rng.choice(LENGTHS)


def random_call(rng, tag, verbs=VERBS):
    verb = rng.choice(verbs)
    call = [verb, place(rng), length(rng)]
    if verb == "mmap":
        return [*call, rng.choice([True] * 7 + [False] * 2 + [NONE]), rng.random() < 0.2]
    if verb == "mprotect":
        return [*call, rng.choice([True] * 4 + [False] * 3 + [NONE] * 2)]
    if verb == "write":
        return [verb, call[1] & -PAGE, min(call[2], 3), tag]
    if verb == "read":
        return [verb, call[1] & -PAGE, min(call[2], 3)]
    if verb == "uffd_move":
        return [verb, call[1], 1, place(rng)]
    if verb == "mremap":
        to = place(rng) if rng.random() < 0.7 else None
        new = call[2] if rng.random() < 0.5 else length(rng)
        return [*call, new, to, rng.random() < (0.95 if to else 0.5), rng.random() < 0.1]
    return call


def holder(maps, address):
    """The vma at an address, or None."""
    return next((vma for vma in maps if vma.start <= address < vma.end), None)


def grows_in_place(maps, address, pages, new):
    """Whether mremap has what it needs: the range ends with its vma, and nothing is in the way."""
    vma, end = holder(maps, address), address + pages * PAGE
    if vma is None or new <= pages or end != vma.end:
        return False
    return not any(end <= other.start < address + new * PAGE for other in maps)


def moves_anywhere(maps, call):
    """Whether mremap would look for a place of its own."""
    verb, address, pages, *rest = call
    if verb != "mremap" or address % PAGE:
        return False
    new, to, maymove, dontunmap = rest
    if to is not None or not maymove or new == 0:
        return False
    if dontunmap:
        return new == pages
    return new > pages and not grows_in_place(maps, address, pages, new)


def sequence(machine, seed, known=(), forks=False, pages=False):
    """A random sequence. known: predicates of (maps, call), any of which passes over a call. forks: it forks once.
    pages: calls about pages are among them."""
    verbs = VERBS + OF_PAGES if pages else VERBS
    rng = random.Random(seed)
    family, calls, steps = [machine.process()], [], []
    fork_at = rng.randrange(5, MOST - 10) if forks else -1
    while len(calls) < MOST:
        if len(calls) == fork_at:
            calls.append(["fork", 0, 0])
            family.append(family[-1].fork())
            steps.append([0, vmas(family[-1])])
        call = random_call(rng, len(calls) + 1, verbs)
        maps = family[-1].maps()
        if moves_anywhere(maps, call) or any(passes_over(maps, call) for passes_over in known):
            continue
        calls.append(call)
        steps.append([make(family[-1], call), vmas(family[-1])])
    return finish(family, calls, steps)
