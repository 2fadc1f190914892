"""A process of a Recording: each call happens now, in the setup, or is written down for a thread."""

from collections.abc import Callable, Sequence
from errno import errorcode
from typing import TYPE_CHECKING, TypeVar

from anonvma_rt.errors import ScenarioError
from anonvma_rt.kernel.machine import Process, Pte, Vma
from anonvma_rt.mm.lab.syscall import rights
from anonvma_rt.text.expression import PAGE

if TYPE_CHECKING:
    from anonvma_rt.kernel.recording.recording import Recording

__all__ = ["Errnos", "RecordedProcess", "Step", "Value"]

Errnos = str | Sequence[str]
Value = int | bool | Errnos
Step = dict[str, Value]
T = TypeVar("T")


class RecordedProcess:
    """A process of a Recording: the calls of machine.Process, and those that there begin at a page and here at an
    address. In a thread a call returns what it would return if nothing went wrong, and needs to know where it goes.

    errnos: what a call may return where that is not only success: a name as "EFAULT", or several of which each is right
    and "" is success. A call of the setup that returns another one raises OSError, or ScenarioError for a success.

    >>> from anonvma_rt import Recording
    >>> r = Recording("munmap-vs-touch")
    >>> p = r.process()
    >>> at = p.mmap(pages=2)
    >>> with r.thread("munmap"):
    ...     p.munmap(at, 2)
    >>> with r.thread("touch"):
    ...     p.touch(at, 2, errnos=["", "EFAULT"])
    >>> from anonvma_rt import verify
    >>> verify(r.scenario(), algorithms=["modern"]).results[0].verdict
    'VERIFIED under SC (complete, 3 classes)'
    """

    def __init__(self, recording: "Recording", process: Process, name: str) -> None:
        self.recording, self.process, self.name = recording, process, name

    def __repr__(self) -> str:
        return f"<RecordedProcess {self.name}>"

    def _record(self, verb: str, errnos: Errnos, **values: Value) -> None:
        self.recording.record(verb, self.name, values, errnos)

    def _now(self, errnos: Errnos, call: Callable[[Process], T]) -> T | None:
        """What the call returns where it is made at once; None in a thread, and where it fails as it may."""
        if not self.recording.happens:
            return None
        right = (errnos,) if isinstance(errnos, str) else tuple(errnos)
        try:
            result = call(self.process)
        except OSError as error:
            if errorcode.get(error.errno or 0) in right:
                return None
            raise
        if "" not in right:
            raise ScenarioError(f"recording: {' or '.join(right)} was expected, and the call succeeded")
        return result

    # ---- system calls ----------------------------------------------------------------------------------------------

    def mmap(
        self, pages: int, at: int | None = None, writable: bool = True, huge: bool | int = False,
        grows_down: bool = False, errnos: Errnos = "", prot: str | None = None, noreserve: bool = False,
    ) -> int:  # fmt: skip
        made = self._now(errnos, lambda process: process.mmap(pages, at, writable, huge, grows_down, prot, noreserve))
        at = _known(at if made is None else made, "mmap", "at")
        more: Step = {"noreserve": True} if noreserve else {}
        how = {**_rights(writable, prot), "huge": huge, "grows_down": grows_down, **more}
        self._record("mmap", errnos, at=at, pages=pages, **how)
        return at

    def mmap_file(
        self, pages: int, at: int | None = None, writable: bool = True, errnos: Errnos = "", prot: str | None = None
    ) -> int:
        made = self._now(errnos, lambda process: process.mmap_file(pages, at, writable, prot))
        at = _known(at if made is None else made, "mmap_file", "at")
        self._record("mmap_file", errnos, at=at, pages=pages, **_rights(writable, prot))
        return at

    def munmap(self, addr: int, pages: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.munmap(addr, pages))
        self._record("munmap", errnos, at=addr, pages=pages)

    def mprotect(
        self, addr: int, pages: int, writable: bool | None = None, errnos: Errnos = "", prot: str | None = None
    ) -> None:
        self._now(errnos, lambda process: process.mprotect(addr, pages, writable, prot))
        self._record("mprotect", errnos, at=addr, pages=pages, **_rights(writable, prot))

    def dontneed(self, addr: int, pages: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.dontneed(addr, pages))
        self._record("dontneed", errnos, at=addr, pages=pages)

    def collapse(self, addr: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.collapse(addr))
        self._record("collapse", errnos, at=addr)

    def free(self, addr: int, pages: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.free(addr, pages))
        self._record("free", errnos, at=addr, pages=pages)

    def deferred_split(self) -> None:
        self._now("", lambda process: self.recording.machine.deferred_split())
        self._record("deferred_split", "")

    def brk(self, addr: int, pages: int, errnos: Errnos = "") -> int:
        end = self._now(errnos, lambda process: process.brk(addr, pages))
        self._record("brk", errnos, at=addr, pages=pages)
        return addr + pages * PAGE if end is None else end

    def mremap(
        self, addr: int, old_pages: int, new_pages: int, to: int | None = None, maymove: bool = True,
        dontunmap: bool = False, errnos: Errnos = "",
    ) -> int:  # fmt: skip
        values: Step = {"from": addr, "pages": old_pages, "new_pages": new_pages, "maymove": maymove}
        if to is not None:
            values["to"] = to
        if dontunmap:
            values["dontunmap"] = True
        moved = self._now(errnos, lambda process: process.mremap(addr, old_pages, new_pages, to, maymove, dontunmap))
        if moved is None:
            moved = addr if to is None and new_pages <= old_pages else to
        self._record("mremap", errnos, **values)
        return _known(moved, "mremap", "to")

    def fork(self, errnos: Errnos = "") -> "RecordedProcess":
        recording = self.recording
        made = self._now(errnos, lambda process: process.fork())
        child = recording._process(made or recording.machine.process())
        self._record("fork", errnos, child=child.name)
        return child

    def exit(self) -> None:
        self._now("", lambda process: process.exit())
        self._record("exit", "")

    def move_pages(self, addr: int, pages: int = 1, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.move_pages(addr, pages))
        self._record("move_pages", errnos, at=addr, pages=pages)

    def uffd_move(self, addr: int, to: int, pages: int = 1, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.uffd_move(addr, to, pages))
        self._record("uffd_move", errnos, **{"from": addr, "to": to, "pages": pages})

    # ---- references that outlive the look --------------------------------------------------------------------------

    def pin(self, addr: int, writable: bool = True, fast: bool = False, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.pin(addr, writable, fast))
        self._record("pin", errnos, at=addr, writable=writable, fast=fast)

    def get(self, addr: int, writable: bool = False, fast: bool = False, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.get(addr, writable, fast))
        self._record("get", errnos, at=addr, writable=writable, fast=fast)

    def unpin(self, addr: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.unpin(addr))
        self._record("unpin", errnos, at=addr)

    def dma(self, addr: int, tag: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.dma(addr, tag))
        self._record("dma", errnos, at=addr, tag=tag)

    # ---- accesses --------------------------------------------------------------------------------------------------

    def touch(self, addr: int, pages: int = 1, write: bool = True, tag: int = 1, errnos: Errnos = "") -> None:
        """As that of a Process, but a write gives every page the content `tag`."""
        if write:
            self._now(errnos, lambda process: _write(process, addr, pages, tag))
            self._record("touch", errnos, at=addr, pages=pages, tag=tag)
        else:
            self._now(errnos, lambda process: process.touch(addr, pages, write=False))
            self._record("read", errnos, at=addr, pages=pages)

    def write(self, addr: int, tag: int, errnos: Errnos = "") -> None:
        self.touch(addr, 1, tag=tag, errnos=errnos)

    def read(self, addr: int, errnos: Errnos = "") -> int | None:
        """The content in the setup; None in a thread."""
        content = self._now(errnos, lambda process: process.read(addr))
        self._record("read", errnos, at=addr, pages=1)
        return content

    # ---- pages, by an address that shows them ----------------------------------------------------------------------

    def migrate(self, addr: int, fail_copy: bool = False) -> None:
        """migrate_pages() of the page that is there when the threads begin. fail_copy: the old page is put back."""
        if not fail_copy:
            self._now("", lambda process: self.recording.machine.migrate(self._frame(addr)))
        self._record("migrate", "", at=addr, fail_copy=fail_copy)

    def split_huge_page(self, addr: int) -> None:
        self._now("", lambda process: self.recording.machine.split_huge_page(self._frame(addr)))
        self._record("split", "", at=addr)

    def referenced(self, addr: int) -> None:
        self._now("", lambda process: self.recording.machine.referenced(self._frame(addr)))
        self._record("referenced", "", at=addr)

    def reclaim(self, addr: int) -> None:
        """kswapd frees the page that is there when the threads begin; where none is, that which is there by then."""
        self._now("", lambda process: self.recording.machine.reclaim(self._frame(addr)))
        self._record("reclaim", "", at=addr)

    def compare(self, a: int, b: int, pages: int, errnos: Errnos = "") -> None:
        """A violation (lost-page) unless both ranges have the same contents."""
        self._record("compare", errnos, a=a, b=b, pages=pages)

    def vmas(self, addr: int, pages: int, count: int) -> None:
        """A violation (wrong-merge) unless so many vmas are in the range."""
        self._record("vmas", "", at=addr, pages=pages, count=count)

    # ---- looking, during the setup ---------------------------------------------------------------------------------

    def maps(self) -> list[Vma]:
        """The vmas as the setup has left them so far."""
        return self.process.maps()

    def pte(self, addr: int) -> Pte:
        """The page-table entry for an address as the setup has left it so far."""
        return self.process.pte(addr)

    def _frame(self, addr: int) -> int:
        pte = self.process.pte(addr)
        if pte.state not in ("present", "huge"):
            raise ScenarioError(f"recording: there is no page at {addr:#x} of process {self.name}")
        return pte.pfn


def _write(process: Process, addr: int, pages: int, tag: int) -> None:
    for page in range(pages):
        process.write(addr + page * PAGE, tag)


def _rights(writable: bool | None, prot: str | None) -> Step:
    rights(writable, prot)
    return {"writable": bool(writable)} if prot is None else {"prot": prot}


def _known(address: int | None, call: str, argument: str) -> int:
    if address is None:
        raise ScenarioError(f"recording: {call} in a thread: say {argument}, nobody knows yet where there will be room")
    return address
