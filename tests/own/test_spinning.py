"""Loops that spin: those that say so get a fair schedule and are proved, and what never ends is a livelock."""

import random

import pytest

from anonvma_rt import hunt, subject, verify
from anonvma_rt.litmus.litmus import Litmus

pytestmark = pytest.mark.usefixtures("own")
CARRIERS = ["fibers", "threads"]
SPINLOCK = "trouble:Spinlock"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("values", [{}, {"points": 2}], ids=str)
@pytest.mark.parametrize("tasks", [2, 3])
def test_a_lock_that_spins_is_proved_with_the_classes_of_a_mutex(tasks, values, carrier):
    result = verify(subject(SPINLOCK), {"tasks": tasks, **values}, carrier=carrier).results[0]
    mutex = verify(subject(SPINLOCK), {"tasks": tasks, "mutex": True, **values}, carrier=carrier).results[0]
    assert result.complete and not result.violating_classes, result.verdict
    assert result.classes == mutex.classes


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_lock_that_looks_first_is_proved_with_the_looks_that_matter(carrier):
    """Each order of the holders, and whoever comes later has looked before or after the other had the lock."""
    result = verify(subject(SPINLOCK), {"tasks": 2, "first": True}, carrier=carrier).results[0]
    assert (result.verdict, result.complete) == ("VERIFIED under SC (complete, 4 classes)", True)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("values", [{}, {"first": True}, {"points": 3}], ids=str)
def test_hunts_of_it_find_no_livelock_and_no_more_classes(values, carrier):
    result = hunt(subject(SPINLOCK), {"tasks": 3, **values}, runs=3000, carrier=carrier).results[0]
    assert result.violations == {} and result.classes.distinct <= (36 if "first" in values else 6)
    for strategy in ("random", "pct", "urw", "sticky", "starve"):
        one = hunt(subject(SPINLOCK), {"tasks": 2, **values}, runs=300, carrier=carrier, strategy=strategy).results[0]
        assert one.violations == {}, strategy


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("search", ["hunt", "verify"])
def test_a_spin_that_nobody_ends_is_a_livelock_and_is_found_at_once(search, carrier):
    values = {"keep": True}
    if search == "hunt":
        result = hunt(subject(SPINLOCK), values, runs=300, carrier=carrier).results[0]
        assert result.violations == {"livelock": 300}
    else:
        result = verify(subject(SPINLOCK), values, carrier=carrier, all_violations=True).results[0]
        assert result.complete and result.violating_classes == {"livelock": 2} and result.classes == 2
    assert "spins on" in result.trace.cause() and "nobody is left who would change it" in result.trace.cause()
    assert result.trace.events[-1].step < 20


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_loop_without_a_hint_is_a_livelock_whose_report_shows_one_round(carrier):
    result = hunt(subject(SPINLOCK), {"keep": True, "hint": False, "first": True}, runs=3, carrier=carrier).results[0]
    assert result.violations == {"livelock": 3}
    assert len(result.trace.table().splitlines()) < 40 and len(result.trace.events) < 40
    assert "Again and again" in result.trace.cause()


def litmus(threads, spin, name="drawn"):
    lines = [f'litmus = "{name}"', 'about = "drawn"']
    for number, steps in enumerate(threads):
        lines.append(f'[[thread]]\nname = "t{number}"\nsteps = {[step.replace("WAIT", spin) for step in steps]}')
    return Litmus.from_text("\n".join(lines))


def drawn(rng):
    threads = []
    for number in range(rng.choice([2, 2, 3])):
        steps = []
        for at in range(rng.randint(1, 3)):
            word = rng.choice("xy")
            steps.append(
                rng.choice(
                    [f"store {word} {rng.randint(1, 2)}", f"add {word} 1", f"load {word} r{number}{at}",
                     f"WAIT {word} {rng.randint(1, 2)}", f"WAIT {word} 1"]
                )
            )  # fmt: skip
        threads.append(steps)
    return threads


@pytest.mark.parametrize("seed", range(60))
def test_spinning_has_the_classes_of_awaiting(seed):
    rng = random.Random(seed)
    for _ in range(3):
        threads = drawn(rng)
        counts = []
        for spin in ("await", "spin"):
            result = verify(litmus(threads, spin), all_violations=True).results[0]
            assert result.complete
            ends = {kind.replace("deadlock", "livelock"): n for kind, n in result.violating_classes.items()}
            counts.append((result.classes, ends))
        assert counts[0] == counts[1], threads
