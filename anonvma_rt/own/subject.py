"""A compiled subject of the user's own, for every verb: what it says of itself becomes parameters and variants.

`subject("mymodule:Stack")` is what load() is for scenarios: it yields what lab.Described asks for. The class is the
code and stays where it is; the text that a reproducer keeps has its name, its parameters and its variants only.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import Subject
from anonvma_rt.errors import AlgorithmError, ParameterError, ScenarioError, UserError, nearest, quote
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.kernel.scenario_file import Parameter, read_parameter
from anonvma_rt.litmus.litmus import Variant
from anonvma_rt.own.gate import import_class, must_be_checked, name_of
from anonvma_rt.own.history import EmbeddedTrace, name_of_object, names_of_tasks
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.scenes import Scenes, litmus_scenes
from anonvma_rt.text.parameters import bind_parameters
from anonvma_rt.text.toml import load_toml

__all__ = ["Embedded", "EmbeddedProgram", "is_embedded", "subject", "subject_named_in"]

ONLY_VARIANT = "usual"


def subject(
    named: str | type,
    parameters: Mapping[str, Any] | None = None,
    variants: Mapping[str, Mapping[str, int | bool]] | None = None,
    expect: Mapping[str, str] | None = None,
    strategy: str = "",
) -> "Embedded":
    """A Subject class of your own, by its name `module:Class` (which is imported) or itself, for hunt() and the others.

    The class says the rest by attributes of the same names, which are all optional; what is given here comes on top.
    parameters: a default, or a mapping with default, min, max, multiple_of and about, for each argument of __init__.
    variants: values for some arguments, by name; every verb compares them. expect: for a variant, the kind of violation
    that it has, or "none". strategy: the one that finds it best, "" for the usual one. Raises UserError.

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
    raw = {**_table(cls, "parameters", where), **(parameters or {})}
    tables = {key: value if isinstance(value, Mapping) else {"default": value} for key, value in raw.items()}
    chosen = {**_table(cls, "variants", where), **(variants or {})} or {ONLY_VARIANT: {}}
    for variant, values in chosen.items():
        for key, value in dict(values).items():
            if not isinstance(value, int):
                raise ScenarioError(f"{where}: variant {variant}: {key} must be an integer, True or False")
            tables.setdefault(key, {"default": value})
    read = {key: read_parameter(key, dict(table), f"{where}: parameter {key}") for key, table in tables.items()}
    for variant, values in chosen.items():
        for key, value in values.items():
            if problem := read[key].problem(value):
                raise ScenarioError(f"{where}: variant {variant}: {key} {problem}")
    expected = {**_table(cls, "expect", where), **(expect or {})}
    for variant in expected:
        if variant not in chosen:
            raise ScenarioError(
                f"{where}: expect: unknown variant {quote(str(variant))}{nearest(str(variant), chosen)}"
            )
    return Embedded(
        name=name,
        about=((cls.__doc__ or "").strip().splitlines() or [""])[0],
        parameters=read,
        variants={variant: Variant(variant, dict(values)) for variant, values in chosen.items()},
        expect=expected,
        strategy=strategy or str(getattr(cls, "strategy", "")),
        text=_text(name, tables, chosen),
        cls=cls,
    )


