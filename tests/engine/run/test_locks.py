"""Rule 4: blocking is modelled; and the lock-order checker, which sees a deadlock where none happened."""

import pytest
from engine_programs import events, explore, failures, sample, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.engine.strategy import script
from anonvma_rt.litmus.program import Program


def verdicts(program, count=400, **options):
    """The names of all violations in `count` random executions, None where there was none."""
    with explore(program, **options) as explorer:
        found = failures(program, explorer.run(0, count))
    return {found.get(i) for i in range(count)}


def only(program, segments=()):
    with explore(program, script.replay(segments)) as explorer:
        return verdict(program, explorer.trace(0))


def section(lock, unlock):
    """Counts itself in, looks who else is there, counts itself out."""
    return [(lock, "a"), ("add", "inside", 1), ("load", "inside", "seen"), ("add", "inside", -1), (unlock, "a")]


MUTEX = section("lock", "unlock")
READER, WRITER = section("read_lock", "read_unlock"), section("write_lock", "write_unlock")


# ---- who waits for whom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "threads, together",
    [
        ([MUTEX, MUTEX, MUTEX], {1}),
        ([WRITER, WRITER], {1}),
        ([READER, WRITER], {1}),
        ([READER, READER, WRITER], {1, 2}),
        ([READER, READER, READER], {1, 2, 3}),
    ],
    ids=["mutex", "writers", "reader and writer", "readers and writer", "readers"],
)
def test_mutual_exclusion(threads, together):
    program = Program(threads)
    with explore(program) as explorer:
        outcomes = sample(program, explorer, 0, 500)
    assert {kind for kind, _ in outcomes} == {"ok"}
    seen = {dict(values)[f"{task}:seen"] for _, values in outcomes for task in range(len(threads))}
    assert seen == together
    if WRITER in threads:
        writer = threads.index(WRITER)
        assert {dict(values)[f"{writer}:seen"] for _, values in outcomes} == {1}


def test_a_waiting_writer_does_not_hold_back_readers():
    program = Program([READER, READER, [("write_lock", "a"), ("store", "w", 1), ("write_unlock", "a")]])
    with explore(program, script.replay([(0, 2), (2, 1), (1, 5), (0, 4), (1, 1), (2, 3)])) as explorer:
        assert explorer.run(0, 1).halt is None
        assert program.values(explorer)["1:seen"] == 1


def test_await_blocks_until_the_value_and_costs_no_step():
    program = Program([[("await", "x", 3), ("store", "y", 1)], [("add", "x", 1)] * 5])
    with explore(program) as explorer:
        for index in range(200):
            traced = explorer.trace(index)
            # 5 adds pass by the 3: who does not look at once waits for ever.
            ended = verdict(program, traced)
            assert ended in ("ok", "deadlock")
            waits = [e for e in events(traced) if e.op == "await"]
            assert len(waits) == (ended == "ok")
            # All nine operations, or all but the last two and the one that nobody can make.
            assert traced.points == (9 if ended == "ok" else 8)
    assert verdicts(program) == {None, "deadlock"}


@pytest.mark.parametrize("change", [("store", "x", 1), ("add", "x", 1), ("cas", "x", 0, 1, "c")])
def test_every_change_of_a_variable_wakes_who_awaits_it(change):
    awaits = [("await", "x", 1), ("add", "n", 1)]
    program = Program([awaits, [change], awaits, [("await", "y", 0), ("await", "x", 1)]])
    assert verdicts(program) == {None}


def test_trylock_never_blocks():
    program = Program([[("trylock", "a", "r")], [("read_lock", "a"), ("load", "x", "r"), ("read_unlock", "a")]])
    with explore(program) as explorer:
        outcomes = sample(program, explorer, 0, 500)
    assert {(kind, dict(values)["0:r"]) for kind, values in outcomes} == {("ok", 0), ("ok", 1), ("deadlock", 1)}


