"""Sequences of the kernel's selftests (tools/testing/selftests/mm) and of LTP, as far as they are about private
anonymous memory: what each of them does, and what it holds for right, in the calls of host_calls.py.

Written from what the tests are documented to check, in pages of the judge's window; nothing of their code is here.
"""

from errno import EFAULT, EINVAL, ENOMEM
from typing import NamedTuple

from host_calls import FIRST, NONE, PAGE

R, RW = False, True
SELFTEST, LTP = "selftests", "LTP"


class Row(NamedTuple):
    """name: the test that says so, as suite, file or program, and part. calls: the last one's result is `result`: an
    address as ("page", n), or a number. vmas: what is mapped in the end, as (first page, end page, writable). holds:
    what some pages hold then (0: nobody wrote to it).

    since: the first release for which this is so; before: (result, vmas) up to then, None where it is so in all. Until
    2.6.38 whoever had no anon_vma merged with whoever had one, as again since 6.16.
    """

    name: tuple
    calls: list
    result: object
    vmas: list
    holds: dict
    since: str = ""
    before: tuple | None = None


def at(page):
    return FIRST + page * PAGE


def mmap(page, pages, rights=RW, noreserve=False):
    return ["mmap", at(page), pages, rights, *([True] if noreserve else [])]


def munmap(page, pages):
    return ["munmap", at(page), pages]


def mprotect(page, pages, writable):
    return ["mprotect", at(page), pages, writable]


def write(page, pages=1, tag=7):
    return ["write", at(page), pages, tag]


def mremap(page, pages, new, to=None, maymove=None, dontunmap=False):
    maymove = to is not None if maymove is None else maymove
    return ["mremap", at(page), pages, new, None if to is None else at(to), maymove, dontunmap]


FORK = ["fork", 0, 0]


def page(number):
    return at(number)


# ---- selftests: merge ------------------------------------------------------------------------------------------------

