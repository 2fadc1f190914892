"""What is asked of a program beside its sources: the arguments of main, what becomes of races, how often a thread may
be late, what its operations are compared with; and what became known of it meanwhile. A reproducer keeps all of it as
text, and of a specification its name and its digest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from anonvma_rt.errors import ScenarioError, UserError, among, between, quote
from anonvma_rt.linear.specification import Specification
from anonvma_rt.programs.spec import specified

__all__ = ["LATE", "RACES", "Asked", "Wanted"]

# What becomes of two plain accesses that nothing orders; the first is usual.
RACES = ("report", "point", "ignore")
# How often a wait of a thread with a timeout may be late where something else could happen.
LATE = 3
MOST_TIMES = 1000


class Wanted(TypedDict, total=False):
    """What native() takes of the fields of Asked, as a user gives it."""

    args: Sequence[str]
    races: str
    late: int
    spurious: int
    leaks: bool
    spec: str | type | Specification | None


@dataclass(frozen=True)
class Asked:
    """args: of main, without its first. races: of RACES. late: how often a wait with a timeout may be late, of each
    thread; spurious: how often one of a condition variable may end for no reason. leaks: objects of the heap that
    nobody can free at the end are a violation. spec: what its operations are to be like. points: where accesses are
    steps of their own, if that is known already. births: threads that were seen after the others had been counted, as
    (parent, ordinal)."""

    args: tuple[str, ...] = ()
    races: str = RACES[0]
    late: int = LATE
    spurious: int = 0
    leaks: bool = False
    spec: Specification | None = None
    points: tuple[int, ...] | None = None
    births: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        among("--races", self.races, RACES)
        between("--late", self.late, 0, MOST_TIMES)
        between("--spurious", self.spurious, 0, MOST_TIMES)

    @classmethod
    def of(cls, wanted: Wanted) -> "Asked":
        """Raises UserError."""
        spec = wanted.get("spec")
        known: dict[str, Any] = {**wanted, "args": tuple(wanted.get("args", ()))}
        return cls(**{**known, "spec": None if spec is None else specified(spec)})

    def lines(self) -> list[str]:
        """TOML."""
        lines = [f"args = {json.dumps(list(self.args))}"]
        if self.races != RACES[0]:
            lines.append(f"races = {json.dumps(self.races)}")
        if self.late != LATE:
            lines.append(f"late = {self.late}")
        if self.spurious:
            lines.append(f"spurious = {self.spurious}")
        if self.leaks:
            lines.append("leaks = true")
        if self.spec is not None:
            lines += [f"spec = {json.dumps(self.spec.name)}", f"spec_sha256 = {json.dumps(self.spec.digest)}"]
        if self.points is not None:
            lines.append(f"points = {json.dumps(list(self.points))}")
        if self.births:
            lines.append(f"births = {json.dumps([list(one) for one in self.births])}")
        return lines

    @classmethod
    def read(cls, data: Mapping[str, Any], source: str, spec: Specification | None) -> "Asked":
        """What lines() wrote; spec: the one that the user trusts, as a file names one and has none. Raises
        ScenarioError."""
        if "spec" in data and spec is None:
            raise ScenarioError(
                f"{source}: its operations were compared with {quote(str(data['spec']))}, which no file may start: if "
                "you trust it, say so with --spec, or in Python with spec="
            )
        if "spec" not in data and spec is not None:
            raise ScenarioError(f"{source}: its operations were compared with nothing: leave --spec out, or hunt again")
        points, births = data.get("points"), data.get("births", [])
        if points is not None and not (isinstance(points, list) and all(_whole(one, 0, 1 << 32) for one in points)):
            raise ScenarioError(f"{source}: points is a list of places, which are numbers of 32 bits")
        if not isinstance(births, list) or not all(_birth(one) for one in births):
            raise ScenarioError(f"{source}: births is a list of [parent, number among its threads]")
        try:
            return cls(
                tuple(str(word) for word in data.get("args", ())), data.get("races", RACES[0]),
                data.get("late", LATE), data.get("spurious", 0), data.get("leaks", False) is True, spec,
                None if points is None else tuple(points), tuple((parent, ordinal) for parent, ordinal in births),
            )  # fmt: skip
        except (UserError, TypeError) as error:
            raise ScenarioError(f"{source}: {error}") from None


def _whole(one: object, low: int, high: int) -> bool:
    return type(one) is int and low <= one < high


def _birth(one: object) -> bool:
    return isinstance(one, list) and len(one) == 2 and _whole(one[0], 0, 1 << 10) and _whole(one[1], -3, 1 << 10)
