"""From the words of a user, or the text of a file, to what is explored: a scenario, a litmus test, an own subject.

The simulated kernel is imported only where a scenario is asked for, so that a litmus test never loads it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.litmus.file import is_litmus
from anonvma_rt.litmus.herd.file import is_herd
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.own.gate import find, is_own
from anonvma_rt.own.subject import Embedded, is_embedded, subject, subject_named_in
from anonvma_rt.programs.build import is_program
from anonvma_rt.programs.subject import Native, is_native, native, native_named_in
from anonvma_rt.subjects.protocols import Bound, Described
from anonvma_rt.text.files import is_path, read_text

__all__ = ["DEFAULT_SCENARIO", "bind", "described_by", "least_values", "load", "names_of_all", "own_named"]

DEFAULT_SCENARIO = "lkml-2011"


def names_of_all() -> list[str]:
    """The names of the built-in scenarios, and then those of the litmus tests.

    >>> "sb" in names_of_all()
    True
    """
    from anonvma_rt.kernel.scenario import Scenario

    return [*Scenario.builtin_names(), *Litmus.builtin_names()]


def load(name_or_path: str, own: Iterable[Embedded | Native] = ()) -> Described:
    """A built-in scenario or litmus test by name, or any by path: what contains a / or ends in .toml or .litmus.

    own: the user's own subjects, which may be named as well. Nothing is imported here: a name can come from a file.

    >>> load("sb").name, load("merge").name
    ('sb', 'merge')
    """
    if is_program(name_or_path):
        return find(Path(name_or_path).name, own, "scenario", "--subject")
    if is_path(name_or_path):
        return described_by(read_text(name_or_path), name_or_path, own)
    if is_own(name_or_path):
        return find(name_or_path, own, "scenario", "--subject")
    if name_or_path in Litmus.builtin_names():
        return Litmus.load(name_or_path)
    from anonvma_rt.kernel.scenario import Scenario

    if name_or_path not in Scenario.builtin_names():
        hint = nearest(name_or_path, names_of_all())
        raise ScenarioError(f"unknown scenario {quote(name_or_path)}{hint}; a file's path ends in .toml")
    return Scenario.load(name_or_path)


def own_named(name: str) -> Embedded | Native:
    """What --subject names: a class of the user's own, which is imported, or the files of a program with a plus between
    them. Raises UserError."""
    return native(*name.split("+")) if is_program(name) else subject(name)


def bind(scenario: Described | str, parameters: Mapping[str, str | int | bool] | None = None) -> Bound:
    """What is named or given, with values for its parameters. Raises UserError.

    >>> bind("order", {"pages": 2}).parameters
    {'pages': 2}
    """
    return (load(scenario) if isinstance(scenario, str) else scenario).bind(parameters or {})


def described_by(text: str, source: str, own: Iterable[Embedded | Native] = ()) -> Described:
    """What a text describes: in one of herd's formats, or with the key `litmus`, a litmus test; with the key `subject`
    or `program` one of the user's own; else a scenario. Raises UserError where such a one is not among `own`, or is
    another now."""
    if is_herd(text):
        return Litmus.from_text(text, source)
    if "program" in text and is_native(text, source):
        program: Native = find(native_named_in(text, source), own, source, "--subject")
        return program.as_it_was(text, source)
    if "subject" in text and is_embedded(text, source):
        found: Embedded = find(subject_named_in(text, source), own, source, "--subject")
        if found.text != text:
            raise ScenarioError(
                f"{source}: {found.source} has other parameters or variants by now, or another spec: hunt it again"
            )
        return found
    if is_litmus(text, source):
        return Litmus.from_text(text, source)
    from anonvma_rt.kernel.scenario import Scenario

    return Scenario.from_text(text, source)


def least_values(described: Described) -> dict[str, int]:
    """The least value of each number among its parameters; switches stay as they are.

    >>> least_values(load("order"))
    {'pages': 1}
    """
    return {
        p.name: -(-p.minimum // p.multiple_of) * p.multiple_of
        for p in described.parameters.values()
        if not isinstance(p.default, bool)
    }
