"""Rule 6: the lab survives its subject. What is freed is noticed, and each execution begins from the same state."""

import pytest
from engine_programs import BUSY, WRONG, child, events, explore, failures, split_digests, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.engine.run.subject import BuildViolation
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.litmus.program import Program


def only(program, segments=()):
    with explore(program, script.replay(segments)) as explorer:
        return verdict(program, explorer.trace(0))


# ---- freed objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "thread, kind",
    [
        ([("use", "o"), ("free", "o")], "ok"),
        ([("free", "o"), ("use", "o")], "use-after-free"),
        ([("free", "o"), ("free", "o")], "use-after-free"),
        ([("free", "o"), ("unlink", "o")], "use-after-free"),
        ([("unlink", "o"), ("free", "o")], "ok"),
        ([("unlink", "o"), ("use", "o")], "ok"),
        ([("unlink", "o"), ("unlink", "o")], "list-corruption"),
        # The freed neighbour is still on the list, and poisoned.
        ([("use", "p"), ("free", "o"), ("unlink", "p")], "list-corruption"),
        ([("unlink", "o"), ("free", "o"), ("unlink", "p"), ("free", "p")], "ok"),
        ([("unlink", "o"), ("free", "o"), ("new", "o"), ("use", "o"), ("unlink", "o"), ("free", "o")], "ok"),
        ([("free", "o"), ("new", "o"), ("use", "o")], "list-corruption"),
    ],
    ids=str,
)
def test_objects(thread, kind):
    assert only(Program([thread])) == kind


@pytest.mark.parametrize("cls", [0, 15])
@pytest.mark.parametrize(
    "verbs",
    ["lock", "trylock", "read_lock", "write_lock", "wait", "lock free unlock", "read_lock free read_unlock",
     "write_lock free write_unlock", "lock free wait", "unlock", "read_unlock", "free"],
)  # fmt: skip
def test_freed_locks(verbs, cls):
    """Whatever is done with a freed lock: poison is neither free nor held, and no task waits at it for ever."""
    verbs = verbs.split() if "free" in verbs.split()[1:] else ["free", *verbs.split()]
    thread = [(verb, "a", "r") if verb == "trylock" else (verb, "a") for verb in verbs]
    program = Program([thread, [("load", "x", "r")]], classes={"a": cls})
    for _ in range(2):
        assert only(program) == "use-after-free"


@pytest.mark.parametrize("waits", ["lock", "read_lock", "write_lock", "wait"])
@pytest.mark.parametrize("segments", [[(0, 2), (1, 2)], [(0, 2), (1, 1), (0, 1)], [(1, 1), (0, 3)]])
def test_a_lock_that_is_freed_under_a_waiter(waits, segments):
    """Also where the waiter, as the last one, has nobody left to wake it: that is no deadlock."""
    program = Program([[("lock", "a"), ("free", "a")], [(waits, "a")]])
    if segments[-1] == (1, 2):  # the waiter stands at the lock, blocked, when it is freed
        segments = [(0, 2), (1, 1)]
    assert only(program, segments) == "use-after-free"
    with explore(program) as explorer:
        found = set(failures(program, explorer.run(0, 200)).values())
    assert "use-after-free" in found
    # A waiter that got the lock first and keeps it is another matter.
    assert found <= {"use-after-free", "deadlock", "bad-unlock"}


def test_a_name_is_looked_up_with_the_operation_and_not_before():
    """Whatever was done to the name while the task stood at the point is announced, and so is no secret to a proof."""
    program = Program([[("unlink", "o"), ("free", "o"), ("new", "o")], [("use", "o")]])
    assert only(program, [(1, 1), (0, 4)]) == "ok"
    assert only(program, [(1, 1), (0, 3), (1, 1)]) == "use-after-free"


def test_objects_made_in_an_execution_are_gone_in_the_next():
    """The thousandth execution makes them where the first did, so their ids are the same."""
    program = Program([[("new", "o"), ("new", "p")], [("new", "o"), ("unlink", "o")]])
    with explore(program) as explorer:
        first = explorer.trace(0)
        ids, used = program.ids(explorer), explorer.arena_bytes
        assert explorer.run(0, 1000).failures == []
        assert explorer.trace(0).events == first.events
        assert program.ids(explorer) == ids
        assert explorer.arena_bytes == used < max(ids.values())


def test_a_finding_names_the_object():
    program = Program([[("use", "p"), ("free", "o")], [("use", "o")]])
    with explore(program, script.replay()) as explorer:
        traced = explorer.trace(0)
        assert verdict(program, traced) == "use-after-free"
        found = traced.finding
        assert (found.task, found.b) == (1, program.ids(explorer)["o"])
        assert events(traced)[-1].step == found.step


# ---- every execution begins as it was built --------------------------------------------------------------------------

objects = st.sampled_from(["o", "p", "q"])
breakage = st.one_of(
    st.tuples(st.sampled_from(["use", "unlink", "free", "new"]), objects),
    st.tuples(st.sampled_from(["lock", "unlock", "read_lock", "read_unlock", "write_lock", "free"]), st.just("a")),
    st.tuples(st.sampled_from(["store", "add"]), st.just("x"), st.integers(1, 3)),
    st.tuples(st.just("load"), st.just("x"), st.just("r")),
    st.tuples(st.just("trylock"), st.just("a"), st.just("t")),
)


