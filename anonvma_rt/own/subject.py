"""A compiled subject of the user's own, for every verb: what it says of itself becomes parameters and variants.

`subject("mymodule:Stack")` is what load() is for scenarios: it yields what protocols.Described asks for. The class is
the code and stays where it is; the text that a reproducer keeps has its name, its parameters and its variants only.
"""

import ctypes
import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from anonvma_rt.engine.calls.calls import REFUSED_BY_JUDGE, Judging
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.subject import MOST_TASKS, Subject
from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.linear.specification import Linear, Specification, specified
from anonvma_rt.own.gate import import_class, must_be_checked, name_of
from anonvma_rt.own.history import EmbeddedTrace, name_of_object, names_of_tasks
from anonvma_rt.subjects.protocols import SC
from anonvma_rt.subjects.variants import BoundVariants, Variant, WithVariants
from anonvma_rt.text.expected import Expected, read_expected
from anonvma_rt.text.parameters import Parameter, read_parameter
from anonvma_rt.text.toml import load_toml

__all__ = ["Embedded", "EmbeddedProgram", "is_embedded", "subject", "subject_named_in"]

ONLY_VARIANT = "usual"


def subject(
    named: str | type,
    parameters: Mapping[str, Any] | None = None,
    variants: Mapping[str, Mapping[str, int | bool]] | None = None,
    expect: Mapping[str, Expected] | None = None,
    strategy: str = "",
    spec: str | type | Specification | None = None,
) -> "Embedded":
    """A Subject class of your own, by its name `module:Class` (which is imported) or itself, for hunt() and the others.

    The class says the rest by attributes of the same names, which are all optional; what is given here comes on top.
    parameters: a default, or a mapping with default, min, max, multiple_of and about, for each argument of __init__.
    variants: values for some arguments, by name; every verb compares them. expect: for a variant, the kind of violation
    that it has, several of which any may come, or "none". strategy: the one that finds it best, "" for the usual one.
    spec: what the operations of which call() and returns() tell are to be like, one after the other: a class, or
    "file.py:Class". Raises UserError.

    >>> from anonvma_rt.engine.run.subject import Subject
    >>> subject(Subject)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    anonvma_rt.errors.UserError: subject anonvma_rt.engine.run.subject:Subject: its module does not say ...
    """
    cls = import_class(named, Subject, "subject") if isinstance(named, str) else named
    if not isinstance(cls, type) or not issubclass(cls, Subject):
        raise UserError(f"a subject is a class that extends Subject, or its name, not {quote(repr(named))}")
    must_be_checked(cls, "subject")
    name = name_of(cls)
    where = f"subject {name}"
    tables = {
        key: value if isinstance(value, Mapping) else {"default": value}
        for key, value in _attribute(cls, "parameters", where, parameters).items()
    }
    chosen = _attribute(cls, "variants", where, variants) or {ONLY_VARIANT: {}}
    read = _read_parameters(tables, chosen, where)
    expected = _attribute(cls, "expect", where, expect)
    for variant in expected:
        if variant not in chosen:
            hint = nearest(str(variant), chosen)
            raise ScenarioError(f"{where}: expect: unknown variant {quote(str(variant))}{hint}")
    asked = spec if spec is not None else getattr(cls, "spec", None)
    try:
        specification = None if asked is None else specified(asked)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Embedded(
        name=name,
        about=((cls.__doc__ or "").strip().splitlines() or [""])[0],
        parameters=read,
        variants={variant: Variant(variant, dict(values)) for variant, values in chosen.items()},
        expect=expected,
        strategy=strategy or str(getattr(cls, "strategy", "")),
        text=_text(name, tables, chosen, specification),
        source=where,
        cls=cls,
        spec=specification,
    )


def is_embedded(text: str, source: str) -> bool:
    """Whether a text that a reproducer keeps names a subject (it has the key `subject`). Raises ScenarioError."""
    return "subject" in load_toml(text, source)


def subject_named_in(text: str, source: str) -> str:
    """The name module:Class in such a text; nothing is imported."""
    return str(load_toml(text, source)["subject"])


@dataclass(frozen=True)
class Embedded(WithVariants):
    """What is known of a subject class; made by subject()."""

    name: str
    about: str
    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, Expected]
    strategy: str
    text: str = field(repr=False)
    source: str
    cls: Any
    spec: Specification | None

    @property
    def needs(self) -> str:
        return f" --subject {shlex.quote(self.name)}"

    def bind(self, values: Mapping[str, str | int | bool]) -> "EmbeddedProgram":
        """The subject with these values, which may be text. Raises ParameterError."""
        bound = self.bind_values(values)
        linear = None if self.spec is None else Linear(self.spec)
        return EmbeddedProgram(self, bound.shown, bound.every, bound.left, linear)


