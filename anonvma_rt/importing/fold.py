"""Addresses of a log, moved so that they fit into the lab's address space of 2**39 bytes, or close together.

What is between two neighbouring addresses of the log's calls is shortened, if it is long, by a multiple of the granule.
Order, adjacency, the place within a granule and whether there is a whole granule in between stay as they are, and so
does what mremap moves: two ranges of one mremap are shortened alike. So areas merge, and share page tables, as before.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

from anonvma_rt.errors import UserError
from anonvma_rt.importing.logged import Step, page_down
from anonvma_rt.text.expression import PAGE

__all__ = ["CLOSE", "LIMIT", "WIDE", "fold"]

CLOSE, WIDE = 2 << 20, 1 << 30  # a page table, and a directory of page tables
LIMIT = 1 << 39
MOST_BORDERS = 50_000


def fold(steps: Iterable[Step], close: bool) -> str:
    """Moves all addresses where that is asked for (close) or needed, and says what was done; empty for nothing."""
    steps = list(steps)
    borders = _borders(steps)
    top = max(borders, default=0)
    if not borders or (not close and top <= LIMIT):
        return ""
    granule = CLOSE if close else WIDE
    where = _places(borders, granule)
    if where[-1] > LIMIT and not close:
        granule = CLOSE
        where = _places(borders, granule)
    if where[-1] > LIMIT:
        raise UserError("the areas of the log do not fit into an address space of 2**39 bytes: cut the log")
    for step in steps:
        _move(step, borders, where)
    size, least = ("2 MiB", "6 MiB") if granule == CLOSE else ("1 GiB", "3 GiB")
    why = "" if close else ", for the lab's address space has 2**39 bytes"
    return f"addresses are moved together: distances of {least} and more are shorter by a multiple of {size}{why}"


def _ends(step: Step) -> Iterable[tuple[int, int]]:
    """Its ranges, in whole pages."""
    for address, length in step.ranges():
        at = page_down(int(step.values[address]))
        yield at, at + int(step.values[length]) * PAGE


def _borders(steps: list[Step]) -> list[int]:
    """Where ranges begin and end, sorted; whatever is one in a range that an mremap moves is one at its other place,
    too."""
    borders = {at for step in steps for ends in _ends(step) for at in ends}
    moves = {
        (page_down(int(step.values["from"])), page_down(int(step.values["to"])), _moved(step))
        for step in steps
        if step.verb == "mremap" and "to" in step.values
    }
    size = -1
    while size != len(borders):
        size = len(borders)
        if size > MOST_BORDERS:
            raise UserError(f"the moves of the log cut its areas into more than {MOST_BORDERS} parts: cut the log")
        for one, other, length in moves:
            for source, target in ((one, other), (other, one)):
                borders |= {at - source + target for at in borders if source <= at <= source + length}
    return sorted(borders)


def _moved(step: Step) -> int:
    return min(int(step.values["pages"]), int(step.values["new_pages"])) * PAGE


def _places(borders: list[int], granule: int) -> list[int]:
    """Where each border goes."""
    at = granule + borders[0] % granule
    places = [at]
    for before, border in pairwise(borders):
        distance = border - before
        # Two granules and a part of one always have a whole one in them, wherever they begin.
        at += distance if distance < 3 * granule else 2 * granule + distance % granule
        places.append(at)
    return places


def _move(step: Step, borders: list[int], where: list[int]) -> None:
    def place(address: int) -> int:
        at = bisect_right(borders, address) - 1
        return where[at] + address - borders[at]

    # Lengths first: they are what is between two addresses that are still the old ones.
    for address, length in list(step.ranges()):
        at = page_down(int(step.values[address]))
        step.values[length] = (place(at + int(step.values[length]) * PAGE) - place(at)) // PAGE
    for address in dict.fromkeys(address for address, _ in step.ranges()):
        step.values[address] = place(int(step.values[address]))
