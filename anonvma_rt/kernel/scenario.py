"""Scenarios: what is set up, which threads then race, and what each algorithm is expected to do about it.

A Scenario is a TOML text with parameters; bind() gives it values and yields a Program, plain integers that the
simulated kernel executes. The built-in files in scenarios/ show the format, and scenario_file.py checks it.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from errno import errorcode
from importlib import resources
from typing import Any, NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import AlgorithmError, ParameterError, ScenarioError, UserError, nearest, quote
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.look import KERNEL_THINGS, kernel_look
from anonvma_rt.kernel.refusals import TASK_SIZE, reason_of
from anonvma_rt.kernel.scenario_file import (
    ALL_OTHERS,
    FAIL_AFTER,
    VERBS,
    VIOLATION_KINDS,
    Document,
    Key,
    Parameter,
    RawStep,
    read_document,
)
from anonvma_rt.kernel.scenes import kernel_scenes, names_in_time
from anonvma_rt.kernel.view import kernel_lock_names, kernel_state, vma_starts
from anonvma_rt.mm.lab.interesting import NAMES as INTERESTING
from anonvma_rt.mm.lab.kernel import Kernel
from anonvma_rt.mm.lab.world import World
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.scenes import Scenes
from anonvma_rt.text.expression import evaluate
from anonvma_rt.text.names import OPTION, for_threads
from anonvma_rt.text.parameters import bind_names, bind_parameters, holds, read_text
from anonvma_rt.text.toml import shown

__all__ = [
    "VIOLATION_KINDS",
    "Parameter",
    "Program",
    "Scenario",
    "Step",
    "Thread",
    "builtin_names",
    "explain_refusal",
    "parse_parameters",
]

_BUILTIN = resources.files("anonvma_rt") / "scenarios"

# What a value of each kind may be: the bounds, and the words that say what would be right.
_RANGES: Mapping[str, tuple[int, int, str]] = {
    "address": (0, TASK_SIZE - 1, "an address in bytes, from 0 to below 2**39"),
    "length": (0, 1 << 26, "a length in pages, from 0 to 2**26"),
    "tag": (0, (1 << 31) - 1, "a content tag, from 0 to below 2**31"),
    "count": (0, (1 << 31) - 1, "a number, from 0 to below 2**31"),
    "process": (0, 63, "a process"),
}


class Step(NamedTuple):
    """One call into the simulated kernel, as plain integers.

    `args` are the keys of scenario_file.VERBS in their order: addresses in bytes, lengths in pages, truth values as 0
    and 1, processes by index. For mremap, to = -1 means not MREMAP_FIXED. `process` is an index into Program.processes,
    `errno` what the step is expected to return (0: success), and `where` the place in the scenario, for messages.
    `fails`: (kind, n) where the step's allocations of that kind fail once n of them were had.
    """

    verb: str
    process: int
    args: tuple[int, ...]
    errno: int
    where: str
    fails: tuple[str, int] | None = None


class Thread(NamedTuple):
    """One racing task and its steps, in order."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Program:
    """A scenario with values for all its parameters: setup runs alone, then the threads race, then after runs alone.

    interesting: the operations that SURW orders, by the names of anonvma_rt.mm.lab.interesting.
    failing: which allocations of the threads fail; None for none. Where some may, no step of a thread has to succeed,
    and contents and numbers of vmas are not looked at in an execution in which one did.
    """

    scenario: "Scenario"
    parameters: dict[str, int | bool]
    setup: tuple[Step, ...]
    threads: tuple[Thread, ...]
    after: tuple[Step, ...]
    processes: tuple[str, ...]
    interesting: tuple[str, ...]
    failing: Failing | None = None

    # What lab.Bound says that the lab asks.

    def choose(self, algorithm: Algorithm | str) -> Algorithm:
        return Algorithm.parse(algorithm) if isinstance(algorithm, str) else algorithm

    def usual(self) -> list[str]:
        return self.scenario.usual_algorithms()

    def with_interesting(self, names: Iterable[str]) -> "Program":
        """The same with other interesting operations. Raises UserError for a name that there is not."""
        names = tuple(names)
        for_threads(names, self.scenario.thread_names(), INTERESTING, UserError, OPTION)
        return replace(self, interesting=names)

    def make_subject(self, algorithm: Algorithm) -> Kernel:
        every = self.scenario.thread_names()
        named = dict(zip(every, for_threads(self.interesting, every, INTERESTING, UserError, OPTION), strict=True))
        return Kernel(
            algorithm.as_dict(),
            len(self.processes),
            self.setup,
            [thread.steps for thread in self.threads],
            self.after,
            [named[thread.name] for thread in self.threads],
            self.failing,
            algorithm.rule,
        )

    def fail(self, failing: Failing) -> "Program":
        return replace(self, failing=failing)

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        sections = [self.setup, *(thread.steps for thread in self.threads), self.after]
        return ScenarioError(explain_refusal(sections[task + 1][step], errno))

    def before(self, explorer: Explorer) -> dict[int, tuple[int, int]]:
        return vma_starts(explorer)

    def trace(self, recorded: dict[str, Any], explorer: Explorer, before: dict[int, tuple[int, int]]) -> Trace:
        return Trace.of(recorded, self.task_names(), before, explorer.subject.kinds(), World(explorer))

    def task_names(self) -> list[str]:
        return [thread.name for thread in self.threads]

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        return kernel_lock_names(explorer)

    def state(self, explorer: Explorer, trace: Trace) -> str:
        return kernel_state(explorer, trace)

    @property
    def things(self) -> str:
        return KERNEL_THINGS

    def look(self, explorer: Explorer, trace: Trace, words: list[str]) -> list[str]:
        return kernel_look(explorer, trace, words)

    def scenes(self, explorer: Explorer, trace: Trace) -> Scenes:
        trace.name = names_in_time(explorer, trace)
        return kernel_scenes(explorer, trace)

    def expected(self, algorithm_name: str) -> str | None:
        """What the scenario says of an algorithm (a preset, an alias or a modified preset).

        A violation kind, "none" for no violation, or None where the scenario says nothing.

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

    `expect` maps the names of algorithms to a violation kind or "none" ("*": every preset that is not named); `text` is
    the exact TOML, which a reproducer keeps, and `source` the file's name for messages. `zoo`, `commit`, `year` and
    `symptom` say which bug of the kernel it is, as docs/zoo.md does; they are empty where it is none. `strategy` is the
    one that finds it best, "" for the usual one, and `interesting` names the operations that SURW orders.
    `fail_alloc`: the allocations that fail unless a hunt says otherwise.

    >>> Scenario.load("peek").parameters["pages"].default
    1
    """

    name: str
    about: str
    parameters: dict[str, Parameter]
    processes: list[str]
    expect: dict[str, str]
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

    @classmethod
    def from_text(cls, text: str, source: str = "scenario") -> "Scenario":
        """The scenario in a TOML text; `source` begins every message. Raises ScenarioError."""
        document = read_document(text, source)
        return cls(
            name=document.name,
            about=document.about,
            parameters=document.parameters,
            processes=document.processes,
            expect=document.expect,
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
        if "/" in name_or_path or name_or_path.endswith(".toml"):
            return cls.from_text(read_text(name_or_path), name_or_path)
        known = builtin_names()
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise ScenarioError(f"unknown scenario {quote(name_or_path)}{hint}; a file's path ends in .toml")
        return cls.from_text((_BUILTIN / f"{name_or_path}.toml").read_text("utf-8"), f"{name_or_path}.toml")

    def expected(self, name: str) -> str | None:
        """What is said of the algorithm of that name: a violation kind, "none", or None where nothing is said."""
        others = self.expect.get(ALL_OTHERS) if name in PRESETS else None
        return self.expect.get(name, others)

    def algorithms(self) -> list[str]:
        """The names of all algorithms of which something is expected: presets first, then modified ones."""
        presets = [name for name in PRESETS if self.expected(name)]
        return presets + [name for name in self.expect if name not in (*PRESETS, ALL_OTHERS)]

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
        """The names of the built-in scenarios, sorted."""
        return builtin_names()

    def bind(self, values: Mapping[str, str | int | bool]) -> Program:
        """The program for these parameter values; parameters that are not given have their defaults.

        A value may be text, as from the command line; the text of a number may be an expression ("5*GiB//PAGE").
        Steps whose `when` is false are left out, and so are threads that have no step left.
        Raises ParameterError for an unknown parameter or a value out of its range, ScenarioError for what the
        scenario's expressions make of it.

        >>> Scenario.load("lkml-2011").bind({"pages": "32"}).threads[0].steps[0].verb
        'mremap'
        """
        bound = bind_parameters(self.parameters, values, self.source)
        names = bind_names(bound, self._document.names, self._document.require, self.source)
        threads = tuple(Thread(thread.name, _steps(thread.steps, names)) for thread in self._document.threads)
        if not any(thread.steps for thread in threads):
            raise ScenarioError(f'{self.source}: no thread has a step left (every "when" is false)')
        return Program(
            scenario=self,
            parameters=bound,
            setup=_steps(self._document.setup, names),
            threads=tuple(thread for thread in threads if thread.steps),
            after=_steps(self._document.after, names),
            processes=tuple(self.processes),
            interesting=self.interesting,
            failing=self.fail_alloc,
        )

    def thread_names(self) -> list[str]:
        """The names of all threads, also of those that some parameter values leave without a step."""
        return [thread.name for thread in self._document.threads]


def builtin_names() -> list[str]:
    """The names of the built-in scenarios, sorted.

    >>> "lkml-2011" in builtin_names()
    True
    """
    return sorted(entry.name.removesuffix(".toml") for entry in _BUILTIN.iterdir() if entry.name.endswith(".toml"))


def parse_parameters(assignments: Iterable[str]) -> dict[str, str]:
    """The -p options of the command line as a mapping for bind(). Raises ParameterError.

    >>> parse_parameters(["pages=64", "exact=false"])
    {'pages': '64', 'exact': 'false'}
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not (name and equals and value):
            raise ParameterError(f"parameter {quote(assignment)} is not of the form NAME=VALUE")
        if name in values:
            raise ParameterError(f"parameter {quote(name)} is given twice")
        values[name] = value
    return values


def explain_refusal(step: Step, errno: int) -> str:
    """One line for a step that returned `errno` (0: success) where another result was expected.

    >>> explain_refusal(Step("munmap", 0, (4097, 1), 0, "x.toml: setup step 1 (munmap)"), 22)
    'x.toml: setup step 1 (munmap): EINVAL: address 0x1001 is not page-aligned'
    """
    errno = abs(errno)
    expected = f"{_errno_name(step.errno)} is expected, but " if step.errno else ""
    if errno == 0:
        return f"{step.where}: {expected}the step succeeded"
    why = reason_of(step.verb, step.args, errno, step.fails) or os.strerror(errno)
    return f"{step.where}: {expected}{_errno_name(errno)}: {why}"


def _errno_name(errno: int) -> str:
    return errorcode.get(errno, f"errno {errno}")


def _steps(steps: Iterable[RawStep], names: Mapping[str, int | bool]) -> tuple[Step, ...]:
    return tuple(_step(step, names) for step in steps if holds(step.when, names, f"{step.where}: when"))


def _step(step: RawStep, names: Mapping[str, int | bool]) -> Step:
    args: dict[str, int] = {}
    for key in VERBS[step.verb]:
        if key.name in step.values:
            where = f"{step.where}: {key.name}"
            args[key.name] = _in_range(evaluate(step.values[key.name], names, where), key, where)
        elif isinstance(key.default, str):
            args[key.name] = args[key.default]
        else:
            assert key.default is not None  # read_document saw to it that a required key is there
            args[key.name] = key.default
    fails = None
    if FAIL_AFTER.name in step.values:
        where = f"{step.where}: {FAIL_AFTER.name}"
        fails = (step.fail, _in_range(evaluate(step.values[FAIL_AFTER.name], names, where), FAIL_AFTER, where))
    return Step(step.verb, step.process, tuple(args.values()), step.errno, step.where, fails)


def _in_range(value: int | bool, key: Key, where: str) -> int:
    if key.kind == "switch":
        if not isinstance(value, bool):
            raise ScenarioError(f"{where}: must be true or false, not {value}")
        return int(value)
    low, high, right = _RANGES[key.kind]
    if isinstance(value, bool) or not low <= value <= high:
        got = hex(value) if key.kind == "address" and not isinstance(value, bool) else shown(value)
        raise ScenarioError(f"{where}: must be {right}, not {got}")
    return value
