"""Schedules: text and back, parts of them, and the same by how far each task has come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt.execution.schedule import Schedule

schedules = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9))).map(Schedule)


@given(schedules, st.integers(0, 99))
def test_a_part_and_the_rest_step_by_step_are_the_whole(schedule, step):
    tasks = [task for task, steps in schedule for _ in range(steps)]
    made = schedule.upto(step)
    assert [task for task, steps in made for _ in range(steps)] == tasks[:step]
    for task in tasks[step:]:
        made = made.then(task)
    assert made.steps == schedule.steps == len(tasks)
    assert [task for task, steps in made for _ in range(steps)] == tasks


@given(st.lists(st.integers(0, 3)))
def test_a_switch_is_from_one_task_to_another(tasks):
    made = Schedule()
    for task in tasks:
        made = made.then(task)
    assert made.switches == sum(a != b for a, b in pairwise(tasks))


@given(schedules)
def test_text_cuts_and_runs_say_the_same(schedule):
    assert Schedule.read(str(schedule)) == schedule
    made = {}
    for (task, first, last), (_, upto) in zip(schedule.runs(), schedule.cuts(), strict=True):
        made[task] = made.get(task, 0) + last - first + 1
        assert made[task] == upto
