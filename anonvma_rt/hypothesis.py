"""Strategies for Hypothesis: it draws scenarios, algorithms and schedules, and shrinks all three.

Needs the extra `hypothesis`. A schedule is drawn as a list of preferences that every subject can follow, so that
whatever Hypothesis takes away from a failing one leaves a schedule, and the smallest that is left has few switches.

    @given(scenarios(), algorithms(correct=True), schedules())
    def test_no_pte_is_lost(scenario, algorithm, schedule):
        check(scenario, algorithm, schedule)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import note, reject
from hypothesis import strategies as st

from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import ScenarioError
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy, Reproducer
from anonvma_rt.kernel.algorithm import CHOICES, PRESETS, SWITCHES, Algorithm
from anonvma_rt.kernel.recording import RecordedProcess, Recording
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer, profile
from anonvma_rt.lab.load import bind
from anonvma_rt.show.text import history, how_to_replay
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import Choice, Described
from anonvma_rt.text.expression import PAGE

__all__ = ["Counterexample", "Execution", "Schedule", "algorithms", "check", "execute", "scenarios", "schedules"]

GIB = 1 << 30
# No violation of theirs is known in what scenarios() draws.
CORRECT = ("moveto-tail", "rmap-locks", "interval-tree", "modern")
LONGEST_RUN = 40  # steps of one preference
MOST_BOUNDS = 1000
_bounds: dict[tuple[str, str, str], int] = {}


class Counterexample(AssertionError):
    """An execution went wrong; the text has its history and how to make it come again."""


@dataclass(frozen=True)
class Schedule:
    """Preferences, each (which, steps): the which-th of the enabled tasks (counted around) makes so many steps, fewer
    if it ends or blocks. After the last, and where there is none, the running task goes on as long as it can."""

    preferences: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Execution:
    """One execution under a drawn schedule. kind: of its violation, or None; reproducer: of a violation."""

    kind: str | None
    trace: Trace
    reproducer: Reproducer | None


def schedules(max_switches: int = 8) -> st.SearchStrategy[Schedule]:
    """Schedules with at most so many preferences; the simplest is the sequential one."""
    one = st.tuples(st.integers(0, 3), st.integers(1, LONGEST_RUN))
    return st.builds(Schedule, st.lists(one, max_size=max_switches).map(tuple))


def algorithms(correct: bool = False) -> st.SearchStrategy[Algorithm]:
    """Presets, and presets with one field changed. correct: those of which no violation is known in scenarios()."""
    if correct:
        return st.sampled_from([PRESETS[name] for name in CORRECT])
    changes = [f"{name}={str(value).lower()}" for name in SWITCHES for value in (False, True)]
    changes += [f"{name}={word}" for name, words in CHOICES.items() for word in words]
    presets = st.sampled_from(list(PRESETS))
    return st.one_of(presets, st.tuples(presets, st.sampled_from(changes)).map(",".join)).map(Algorithm.parse)


@st.composite
def scenarios(draw: Any, max_pages: int = 4) -> Scenario:
    """Small scenarios: an area with holes, copies and moved parts, and two threads, one that calls mremap, fork, munmap
    or mprotect on it and one that migrates a page of it. What they expect of an algorithm is not said."""
    recording = Recording("drawn", "drawn by Hypothesis")
    process = recording.process()
    pages = draw(st.integers(1, max_pages))
    at = process.mmap(3 * pages, at=GIB)
    process.touch(at, 3 * pages)
    places = [at, at + pages * PAGE, at + 2 * pages * PAGE]
    for number in range(draw(st.integers(0, 2))):
        _prepare(draw, process, places, pages, 2 * GIB + number * GIB)
    # Rather a part that has moved: what comes back is what merges.
    moved = [third for third in range(3) if places[third] != at + third * pages * PAGE]
    busy = draw(st.sampled_from(moved or [0, 1, 2]))
    with recording.thread("call"):
        _call(draw, process, places[busy], pages, at + busy * pages * PAGE)
    with recording.thread("migrate"):
        # Only what is there can migrate, and a migration that is given up is no error.
        process.migrate(places[busy] + draw(st.integers(0, pages - 1)) * PAGE, fail_copy=draw(st.booleans()))
    return recording.scenario()


def _prepare(draw: Any, process: RecordedProcess, places: list[int], pages: int, away: int) -> None:
    """One call of the setup. Each third of the area stays somewhere."""
    which = draw(st.integers(0, 2))
    if draw(st.booleans()):
        places[which] = process.mremap(places[which], pages, pages, to=away)
    else:
        process.fork()


def _call(draw: Any, process: RecordedProcess, place: int, pages: int, home: int) -> None:
    verb = draw(st.sampled_from(("mremap", "mremap", "mremap", "fork", "munmap", "mprotect", "touch")))
    if verb == "mremap":
        to = draw(st.sampled_from([target for target in (home, 8 * GIB) if target != place]))
        process.mremap(place, pages, pages, to=to)
    elif verb == "fork":
        process.fork()
    elif verb == "munmap":
        process.munmap(place, pages)
    elif verb == "mprotect":
        process.mprotect(place, pages, writable=False)
    else:
        process.touch(place, pages, tag=2)


def execute(
    scenario: Described | str,
    algorithm: Choice | str,
    schedule: Schedule,
    parameters: Mapping[str, str | int | bool] | None = None,
) -> Execution:
    """One execution of a scenario, a litmus test or a subject of your own under a drawn schedule. Raises UserError.

    >>> execute("merge", "unpatched", Schedule()).kind is None
    True
    """
    program = bind(scenario, parameters)
    chosen = program.choose(algorithm)
    with make_explorer(program, chosen, script.drawn(schedule.preferences), carrier="fibers") as explorer:
        # The same for all schedules, and longer than any of them.
        key = (program.scenario.sha256, repr(program.parameters), repr(chosen.as_dict()))
        if key not in _bounds:
            if len(_bounds) >= MOST_BOUNDS:
                _bounds.clear()
            _bounds[key] = profile(program, explorer).bound
        explorer.bound = _bounds[key]
        recorded = record(program, chosen, explorer)
    found = None if recorded.kind is None else Reproducer.of(recorded, FoundBy(recorded.kind, "hypothesis"))
    return Execution(recorded.kind, recorded.trace, found)


def check(
    scenario: Described | str,
    algorithm: Choice | str,
    schedule: Schedule,
    parameters: Mapping[str, str | int | bool] | None = None,
    allowed: Sequence[str] = (),
    out: str | Path = "reproducers",
) -> Execution:
    """execute(), and a Counterexample for a violation whose kind is not among `allowed`.

    The reproducer of the last one, which is the smallest that Hypothesis found, stays in the folder `out`. A drawn
    scenario that the simulated kernel refuses is rejected (hypothesis.reject).
    """
    try:
        execution = execute(scenario, algorithm, schedule, parameters)
    except ScenarioError:
        if isinstance(scenario, Scenario) and scenario.name == "drawn":
            reject()
        raise
    found = execution.reproducer
    if found is None or execution.kind in allowed:
        return execution
    saved = Folder(out).keep(found, found.name().replace("-0-0.json", "-hypothesis.json"))
    replay = saved.why_not or how_to_replay(str(saved.path), found.scenario.needs, found.algorithm.name)
    note(replay)
    raise Counterexample(
        f"{found.scenario.name} under {found.algorithm.name}: {execution.kind}\n\n"
        f"{history(execution.trace, 110)}\n\n{replay}"
    )
