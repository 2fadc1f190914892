"""The search against every schedule there is: the same classes, kinds of violations and final states, for programs of
each kind of operation alone and of all together (the table in docs/engine.md)."""

import random

import pytest
from brute_force import KINDS, difference, random_program, visited

EACH = 90  # programs of each kind
MANY = 20_000


def compare(kind, first, count, values=True):
    for seed in range(first, first + count):
        threads = random_program(random.Random(f"{kind} {seed}"), KINDS[kind])
        wrong = difference(threads, values)
        assert not wrong, f"{wrong}: {kind} {seed}: {threads}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_visits_the_classes_of_every_schedule(kind):
    compare(kind, 0, EACH)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_visits_the_classes_of_every_schedule_of_many_programs(kind):
    compare(kind, EACH, MANY if kind in ("all", "awaits", "waits") else MANY // 4)


# What was once lost, each smaller than anything random.
LOST = {
    "an await goes on before an earlier store than the last": [
        [("await", "x", 1), ("load", "y", "r")],
        [("store", "x", 1), ("store", "x", 0), ("store", "y", 1), ("store", "x", 1)],
    ],
    "a violation ends an execution before another task has begun": [
        [("write_lock", "a"), ("write_unlock", "b")],
        [("trylock", "a", "r")],
    ],
    "a violation hides what others do later": [
        [("write_lock", "a"), ("write_unlock", "b")],
        [("store", "y", 1), ("store", "x", 1), ("write_lock", "a"), ("write_lock", "a")],
    ],
    "a share is given back by whoever has none": [[("read_lock", "a")], [("read_unlock", "a")]],
    "readers who wait for each other": [
        [("read_lock", "a"), ("store", "x", 1), ("await", "y", 1), ("read_unlock", "a")],
        [("read_lock", "a"), ("store", "y", 1), ("await", "x", 1), ("read_unlock", "a")],
        [("write_lock", "a"), ("write_unlock", "a")],
    ],
    "one object's neighbour is freed": [[("unlink", "o")], [("free", "p")]],
    "a fresh object goes behind a freed one": [[("new", "o")], [("free", "p")]],
    "accesses under different locks": [
        [("write_lock", "a"), ("set", "x", 1), ("write_unlock", "a")],
        [("write_lock", "b"), ("get", "x", "r"), ("write_unlock", "b")],
    ],
    "a downgrade between a reader, a try and a writer": [
        [("write_lock", "a"), ("store", "x", 1), ("downgrade", "a"), ("read_unlock", "a")],
        [("read_trylock", "a", "r"), ("read_lock", "a")],
        [("trylock", "a", "r"), ("wait", "a")],
    ],
    "an await on what is set without a point": [[("set", "x", 1)], [("store", "y", 1), ("await", "x", 1)]],
}


@pytest.mark.parametrize("threads", LOST.values(), ids=LOST)
def test_what_a_search_once_lost_is_found(threads):
    assert difference(threads) == ""


def test_whoever_gives_back_a_share_that_it_has_not_is_wrong_in_every_order():
    endings, _, _ = visited([[("read_lock", "a")], [("read_unlock", "a")]])
    assert set(endings.values()) == {"bad-unlock"}


def test_so_many_shares_of_one_task_that_all_tasks_together_would_wrap_are_a_violation():
    most = 255 // 2
    held = [("read_lock", "a")] * most
    assert set(visited([held, [("load", "x", "r")]])[0].values()) == {None}
    assert set(visited([[*held, ("read_lock", "a")], [("load", "x", "r")]])[0].values()) == {"lock-overflow"}


def test_what_a_lock_keeps_apart_has_no_points():
    locked = [("write_lock", "a"), ("set", "x", 1), ("get", "x", "r"), ("write_unlock", "a")]
    assert len(visited([locked, locked])[0]) == 2
    shared = [("read_lock", "a"), ("get", "x", "r"), ("read_unlock", "a")]
    assert len(visited([shared, shared])[0]) == 1
    assert len(visited([shared, locked])[0]) == 2
    # Shared by both, the lock keeps nothing apart.
    assert len(visited([shared, [("read_lock", "a"), ("set", "x", 1), ("read_unlock", "a")]])[0]) == 2
