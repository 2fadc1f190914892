"""A scenario under many releases: a hunt for each row of choices, and the first and the last release with the bug.

Releases that make the same choices are hunted once. A release has no verdict where it lacks a call of the scenario, or
where its row does not know something that the scenario needs; both are said and not guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anonvma_rt.errors import UserError, quote
from anonvma_rt.execution.results import Shown
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import BoundScenario, Call
from anonvma_rt.kernel.scenario_file import VERBS
from anonvma_rt.lab.load import DEFAULT_SCENARIO, bind
from anonvma_rt.linux import table
from anonvma_rt.search.hunt import hunt
from anonvma_rt.search.hunt_result import Hunted, HuntInterrupted, HuntResult
from anonvma_rt.subjects.protocols import Described
from anonvma_rt.text.expected import NONE, Expected, as_expected

__all__ = ["ABSENT", "Cell", "Matrix", "MatrixInterrupted", "hunt_releases", "ranges"]

ABSENT, UNKNOWN = "absent", "unknown"


@dataclass
class Cell(Shown):
    """One release. verdict: the kinds that were found, "none", "absent" or "unknown"; why: of the last two. algorithm:
    the row that was hunted, of this release or an older one with the same choices. executions: up to the violation, or
    all of them. reproducer: its file, if it was saved."""

    release: str
    verdict: str = ""
    why: str = ""
    algorithm: str = ""
    executions: int = 0
    reproducer: str | None = None
    expected: Expected | None = None
    as_expected: bool = True

    shown = "release verdict why algorithm executions reproducer expected as_expected"

    @property
    def bad(self) -> bool:
        return self.verdict not in ("", NONE, ABSENT, UNKNOWN)


@dataclass
class Turn(Shown):
    """Where the verdict turns from one release to the next. changes: what lies between, as `field=value (commit)`; by:
    those of them that turn it alone, each put into the older row; or, where it takes several, `together`: those without
    which it does not turn."""

    before: str
    after: str
    changes: list[str]
    by: list[str]
    together: bool = False

    shown = "before after changes by together"


@dataclass
class Matrix(Shown):
    """One scenario under several releases. bad: ranges of releases, as (first, last)."""

    scenario: str
    parameters: dict[str, int | bool]
    cells: list[Cell]
    hunted: HuntResult | None = None
    introduced: list[Turn] = field(default_factory=list)
    fixed: list[Turn] = field(default_factory=list)
    interrupted: bool = False
    trouble: str = ""

    shown = (
        "scenario parameters strategy seed runs cells bad first_bad last_bad introduced fixed interrupted as_expected"
    )

    @property
    def results(self) -> Sequence[Hunted]:
        return self.hunted.results if self.hunted else []

    @property
    def strategy(self) -> str:
        return self.hunted.strategy if self.hunted else ""

    @property
    def seed(self) -> int:
        return self.hunted.seed if self.hunted else 0

    @property
    def runs(self) -> int | None:
        """The most executions of a row."""
        return max((one.executions for one in self.results), default=0)

    @property
    def as_expected(self) -> bool:
        return all(cell.as_expected for cell in self.cells)

    @property
    def bad(self) -> list[tuple[str, str]]:
        return [(first.release, last.release) for first, last in ranges(self.cells, lambda cell: cell.bad)]

    @property
    def first_bad(self) -> str | None:
        return self.bad[0][0] if self.bad else None

    @property
    def last_bad(self) -> str | None:
        return self.bad[-1][1] if self.bad else None


class MatrixInterrupted(HuntInterrupted):
    """^C during a hunt of releases."""


def hunt_releases(
    scenario: Described | str = DEFAULT_SCENARIO,
    releases: str | Iterable[str] = "all",
    parameters: Mapping[str, str | int | bool] | None = None,
    **how: Any,
) -> Matrix:
    """A scenario under releases of Linux: which have the bug, the first, the last, and by which change.

    releases: "all", ranges such as "3.2..4.4,6.16..", or a list. how: as for hunt(), but each row of choices is hunted
    up to its first violation. Raises UserError for what has no releases, MatrixInterrupted on ^C.

    >>> found = hunt_releases("lkml-2011", "3.1..3.7", runs=1000)
    >>> found.last_bad, found.fixed[0].by
    ('3.2', ['ordering=tail (948f017b)'])
    """
    program = bind(scenario, parameters)
    if not isinstance(program, BoundScenario):
        raise UserError(f"{quote(program.scenario.name)} is no scenario of the kernel, so it has no releases")
    if not isinstance(releases, str):
        releases = ",".join(releases)
    releases = table.select(releases, "releases")
    cells = [_cell(program, release) for release in releases]
    matrix = Matrix(program.scenario.name, dict(program.parameters), cells)
    rows: dict[tuple[object, ...], Algorithm] = {}
    hunted: dict[str, list[Cell]] = {}
    for cell in cells:
        if not cell.verdict:
            made = Algorithm.parse(f"linux-{cell.release}")
            choices = {**made.as_dict(), "name": ""}
            row = rows.setdefault(tuple(choices.values()), made)
            cell.algorithm = row.name
            hunted.setdefault(row.name, []).append(cell)
    if not rows:
        return matrix
    how |= {"classes": 0, "until_violation": True}
    try:
        matrix.hunted = hunt(program.scenario, program.parameters, list(rows.values()), **how)
    except HuntInterrupted as stopped:
        matrix.hunted, matrix.interrupted, matrix.trouble = stopped.result, True, stopped.result.trouble
    for one in matrix.results:
        for cell in hunted[one.algorithm]:
            _fill(cell, one)
    try:
        _find_turns(matrix, program, how)
    except HuntInterrupted:
        matrix.interrupted = True
    if matrix.interrupted:
        raise MatrixInterrupted(matrix)
    return matrix


def ranges(cells: Sequence[Cell], chosen: Any) -> list[tuple[Cell, Cell]]:
    """The first and the last cell of each run of neighbours for which `chosen` says the same, and which is chosen."""
    found: list[tuple[Cell, Cell]] = []
    going = False
    for cell in cells:
        is_chosen = bool(chosen(cell))
        if is_chosen:
            found.append((found.pop()[0], cell) if going else (cell, cell))
        going = is_chosen
    return found


def _find_turns(matrix: Matrix, program: BoundScenario, how: dict[str, Any]) -> None:
    for one, other in zip(matrix.cells, matrix.cells[1:], strict=False):
        # Nothing is said where a release without a verdict lies between.
        if not matrix.interrupted and one.bad is not other.bad and NONE in (one.verdict, other.verdict):
            (matrix.fixed if one.bad else matrix.introduced).append(_turn(program, one, other, how))


def _turn(program: BoundScenario, one: Cell, other: Cell, how: dict[str, Any]) -> Turn:
    """Which of the changes it is, is asked of the older row with one of them at a time; where none is enough, of the
    newer row without one of them."""
    had = table.changes_up_to(one.release)
    changes = {change.field: change for change in table.changes_up_to(other.release) if change not in had}
    names = {name: f"{name}={_spelled(change.value)} ({change.commit})" for name, change in changes.items()}
    older, newer = (Algorithm.parse(f"linux-{cell.release}") for cell in (one, other))
    turn = Turn(one.release, other.release, list(names.values()), list(names.values()))

    def verdicts(row: Algorithm, values: Mapping[str, object]) -> dict[str, bool]:
        """Whether it is bad with one other choice."""
        tried = [Algorithm.parse(f"{row.name},{name}={_spelled(value)}") for name, value in values.items()]
        found = hunt(program.scenario, program.parameters, tried, **{**how, "out": None})
        return {name: bool(result.violations) for name, result in zip(values, found.results, strict=True)}

    if len(changes) > 1:
        put_in = verdicts(older, {name: change.value for name, change in changes.items()})
        turn.by = [names[name] for name, bad in put_in.items() if bad is other.bad]
        if not turn.by:
            left_out = verdicts(newer, {name: getattr(older, name) for name in changes})
            turn.by = [names[name] for name, bad in left_out.items() if bad is one.bad]
            turn.together = len(turn.by) > 1
    return turn


def _spelled(value: object) -> str:
    return str(value).lower()


def _cell(program: BoundScenario, release: str) -> Cell:
    """With a verdict where there is nothing to hunt."""
    stated = program.scenario.releases
    calls = [*program.setup, *(call for thread in program.threads for call in thread.calls), *program.after]
    for needed in table.CALLS:
        if table.order(release) < table.order(needed.since) and any(_makes(call, needed) for call in calls):
            return Cell(release, ABSENT, f"{needed.name} came with {needed.since} ({needed.commit})")
    huge = any(call.verb == "mmap" and _value(call, "huge") for call in calls)
    for unknown in table.unknown_of(release):
        if unknown.of and (unknown.of in stated.needs or (huge and unknown.of == "huge")):
            return Cell(release, UNKNOWN, unknown.about)
    name = Algorithm.parse(f"linux-{release}").name
    expected = stated.of(release) if stated.given else program.scenario.expected(name)
    return Cell(release, expected=expected)


def _value(call: Call, key: str) -> int:
    """Of a key of the call's verb."""
    return call.args[[one.name for one in VERBS[call.verb]].index(key)]


def _makes(call: Call, needed: table.Needed) -> bool:
    return call.verb == needed.verb and (not needed.key or bool(_value(call, needed.key)))


def _fill(cell: Cell, one: Hunted) -> None:
    kinds = list(one.violations)
    if not kinds and not one.ended:
        return  # interrupted
    cell.verdict = ", ".join(kinds) or NONE
    cell.executions = one.executions
    cell.reproducer = one.first.reproducer if one.first else None
    agrees = one.confirmed is None or one.confirmed.agrees
    cell.as_expected = as_expected(cell.expected, kinds) and agrees and one.short_of is None
