"""Litmus tests: threads of `lock a`, `load x r`, `store x 1` and the like, with assertions about how they end.

A second, tiny subject of the engine, which knows nothing of memory management. A Litmus is a TOML text, or a litmus
file of herd's; bind() gives it values and yields a LitmusProgram. Every verb takes it like a scenario; its variants are
what algorithms are there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.litmus.assemble import name_of
from anonvma_rt.litmus.compile import Code, Compiler
from anonvma_rt.litmus.file import LitmusDocument, read_litmus
from anonvma_rt.litmus.herd.file import is_herd
from anonvma_rt.litmus.history import LitmusTrace
from anonvma_rt.litmus.lines import Lines
from anonvma_rt.litmus.lowering.document import HerdDocument, read_herd
from anonvma_rt.litmus.program import Program
from anonvma_rt.subjects.protocols import SC
from anonvma_rt.subjects.variants import BoundVariants, Variant, WithVariants
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.files import Builtins
from anonvma_rt.text.names import OPTION, for_threads
from anonvma_rt.text.parameters import Parameter
from anonvma_rt.text.toml import as_toml

__all__ = ["Litmus", "LitmusProgram"]

ONLY_OUTCOMES = "what is forbidden (data races are looked for under SC alone)"
_BUILTIN = Builtins("litmus_tests", "litmus test")


@dataclass(frozen=True)
class LitmusProgram(BoundVariants):
    """A litmus test with values for its parameters.

    codes: those variants that the given values leave. parameters: without those that only variants set. interesting:
    the locks and variables that SURW orders; where none are named, what the file marks by a "!".
    """

    VALUE: ClassVar[str] = "variable or register"

    scenario: "Litmus"
    parameters: dict[str, int | bool]
    codes: dict[str, Code]
    interesting: tuple[str, ...] = ()
    memory: str = SC

    @property
    def within(self) -> str:
        """Where stores are buffered, races of plain accesses are not all seen (litmus/access)."""
        every = (one.words[0] for code in self.codes.values() for thread in code.threads for one in thread.instructions)
        return ONLY_OUTCOMES if self.memory != SC and any(str(verb).startswith("plain_") for verb in every) else ""

    def usual(self) -> list[str]:
        return list(self.codes)

    def with_interesting(
        self, names: Iterable[str], error: type[UserError] = UserError, where: str = OPTION
    ) -> "LitmusProgram":
        """The same with other interesting operations. Raises `error` for a name that no variant has."""
        names = tuple(names)
        threads = [thread for code in self.codes.values() for thread in code.threads]
        known = sorted({name_of(one.words) or "" for thread in threads for one in thread.instructions})
        known = [name for name in known if name.isidentifier()]
        every = list(dict.fromkeys(thread.name for thread in threads))
        named = dict(zip(every, for_threads(names, every, known, error, where), strict=True))
        codes = {
            name: code.with_marks([named[thread.name] for thread in code.threads]) for name, code in self.codes.items()
        }
        return replace(self, codes=codes, interesting=names)

    def make_subject(self, algorithm: Variant) -> Program:
        return self.codes[self.choose(algorithm).name].subject

    def fail(self, failing: Any) -> "LitmusProgram":
        raise UserError(f"{self.scenario.name} is a litmus test: it allocates nothing that could fail")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        return ScenarioError(f"{self.scenario.source}: step {step + 1} of task {task} was refused")

    def code_of(self, explorer: Explorer) -> Code:
        """The variant that an explorer of one of the subjects runs."""
        return next(code for code in self.codes.values() if code.subject is explorer.subject)

    def values(self, explorer: Explorer) -> dict[str, int]:
        return self.code_of(explorer).final(explorer)

    def trace(self, recorded: Recorded, explorer: Explorer, before: None) -> LitmusTrace:
        return LitmusTrace.of_code(recorded, explorer, self.code_of(explorer))

    def task_names(self) -> list[str]:
        return [thread.name for thread in next(iter(self.codes.values())).threads]

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        names = {offset: name for name, offset in explorer.subject.ids(explorer).items()}
        return lambda offset: names.get(offset, f"an object (offset {offset})")


@dataclass(frozen=True)
class Litmus(WithVariants):
    """A litmus test, read and checked. Made by load(), from_text() or of().

    expect: a kind of violation, several or "none" for each variant of which something is said. strategy: as in a
    scenario.

    >>> test = Litmus.of("lost", {"A": ["load x a", "store x 1"], "B": ["add x 1"]}, forbidden=["a == 0 and x == 1"])
    >>> test.bind({}).codes["sc"].threads[0].instructions[1].words
    ('store', 'x', 1)
    """

    name: str
    about: str
    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, Expected]
    strategy: str
    text: str = field(repr=False)
    source: str
    _document: LitmusDocument | HerdDocument = field(repr=False, compare=False)

    @classmethod
    def from_text(cls, text: str, source: str = "litmus") -> "Litmus":
        """The litmus test in a TOML text, or in one of herd's formats; `source` begins every message. Raises
        ScenarioError."""
        document = read_herd(text, source) if is_herd(text) else read_litmus(text, source)
        return cls(
            name=document.name,
            about=document.about,
            parameters=document.parameters,
            variants={name: Variant(name, values) for name, values in document.variants.items()},
            expect=document.expect,
            strategy=document.strategy,
            text=text,
            source=source,
            _document=document,
        )

    @classmethod
    def load(cls, name_or_path: str) -> "Litmus":
        """A built-in litmus test by name, or any by path: what contains a / or ends in .toml or .litmus. Raises
        ScenarioError."""
        return cls.from_text(*_BUILTIN.read(name_or_path))

    @classmethod
    def of(
        cls,
        name: str,
        threads: Mapping[str, Iterable[str]],
        setup: Iterable[str] = (),
        forbidden: Iterable[str] = (),
        reachable: Iterable[str] = (),
        expect: Expected | None = None,
        about: str = "made in Python",
    ) -> "Litmus":
        """A litmus test of one variant from Python values; `expect` is what its hunt should find."""
        lines = [f"litmus = {as_toml(name)}", f"about = {as_toml(about)}"]
        for key, values in (("setup", setup), ("forbidden", forbidden), ("reachable", reachable)):
            lines.append(f"{key} = {as_toml(list(values))}")
        if expect is not None:
            lines.append(f"expect.sc = {as_toml(expect)}")
        for thread, steps in threads.items():
            lines += ["[[thread]]", f"name = {as_toml(thread)}", f"steps = {as_toml(list(steps))}"]
        return cls.from_text("\n".join(lines) + "\n", name)

    @staticmethod
    def builtin_names() -> list[str]:
        """The names of the built-in litmus tests, sorted.

        >>> "order" in Litmus.builtin_names()
        True
        """
        return _BUILTIN.names()

    def bind(self, values: Mapping[str, str | int | bool]) -> LitmusProgram:
        """The program for these parameter values, which may be text; variants that contradict them are left out.

        Raises ParameterError for an unknown parameter or a value out of its range, ScenarioError for what the file's
        expressions make of it.

        >>> list(Litmus.load("order").bind({"patched": True}).codes)
        ['patched']
        """
        bound = self.bind_values(values)
        codes, lines = {}, Lines(self.source)
        for name, variant in bound.left.items():
            chosen = {**bound.every, **variant.values}
            if isinstance(self._document, HerdDocument):
                codes[name] = self._document.code(chosen)
            else:
                names = self._document.definitions.evaluate(chosen, self.source)
                codes[name] = Compiler(self._document, names, lines.of_next_variant()).code()
        program = LitmusProgram(self, bound.shown, codes)
        if isinstance(self._document, HerdDocument) or self._document.interesting is None:
            return program
        return program.with_interesting(self._document.interesting, ScenarioError, f"{self.source}: interesting")

    def remark(self, found: Iterable[str], complete: bool, memory: str) -> str:
        """What the file says of its own outcome, beside what was found under a memory model; "" where it says nothing.

        >>> text = "C LB (* Result: Sometimes *)\\n{} P0(int *x) { int r0; r0 = READ_ONCE(*x); } exists (0:r0=1)"
        >>> Litmus.from_text(text, "lb.litmus").remark([], True, "sc")
        "the file says Sometimes; none under SC: SC is stronger than the kernel's model, so this is no contradiction"
        """
        return self._document.remark(found, complete, memory) if isinstance(self._document, HerdDocument) else ""