# They map with MAP_NORESERVE, or a part that is read-only before its first fault would be charged for otherwise.
MERGES = [
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_left"),
        [mmap(0, 10, noreserve=True), mprotect(0, 5, R), write(5), mprotect(5, 5, R)],
        0, [(0, 10, R)], {5: 7}, "6.16", (0, [(0, 5, R), (5, 10, R)]),
    ),
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_right"),
        [mmap(0, 10, noreserve=True), mprotect(5, 5, R), write(0), mprotect(0, 5, R)],
        0, [(0, 10, R)], {0: 7}, "6.16", (0, [(0, 5, R), (5, 10, R)]),
    ),
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_both"),
        [mmap(0, 9, noreserve=True), mprotect(0, 3, R), mprotect(6, 3, R), write(3), mprotect(3, 3, R)],
        0, [(0, 9, R)], {3: 7}, "6.16", (0, [(0, 3, R), (3, 6, R), (6, 9, R)]),
    ),
    Row(
        (SELFTEST, "merge", "mprotect_faulted_left_unfaulted_right"),
        [mmap(0, 9, noreserve=True), mprotect(6, 3, R), write(0), mprotect(0, 3, R), mprotect(3, 3, R)],
        0, [(0, 9, R)], {0: 7}, "6.16", (0, [(0, 6, R), (6, 9, R)]),
    ),
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_left_faulted_right"),
        [mmap(0, 9, noreserve=True), mprotect(0, 3, R), write(3), mprotect(6, 3, R), mprotect(3, 3, R)],
        0, [(0, 9, R)], {3: 7}, "6.16", (0, [(0, 3, R), (3, 9, R)]),
    ),
    # The same where the right to write comes back, of memory that is charged for.
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_left, charged"),
        [mmap(5, 5), write(5), mprotect(5, 5, R), mmap(0, 5), mprotect(5, 5, RW)],
        0, [(0, 10, RW)], {5: 7}, "6.16", (0, [(0, 5, RW), (5, 10, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "mprotect_unfaulted_both, charged"),
        [mmap(3, 3), write(3), mprotect(3, 3, R), mmap(0, 3), mmap(6, 3), mprotect(3, 3, RW)],
        0, [(0, 9, RW)], {3: 7}, "6.16", (0, [(0, 3, RW), (3, 6, RW), (6, 9, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "an unfaulted range joins a faulted one"),
        [mmap(0, 10), mprotect(0, 5, R), write(5), mprotect(0, 5, RW)],
        0, [(0, 10, RW)], {5: 7},
    ),
    Row(
        (SELFTEST, "merge", "forked_target_vma"),
        [mmap(0, 5), write(0, 5), FORK, mmap(5, 5)],
        page(5), [(0, 5, RW), (5, 10, RW)], {0: 7, 5: 0},
    ),
    Row(
        (SELFTEST, "merge", "forked_source_vma"),
        [mmap(0, 5, noreserve=True), write(0, 5), FORK, mmap(5, 5, R, noreserve=True), mprotect(0, 5, R)],
        0, [(0, 5, R), (5, 10, R)], {4: 7, 5: 0},
    ),
    Row(
        (SELFTEST, "merge", "mremap_unfaulted_to_faulted"),
        [mmap(0, 5), write(0), mmap(20, 5), mremap(20, 5, 5, to=5)],
        page(5), [(0, 10, RW)], {0: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_unfaulted_behind_faulted"),
        [mmap(5, 5), write(5), mmap(20, 5), mremap(20, 5, 5, to=0)],
        page(0), [(0, 10, RW)], {5: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_unfaulted_between_faulted"),
        [mmap(0, 5), write(0), mmap(10, 5), write(10), mmap(30, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 10, RW), (10, 15, RW)], {0: 7, 10: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_unfaulted_between_faulted_unfaulted"),
        [mmap(0, 5), write(0), mmap(10, 5), mmap(30, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {0: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_unfaulted_between_correctly_placed_faulted"),
        [mmap(0, 15), write(0, 15), munmap(5, 5), mmap(30, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {4: 7, 5: 0, 10: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_correct_placed_faulted"),
        [mmap(0, 15), write(0, 15), mremap(5, 5, 5, to=40), mremap(40, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {0: 7, 5: 7, 9: 7, 14: 7},
    ),
    Row(
        (SELFTEST, "merge", "mremap_faulted_to_unfaulted_prev"),
        [mmap(5, 5), write(5), mremap(5, 5, 5, to=20), mmap(0, 5), mremap(20, 5, 5, to=5)],
        page(5), [(0, 10, RW)], {5: 7}, "6.16", (page(5), [(0, 5, RW), (5, 10, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "mremap_faulted_to_unfaulted_next"),
        [mmap(0, 5), write(0), mremap(0, 5, 5, to=20), mmap(5, 5), mremap(20, 5, 5, to=0)],
        page(0), [(0, 10, RW)], {0: 7}, "6.16", (page(0), [(0, 5, RW), (5, 10, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "mremap_faulted_to_unfaulted_prev_unfaulted_next"),
        [mmap(5, 5), write(5), mremap(5, 5, 5, to=30), mmap(0, 5), mmap(10, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {5: 7}, "6.16", (page(5), [(0, 5, RW), (5, 10, RW), (10, 15, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "mremap_faulted_to_unfaulted_prev_faulted_next"),
        [mmap(5, 10), write(5, 10), mremap(5, 5, 5, to=30), mmap(0, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {5: 7, 14: 7}, "6.16", (page(5), [(0, 5, RW), (5, 15, RW)]),
    ),
    Row(
        (SELFTEST, "merge", "mremap_faulted_to_faulted_prev_unfaulted_next"),
        [mmap(0, 10), write(0, 10), mremap(5, 5, 5, to=30), mmap(10, 5), mremap(30, 5, 5, to=5)],
        page(5), [(0, 15, RW)], {0: 7, 5: 7, 10: 0}, "6.16", (page(5), [(0, 10, RW), (10, 15, RW)]),
    ),
]  # fmt: skip

# ---- selftests: mremap -----------------------------------------------------------------------------------------------

MOVES = [
    Row(
        (SELFTEST, "mremap_test", "mremap_expand_merge"),
        [mmap(0, 3), munmap(1, 1), mremap(0, 1, 2)],
        page(0), [(0, 3, RW)], {}, "6.1", (page(0), [(0, 2, RW), (2, 3, RW)]),
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_expand_merge_offset"),
        [mmap(0, 4), munmap(2, 1), mremap(1, 1, 2)],
        page(1), [(0, 4, RW)], {}, "6.2", (page(1), [(0, 3, RW), (3, 4, RW)]),
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_shrink_multiple_vmas"),
        [mmap(0, 1), mmap(2, 1), mmap(4, 1), write(0), mremap(0, 10, 1)],
        page(0), [(0, 1, RW)], {0: 7},
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_shrink_multiple_vmas, to another place"),
        [mmap(0, 1), mmap(2, 1), mmap(4, 1), write(0), mremap(0, 10, 1, to=20)],
        page(20), [(20, 21, RW)], {20: 7},
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_move_multiple_vmas"),
        [mmap(0, 2), mmap(3, 2), mmap(6, 1), write(0), write(4), write(6), mremap(0, 7, 7, to=20)],
        page(20), [(20, 22, RW), (23, 25, RW), (26, 27, RW)], {20: 7, 24: 7, 26: 7, 21: 0}, "6.17",
        (-EFAULT, [(0, 2, RW), (3, 5, RW), (6, 7, RW)]),
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_move_multiple_vmas_split"),
        [mmap(0, 4), mmap(6, 4), write(0, 4), write(6, 4), mremap(2, 6, 6, to=20)],
        page(20), [(0, 2, RW), (8, 10, RW), (20, 22, RW), (24, 26, RW)], {0: 7, 9: 7, 20: 7, 25: 7}, "6.17",
        (-EFAULT, [(0, 4, RW), (6, 10, RW)]),
    ),
    Row(
        (SELFTEST, "mremap_test", "mremap_move_within_range"),
        [mmap(0, 12), write(0, 4, 1), write(4, 4, 2), write(8, 4, 3), mremap(4, 2, 2, to=6)],
        page(6), [(0, 4, RW), (6, 8, RW), (8, 12, RW)], {3: 1, 6: 2, 7: 2, 8: 3},
    ),
    Row(
        (SELFTEST, "mremap_test", "the destination is replaced"),
        [mmap(0, 4), write(0, 4, 1), mmap(20, 4), write(20, 4, 2), mremap(0, 4, 4, to=20)],
        page(20), [(20, 24, RW)], {20: 1, 23: 1},
    ),
    Row(
        (SELFTEST, "mremap_dontunmap", "mremap_dontunmap_simple_fixed"),
        [mmap(0, 5), write(0, 5, 7), mmap(20, 5), write(20, 5, 9), mremap(0, 5, 5, to=20, dontunmap=True)],
        page(20), [(0, 5, RW), (20, 25, RW)], {0: 0, 4: 0, 20: 7, 24: 7},
    ),
    Row(
        (SELFTEST, "mremap_dontunmap", "mremap_dontunmap_partial_mapping"),
        [mmap(0, 10), write(0, 10, 7), mremap(0, 5, 5, to=20, dontunmap=True)],
        page(20), [(0, 10, RW), (20, 25, RW)], {0: 0, 4: 0, 5: 7, 9: 7, 20: 7, 24: 7},
    ),
    Row(
        (SELFTEST, "mremap_dontunmap", "mremap_dontunmap_partial_mapping_overwrite"),
        [mmap(0, 5), write(0, 5, 7), mmap(20, 10), write(20, 10, 9), mremap(0, 5, 5, to=20, dontunmap=True)],
        page(20), [(0, 5, RW), (20, 25, RW), (25, 30, RW)], {0: 0, 20: 7, 24: 7, 25: 9, 29: 9},
    ),
    Row(
        (SELFTEST, "mremap_dontunmap", "the sizes have to be equal"),
        [mmap(0, 5), mremap(0, 5, 4, to=20, dontunmap=True)],
        -EINVAL, [(0, 5, RW)], {},
    ),
    Row(
        (SELFTEST, "mremap_dontunmap", "it has to be allowed to move"),
        [mmap(0, 5), mremap(0, 5, 5, maymove=False, dontunmap=True)],
        -EINVAL, [(0, 5, RW)], {},
    ),
]  # fmt: skip

# ---- LTP -------------------------------------------------------------------------------------------------------------

CALLS = [
    Row((LTP, "mremap02", ""), [mmap(0, 4), ["mremap", at(0) + 8, 4, 8, None, True, False]], -EINVAL, [(0, 4, RW)], {}),
    Row((LTP, "mremap03", ""), [mmap(0, 4), mremap(10, 4, 8)], -EFAULT, [(0, 4, RW)], {}),
    Row((LTP, "mremap04", ""), [mmap(0, 2), mmap(2, 1, R), mremap(0, 2, 3)], -ENOMEM, [(0, 2, RW), (2, 3, R)], {}),
    Row(
        (LTP, "mremap05", "FIXED without MAYMOVE"),
        [mmap(0, 2), mremap(0, 2, 2, to=20, maymove=False)],
        -EINVAL, [(0, 2, RW)], {},
    ),
    Row(
        (LTP, "mremap05", "a new address inside of a page"),
        [mmap(0, 2), ["mremap", at(0), 2, 2, at(20) + 8, True, False]],
        -EINVAL, [(0, 2, RW)], {},
    ),
    Row(
        (LTP, "mremap05", "the old area is in the new one"),
        [mmap(0, 4), mremap(1, 1, 4, to=0)],
        -EINVAL, [(0, 4, RW)], {},
    ),
    Row(
        (LTP, "mremap05", "the new area is in the old one"),
        [mmap(0, 4), mremap(0, 4, 1, to=1)],
        -EINVAL, [(0, 4, RW)], {},
    ),
    Row(
        (LTP, "mremap05", "room enough"),
        [mmap(0, 2), write(0, 2), mremap(0, 2, 2, to=20)],
        page(20), [(20, 22, RW)], {20: 7, 21: 7},
    ),
    Row(
        (LTP, "mremap05", "onto an area, which goes"),
        [mmap(0, 2), write(0, 2), mmap(20, 2), write(20, 2, 9), mremap(0, 2, 2, to=20)],
        page(20), [(20, 22, RW)], {20: 7, 21: 7},
    ),
    # A page comes back and joins the area behind it alone: that area begins earlier then, and so does its index.
    Row(
        (LTP, "mremap06", ""),
        [
            mmap(0, 3), write(0, 1, 1), write(1, 1, 2), write(2, 1, 3), mprotect(0, 1, R), mremap(1, 1, 1, to=30),
            mremap(30, 1, 1, to=1),
        ],
        page(1), [(0, 1, R), (1, 3, RW)], {0: 1, 1: 2, 2: 3},
    ),
    Row((LTP, "munmap01", ""), [mmap(0, 4), write(0, 4), munmap(0, 4), write(0)], -EFAULT, [], {}),
    Row((LTP, "munmap02", ""), [mmap(0, 4), write(0, 4), munmap(2, 2), write(2)], -EFAULT, [(0, 2, RW)], {0: 7, 1: 7}),
    Row(
        (LTP, "munmap03", "an address inside of a page"),
        [mmap(0, 4), ["munmap", at(0) + 8, 4]],
        -EINVAL, [(0, 4, RW)], {},
    ),
    Row((LTP, "munmap03", "no length"), [mmap(0, 4), munmap(0, 0)], -EINVAL, [(0, 4, RW)], {}),
    Row((LTP, "mprotect01", "nothing is mapped"), [mprotect(0, 1, R)], -ENOMEM, [], {}),
    Row(
        (LTP, "mprotect01", "an address inside of a page"),
        [mmap(0, 4), ["mprotect", at(0) + 8, 1, R]],
        -EINVAL, [(0, 4, RW)], {},
    ),
    Row(
        (LTP, "mprotect02", "no right to write"),
        [mmap(0, 1), write(0), mprotect(0, 1, R), write(0, 1, 9)],
        -EFAULT, [(0, 1, R)], {0: 7},
    ),
    Row(
        (LTP, "mprotect04", "no rights"),
        [mmap(0, 1), write(0), mprotect(0, 1, NONE), write(0, 1, 9)],
        -EFAULT, [(0, 1, NONE)], {},
    ),
    Row(
        (LTP, "mprotect04", "and all of them again"),
        [mmap(0, 1), write(0), mprotect(0, 1, NONE), mprotect(0, 1, RW)],
        0, [(0, 1, RW)], {0: 7},
    ),
    Row((LTP, "mmap05", ""), [mmap(0, 1, NONE), write(0)], -EFAULT, [(0, 1, NONE)], {}),
    Row(
        (LTP, "mprotect02", "the right is given back"),
        [mmap(0, 1), write(0), mprotect(0, 1, R), mprotect(0, 1, RW), write(0, 1, 9)],
        0, [(0, 1, RW)], {0: 9},
    ),
    Row(
        (LTP, "vma01", "what a child maps behind memory of its parent"),
        [mmap(0, 3), write(0, 3), FORK, mmap(3, 3), write(3, 3, 9)],
        0, [(0, 3, RW), (3, 6, RW)], {0: 7, 3: 9},
    ),
    Row(
        (LTP, "vma01", "what a child splits and puts together"),
        [mmap(0, 3), write(0, 3), FORK, mprotect(1, 1, R), mprotect(1, 1, RW)],
        0, [(0, 3, RW)], {0: 7, 1: 7, 2: 7},
    ),
    Row(
        (LTP, "fork04", "a child has a copy"),
        [mmap(0, 2), write(0, 2), FORK, write(0, 1, 9)],
        0, [(0, 2, RW)], {0: 9, 1: 7},
    ),
]  # fmt: skip

ROWS = [*MERGES, *MOVES, *CALLS]
