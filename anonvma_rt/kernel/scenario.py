"""Scenarios: what is set up, which threads then race, and what each algorithm is expected to do about it.

A Scenario is a TOML text with parameters; bind() gives it values and yields a BoundScenario, plain integers that the
simulated kernel executes. The built-in files in scenarios/ show the format, and scenario_file.py checks it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.subject import BuildRefused
from anonvma_rt.errors import AlgorithmError, ScenarioError, UserError
from anonvma_rt.kernel import view
from anonvma_rt.kernel.algorithm import ALIASES, PRESETS, Algorithm
from anonvma_rt.kernel.call import Call, errno_name, explain_refusal, read_calls
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.history import KernelTrace
from anonvma_rt.kernel.reasons import errno_of
from anonvma_rt.kernel.scenario_file import (
    ALL_OTHERS,
    OPERATIONS,
    Document,
    read_document,
)
from anonvma_rt.linux.stated import Stated
from anonvma_rt.linux.table import ROWS
from anonvma_rt.mm.lab.kernel import Kernel, Refused
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.protocols import KnownAtOnce
from anonvma_rt.subjects.scenes import Scenes
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.files import Builtins
from anonvma_rt.text.names import OPTION, for_threads
from anonvma_rt.text.parameters import Parameter, bind_parameters
from anonvma_rt.text.toml import as_toml

__all__ = [
    "BoundScenario",
    "Call",
    "Scenario",
    "Thread",
    "explain_refusal",
]

_BUILTIN = Builtins("scenarios", "scenario")
MOST_PAGES = 9 << 20  # that steps touch and read: each costs a hundred bytes, and microseconds in every setup


class Thread(NamedTuple):
    """One racing task and its calls, in order. cpu: the number of the CPU that it names, if it does."""

    name: str
    calls: tuple[Call, ...]
    cpu: int | None = None


@dataclass(frozen=True)
class BoundScenario(KnownAtOnce):
    """A scenario with values for all its parameters: setup runs alone, then the threads race, then after runs alone.

    interesting: the operations that SURW orders, by the names in scenario_file.OPERATIONS.
    failing: which allocations of the threads fail; None for none. Where some may, no step of a thread has to succeed,
    and contents and numbers of vmas are not looked at in an execution in which one did.
    """

    scenario: "Scenario"
    parameters: dict[str, int | bool]
    setup: tuple[Call, ...]
    threads: tuple[Thread, ...]
    after: tuple[Call, ...]
    processes: tuple[str, ...]
    interesting: tuple[str, ...]
    failing: Failing | None = None

    ONLY_SC: ClassVar[str] = "the simulated kernel is modelled under SC (docs/memory.md)"

    # What protocols.Bound says that the lab asks.

    def choose(self, algorithm: Algorithm | str) -> Algorithm:
        return Algorithm.parse(algorithm) if isinstance(algorithm, str) else algorithm

    def usual(self) -> list[str]:
        return self.scenario.usual_algorithms()

    def with_interesting(self, names: Iterable[str]) -> "BoundScenario":
        """The same with other interesting operations. Raises UserError for a name that there is not."""
        names = tuple(names)
        for_threads(names, self.scenario.thread_names(), OPERATIONS, UserError, OPTION)
        return replace(self, interesting=names)

    def make_subject(self, algorithm: Algorithm) -> Kernel:
        every = self.scenario.thread_names()
        named = dict(zip(every, for_threads(self.interesting, every, OPERATIONS, UserError, OPTION), strict=True))
        setup, cpus = self.cpus()
        return Kernel(
            algorithm.as_dict(),
            len(self.processes),
            setup,
            [thread.calls for thread in self.threads],
            self.after,
            [named[thread.name] for thread in self.threads],
            self.failing,
            algorithm.rule,
            cpus,
        )

    @property
    def has_tlb(self) -> bool:
        """Whether a thread names its CPU."""
        return any(thread.cpu is not None for thread in self.threads)

    def cpus(self) -> tuple[tuple[Call, ...], list[int] | None]:
        """setup, and for each thread the number of its CPU, both by the order in which CPUs come up; a thread that
        names none has its own. None where there is no TLB."""
        if not self.has_tlb:
            return self.setup, None
        named: dict[object, int] = {}
        keys = [thread.name if thread.cpu is None else thread.cpu for thread in self.threads]
        threads = [named.setdefault(key, len(named)) for key in keys]
        return tuple(one._replace(cpu=named.get(one.cpu)) for one in self.setup), threads

    @property
    def only_in_turns(self) -> str:
        return "the translations of its CPUs change step by step" if self.has_tlb else ""

    def own_code(self, choices: Iterable[Algorithm]) -> list[type]:
        return [type(choice.rule) for choice in choices if choice.rule is not None]

    def fail(self, failing: Failing | str | float | Iterable[tuple[int, int]]) -> "BoundScenario":
        return replace(self, failing=Failing.of(failing))

    def refusal(self, task: int, step: int, code: int) -> ScenarioError:
        sections = [self.setup, *(thread.calls for thread in self.threads), self.after]
        call = sections[task + 1][step]
        said = explain_refusal(call, code)
        if 0 <= task < len(self.threads):
            # What is right may depend on who comes first.
            names = ["", errno_name(errno_of(code))] if code else [*map(errno_name, call.right), ""]
            said += f" (if either is right: errno = {as_toml(list(dict.fromkeys(names)))})"
        return ScenarioError(said)

    def build_refusal(self, error: BuildRefused) -> ScenarioError:
        assert isinstance(error, Refused)
        return self.refusal(-1, error.index, error.code)

    # What is shown of an explorer's kernel: view.py.
    before = staticmethod(view.vma_starts)
    lock_names = staticmethod(view.lock_names)
    state = staticmethod(view.state)
    look = staticmethod(view.look)
    things = view.THINGS

    def trace(self, recorded: Recorded, explorer: Explorer, before: dict[int, tuple[int, int]]) -> KernelTrace:
        return KernelTrace.of(recorded, self.task_names(), explorer.subject.kinds(), World(explorer).name, before)

    def scenes(self, explorer: Explorer, trace: KernelTrace) -> Scenes:
        trace.name = view.names_in_time(explorer, trace)
        return view.scenes(explorer, trace)

    def task_names(self) -> list[str]:
        return [thread.name for thread in self.threads]

    def unannounced(self, algorithm: Algorithm) -> str:
        """See protocols.Bound."""
        if algorithm.vma_locks in ("racy", "fork"):
            return "only fork takes the lock of a vma; what other calls change or free under a fault is not announced"
        return "" if algorithm.pin else "an anon_vma that nothing pins is looked at without an announcement"

    def expected(self, algorithm_name: str) -> Expected | None:
        """What the scenario says of an algorithm (a preset, an alias or a modified preset).

        A violation kind or several of which each is right, "none" for no violation, or None where the scenario says
        nothing.

        >>> Scenario.load("merge").bind({}).expected("linux-3.2")
        'stale-migration-entry'
        """
        try:
            name = Algorithm.parse(algorithm_name).name
        except AlgorithmError:
            return None
        return self.scenario.expected(name)


@dataclass(frozen=True)
class Scenario:
    """A scenario text, read and checked. Made by load() or from_text().

    `expect` maps the names of algorithms to a violation kind, several, or "none" ("*": every preset that is not named),
    `releases` does so for releases; `text` is the exact TOML, which a reproducer keeps, and `source` the file's name
    for messages. `zoo`, `commit`, `year` and `symptom` say which bug of the kernel it is, as docs/zoo.md does; they are
    empty where it is none. `strategy` is the one that finds it best, "" for the usual one, and `interesting` names the
    operations that SURW orders.
    `fail_alloc`: the allocations that fail unless a hunt says otherwise.

    >>> Scenario.load("peek").parameters["pages"].default
    1
    """

    name: str
    about: str
    parameters: dict[str, Parameter]
    processes: list[str]
    expect: dict[str, Expected]
    releases: Stated
    text: str = field(repr=False)
    source: str
    zoo: str
    commit: str
    year: str
    symptom: str
    strategy: str
    interesting: tuple[str, ...]
    fail_alloc: Failing | None
    _document: Document = field(repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """The digest of the text, in hexadecimal: tells whether two scenarios are the same one."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    needs = ""

    @classmethod
    def from_text(cls, text: str, source: str = "scenario") -> "Scenario":
        """The scenario in a TOML text; `source` begins every message. Raises ScenarioError."""
        document = read_document(text, source)
        return cls(
            name=document.name,
            about=document.about,
            parameters=document.definitions.parameters,
            processes=document.processes,
            expect=document.expect,
            releases=document.releases,
            text=text,
            source=source,
            fail_alloc=document.fail_alloc,
            **document.origin,
            interesting=document.interesting,
            _document=document,
        )

    @classmethod
    def load(cls, name_or_path: str) -> "Scenario":
        """A built-in scenario by name, or any by path: what contains a / or ends in .toml is a path.

        Raises ScenarioError if there is no such scenario, or if the file cannot be read or is not a scenario.
        """
        return cls.from_text(*_BUILTIN.read(name_or_path))

    def expected(self, name: str) -> Expected | None:
        """What is said of the algorithm of that name: a violation kind or several, "none", or None where nothing is."""
        others = self.expect.get(ALL_OTHERS) if name in PRESETS else None
        if name.removeprefix("linux-") in ROWS and name not in (*PRESETS, *ALIASES):
            others = self.releases.of(name.removeprefix("linux-"))
        return self.expect.get(name, others)

    def algorithms(self) -> list[str]:
        """The names of all algorithms of which something is expected: presets first, then modified ones."""
        presets = [name for name in PRESETS if self.expected(name)]
        return presets + [name for name in self.expect if name not in (*PRESETS, ALL_OTHERS)]

    def remark(self, found: Iterable[str], complete: bool, memory: str) -> str:
        return ""

    def usual_algorithms(self) -> list[str]:
        """Which to compare if nobody asks for others: before and after the patch of 2011 where that makes the
        difference, else those that the scenario names."""
        before, after = self.expected("unpatched"), self.expected("moveto-tail")
        named = [name for name in self.expect if name != ALL_OTHERS]
        if before == after and before is not None and named:
            return named
        return ["unpatched", "moveto-tail"]

    def read_choice(self, data: Mapping[str, object], own: Iterable[Any] = ()) -> Algorithm:
        """The algorithm whose as_dict() is `data`, as a reproducer keeps it."""
        return Algorithm.from_dict(data, own)

    @staticmethod
    def builtin_names() -> list[str]:
        """The names of the built-in scenarios, sorted.

        >>> "lkml-2011" in Scenario.builtin_names()
        True
        """
        return _BUILTIN.names()

    def bind(self, values: Mapping[str, str | int | bool]) -> BoundScenario:
        """The scenario with these parameter values; parameters that are not given have their defaults.

        A value may be text, as from the command line; the text of a number may be an expression ("5*GiB//PAGE").
        Calls whose `when` is false are left out, and so are threads that have no call left.
        Raises ParameterError for an unknown parameter or a value out of its range, ScenarioError for what the
        scenario's expressions make of it.

        >>> Scenario.load("lkml-2011").bind({"pages": "32"}).threads[0].calls[0].verb
        'mremap'
        """
        bound = bind_parameters(self.parameters, values, self.source)
        names = self._document.definitions.evaluate(bound, self.source)
        threads = tuple(
            Thread(thread.name, read_calls(thread.calls, names), thread.cpu) for thread in self._document.threads
        )
        if not any(thread.calls for thread in threads):
            raise ScenarioError(f'{self.source}: no thread has a step left (every "when" is false)')
        setup, after = read_calls(self._document.setup, names), read_calls(self._document.after, names)
        every = [*setup, *(call for thread in threads for call in thread.calls), *after]
        pages = sum(call.args[1] for call in every if call.verb in ("touch", "read"))
        if pages > MOST_PAGES:
            raise ScenarioError(
                f"{self.source}: {pages} pages are touched and read (at most {MOST_PAGES} by all steps together)"
            )
        return BoundScenario(
            scenario=self,
            parameters=bound,
            setup=setup,
            threads=tuple(thread for thread in threads if thread.calls),
            after=after,
            processes=tuple(self.processes),
            interesting=self.interesting,
            failing=self.fail_alloc,
        )

    def thread_names(self) -> list[str]:
        """The names of all threads, also of those that some parameter values leave without a call."""
        return [thread.name for thread in self._document.threads]