def test_wait_waits_and_takes_nothing():
    hold = [("lock", "a"), ("store", "x", 1), ("store", "x", 0), ("unlock", "a")]
    look = [("wait", "a"), ("wait", "a"), ("wait", "a")]
    assert verdicts(Program([hold, look, look])) == {None}
    # Only a waiter that was let through before the lock was taken sees the 1.
    program = Program([hold, [("wait", "a"), ("load", "x", "r")]], forbidden=[{"1:r": 1}])
    assert only(program, [(0, 2), (1, 1), (0, 3), (1, 2)]) == "ok"
    assert only(program, [(1, 2), (0, 3), (1, 1), (0, 2)]) == "assertion"
    assert only(program, [(0, 2), (1, 2), (0, 3)]) == "diverged"


# ---- releases that must not be ---------------------------------------------------------------------------------------

HOLDS = [("lock", "a"), ("load", "x", "r"), ("unlock", "a")]


@pytest.mark.parametrize("cls", [0, 5])
@pytest.mark.parametrize(
    "thread",
    [
        [("unlock", "a")],
        [("read_unlock", "a")],
        [("write_unlock", "a")],
        [("lock", "a"), ("unlock", "a"), ("unlock", "a")],
        [("lock", "a"), ("read_unlock", "a")],
        [("read_lock", "a"), ("unlock", "a")],
        [("read_lock", "a"), ("read_unlock", "a"), ("read_unlock", "a")],
    ],
    ids=lambda steps: " ".join(verb for verb, _ in steps),
)
def test_unlock_of_what_is_not_held(thread, cls):
    assert only(Program([thread], classes={"a": cls})) == "bad-unlock"


def test_unlock_by_another_task_names_it_and_the_owner():
    program = Program([HOLDS, [("unlock", "a")]])
    with explore(program, script.replay([(0, 2), (1, 2)])) as explorer:
        traced = explorer.trace(0)
        assert verdict(program, traced) == "bad-unlock"
        found = traced.finding
        assert (found.task, found.step) == (1, 4)
        assert (found.b - 1, found.c) == (0, program.ids(explorer)["a"])


def test_read_unlock_by_a_task_that_does_not_read():
    """The number of readers alone would blame the reader that comes last. Readers are known by class."""
    program = Program(
        [[("read_lock", "a"), ("read_unlock", "a")], [("load", "x", "r"), ("read_unlock", "a")]], classes={"a": 1}
    )
    with explore(program) as explorer:
        for index in range(100):
            found = explorer.trace(index).finding
            assert (program.kinds()[found.kind], found.task) == ("bad-unlock", 1)


# ---- the order of locks ----------------------------------------------------------------------------------------------


def nest(*names):
    return [("lock", name) for name in names] + [("unlock", name) for name in reversed(names)]


def test_recursion_of_one_class():
    assert only(Program([nest("a", "a")])) == "deadlock"
    assert only(Program([nest("a", "a")], classes={"a": 1})) == "lock-order"
    assert only(Program([nest("a", "b")], classes={"a": 1, "b": 1})) == "lock-order"
    assert only(Program([nest("a", "b")], classes={"a": 0, "b": 0})) == "ok"
    assert only(Program([[("read_lock", "a"), ("read_lock", "a")]], classes={"a": 1})) == "lock-order"


def test_an_inversion_is_found_where_nothing_deadlocks():
    """One task after the other: no deadlock is possible in this schedule, and yet the order is wrong."""
    program = Program([nest("a", "b"), nest("b", "a")], classes={"a": 1, "b": 2})
    assert only(program) == "lock-order"
    assert verdicts(program) == {"lock-order"}
    with explore(program, script.replay()) as explorer:
        found = explorer.trace(0).finding
        # Task 1 holds class 2 and takes class 1.
        assert (found.task, found.a, found.b) == (1, 2, 1)


