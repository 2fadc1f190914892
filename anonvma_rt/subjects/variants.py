"""Subjects with variants, which are names for values of some of their parameters: litmus tests and the user's own.

What both say to the lab in the same way stands here once: which variants the given values leave, how one is chosen,
and how the values in which an execution stopped are looked at. Nothing that such a subject allocates can fail.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import BuildRefused
from anonvma_rt.errors import AlgorithmError, ParameterError, ScenarioError, UserError, nearest, quote
from anonvma_rt.subjects.protocols import SC, KnownAtOnce
from anonvma_rt.subjects.scenes import Scenes, value_scenes
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.parameters import Parameter, bind_parameters

__all__ = ["BoundVariants", "Values", "Variant", "WithVariants"]


@dataclass(frozen=True)
class Variant:
    """One form of a subject: a name for values of some of its parameters."""

    name: str
    values: Mapping[str, int | bool]

    def as_dict(self) -> dict[str, str | bool]:
        return {"variant": self.name}


class Values(NamedTuple):
    """every: a value for each parameter; shown: without those that only variants set; left: the variants that agree
    with what was given."""

    every: dict[str, int | bool]
    shown: dict[str, int | bool]
    left: dict[str, Variant]


class WithVariants:
    """What protocols.Described asks, for whoever has these attributes. expect: for a variant, a kind, several or
    "none"."""

    parameters: dict[str, Parameter]
    variants: dict[str, Variant]
    expect: dict[str, Expected]
    text: str
    source: str

    @property
    def sha256(self) -> str:
        """The digest of the text, in hexadecimal; of the user's own subject, it has nothing of the code."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def needs(self) -> str:
        return ""

    def expected(self, name: str) -> Expected | None:
        """What is said of a variant: a violation kind or several, "none", or None where nothing is said."""
        return self.expect.get(name)

    def remark(self, found: Iterable[str], complete: bool, memory: str) -> str:
        return ""

    def algorithms(self) -> list[str]:
        """The variants of which something is expected."""
        return [name for name in self.variants if name in self.expect]

    def usual_algorithms(self) -> list[str]:
        return list(self.variants)

    def read_choice(self, data: Mapping[str, object], own: Iterable[Any] = ()) -> Variant:
        """The variant whose as_dict() is `data`, as a reproducer keeps it. Raises ScenarioError."""
        name = str(data.get("variant"))
        if name not in self.variants:
            raise ScenarioError(f"{self.source}: unknown variant {quote(name)}{nearest(name, self.variants)}")
        return self.variants[name]

    def bind_values(self, given: Mapping[str, str | int | bool]) -> Values:
        """The given values, which may be text, and the defaults. Raises ParameterError, also where no variant agrees
        with what is given."""
        every = bind_parameters(self.parameters, given, self.source)
        left = {
            name: variant
            for name, variant in self.variants.items()
            if all(key not in given or every[key] == value for key, value in variant.values.items())
        }
        if not left:
            raise ParameterError(f"{self.source}: no variant has these values ({', '.join(self.variants)})")
        set_by_variants = {key for variant in self.variants.values() for key in variant.values}
        shown = {key: value for key, value in every.items() if key in given or key not in set_by_variants}
        return Values(every, shown, left)


class BoundVariants(KnownAtOnce):
    """What protocols.Bound asks, as far as it is the same for all subjects with variants.

    VALUE: how messages call one of the values in which an execution ends.
    """

    VALUE: ClassVar[str]
    scenario: WithVariants

    def usual(self) -> list[str]:
        """The names of the variants that the values leave."""
        raise NotImplementedError

    def values(self, explorer: Explorer) -> Mapping[str, int]:
        """What an execution left, by name."""
        raise NotImplementedError

    def choose(self, algorithm: Variant | str) -> Variant:
        name = algorithm if isinstance(algorithm, str) else algorithm.name
        source, known = self.scenario.source, self.scenario.variants
        if name not in known or not (isinstance(algorithm, str) or algorithm == known[name]):
            raise AlgorithmError(f"{source}: unknown variant {quote(name)}{nearest(name, known)}")
        if name not in self.usual():
            raise ParameterError(f"{source}: variant {name} has another value for a parameter given")
        return known[name]

    def expected(self, algorithm_name: str) -> Expected | None:
        # What a text expects is of SC.
        return self.scenario.expected(algorithm_name) if self.memory == SC else None

    def unannounced(self, variant: Variant) -> str:
        return ""

    @property
    def only_in_turns(self) -> str:
        return ""

    def own_code(self, choices: Iterable[Any]) -> list[type]:
        return []

    @property
    def failing(self) -> None:
        return None

    def build_refusal(self, error: BuildRefused) -> ScenarioError:
        return ScenarioError(f"{self.scenario.source}: {error}")

    def before(self, explorer: Explorer) -> None:
        return None

    @property
    def things(self) -> str:
        return f"NAME of a {self.VALUE}, world"

    def look(self, explorer: Explorer, trace: Any, words: list[str]) -> list[str]:
        values = self.values(explorer)
        name = " ".join(words)
        if name not in values:
            raise UserError(f"no {self.VALUE} {quote(name)}{nearest(name, values)}")
        return [f"{name} = {values[name]}"]

    def scenes(self, explorer: Explorer, trace: Any) -> Scenes:
        return value_scenes(explorer, self.values)

    def state(self, explorer: Explorer, trace: Any) -> str:
        return "\n".join(["", *(f"  {name} = {value}" for name, value in self.values(explorer).items())])
