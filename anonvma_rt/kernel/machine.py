"""Machine: the simulated kernel driven by hand, one call at a time.

What a scenario lets tasks do at the same time, a Machine does one after the other, from Python, a REPL or a notebook:
map, touch, fork, move, migrate, and look at vmas, page tables, pages and the reverse map after every step. Addresses
are ints in bytes, lengths are pages of 4096 bytes.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from errno import E2BIG, EINVAL, ENOMEM, ESRCH

from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.reasons import CHECKS, errno_of, reason_of
from anonvma_rt.mm.lab.hand import Crash, Hand
from anonvma_rt.mm.lab.syscall import rights
from anonvma_rt.text.expression import PAGE

__all__ = ["KernelBug", "Machine", "Page", "Process", "Pte", "Violation", "Vma"]

MOST_PAGES = 1 << 40  # a length above it cannot be one of this address space, and is not worth a wrap-around
MOST_BYTES = 1 << 63
MOST_STATUS = 1 << 20  # pages of one move_pages: the status of each is told
VM_WRITE, VM_ACCOUNT, VM_READ, VM_NORESERVE = 1, 8, 16, 32


@dataclass(frozen=True)
class Vma:
    """One vm_area_struct: [start, end) in bytes, pgoff in pages.

    faulted: it has an anon_vma. chain_length: how many anon_vmas its pages may belong to; one more for every fork.
    charged: it is writable or was once (VM_ACCOUNT), which /proc/PID/maps hides; with one that is not it never merges.
    noreserve: it is never charged (MAP_NORESERVE), which hinders merges as well. prot: "none", "read" or "write".
    """

    start: int
    end: int
    pgoff: int
    writable: bool
    faulted: bool
    chain_length: int
    charged: bool
    noreserve: bool = False
    prot: str = "read"

    @property
    def pages(self) -> int:
        return (self.end - self.start) // PAGE

    def __repr__(self) -> str:
        rights = {"write": "rw", "read": "r-", "none": "--"}[self.prot]
        if self.charged and not self.writable:
            rights += " charged"
        if self.noreserve:
            rights += " noreserve"
        chain = f"chain {self.chain_length}" if self.faulted else "unfaulted"
        return f"Vma({self.start:#x}-{self.end:#x} {rights} pgoff={self.pgoff:#x} {self.pages} pages, {chain})"


@dataclass(frozen=True)
class Pte:
    """A page-table entry. state: "none", "present", "migration", or "huge" (a huge pmd; pfn is that of the small page
    inside). pfn 0 with "present" is the zero page."""

    state: str
    pfn: int
    writable: bool


@dataclass(frozen=True)
class Page:
    """The counters of a page frame. mapcount: the number of present ptes (huge: pmds). refcount: that, and every other
    user. index: in the space of vm_pgoff. locked: PG_locked."""

    mapcount: int
    refcount: int
    index: int
    locked: bool


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold. kind: as in a hunt; text: where and what, in words."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class KernelBug(RuntimeError):
    """The simulated kernel broke one of its own rules in a call (its BUG(), a use after free, a deadlock).

    `violation` says which. The machine stands still from then on: it can be looked at, and every further call raises
    the same error."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


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
    def processes(self) -> "list[Process]":
        """Those that have not exited, oldest first."""
        return [process for process in self._processes if not process.exited]

    def process(self) -> "Process":
        """A new process without mappings."""
        try:
            made = Process(self, self._hand.process())
        except Crash as crash:
            raise KernelBug(_violation(crash.kind, crash.a, crash.b, crash.c)) from None
        self._processes.append(made)
        return made

    def page(self, pfn: int) -> Page:
        """The counters of page frame `pfn`. Raises ValueError where there is no such frame."""
        found = self._hand.page(_frame(pfn))
        return Page(found["mapcount"], found["refcount"], found["index"], found["locked"])

    def rmap(self, pfn: int) -> "list[tuple[Process, int]]":
        """Where a page is mapped, as (process, address in bytes), in the order in which a walk meets it (rmap_walk).
        Raises ValueError where there is no such frame."""
        try:
            found = self._hand.rmap(_frame(pfn))
        except Crash as crash:
            raise KernelBug(_violation(crash.kind, crash.a, crash.b, crash.c)) from None
        return [(self._processes[process], address) for process, address in found]

    def migrate(self, pfn: int) -> int:
        """Moves a page to a new frame as compaction does (migrate_pages) and returns the new frame's number.

        A huge page is split first. Raises OSError: ENOENT for a free page, EAGAIN where the move was given up (somebody
        holds a reference); ValueError where there is no such frame, and for frame 0, which has no rmap."""
        return self._page_call("migrate", pfn)

    def split_huge_page(self, pfn: int) -> None:
        """Makes small pages of the huge page that holds frame `pfn` (split_huge_page); nothing where it is a small one.

        Raises OSError EAGAIN where nothing maps it; ValueError where there is no such frame."""
        self._page_call("split", pfn)

    def referenced(self, pfn: int) -> int:
        """How many ptes page_referenced() finds that show the page."""
        return self._page_call("referenced", pfn)

    def check(self) -> list[Violation]:
        """Every invariant of the reverse map that does not hold (mm/check): empty where all is well."""
        return [_violation(*found) for found in self._hand.check()]

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
            raise KernelBug(_violation(crash.kind, crash.a, crash.b, crash.c)) from None
        if result < 0:
            why = None if pfn else reason_of(verb, args, -result)
            errno = errno_of(-result)
            raise OSError(errno, why or os.strerror(errno))
        return result


