"""A process of a Machine: its system calls, its accesses, and what its page tables hold."""

from errno import E2BIG, EINVAL, ENOMEM, ESRCH
from typing import TYPE_CHECKING

from anonvma_rt.kernel.machine.shown import Pte, Vma
from anonvma_rt.mm.lab.syscall import rights
from anonvma_rt.text.expression import PAGE

if TYPE_CHECKING:
    from anonvma_rt.kernel.machine.machine import Machine

__all__ = ["Process"]

MOST_PAGES = 1 << 40  # a length above it cannot be one of this address space, and is not worth a wrap-around
MOST_BYTES = 1 << 63
ORDERS = range(2, 9)  # of folios
MOST_STATUS = 1 << 20  # pages of one move_pages: the status of each is told
VM_WRITE, VM_ACCOUNT, VM_READ, VM_NORESERVE = 1, 8, 16, 32


class Process:
    """An address space of a Machine; made by Machine.process() and by fork(). `pid` counts from 0."""

    def __init__(self, machine: "Machine", pid: int) -> None:
        self.machine, self.pid, self.exited = machine, pid, False

    def __repr__(self) -> str:
        if self.exited:
            return f"<Process {self.pid}: exited>"
        vmas = self.maps()
        return f"<Process {self.pid}: {len(vmas)} vmas, {sum(vma.pages for vma in vmas)} pages>"

    # ---- system calls ----------------------------------------------------------------------------------------------

    def mmap(
        self, pages: int, at: int | None = None, writable: bool = True, huge: bool | int = False,
        grows_down: bool = False, prot: str | None = None, noreserve: bool = False,
    ) -> int:  # fmt: skip
        """Private anonymous memory (do_mmap_pgoff): its address in bytes.

        at: exactly there, and what is there goes away (MAP_FIXED); None: the highest gap that fits (since 6.7 where
        huge pages can begin). huge: faults in it may get huge pages (MADV_HUGEPAGE), or, of an order from 2 to 8,
        folios of 2**huge pages (mTHP, 6.8). grows_down: a fault below makes it grow, as a stack (MAP_GROWSDOWN), up to
        8 MiB and no nearer than 256 pages to what is below; its pages are small. prot: "none", "read" or "write", in
        the place of writable. noreserve: never charged (MAP_NORESERVE).
        Raises OSError: EINVAL (unaligned address, no length), ENOMEM (beyond 2**39 bytes, too many vmas);
        ValueError for another huge."""
        start = -1 if at is None else _address(at)
        how = _order(huge), False, grows_down, noreserve
        return self._call("mmap", start, _pages(pages), rights(writable, prot), *map(int, how))

    def mmap_file(self, pages: int, at: int | None = None, writable: bool = True, prot: str | None = None) -> int:
        """A private mapping of the file that there is, as mmap(): what is read is the file's (0 everywhere) until it is
        written to. Its offset in the file is its address."""
        return self._call("mmap_file", -1 if at is None else _address(at), _pages(pages), rights(writable, prot))

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

    def collapse(self, addr: int) -> None:
        """Makes a huge page of the small ones around addr, as khugepaged does (collapse_huge_page), and since 6.1
        madvise(MADV_COLLAPSE). Raises OSError: EINVAL (no vma wants a huge page there, or none of the pages is written
        to), EAGAIN (a page is locked, isolated, pinned or shared), ENOMEM."""
        self._call("collapse", _address(addr))

    def free(self, addr: int, pages: int) -> None:
        """Lets reclaim drop the pages of a range as long as nobody writes to them (madvise with MADV_FREE); what was
        swapped out goes at once. Raises OSError: EINVAL (unaligned), ENOMEM (some of it is not mapped)."""
        self._call("free", _address(addr), _pages(pages))

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

    def uffd_move(self, addr: int, to: int, pages: int = 1) -> None:
        """Moves pages to an empty place of another vma (UFFDIO_MOVE); a huge page moves as a whole where it can. Raises
        OSError: EINVAL (unaligned, not both writable, beyond the end of one), ENOENT (no mapping or no page there),
        EEXIST (the place has a page), EBUSY (a page is shared), EAGAIN (some moved, and then one did not)."""
        self._call("uffd_move", _address(addr), _address(to), _pages(pages))

    # ---- references that outlive the look --------------------------------------------------------------------------

    def pin(self, addr: int, writable: bool = True, fast: bool = False) -> None:
        """Pins the page at addr for a device (pin_user_pages), so that the address shows it as long as it is mapped.
        fast: without mmap_sem, if that goes. Raises OSError EFAULT outside every mapping and without the right to
        it."""
        self._call("pin", _address(addr), int(writable), int(fast))

    def get(self, addr: int, writable: bool = False, fast: bool = False) -> None:
        """Takes a plain reference, as vmsplice does (get_user_pages). Raises OSError EFAULT as above."""
        self._call("get", _address(addr), int(writable), int(fast))

    def unpin(self, addr: int) -> None:
        """Gives back what pin() or get() took of that address. Raises OSError ENOENT where there is none."""
        self._call("unpin", _address(addr))

    def dma(self, addr: int, tag: int) -> None:
        """A device writes a content tag to the page that is pinned under that address, wherever it is mapped by now.
        Raises OSError ENOENT where there is none."""
        self._call("dma", _address(addr), tag)

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


def _order(huge: bool | int) -> int:
    if huge not in (False, True, *ORDERS):
        raise ValueError(f"huge is True, False or an order from {ORDERS[0]} to {ORDERS[-1]}, not {huge!r}")
    return int(huge)


def _pages(value: int) -> int:
    if value < 0:
        raise OSError(EINVAL, f"{value} is no number of pages")
    if value > MOST_PAGES:
        raise OSError(ENOMEM, f"{value} pages are more than any address space has")
    return value
