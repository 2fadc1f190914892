"""The kernel's choices as data: what Linux does, in each version, to keep a pte from slipping past a walk.

One simulated kernel reads the fields of an Algorithm; a patch is a preset, not a copy of a function. What each choice
means is in linux/choices.py; which release made it, and the presets, are the table linux/releases.toml.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, cast

from anonvma_rt.errors import AlgorithmError, UserError, nearest, quote
from anonvma_rt.linux import table
from anonvma_rt.linux.choices import Choices
from anonvma_rt.mm.hooks import algorithm as kernel_side
from anonvma_rt.mm.hooks.rule import Rule
from anonvma_rt.own.gate import find, import_class, must_be_checked
from anonvma_rt.text.parameters import read_bool

__all__ = ["ALIASES", "CHOICES", "PRESETS", "Algorithm", "import_rule", "of_release"]

# Fields that take one of a few words, the first of which is what Linux 3.2 does.
CHOICES: Mapping[str, tuple[str, ...]] = kernel_side.CHOICES


@dataclass(frozen=True)
class Algorithm(Choices):
    """What one kernel version does so that a walk through the reverse map misses no pte. The defaults are Linux 3.2's.

    Its choices are explained in linux/choices.py (`help("anonvma_rt.linux.choices")`). Beside them:

    rule
        an ordering of your own in the place of `ordering`: an object of a compiled Rule (docs/embedding.md).

    `about` and `kernel` (the version) are for people; two algorithms that differ in them only are equal.

    >>> Algorithm.parse("linux-3.3").name
    'moveto-tail'
    """

    rule: Any = None
    about: str = field(default="", compare=False)
    kernel: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise AlgorithmError("algorithm: the name must be a line of text")
        for name, words in CHOICES.items():
            word = getattr(self, name)
            if word not in words:
                raise AlgorithmError(f"algorithm: unknown {name} {quote(str(word))}{nearest(str(word), words)}")
        for switch in SWITCHES:
            if not isinstance(getattr(self, switch), bool):
                raise AlgorithmError(f"algorithm: {switch} must be true or false")
        if self.rule is not None and not isinstance(self.rule, Rule):
            raise AlgorithmError("algorithm: rule must be an object of a class that extends anonvma_rt.kernel_api.Rule")

    def with_rule(self, rule: Any) -> "Algorithm":
        """The same with an ordering of your own, an object of a compiled class that extends Rule."""
        if not isinstance(rule, Rule):
            raise AlgorithmError(f"algorithm {quote(self.name)}: {quote(repr(rule))} is not a Rule")
        must_be_checked(type(rule), "rule")
        name, about = f"{self.name},rule={rule.name}", f"{self.about}; but the order is that of {rule.name}"
        return replace(self, name=name, ordering="none", rule=rule, about=about)

    @classmethod
    def parse(cls, text: str, own: Iterable[Any] = ()) -> "Algorithm":
        """The algorithm that `NAME` or `NAME,field=value,...` stands for; NAME is a preset or a release (`linux-6.6`).

        The name of a modified preset is the text in one normal form: the preset's own name, then the fields that
        really differ, in the order of the class. `rule=module:Class` is one of `own`; none is imported here. Raises
        AlgorithmError with the nearest name.

        >>> Algorithm.parse("linux-3.2, single_ptl=yes").name
        'unpatched,single_ptl=true'
        """
        base_name, *changes = (part.strip() for part in text.split(","))
        base = PRESETS.get(ALIASES.get(base_name, base_name))
        if base is None and table.is_release(base_name):
            base = of_release(base_name)
        if base is None:
            known = [*PRESETS, *ALIASES, table.HOST]
            raise AlgorithmError(f"unknown algorithm {quote(base_name)}{nearest(base_name, known)}")
        where = f"algorithm {quote(text)}"
        given: dict[str, str | bool] = {}
        for change in changes:
            name, equals, value = (part.strip() for part in change.partition("="))
            if not equals:
                raise AlgorithmError(f"{where}: {quote(change)} is not of the form field=value")
            if name == "rule":
                rest = ",".join([base_name, *(c for c in changes if c is not change)])
                try:
                    rule = find(value, own, where, "--algorithm ...,rule=")
                except UserError as error:
                    raise AlgorithmError(str(error)) from None
                return cls.parse(rest, own).with_rule(rule)
            if name not in BEHAVIOUR:
                raise AlgorithmError(f"{where}: unknown field {quote(name)}{nearest(name, BEHAVIOUR)}")
            if name in given:
                raise AlgorithmError(f"{where}: {name} is given twice")
            given[name] = _field_value(where, name, value)
        differing = {name: given[name] for name in BEHAVIOUR if name in given and given[name] != getattr(base, name)}
        if not differing:
            return base
        spelled = [f"{name}={str(value).lower()}" for name, value in differing.items()]
        modified = base.as_dict() | differing | {"name": ",".join([base.name, *spelled])}
        return replace(cls._of(modified), about=f"{base.about}; but {' '.join(spelled)}", kernel=base.kernel)

    def as_dict(self) -> dict[str, str | bool]:
        """The name and the fields that decide behaviour, as JSON knows them: what a reproducer keeps."""
        kept = {name: getattr(self, name) for name in ("name", *BEHAVIOUR)}
        return kept | ({"rule": self.rule.name} if self.rule is not None else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, object], own: Iterable[Any] = ()) -> "Algorithm":
        """The inverse of as_dict(). Raises AlgorithmError for unknown fields, for wrong types, and without a name.

        The fields decide and not the name: a reproducer stays what it was if a preset ever changes. A field that is not
        there is as in Linux 3.2, so that a reproducer from before the lab knew the field still is the same execution.
        A rule is one of `own`; none is imported here.
        """
        if "rule" in data:
            rule = find(str(data["rule"]), own, "algorithm", "--rule")
            return replace(cls.from_dict({k: v for k, v in data.items() if k != "rule"}), rule=rule)
        known = ("name", *BEHAVIOUR)
        for key in data:
            if key not in known:
                raise AlgorithmError(f"algorithm: unknown field {quote(str(key))}{nearest(str(key), known)}")
        if "name" not in data:
            raise AlgorithmError("algorithm: the field name is missing")
        made = cls._of(data)
        try:
            like = cls.parse(made.name)
        except AlgorithmError:
            return made
        return replace(made, about=like.about, kernel=like.kernel) if like == made else made

    @classmethod
    def _of(cls, data: Mapping[str, object]) -> "Algorithm":
        return cls(**data)  # type: ignore[arg-type]  # __post_init__ checks the types


BEHAVIOUR = tuple(f.name for f in fields(Algorithm) if f.name not in ("name", "about", "kernel", "rule"))
SWITCHES = tuple(name for name in BEHAVIOUR if name not in CHOICES)


def _made(preset: table.Preset) -> Algorithm:
    kernel = preset.kernel or preset.release
    given: dict[str, Any] = {**table.row(preset.release), **preset.but}
    return Algorithm(preset.name, about=preset.about, kernel=kernel, **given)


# The presets, and the rows of all releases by their names; what is a preset already is that one.
PRESETS: dict[str, Algorithm] = {preset.name: _made(preset) for preset in table.PRESETS}
ALIASES: dict[str, str] = {
    name: preset.name
    for preset in table.PRESETS
    if not preset.but and (name := f"linux-{preset.release}") != preset.name
}


@cache
def _row(release: str) -> Algorithm:
    name = f"linux-{release}"
    last = table.changes_up_to(release)[-1:]
    about = f"the choices of Linux {release}" + "".join(f"; the last: {one.about} ({one.commit})" for one in last)
    known = PRESETS.get(ALIASES.get(name, name))
    return known or _made(table.Preset(name, release, about))


def of_release(name: str) -> Algorithm:
    """The row of `linux-6.6`, or the newest older one; `kernel` says so then. Raises AlgorithmError."""
    release, said = table.resolve(name)
    row = _row(release)
    return replace(row, kernel=f"{row.kernel} ({said})") if said else row


def import_rule(name: str) -> Rule:
    """The rule of the user's own of the name `module:Class`, which is imported. Raises UserError."""
    cls = import_class(name, Rule, "rule")
    must_be_checked(cls, "rule")
    return cast("Rule", cls())


def _field_value(where: str, name: str, text: str) -> str | bool:
    words = CHOICES.get(name)
    value = text if words else read_bool(text)
    if words and text not in words:
        raise AlgorithmError(f"{where}: unknown {name} {quote(text)}{nearest(text, words)}")
    if value is None:
        raise AlgorithmError(f"{where}: {name} must be true or false, not {quote(text)}")
    return value