@dataclass(frozen=True)
class Embedded:
    """What is known of a subject class; made by subject(). The methods are what lab.Described asks."""

    name: str
    about: str
    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, str]
    strategy: str
    text: str = field(repr=False)
    cls: Any

    @property
    def source(self) -> str:
        return f"subject {self.name}"

    @property
    def sha256(self) -> str:
        """The digest of the text: of the name, the parameters and the variants, and not of the code."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def expected(self, name: str) -> str | None:
        return self.expect.get(name)

    def algorithms(self) -> list[str]:
        return [name for name in self.variants if name in self.expect]

    def usual_algorithms(self) -> list[str]:
        return list(self.variants)

    def read_choice(self, data: Mapping[str, object], own: Iterable[Any] = ()) -> Variant:
        return self.variants[str(data["variant"])]

    def bind(self, values: Mapping[str, str | int | bool]) -> "EmbeddedProgram":
        """The subject with these values, which may be text. Raises ParameterError."""
        bound = bind_parameters(self.parameters, values, self.source)
        left = {
            name: variant
            for name, variant in self.variants.items()
            if all(key not in values or bound[key] == value for key, value in variant.values.items())
        }
        if not left:
            raise ParameterError(f"{self.source}: no variant has these values ({', '.join(self.variants)})")
        set_by_variants = {key for variant in self.variants.values() for key in variant.values}
        shown = {key: value for key, value in bound.items() if key in values or key not in set_by_variants}
        return EmbeddedProgram(self, shown, bound, left)


@dataclass(frozen=True)
class EmbeddedProgram:
    """A subject class with values for its parameters. The methods are what lab.Bound asks.

    parameters: without those that only variants set; values: all of them; variants: those that agree with what was
    given.
    """

    scenario: Embedded
    parameters: dict[str, int | bool]
    values: dict[str, int | bool]
    variants: dict[str, Variant]

    def choose(self, algorithm: Variant | str) -> Variant:
        name = algorithm if isinstance(algorithm, str) else algorithm.name
        known = self.scenario.variants
        if name not in known or not (isinstance(algorithm, str) or algorithm == known[name]):
            raise AlgorithmError(f"{self.scenario.source}: unknown variant {quote(name)}{nearest(name, known)}")
        if name not in self.variants:
            raise ParameterError(f"{self.scenario.source}: variant {name} has another value for a parameter given")
        return known[name]

    def usual(self) -> list[str]:
        return list(self.variants)

    @property
    def interesting(self) -> tuple[str, ...]:
        """None by name: the code says it, right before a point (mark)."""
        return ()

    def with_interesting(self, names: Iterable[str]) -> "EmbeddedProgram":
        for name in names:
            raise UserError(
                f"{self.scenario.source}: {quote(name)} is no name there: its code says what is interesting"
            )
        return self

    def expected(self, algorithm_name: str) -> str | None:
        return self.scenario.expected(algorithm_name)

    def make_subject(self, algorithm: Variant) -> Any:
        values = {**self.values, **self.choose(algorithm).values}
        call = f"{self.scenario.name}({', '.join(f'{key}={value}' for key, value in values.items())})"
        try:
            return self.scenario.cls(**values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ScenarioError(f"subject {call}: {error}") from error

    @property
    def failing(self) -> None:
        return None

    def fail(self, failing: Failing) -> "EmbeddedProgram":
        raise UserError(f"{self.scenario.source}: --fail-alloc is about the kernel's allocations, and it is no kernel")

    def refusal(self, task: int, step: int, errno: int) -> ScenarioError:
        who = f"task {task}" if task >= 0 else "build"
        return ScenarioError(f"{self.scenario.source}: {who} was refused (step {step + 1}, {errno})")

    def before(self, explorer: Explorer) -> None:
        return None

    def trace(self, recorded: dict[str, Any], explorer: Explorer, before: None) -> Trace:
        return EmbeddedTrace.of_subject(recorded, explorer.subject)

    def task_names(self) -> list[str]:
        return names_of_tasks(self.make_subject(next(iter(self.variants.values()))))

    def lock_names(self, explorer: Explorer) -> Callable[[int], str]:
        subject = explorer.subject
        return lambda offset: name_of_object(subject, offset)

    @property
    def things(self) -> str:
        return "NAME of a value, world"

    def look(self, explorer: Explorer, trace: Trace, words: list[str]) -> list[str]:
        values = explorer.subject.values(explorer)
        name = " ".join(words)
        if name not in values:
            raise UserError(f"no value {quote(name)}{nearest(name, values)}")
        return [f"{name} = {values[name]}"]

    def scenes(self, explorer: Explorer, trace: Trace) -> Scenes:
        return litmus_scenes(explorer, explorer.subject.values)

    def state(self, explorer: Explorer, trace: Trace) -> str:
        """Its values, and where each task is."""
        assert isinstance(trace, EmbeddedTrace)
        values = explorer.subject.values(explorer)
        return "\n".join(["", *(f"  {name} = {value}" for name, value in values.items()), *trace.positions()])


def is_embedded(text: str, source: str) -> bool:
    """Whether a text that a reproducer keeps names a subject (it has the key `subject`). Raises ScenarioError."""
    return "subject" in load_toml(text, source)


def subject_named_in(text: str, source: str) -> str:
    """The name module:Class in such a text; nothing is imported."""
    return str(load_toml(text, source)["subject"])


def _table(cls: type, name: str, where: str) -> dict[str, Any]:
    value = getattr(cls, name)
    if not isinstance(value, Mapping):
        raise ScenarioError(f"{where}: {name} must be a mapping, not {quote(repr(value))}")
    return dict(value)


def _text(name: str, tables: Mapping[str, Mapping[str, Any]], variants: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML that says which subject it is, and what its parameters and variants were."""
    lines = [f"subject = {json.dumps(name)}"]
    for section, entries in (("parameters", tables), ("variants", variants)):
        for key, table in entries.items():
            values = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in sorted(table.items()) if k != "about")
            lines.append(f"{section}.{json.dumps(key)} = {{ {values} }}")
    return "\n".join(lines) + "\n"
