"""What a scenario says of releases: its table [releases], such as `"..3.2" = "stale-migration-entry"`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from anonvma_rt.errors import AlgorithmError, ScenarioError, nearest, quote
from anonvma_rt.linux import table
from anonvma_rt.text.expected import NONE, Expected, read_expected
from anonvma_rt.text.toml import as_table, shown

__all__ = ["Stated", "read_stated"]

NEEDS = "needs"  # a key beside the ranges


@dataclass(frozen=True)
class Stated:
    """kinds: what is expected of the releases that were named; "none" is of all others, if anything is said at all.
    needs: what no release has a verdict without (`of` in the table)."""

    given: bool = False
    kinds: dict[str, Expected] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def of(self, release: str) -> Expected | None:
        """None where the scenario says nothing.

        >>> Stated(True, {"3.2": "leak"}).of("3.3"), Stated().of("3.2")
        ('none', None)
        """
        return self.kinds.get(table.mainline(release), NONE) if self.given else None


def read_stated(top: dict[str, Any], known: Iterable[str], source: str) -> Stated:
    """From a scenario file, where `known` are the kinds of violations. Raises ScenarioError."""
    if "releases" not in top:
        return Stated()
    where = f"{source}: releases"
    kinds: dict[str, Expected] = {}
    needs: tuple[str, ...] = ()
    for text, value in as_table(top["releases"], where).items():
        if text == NEEDS:
            needs = _read_needs(value, f"{where}.{NEEDS}")
            continue
        if isinstance(value, dict):  # 3.2 = ... is, to TOML, the key 2 in a table 3
            example = quote(f"{text}.{next(iter(value), '')}")
            raise ScenarioError(f"{where}.{text}: is a table (a release needs quotes: {example})")
        try:
            named = table.between(text, where)
        except AlgorithmError as error:
            raise ScenarioError(str(error)) from None
        expected = read_expected(value, known, f"{where}.{text}")
        for release in named:
            if release in kinds:
                raise ScenarioError(f"{where}: {release} is there twice (the second time in {quote(text)})")
            kinds[release] = expected
    return Stated(True, kinds, needs)


def _read_needs(value: object, where: str) -> tuple[str, ...]:
    known = sorted({one.of for one in table.UNKNOWN if one.of})
    if not isinstance(value, list):
        raise ScenarioError(f"{where}: must be a list of strings, not {shown(value)}")
    for word in value:
        if word not in known:
            said = quote(word) if isinstance(word, str) else shown(word)
            raise ScenarioError(f"{where}: unknown word {said}{nearest(str(word), known)}")
    return tuple(value)
