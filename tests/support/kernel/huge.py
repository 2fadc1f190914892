"""Worlds with a huge page, and what is looked at in them."""

from calls import FAR, at, mmap, mprotect, mremap, munmap, touch

HUGE = 512  # pages
AREA = [mmap(0, HUGE, huge=True), touch(0, 3, 5), touch(HUGE - 1, 1, 6)]
CONTENTS = [5] * 3 + [0] * (HUGE - 4) + [6]
TWO = {"processes": 2}
PARENT, CHILD = 0, 1


def states(world, page=0, pages=HUGE, process=0):
    return {world.pte(at(number), process)[0] for number in range(page, page + pages)}


def frames(world, page=0, process=0):
    return [world.pte(at(number), process)[1] for number in range(page, page + HUGE)]


CUTS = {
    "munmap of the front": (munmap(0, 100), [(100, HUGE, 100)], range(100, HUGE)),
    "munmap of the end": (munmap(100, HUGE), [(0, 100, 0)], range(100)),
    "munmap of the middle": (munmap(100, 7), [(0, 100, 0), (107, HUGE, 107)], [*range(100), *range(107, HUGE)]),
    "mprotect of a part": (mprotect(0, 2, False), [(0, 2, 0), (2, HUGE, 2)], range(HUGE)),
    "mremap to fewer pages": (mremap(0, HUGE, new_pages=100), [(0, 100, 0)], range(100)),
    "mremap of a part": (mremap(0, 100, to=FAR), [(100, HUGE, 100), (FAR, FAR + 100, 0)], range(100, HUGE)),
}

# The upper of two huge pages was moved away and comes home: the destination grows (case 2), and it is the older vma.
AWAY = [mmap(0, 2 * HUGE, huge=True), touch(0, 1), touch(HUGE, 1), mremap(HUGE, HUGE, to=FAR)]
HOME = mremap(FAR, HUGE, to=HUGE)
