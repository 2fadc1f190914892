"""The recording itself: its processes, its threads, and the text that comes of them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from anonvma_rt.errors import ScenarioError, quote
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.machine import KernelBug, Machine, Process
from anonvma_rt.kernel.recording.recorded import Errnos, RecordedProcess, Step, Value
from anonvma_rt.kernel.scenario import Call, Scenario
from anonvma_rt.kernel.scenario_file import VERBS
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.toml import as_toml

__all__ = ["RecordedProcess", "Recording", "rehearse"]

COMMENT = "#"  # the key of a step that is no key of a file


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

    def process(self, name: str | None = None) -> RecordedProcess:
        """A new process without mappings. They are made before the threads begin; fork() makes more."""
        if not self.happens:
            raise ScenarioError("recording: a process is made before the first thread (fork may make one in a thread)")
        return self._process(self.machine.process(), name)

    def _process(self, made: Process, name: str | None = None) -> RecordedProcess:
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
