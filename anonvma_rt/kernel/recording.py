"""A scenario written in Python, with the calls of a Machine: the setup happens at once, the threads are written down.

Everything before the first thread is done by a real Machine, so addresses are known, mistakes raise where they are
made, and the state can be looked at. What stands in a thread (or in `after`) is only recorded, for the lab decides
when it happens. The result is a TOML text like any other, so a reproducer of it needs no Python.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import errorcode
from typing import TypeVar

from anonvma_rt.errors import ScenarioError, quote
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.machine import KernelBug, Machine, Process, Pte, Vma
from anonvma_rt.kernel.scenario import Call, Scenario
from anonvma_rt.kernel.scenario_file import VERBS
from anonvma_rt.mm.lab.syscall import rights
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.expression import PAGE
from anonvma_rt.text.toml import as_toml

__all__ = ["RecordedProcess", "Recording", "rehearse"]

Errnos = str | Sequence[str]
Value = int | bool | Errnos
Step = dict[str, Value]
COMMENT = "#"  # the key of a step that is no key of a file
T = TypeVar("T")


class Recording:
    """The beginning of a scenario called `name`. algorithm: that of the machine that does the setup.

    >>> r = Recording("round-trip")
    >>> p = r.process()
    >>> at = p.mmap(pages=12, at=1 << 30)
    >>> p.touch(at, 12)
    >>> away = p.mremap(at + 4 * 4096, 4, 4, to=2 << 30)
    >>> with r.thread("mremap"):
    ...     _ = p.mremap(away, 4, 4, to=at + 4 * 4096)
    >>> with r.thread("migrate"):
    ...     p.migrate(away)
    >>> scenario = r.scenario(expect={"unpatched": "stale-migration-entry", "moveto-tail": "none"})
    >>> from anonvma_rt import hunt
    >>> hunt(scenario, runs=2000).as_expected
    True
    """

    def __init__(
        self, name: str, about: str = "recorded in Python", algorithm: Algorithm | str = "moveto-tail"
    ) -> None:
        self.name, self.about = name, about
        self.machine = Machine(algorithm)
        self._processes: list[str] = []
        self._parameters: dict[str, Step] = {}
        self._setup: list[Step] = []
        self._threads: dict[str, list[Step]] = {}
        self._after: list[Step] = []
        self._steps = self._setup
        self._failing: Step = {}

    @property
    def happens(self) -> bool:
        """Whether a call is made at once: it is part of the setup."""
        return self._steps is self._setup

    def process(self, name: str | None = None) -> "RecordedProcess":
        """A new process without mappings. They are made before the threads begin; fork() makes more."""
        if not self.happens:
            raise ScenarioError("recording: a process is made before the first thread (fork may make one in a thread)")
        return self._process(self.machine.process(), name)

    def _process(self, made: Process, name: str | None = None) -> "RecordedProcess":
        name = name or ("main" if not self._processes else f"process{len(self._processes)}")
        if name in self._processes:
            raise ScenarioError(f"recording: there are two processes of the name {quote(name)}")
        self._processes.append(name)
        return RecordedProcess(self, made, name)

    @contextmanager
    def thread(self, name: str) -> Iterator[None]:
        """What is called inside is what the task `name` does, in that order; a second time goes on where it ended."""
        yield from self._within(self._threads.setdefault(name, []), f"thread {quote(name)}")

    @contextmanager
    def after(self) -> Iterator[None]:
        """What is called inside runs alone, after all threads."""
        yield from self._within(self._after, "after")

    @contextmanager
    def failing(self, after: int, kind: str = "table", errnos: Errnos = "ENOMEM") -> Iterator[None]:
        """In a thread: each call inside gets `after` allocations of that kind, is denied the next, and returns `errnos`
        (as for RecordedProcess).

        kind: vma, anon_vma, anon_vma_chain, page or table. In the setup the machine's fail_allocations() does it.
        """
        if self.happens:
            raise ScenarioError("recording: failing() belongs in a thread")
        self._failing = {"fail": kind, "fail_after": after, "errno": errnos}
        try:
            yield
        finally:
            self._failing = {}

    def _within(self, steps: list[Step], what: str) -> Iterator[None]:
        if not self.happens:
            raise ScenarioError(f"recording: {what} is inside another thread")
        self._steps = steps
        try:
            yield
        finally:
            self._steps = self._setup

    def parameter(self, name: str, default: int, most: int, about: str) -> None:
        """A parameter from 0 to `most`, which values of record() may name in expressions."""
        self._parameters[name] = {"default": default, "min": 0, "max": most, "about": about}

    def record(
        self, verb: str, process: str, values: Mapping[str, Value], errnos: Errnos = "", comment: str = ""
    ) -> None:
        """Adds a step, which is not made: a verb of scenario files with its keys; an address may be an expression.
        Where there is a thread, the setup is over. comment: stands behind the step in the file."""
        if self.happens and (self._threads or self._after):
            raise ScenarioError(f"recording: {verb} comes after a thread: the setup is over, say in which thread it is")
        right: Step = {"errno": errnos} if errnos else {}
        told: Step = {COMMENT: comment} if comment else {}
        self._steps.append({"do": verb, "process": process, **values, **self._failing, **right, **told})

    def scenario(self, expect: Mapping[str, Expected] | None = None, strategy: str = "") -> Scenario:
        """The scenario. expect: for algorithms, by name ("*": every other preset), a kind of violation, several of
        which any may come, or "none".

        Raises ScenarioError, for what would be wrong in a file.
        """
        return Scenario.from_text(self.toml(expect, strategy), self.name)

    def toml(self, expect: Mapping[str, Expected] | None = None, strategy: str = "") -> str:
        """The same as the text of a file."""
        head = {"name": self.name, "about": self.about, "processes": self._processes, "strategy": strategy}
        lines = [f"{key} = {as_toml(value)}" for key, value in head.items() if value or key != "strategy"]
        lines += [f"parameters.{name} = {_table(told)}" for name, told in self._parameters.items()]
        lines += ["setup = [", *map(_line, self._setup), "]"]
        for name, steps in self._threads.items():
            lines += ["", "[[thread]]", f"name = {as_toml(name)}"]
            lines += ["steps = [", *map(_line, steps), "]"]
        for step in self._after:
            lines += ["", "[[after]]", *(f"{key} = {as_toml(value)}" for key, value in step.items() if key != COMMENT)]
        if expect:
            lines += ["", "[expect]", *(f"{as_toml(name)} = {as_toml(kind)}" for name, kind in expect.items())]
        return "\n".join(lines) + "\n"


class RecordedProcess:
    """A process of a Recording: the calls of machine.Process, and those that there begin at a page and here at an
    address. In a thread a call returns what it would return if nothing went wrong, and needs to know where it goes.

    errnos: what a call may return where that is not only success: a name as "EFAULT", or several of which each is right
    and "" is success. A call of the setup that returns another one raises OSError, or ScenarioError for a success.

    >>> r = Recording("munmap-vs-touch")
    >>> p = r.process()
    >>> at = p.mmap(pages=2)
    >>> with r.thread("munmap"):
    ...     p.munmap(at, 2)
    >>> with r.thread("touch"):
    ...     p.touch(at, 2, errnos=["", "EFAULT"])
    >>> from anonvma_rt import verify
    >>> verify(r.scenario(), algorithms=["modern"]).results[0].verdict
    'VERIFIED (complete, 3 classes)'
    """

    def __init__(self, recording: Recording, process: Process, name: str) -> None:
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
        self, pages: int, at: int | None = None, writable: bool = True, huge: bool = False, grows_down: bool = False,
        errnos: Errnos = "", prot: str | None = None, noreserve: bool = False,
    ) -> int:  # fmt: skip
        made = self._now(errnos, lambda process: process.mmap(pages, at, writable, huge, grows_down, prot, noreserve))
        at = _known(at if made is None else made, "mmap", "at")
        more: Step = {"noreserve": True} if noreserve else {}
        how = {**_rights(writable, prot), "huge": huge, "grows_down": grows_down, **more}
        self._record("mmap", errnos, at=at, pages=pages, **how)
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

    def uffd_move(self, addr: int, to: int, errnos: Errnos = "") -> None:
        self._now(errnos, lambda process: process.uffd_move(addr, to))
        self._record("uffd_move", errnos, **{"from": addr, "to": to})

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


def _table(step: Step) -> str:
    addresses = {key.name for key in VERBS.get(str(step.get("do")), ()) if key.kind == "address"}
    pairs = (
        f"{key} = {hex(value) if key in addresses and isinstance(value, int) else as_toml(value)}"
        for key, value in step.items()
        if key != COMMENT
    )
    return "{ " + ", ".join(pairs) + " }"


def _line(step: Step) -> str:
    comment = f"  # {step[COMMENT]}" if COMMENT in step else ""
    return f"    {_table(step)},{comment}"


def rehearse(calls: Iterable[Call], machine: Machine) -> list[int]:
    """Makes calls of a bound scenario on a machine that has its processes, one after the other, and returns the errno
    of each. It ends early where the kernel breaks one of its own rules."""
    found: list[int] = []
    for call in calls:
        try:
            machine._call(call.verb, call.process, call.args)
        except OSError as error:
            found.append(error.errno or 0)
        except KernelBug:
            break
        else:
            found.append(0)
    return found
