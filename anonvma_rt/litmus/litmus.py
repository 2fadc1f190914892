"""Litmus tests: threads of `lock a`, `load x r`, `store x 1` and the like, with assertions about how they end.

A second, tiny subject of the engine, which knows nothing of memory management. A Litmus is a TOML text; bind() gives it
values and yields a LitmusProgram. Every verb takes it like a scenario; its variants are what algorithms are there.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import AlgorithmError, ParameterError, ScenarioError, UserError, nearest, quote
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.scenario_file import Parameter
from anonvma_rt.litmus.compile import Code, Compiler
from anonvma_rt.litmus.file import LitmusDocument, read_litmus
from anonvma_rt.litmus.history import LitmusTrace
from anonvma_rt.litmus.program import Program
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.scenes import Scenes, litmus_scenes
from anonvma_rt.text.names import OPTION, for_threads
from anonvma_rt.text.parameters import bind_names, bind_parameters, read_text

__all__ = ["Litmus", "LitmusProgram", "Variant"]

_BUILTIN = resources.files("anonvma_rt") / "litmus_tests"


@dataclass(frozen=True)
class Variant:
    """One form of a litmus test: a name for values of some of its parameters."""

    name: str
    values: Mapping[str, int | bool]

    def as_dict(self) -> dict[str, str | bool]:
        return {"variant": self.name}


@dataclass(frozen=True)
class LitmusProgram:
    """A litmus test with values for its parameters. The methods are what lab.Bound says that the lab asks.

    codes: those variants that the given values leave. parameters: without those that only variants set. interesting:
    the locks and variables that SURW orders; where none are named, what the file marks by a "!".
    """

    scenario: "Litmus"
    parameters: dict[str, int | bool]
    codes: dict[str, Code]
    interesting: tuple[str, ...] = ()

    def with_interesting(
        self, names: Iterable[str], error: type[UserError] = UserError, where: str = OPTION
    ) -> "LitmusProgram":
        """The same with other interesting operations. Raises `error` for a name that no variant has."""
        names = tuple(names)
        threads = [thread for code in self.codes.values() for thread in code.threads]
        known = sorted({str(step.words[1]) for thread in threads for step in thread.steps})
        every = list(dict.fromkeys(thread.name for thread in threads))
        named = dict(zip(every, for_threads(names, every, known, error, where), strict=True))
        codes = {
            name: code.with_marks([named[thread.name] for thread in code.threads]) for name, code in self.codes.items()
        }
        return replace(self, codes=codes, interesting=names)

    def choose(self, algorithm: Variant | str) -> Variant:
        name = algorithm if isinstance(algorithm, str) else algorithm.name
        variants = self.scenario.variants
        if name not in variants or not (isinstance(algorithm, str) or algorithm == variants[name]):
            hint = nearest(name, variants)
            raise AlgorithmError(f"{self.scenario.source}: unknown variant {quote(name)}{hint}")
        if name not in self.codes:
            raise ParameterError(f"{self.scenario.source}: variant {name} has another value for a parameter given")
        return variants[name]

    def usual(self) -> list[str]:
        return list(self.codes)

    def expected(self, algorithm_name: str) -> str | None:
        return self.scenario.expected(algorithm_name)

    def make_subject(self, algorithm: Variant) -> Program:
        return self.codes[self.choose(algorithm).name].subject

    @property
    def failing(self) -> None:
        return None

    def fail(self, failing: Failing) -> "LitmusProgram":
        raise UserError(f"{self.scenario.name} is a litmus test: it allocates nothing that could fail")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        return ScenarioError(f"{self.scenario.source}: step {step + 1} of task {task} was refused")

    def code_of(self, explorer: Explorer) -> Code:
        """The variant that an explorer of one of the subjects runs."""
        return next(code for code in self.codes.values() if code.subject is explorer.subject)

    def before(self, explorer: Explorer) -> None:
        return None

    def trace(self, recorded: dict[str, Any], explorer: Explorer, before: None) -> Trace:
        code = self.code_of(explorer)
        return LitmusTrace.of_program(
            recorded,
            {thread.name: [step.text for step in thread.steps] for thread in code.threads},
            [(one.text, [word for word in one.words if isinstance(word, str)]) for one in code.forbidden],
            code.final(explorer),
            explorer.subject.kinds(),
            {offset: name for name, offset in code.subject.ids(explorer).items()},
        )

    def task_names(self) -> list[str]:
        return [thread.name for thread in next(iter(self.codes.values())).threads]

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        names = {offset: name for name, offset in explorer.subject.ids(explorer).items()}
        return lambda offset: names.get(offset, f"an object (offset {offset})")

    @property
    def things(self) -> str:
        return "NAME of a variable or register, world"

    def look(self, explorer: Explorer, trace: Trace, words: list[str]) -> list[str]:
        values = self.code_of(explorer).final(explorer)
        name = " ".join(words)
        if name not in values:
            raise UserError(f"no variable or register {quote(name)}{nearest(name, values)}")
        return [f"{name} = {values[name]}"]

    def scenes(self, explorer: Explorer, trace: Trace) -> Scenes:
        return litmus_scenes(explorer, self.code_of(explorer).final)

    def state(self, explorer: Explorer, trace: Trace) -> str:
        values = self.code_of(explorer).final(explorer)
        return "\n".join(["", *(f"  {name} = {value}" for name, value in values.items())])


@dataclass(frozen=True)
class Litmus:
    """A litmus test, read and checked. Made by load(), from_text() or of().

    expect: a kind of violation or "none" for each variant of which something is said. strategy: as in a scenario.

    >>> test = Litmus.of("lost", {"A": ["load x a", "store x 1"], "B": ["add x 1"]}, forbidden=["a == 0 and x == 1"])
    >>> test.bind({}).codes["sc"].threads[0].steps[1].words
    ('store', 'x', 1)
    """

    name: str
    about: str
    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, str]
    strategy: str
    text: str = field(repr=False)
    source: str
    _document: LitmusDocument = field(repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """The digest of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def from_text(cls, text: str, source: str = "litmus") -> "Litmus":
        """The litmus test in a TOML text; `source` begins every message. Raises ScenarioError."""
        document = read_litmus(text, source)
        variants = {name: Variant(name, values) for name, values in document.variants.items()}
        return cls(
            name=document.name,
            about=document.about,
            parameters=document.parameters,
            variants=variants,
            expect=document.expect,
            strategy=document.strategy,
            text=text,
            source=source,
            _document=document,
        )

    @classmethod
    def load(cls, name_or_path: str) -> "Litmus":
        """A built-in litmus test by name, or any by path: what contains a / or ends in .toml. Raises ScenarioError."""
        if "/" in name_or_path or name_or_path.endswith(".toml"):
            return cls.from_text(read_text(name_or_path), name_or_path)
        known = cls.builtin_names()
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise ScenarioError(f"unknown litmus test {quote(name_or_path)}{hint}; a file's path ends in .toml")
        return cls.from_text((_BUILTIN / f"{name_or_path}.toml").read_text("utf-8"), f"{name_or_path}.toml")

    @classmethod
    def of(
        cls,
        name: str,
        threads: Mapping[str, Iterable[str]],
        setup: Iterable[str] = (),
        forbidden: Iterable[str] = (),
        reachable: Iterable[str] = (),
        expect: str | None = None,
        about: str = "made in Python",
    ) -> "Litmus":
        """A litmus test of one variant from Python values; `expect` is what its hunt should find."""
        lines = [f"litmus = {_toml(name)}", f"about = {_toml(about)}"]
        for key, values in (("setup", setup), ("forbidden", forbidden), ("reachable", reachable)):
            lines.append(f"{key} = {_toml(list(values))}")
        if expect is not None:
            lines.append(f"expect.sc = {_toml(expect)}")
        for thread, steps in threads.items():
            lines += ["[[thread]]", f"name = {_toml(thread)}", f"steps = {_toml(list(steps))}"]
        return cls.from_text("\n".join(lines) + "\n", name)

    @staticmethod
    def builtin_names() -> list[str]:
        """The names of the built-in litmus tests, sorted.

        >>> "order" in Litmus.builtin_names()
        True
        """
        return sorted(entry.name.removesuffix(".toml") for entry in _BUILTIN.iterdir() if entry.name.endswith(".toml"))

    def expected(self, name: str) -> str | None:
        """What is said of a variant: a violation kind, "none", or None where nothing is said."""
        return self.expect.get(name)

    def algorithms(self) -> list[str]:
        """The variants of which something is expected."""
        return [name for name in self.variants if name in self.expect]

    def usual_algorithms(self) -> list[str]:
        return list(self.variants)

    def read_choice(self, data: Mapping[str, object], own: Iterable[Any] = ()) -> Variant:
        """The variant whose as_dict() is `data`, as a reproducer keeps it."""
        return self.variants[str(data["variant"])]

    def bind(self, values: Mapping[str, str | int | bool]) -> LitmusProgram:
        """The program for these parameter values, which may be text; variants that contradict them are left out.

        Raises ParameterError for an unknown parameter or a value out of its range, ScenarioError for what the file's
        expressions make of it.

        >>> list(Litmus.load("order").bind({"patched": True}).codes)
        ['patched']
        """
        bound = bind_parameters(self.parameters, values, self.source)
        codes = {}
        for variant in self.variants.values():
            if all(name not in values or bound[name] == value for name, value in variant.values.items()):
                names = bind_names(
                    {**bound, **variant.values}, self._document.names, self._document.require, self.source
                )
                codes[variant.name] = Compiler(self._document, names, self.source).code()
        if not codes:
            raise ParameterError(f"{self.source}: no variant has these values ({', '.join(self.variants)})")
        set_by_variants = {name for variant in self.variants.values() for name in variant.values}
        shown = {name: value for name, value in bound.items() if name in values or name not in set_by_variants}
        program = LitmusProgram(self, shown, codes)
        if self._document.interesting is None:
            return program
        return program.with_interesting(self._document.interesting, ScenarioError, f"{self.source}: interesting")


def _toml(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)
