"""Hypothesis draws the schedule, finds the race of 2011 and shrinks it, and finds none in the patched kernel."""

import re

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from anonvma_rt import Algorithm, Reproducer, hunt, replay
from anonvma_rt.hypothesis import Counterexample, Schedule, algorithms, check, execute, scenarios, schedules
from anonvma_rt.litmus.litmus import Litmus

QUIET = settings(
    database=None,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
LOST = Litmus.of(
    "lost", {"A": ["load x a", "store x 1"], "B": ["add x 1"]}, forbidden=["a == 0 and x == 1"], expect="assertion"
)


def test_a_schedule_that_says_nothing_is_the_sequential_one():
    sequential = execute(LOST, "sc", Schedule())
    assert sequential.kind is None and sequential.reproducer is None


def test_any_numbers_are_a_schedule():
    @settings(QUIET, max_examples=60)
    @given(schedules(max_switches=20))
    def follows(schedule):
        assert execute("order", "patched", schedule, {"pages": 2}).kind is None

    follows()


def test_the_lost_update_is_found_and_shrunk_to_one_switch_there_and_one_back(tmp_path):
    def fails(schedule):
        return execute(LOST, "sc", schedule).kind == "assertion"

    smallest = find(schedules(), fails, settings=settings(QUIET, max_examples=2000))
    found = execute(LOST, "sc", smallest).reproducer
    assert found.switches == 2 and len(smallest.preferences) <= 3


def test_the_race_of_2011_and_its_patch():
    def fails(algorithm):
        return lambda schedule: execute("merge", algorithm, schedule, {"pages": 1}).kind == "stale-migration-entry"

    found = find(schedules(max_switches=4), fails("unpatched"), settings=settings(QUIET, max_examples=3000))
    assert len(found.preferences) <= 3
    few = settings(QUIET, max_examples=150, phases=[Phase.generate])
    with pytest.raises(NoSuchExample):
        find(schedules(max_switches=4), fails("moveto-tail"), settings=few)


def test_a_failing_example_prints_a_reproducer_that_replays(tmp_path, capsys):
    @settings(QUIET, max_examples=2000)
    @given(schedules())
    def updates(schedule):
        check(LOST, "sc", schedule, out=tmp_path)

    with pytest.raises(Counterexample) as caught:
        updates()
    assert "The end is one that must not be" in str(caught.value) and re.search(r"step +A +B", str(caught.value))
    (path,) = tmp_path.iterdir()
    assert f"Replay it: anonvma-rt replay {path}" in str(caught.value)
    assert any(str(path) in line for line in caught.value.__notes__)
    replayed = replay(Reproducer.load(path), 5)
    replayed.explorer.close()
    assert (replayed.reproduced, replayed.kind, replayed.switches) == (5, "assertion", 2)
    assert check(LOST, "sc", Schedule(((0, 2), (1, 2))), allowed=["assertion"]).kind == "assertion"


def test_drawn_scenarios_run_and_the_patched_kernel_loses_nothing_in_them(tmp_path):
    ran = []

    @settings(QUIET, max_examples=40)
    @given(scenarios(), algorithms(correct=True), schedules())
    def clean(scenario, algorithm, schedule):
        check(scenario, algorithm, schedule, out=tmp_path)
        ran.append(scenario.text)

    clean()
    assert len(ran) >= 30 and len(set(ran)) > 10
    assert any("fork" in text for text in ran) and any("mremap" in text for text in ran)


def test_drawn_algorithms_are_algorithms():
    names = set()

    @settings(QUIET, max_examples=60)
    @given(algorithms())
    def parses(algorithm):
        assert Algorithm.parse(algorithm.name) == algorithm
        names.add(algorithm.name)

    parses()
    assert any("," in name for name in names) and any("," not in name for name in names)


def test_a_drawn_scenario_can_show_the_bug():
    """So the silence of the patched algorithms means something; the smallest is a part that comes back."""

    def breaks(scenario):
        return bool(hunt(scenario, algorithms=["unpatched"], runs=150, carrier="fibers").results[0].violations)

    scenario = find(scenarios(max_pages=1), breaks, settings=settings(QUIET, max_examples=200))
    assert scenario.text.count("mremap") == 2 and "fork" not in scenario.text
    assert not hunt(scenario, algorithms=["moveto-tail"], runs=1000, carrier="fibers").results[0].violations