@given(n=st.integers(3, 14), order=st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_inversions_over_many_classes(n, order):
    """1 under 2, 2 under 3, ... closes a cycle only with n under 1, in whatever order the pairs are seen."""
    names = [f"l{i}" for i in range(n)]
    pairs = [nest(names[i], names[(i + 1) % n]) for i in range(n)]
    order.shuffle(pairs)
    classes = {name: i + 1 for i, name in enumerate(names)}
    assert only(Program(pairs, classes=classes)) == "lock-order"
    assert only(Program(pairs[1:], classes={k: v for k, v in classes.items() if k in names})) == "ok"


def test_the_declared_order():
    """Known from the start, so the first wrong nesting is the violation; and closed over what is in between."""
    classes = {"a": 1, "b": 2, "c": 3}
    threads = [nest("a", "b"), nest("b", "c"), nest("c")]
    declared = [("a", "b"), ("b", "c")]
    assert only(Program(threads, classes=classes, order=declared)) == "ok"
    assert only(Program([nest("a", "c"), nest("b")], classes=classes, order=declared)) == "ok"
    assert only(Program([nest("c", "a"), nest("b")], classes=classes, order=declared)) == "lock-order"
    assert only(Program([nest("c", "a"), nest("b")], classes=classes)) == "ok"


def test_trylock_takes_part_in_the_order_only_as_what_is_held():
    classes = {"a": 1, "b": 2}
    under_b = [("lock", "b"), ("trylock", "a", "r"), ("unlock", "a"), ("unlock", "b")]
    assert only(Program([nest("a", "b"), under_b], classes=classes)) == "ok"
    over_b = [("trylock", "b", "r"), ("lock", "a"), ("unlock", "a"), ("unlock", "b")]
    assert only(Program([nest("a", "b"), over_b], classes=classes)) == "lock-order"


def test_the_order_is_checked_before_blocking():
    """Of the two tasks of a deadlock to be, the second is told before it waits."""
    program = Program([nest("a", "b"), nest("b", "a")], classes={"a": 1, "b": 2})
    assert only(program, [(0, 2), (1, 2), (0, 1)]) == "lock-order"


def test_one_of_two_locks_of_a_class_is_still_held():
    twice = [("lock", "a"), ("trylock", "b", "t"), ("unlock", "b"), *nest("c"), ("unlock", "a")]
    assert only(Program([twice, nest("c", "a")], classes={"a": 1, "b": 1, "c": 2})) == "lock-order"


ORDERS = Program(
    [nest("a", "b"), [("trylock", "c", "t"), *nest("b", "a")], [("trylock", "c", "t"), ("unlock", "c")]],
    classes={"a": 1, "b": 2, "c": 3},
)


def test_nothing_learned_leaks_into_the_next_execution():
    """Execution i alone, in an explorer of its own, finds what it finds among others: an order that was seen, or a lock
    that was held, when the one before ended early is forgotten."""
    count = 120
    with explore(ORDERS) as explorer:
        together = failures(ORDERS, explorer.run(0, count))
    assert set(together.values()) == {"bad-unlock", "lock-order"}
    for index in range(count):
        with explore(ORDERS) as fresh:
            assert failures(ORDERS, fresh.run(index, 1)).get(index) == together.get(index)


# ---- from a writer to a reader ---------------------------------------------------------------------------------------

DOWNGRADED = [("write_lock", "a"), ("set", "x", 1), ("downgrade", "a"), ("get", "x", "r"), ("read_unlock", "a")]


@pytest.mark.parametrize("carrier", ["threads", "fibers"])
def test_nobody_writes_between_a_hold_and_the_share_that_it_becomes(carrier):
    writer = [("write_lock", "a"), ("set", "x", 2), ("write_unlock", "a")]
    torn = [{"0:r": 2}]
    assert set(verdicts(Program([DOWNGRADED, writer], forbidden=torn), carrier=carrier)) == {None}
    apart = [*DOWNGRADED[:2], ("write_unlock", "a"), ("read_lock", "a"), *DOWNGRADED[3:]]
    assert "assertion" in verdicts(Program([apart, writer], forbidden=torn), carrier=carrier), "two calls let one in"


def test_readers_come_in_with_the_downgrade():
    shares = [("write_lock", "a"), ("downgrade", "a"), ("store", "x", 1), ("await", "y", 1), ("read_unlock", "a")]
    reader = [("await", "x", 1), ("read_lock", "a"), ("store", "y", 1), ("read_unlock", "a")]
    assert set(verdicts(Program([shares, reader]))) == {None}
    assert "deadlock" in verdicts(Program([[step for step in shares if step[0] != "downgrade"], reader]))


@pytest.mark.parametrize("before", [[], [("read_lock", "a")]])
def test_only_who_holds_a_lock_downgrades_it(before):
    assert set(verdicts(Program([[*before, ("downgrade", "a")]]))) == {"bad-unlock"}