@given(
    threads=st.lists(st.lists(breakage, max_size=5), min_size=1, max_size=4),
    setup=st.lists(st.tuples(st.just("store"), st.just("x"), st.integers(0, 9)), max_size=2),
    cls=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_the_state_is_restored_whatever_happened(threads, setup, cls, seed):
    """The sequential execution ends in the same state before, between and after random ones, violations or not; and
    each of those finds what it finds in an explorer that has done nothing else."""
    program = Program([*threads, [("load", "x", "r"), ("wait", "a")]], setup=setup, classes={"a": cls})
    with explore(program, seed=seed) as explorer:
        first = explorer.trace(0, script.replay())
        values = program.values(explorer)
        for index in range(0, 24, 8):
            result = explorer.run(index, 8)
            assert result.halt is None
            with explore(program, seed=seed) as fresh:
                alone = fresh.run(index + 7, 1)
                assert split_digests(alone)[0] == split_digests(result)[7]
                assert failures(program, alone).get(index + 7) == failures(program, result).get(index + 7)
                assert program.values(fresh) == program.values(explorer)
            again = explorer.trace(0, script.replay())
            assert program.values(explorer) == values
            for field in ("digests", "segments", "finding", "events"):
                assert getattr(again, field) == getattr(first, field)


def test_values_begin_at_what_setup_made():
    setup = [("store", "x", 40), ("add", "x", 1), ("unlink", "p")]
    program = Program([[("add", "x", 1), ("unlink", "o")]], setup=setup)
    with explore(program) as explorer:
        for _ in range(3):
            assert explorer.run(0, 10).failures == []
            assert program.values(explorer) == {"x": 42}


# ---- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setup, kind",
    [
        ([("unlock", "a")], "bad-unlock"),
        ([("lock", "a"), ("lock", "a")], "deadlock"),
        ([("read_lock", "a"), ("wait", "a")], "deadlock"),
        ([("await", "x", 1)], "deadlock"),
        ([("unlink", "o"), ("unlink", "o")], "list-corruption"),
        ([("free", "o"), ("use", "o")], "use-after-free"),
        ([("free", "a"), ("lock", "a")], "use-after-free"),
    ],
    ids=str,
)
def test_a_violation_while_building(setup, kind):
    with pytest.raises(BuildViolation, match=f"while the subject was built, before any task ran: {kind}$") as caught:
        explore(Program([[]], setup=setup))
    assert caught.value.kind == kind


@pytest.mark.parametrize("setup", [[("lock", "a")], [("read_lock", "b"), ("read_lock", "a"), ("read_unlock", "b")]])
def test_a_refused_build(setup):
    with pytest.raises(ValueError, match="setup ends while 'a' is held"):
        explore(Program([[]], setup=setup))


def test_a_program_whose_build_failed_is_as_good_as_before():
    program = Program([[("add", "x", 1)]], setup=[("add", "x", 1)])
    for _ in range(5):
        with pytest.raises(OverflowError):
            explore(program, seed=-1)
        with explore(program) as explorer:
            explorer.run(0, 1)
            assert program.values(explorer) == {"x": 2}


# ---- livelock --------------------------------------------------------------------------------------------------------

SPIN = Program([[("add", "y", 1), ("poll", "x", 1)], [("load", "y", "r"), ("await", "y", 5)]])


@pytest.mark.parametrize("bound", [10, 1000, 100_000])
def test_a_livelock_is_found_at_the_bound(bound):
    with explore(SPIN) as explorer:
        explorer.bound = bound
        result = explorer.run(0, 20)
        assert set(failures(SPIN, result).values()) == {"livelock"} and len(result.failures) == 20
        assert result.longest == bound + 1
        assert explorer.run(0, 20) == result
        found = explorer.trace(3).finding
        assert (found.task, found.step) == (0, bound + 1)
        assert len(set(split_digests(result))) > 3


def test_a_spin_that_ends_is_none():
    program = Program([[("poll", "x", 1)], [("store", "x", 1)]])
    with explore(program) as explorer:
        explorer.bound = 100
        assert explorer.run(0, 500).failures == []
    # PCT at depth 1 never leaves the spinning task, and says so.
    with explore(program, Pct(1)) as explorer:
        explorer.bound = 100
        found = failures(program, explorer.run(0, 100))
    assert set(found.values()) == {"livelock"} and 20 < len(found) < 80


def test_python_outlives_a_hunt_of_violations():
    """In a process of its own: thousands of violations of every kind, then the end without a word."""
    assert child(
        "left = explore(WRONG)\n"
        "left.run(0, 3000)\n"
        "running = explore(BUSY)\n"
        "running.submit(0, 10**6)\n"
        "print(len(left.run(0, 3000).failures))\n"
    ) == ("3000\n", "", 0)


def test_explorers_of_one_program_share_nothing():
    with explore(WRONG) as wrong, explore(BUSY, seed=1) as one, explore(BUSY, seed=2) as two:
        first, second = one.run(0, 20), two.run(0, 20)
        values = BUSY.values(one)
        wrong.run(0, 50)
        two.run(5, 50)
        assert BUSY.values(one) == values
        assert (one.run(0, 20), two.run(0, 20)) == (first, second)


@settings(max_examples=10)
@given(count=st.integers(0, 5), first=st.integers(0, 2**64 - 1))
def test_blocks_of_any_size(count, first):
    with explore(BUSY) as explorer:
        result = explorer.run(first, count)
        assert (result.ran, len(result.digests), result.halt) == (count, 8 * count, None)
        assert result.first == first