@dataclass(frozen=True)
class EmbeddedProgram(BoundVariants):
    """A subject class with values for its parameters.

    parameters: without those that only variants set; arguments: all of them; variants: those that agree with what was
    given; linear: who judges what its operations returned.
    """

    VALUE: ClassVar[str] = "value"

    scenario: Embedded
    parameters: dict[str, int | bool]
    arguments: dict[str, int | bool]
    variants: dict[str, Variant]
    linear: Linear | None = field(default=None, compare=False, repr=False)
    named_places: tuple[str, ...] = ()
    memory: str = SC

    @property
    def interesting(self) -> tuple[str, ...]:
        """Names of what its tasks share; what is an interesting operation its code says, before a point (mark)."""
        return self.named_places

    def with_interesting(self, names: Iterable[str]) -> "EmbeddedProgram":
        return replace(self, named_places=tuple(names))

    def own_code(self, choices: Iterable[Any]) -> list[type]:
        return [self.scenario.cls]

    def usual(self) -> list[str]:
        return list(self.variants)

    def make_subject(self, algorithm: Variant) -> Any:
        values = {**self.arguments, **self.choose(algorithm).values}
        call = f"{self.scenario.name}({', '.join(f'{key}={value}' for key, value in values.items())})"
        try:
            made = self.scenario.cls(**values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ScenarioError(f"subject {call}: {error}") from error
        if not 1 <= made.tasks <= MOST_TASKS:
            raise ScenarioError(f"subject {call}: tasks must be from 1 to {MOST_TASKS}, not {made.tasks}")
        for variant, expected in self.scenario.expect.items():
            read_expected(expected, made.kinds().values(), f"{self.scenario.source}: expect.{variant}")
        if self.linear is not None:
            Judging(made, self.linear)
        return made

    def unannounced(self, variant: Variant) -> str:
        return self.linear.never_asked("call()") if self.linear is not None else ""

    @property
    def compared_with(self) -> str:
        return self.linear.specification.name if self.linear is not None else ""

    def fail(self, failing: Any) -> "EmbeddedProgram":
        raise UserError(f"{self.scenario.source}: --fail-alloc is about the kernel's allocations, and it is no kernel")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        if step == REFUSED_BY_JUDGE:
            return ScenarioError(f"{self.scenario.source}: {ctypes.string_at(errno).decode(errors='replace')}")
        who = f"task {task}" if task >= 0 else "build"
        return ScenarioError(f"{self.scenario.source}: {who} was refused (step {step + 1}, {errno})")

    def values(self, explorer: Explorer) -> Mapping[str, int]:
        found: Mapping[str, int] = explorer.subject.values(explorer)
        return found

    def trace(self, recorded: Recorded, explorer: Explorer, before: None) -> EmbeddedTrace:
        return EmbeddedTrace.of_subject(recorded, explorer.subject)

    def task_names(self) -> list[str]:
        return names_of_tasks(self.make_subject(next(iter(self.variants.values()))))

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        subject = explorer.subject
        return lambda offset: name_of_object(subject, offset)

    def state(self, explorer: Explorer, trace: EmbeddedTrace) -> str:
        """Its values, and where each task is."""
        return "\n".join([super().state(explorer, trace), *trace.positions()])


def _attribute(cls: type, name: str, where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the class says by an attribute, and on top of it what is given."""
    value = getattr(cls, name)
    if not isinstance(value, Mapping):
        raise ScenarioError(f"{where}: {name} must be a mapping, not {quote(repr(value))}")
    return {**value, **(given or {})}


def _read_parameters(
    tables: dict[str, Any], variants: Mapping[str, Mapping[str, Any]], where: str
) -> dict[str, Parameter]:
    """The parameters in `tables`, where those that only a variant sets are added, and the variants' values checked."""
    for variant, values in variants.items():
        for key, value in values.items():
            if not isinstance(value, int):
                raise ScenarioError(f"{where}: variant {variant}: {key} must be an integer, True or False")
            tables.setdefault(key, {"default": value})
    read = {key: read_parameter(key, dict(table), f"{where}: parameter {key}") for key, table in tables.items()}
    for variant, values in variants.items():
        for key, value in values.items():
            if problem := read[key].problem(value):
                raise ScenarioError(f"{where}: variant {variant}: {key} {problem}")
    return read


def _text(
    name: str,
    tables: Mapping[str, Mapping[str, Any]],
    variants: Mapping[str, Mapping[str, Any]],
    spec: Specification | None,
) -> str:
    """TOML that says which subject it is, and what its parameters, variants and specification were."""
    lines = [f"subject = {json.dumps(name)}"]
    if spec is not None:
        lines += [f"spec = {json.dumps(spec.name)}", f"spec_sha256 = {json.dumps(spec.digest)}"]
    for section, entries in (("parameters", tables), ("variants", variants)):
        for key, table in entries.items():
            values = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in sorted(table.items()) if k != "about")
            lines.append(f"{section}.{json.dumps(key)} = {{ {values} }}")
    return "\n".join(lines) + "\n"