class Process:
    """An address space of a Machine; made by Machine.process() and by fork(). `pid` counts from 0."""

    def __init__(self, machine: Machine, pid: int) -> None:
        self.machine, self.pid, self.exited = machine, pid, False

    def __repr__(self) -> str:
        if self.exited:
            return f"<Process {self.pid}: exited>"
        vmas = self.maps()
        return f"<Process {self.pid}: {len(vmas)} vmas, {sum(vma.pages for vma in vmas)} pages>"

    # ---- system calls ----------------------------------------------------------------------------------------------

    def mmap(
        self, pages: int, at: int | None = None, writable: bool = True, huge: bool = False, grows_down: bool = False,
        prot: str | None = None, noreserve: bool = False,
    ) -> int:  # fmt: skip
        """Private anonymous memory (do_mmap_pgoff): its address in bytes.

        at: exactly there, and what is there goes away (MAP_FIXED); None: the highest gap that fits (since 6.7 where
        huge pages can begin). huge: faults in it may get huge pages (MADV_HUGEPAGE). grows_down: a fault below makes it
        grow, as a stack (MAP_GROWSDOWN), up to 8 MiB and no nearer than 256 pages to what is below; its pages are
        small. prot: "none", "read" or "write", in the place of writable. noreserve: never charged (MAP_NORESERVE).
        Raises OSError: EINVAL (unaligned address, no length), ENOMEM (beyond 2**39 bytes, too many vmas)."""
        start = -1 if at is None else _address(at)
        how = huge, False, grows_down, noreserve
        return self._call("mmap", start, _pages(pages), rights(writable, prot), *map(int, how))

    def munmap(self, addr: int, pages: int) -> None:
        """Unmaps a range (do_munmap); holes in it are no error. Raises OSError: EINVAL (unaligned, no length, outside),
        ENOMEM (too many vmas)."""
        self._call("munmap", _address(addr), _pages(pages))

    def mprotect(self, addr: int, pages: int, writable: bool | None = None, prot: str | None = None) -> None:
        """Gives or takes the right to write, or both rights: prot "none", "read" or "write" (sys_mprotect). Raises
        OSError: EINVAL (unaligned), ENOMEM (not all of it is mapped: what lies before the hole is changed)."""
        self._call("mprotect", _address(addr), _pages(pages), rights(writable, prot))

    def dontneed(self, addr: int, pages: int) -> None:
        """Throws the pages of a range away; its vmas stay, and the next access finds a fresh page (madvise with
        MADV_DONTNEED, under mmap_sem for reading). Raises OSError: EINVAL (unaligned), ENOMEM (some of it is not
        mapped; the rest is done)."""
        self._call("dontneed", _address(addr), _pages(pages))

    def brk(self, addr: int, pages: int) -> int:
        """Lets the heap that ends at addr grow by so many pages (do_brk): its new end. Raises OSError: EINVAL
        (unaligned, no length), ENOMEM (something is in the way)."""
        return self._call("brk", _address(addr), _pages(pages))

    def mremap(
        self, addr: int, old_pages: int, new_pages: int, to: int | None = None, maymove: bool = True,
        dontunmap: bool = False,
    ) -> int:  # fmt: skip
        """Shrinks, grows or moves a mapping (sys_mremap): its address.

        to: MREMAP_FIXED; what is there goes away. dontunmap: the old range stays, empty (MREMAP_DONTUNMAP).
        Raises OSError: EINVAL (unaligned, no new length, FIXED without MAYMOVE, overlap), EFAULT
        (the range is not inside one vma), ENOMEM (no room to grow, no page table, too many vmas)."""
        target = -1 if to is None else _address(to)
        return self._call(
            "mremap", _address(addr), _pages(old_pages), _pages(new_pages), target, int(maymove), int(dontunmap)
        )

    def fork(self) -> "Process":
        """A copy of the process that shares its pages until one of the two writes (dup_mmap, copy_page_range)."""
        self._must_live()
        child = self.machine.process()
        self._call("fork", child.pid)
        return child

    def exit(self) -> None:
        """Ends the process (exit_mmap). Every later call raises ProcessLookupError (ESRCH)."""
        self._call("exit")
        self.exited = True

    def move_pages(self, addr: int, pages: int = 1) -> list[int]:
        """Migrates the pages of a range (the system call move_pages). Returns, of each page, 0 or the errno that its
        status says: EFAULT (outside every mapping; the zero page, but ENOENT up to 4.2), ENOENT (no page is there)."""
        if pages > MOST_STATUS:
            raise OSError(E2BIG, f"{pages} pages are too many for one call")
        status = [0] * _pages(pages)
        self._call("move_pages", _address(addr), len(status), status=status)
        return [-one for one in status]

    def uffd_move(self, addr: int, to: int) -> None:
        """Moves one page to an empty place of another vma (UFFDIO_MOVE). Raises OSError: EINVAL (unaligned, not both
        writable), ENOENT (no mapping or no page there), EEXIST (the place has a page), EBUSY (the page is shared)."""
        self._call("uffd_move", _address(addr), _address(to))

    # ---- accesses --------------------------------------------------------------------------------------------------

    def touch(self, addr: int, pages: int = 1, write: bool = True) -> None:
        """Accesses every page of a range as the CPU does: faults where needed, and changes no content.

        Raises OSError EFAULT outside every mapping, and without the right to it."""
        at = _address(addr) & -PAGE
        if write:
            self._call("touch", at, _pages(pages), -1)
        else:
            self._call("read", at, _pages(pages))

    def read(self, addr: int) -> int:
        """The content of the page at addr: the tag that was written to it, 0 for a page never written. Raises OSError
        EFAULT outside every mapping."""
        return self._call("read", _address(addr) & -PAGE, 1)

    def write(self, addr: int, tag: int) -> None:
        """Writes a content tag, 0 to 2**31 - 1, to the page at addr. Raises OSError EFAULT outside every mapping and
        without the right to write; ValueError for another tag."""
        if not 0 <= tag < 1 << 31:
            raise ValueError(f"a tag is from 0 to 2**31 - 1, not {tag}")
        self._call("touch", _address(addr) & -PAGE, 1, tag)

    # ---- looking ---------------------------------------------------------------------------------------------------

    def maps(self) -> list[Vma]:
        """The vmas by address, as /proc/PID/maps has them, with what it does not show."""
        self._must_live()
        return [
            Vma(
                start=vma["start"],
                end=vma["end"],
                pgoff=vma["pgoff"],
                writable=bool(vma["flags"] & VM_WRITE),
                faulted=vma["anon_vma"] is not None,
                chain_length=len(vma["chain"]),
                charged=bool(vma["flags"] & VM_ACCOUNT),
                noreserve=bool(vma["flags"] & VM_NORESERVE),
                prot="write" if vma["flags"] & VM_WRITE else "read" if vma["flags"] & VM_READ else "none",
            )
            for vma in self.machine._hand.maps(self.pid)
        ]

    def pte(self, addr: int) -> Pte:
        """The page-table entry for an address; state "none" where there is no page table."""
        self._must_live()
        return Pte(*self.machine._hand.pte(_address(addr), self.pid))

    # ----------------------------------------------------------------------------------------------------------------

    def _must_live(self) -> None:
        if self.exited:
            raise ProcessLookupError(ESRCH, f"process {self.pid} has exited")

    def _call(self, verb: str, *args: int, status: list[int] | None = None) -> int:
        self._must_live()
        return self.machine._call(verb, self.pid, args, status=status)


def _address(value: int) -> int:
    if not 0 <= value < MOST_BYTES:
        raise OSError(EINVAL, f"{value:#x} is no address")
    return value


def _pages(value: int) -> int:
    if value < 0:
        raise OSError(EINVAL, f"{value} is no number of pages")
    if value > MOST_PAGES:
        raise OSError(ENOMEM, f"{value} pages are more than any address space has")
    return value


def _frame(pfn: int) -> int:
    if not 0 <= pfn < 1 << 32:
        raise ValueError(f"no page frame {pfn}")
    return pfn


def _violation(kind: str, a: int, b: int, c: int) -> Violation:
    return Violation(kind, CHECKS.get(kind, "({a}, {b}, {c})").format(a=a, b=b, c=c))
