"""Where the order of the tasks can matter, by name: what a hunt's SURW may put in order, what it leaves out, and why.

It is what the profile before a hunt sees (engine/search/places), said without one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from anonvma_rt.engine.strategy import script
from anonvma_rt.execution.plan import came_up, choices
from anonvma_rt.lab.explorers import make_explorer, names_of_places, profile
from anonvma_rt.lab.load import bind
from anonvma_rt.subjects.protocols import Bound, Choice, Described

__all__ = ["Known", "Places", "places"]


@dataclass(frozen=True)
class Known:
    """An object that several tasks touch and one writes. place: as `--strategy surw:place=N` takes it. acquired: what
    is done to it is that it is acquired. marked: some of that is interesting. visits: of each task, in one execution.
    under: the lock that everybody holds there, which decides the order; None where nothing does."""

    name: str
    place: int
    acquired: bool
    marked: bool
    visits: list[int]
    under: str | None


@dataclass(frozen=True)
class Places:
    """Those of one algorithm. interesting: whether operations are marked, which SURW then orders; else each execution
    draws one of the places that are under nothing."""

    algorithm: str
    interesting: bool
    places: list[Known]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def places(
    scenario: Described | str,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Any] | None = None,
) -> list[Places]:
    """Of each algorithm, the usual ones if None. Raises UserError."""
    named = None if algorithms is None else list(algorithms)
    found: list[Places] = []
    more: Bound | None = bind(scenario, parameters)
    while more is not None:
        program = more
        found.clear()
        # A program of which more becomes known is looked at anew.
        more = came_up(
            program,
            lambda: found.extend(_of(program, choice) for choice in choices(program, named)),  # noqa: B023
        )
    return found


def _of(program: Bound, choice: Choice) -> Places:
    with make_explorer(program, choice, script.replay(), carrier="fibers") as explorer:
        seen = profile(program, explorer)
        name = names_of_places(program, explorer)
        known = [
            Known(
                name(one.offset),
                one.offset,
                one.acquired,
                one.marked,
                list(one.visits),
                None if one.under is None else name(one.under),
            )
            for one in seen.places
        ]
    return Places(choice.name, any(seen.task_marks), known)
