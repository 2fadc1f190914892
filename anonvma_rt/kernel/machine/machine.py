"""The machine itself: its processes, its page frames, and the calls that are about a frame."""

import os
from collections.abc import Iterable

from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.machine.process import Process
from anonvma_rt.kernel.machine.shown import KernelBug, Page, Violation, violation
from anonvma_rt.kernel.reasons import errno_of, reason_of
from anonvma_rt.mm.lab.hand import Crash, Hand

__all__ = ["Machine"]


class Machine:
    """A simulated kernel under one algorithm, without processes at first.

    algorithm: an Algorithm, the name of a preset ("moveto-tail"), or "preset,field=value". Raises UserError for an
    unknown one. A machine belongs to one Python thread at a time.

    >>> m = Machine(algorithm="moveto-tail")
    >>> p = m.process()
    >>> at = p.mmap(pages=8)
    >>> p.write(at, 7)
    >>> child = p.fork()
    >>> child.read(at), m.rmap(p.pte(at).pfn) == [(p, at), (child, at)]
    (7, True)
    >>> m.check()
    []
    """

    def __init__(self, algorithm: Algorithm | str = "moveto-tail") -> None:
        self.algorithm = Algorithm.parse(algorithm) if isinstance(algorithm, str) else algorithm
        self._hand = Hand(self.algorithm.as_dict(), self.algorithm.rule)
        self._processes: list[Process] = []

    def __repr__(self) -> str:
        return f"<Machine {self.algorithm.name}: {len(self.processes)} processes>"

    @property
    def processes(self) -> list[Process]:
        """Those that have not exited, oldest first."""
        return [process for process in self._processes if not process.exited]

    def process(self) -> Process:
        """A new process without mappings."""
        try:
            made = Process(self, self._hand.process())
        except Crash as crash:
            raise KernelBug(violation(crash.kind, crash.a, crash.b, crash.c)) from None
        self._processes.append(made)
        return made

    def page(self, pfn: int) -> Page:
        """The counters of page frame `pfn`. Raises ValueError where there is no such frame."""
        found = self._hand.page(_frame(pfn))
        return Page(found["mapcount"], found["refcount"], found["index"], found["locked"], found["order"])

    def rmap(self, pfn: int) -> list[tuple[Process, int]]:
        """Where a page is mapped, as (process, address in bytes), in the order in which a walk meets it (rmap_walk).
        Raises ValueError where there is no such frame."""
        try:
            found = self._hand.rmap(_frame(pfn))
        except Crash as crash:
            raise KernelBug(violation(crash.kind, crash.a, crash.b, crash.c)) from None
        return [(self._processes[process], address) for process, address in found]

    def migrate(self, pfn: int) -> int:
        """Moves a page to a new frame as compaction does (migrate_pages) and returns the new frame's number.

        A huge page is split first, and since 4.14 goes as a whole. Raises OSError: ENOENT for a free page, EAGAIN where
        the move was given up (somebody holds a reference); ValueError where there is no such frame, and for frame 0,
        which has no rmap."""
        return self._page_call("migrate", pfn)

    def reclaim(self, pfn: int) -> None:
        """Frees a page as kswapd does (shrink_page_list): what it held is in the swap area then, and the next access
        reads it in; what MADV_FREE gave up, and nobody has written to since, is gone.

        Raises OSError: ENOENT for a free page, EAGAIN where it is kept (somebody holds a reference, there is no slot,
        it was written to); ValueError where there is no such frame."""
        self._page_call("reclaim", pfn)

    def split_huge_page(self, pfn: int) -> None:
        """Makes small pages of the huge page that holds frame `pfn` (split_huge_page); nothing where it is a small one.

        Raises OSError EAGAIN where nothing maps it or, since 4.5, somebody else uses it; ValueError where there is no
        such frame."""
        self._page_call("split", pfn)

    def deferred_split(self) -> int:
        """Splits the huge pages of which only a part is still mapped, as the shrinker does (deferred_split_scan, 4.5).

        Returns how many; 0 under older rules."""
        return self._call("deferred_split", 0, ())

    def referenced(self, pfn: int) -> int:
        """How many ptes page_referenced() finds that show the page."""
        return self._page_call("referenced", pfn)

    def check(self) -> list[Violation]:
        """Every invariant of the reverse map that does not hold (mm/check): empty where all is well."""
        return [violation(*found) for found in self._hand.check()]

    def fail_allocations(self, *nth: int, kinds: Iterable[str] = ()) -> None:
        """From now on the nth allocations of the kernel fail, counted from 1 for the next one; none, if none is given.

        What is allocated: failing.ALLOCATIONS. kinds: an nth one of another kind does not fail. A call that meets such
        an allocation raises OSError ENOMEM and undoes what it did, as far as the kernel does; some go on without.

        >>> m = Machine()
        >>> p = m.process()
        >>> m.fail_allocations(2)
        >>> at = p.mmap(1)
        >>> p.write(at, 7)
        Traceback (most recent call last):
        ...
        OSError: [Errno 12] Cannot allocate memory
        >>> p.write(at, 7), m.allocations, m.check()
        (None, (5, 1), [])
        """
        self._hand.fail(Failing(kinds=tuple(kinds), allocations=tuple((0, n) for n in sorted(nth))))

    @property
    def allocations(self) -> tuple[int, int]:
        """How many allocations were asked for, and how many of these failed, since the last fail_allocations()."""
        asked, failed = self._hand.allocations
        return asked, failed

    def live_objects(self) -> int:
        """Objects of the kernel that are allocated and not freed: those of the machine itself, one address space per
        process, and whatever the processes have (vmas, anon_vmas, their chains, page tables)."""
        return int(self._hand.live_objects())

    def _page_call(self, verb: str, pfn: int) -> int:
        self._hand.page(_frame(pfn))
        if not self._processes:
            raise ValueError(f"no page frame {pfn}")
        return self._call(verb, 0, (0,), pfn)

    def _call(
        self, verb: str, process: int, args: tuple[int, ...], pfn: int = 0, status: list[int] | None = None
    ) -> int:
        """A system call: its result. Raises OSError with the kernel's errno, KernelBug where a rule was broken."""
        try:
            result = int(self._hand.call(verb, process, args, pfn, status))
        except Crash as crash:
            raise KernelBug(violation(crash.kind, crash.a, crash.b, crash.c)) from None
        if result < 0:
            why = None if pfn else reason_of(verb, args, -result)
            errno = errno_of(-result)
            raise OSError(errno, why or os.strerror(errno))
        return result


def _frame(pfn: int) -> int:
    if not 0 <= pfn < 1 << 32:
        raise ValueError(f"no page frame {pfn}")
    return pfn
