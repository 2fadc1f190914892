"""Strategies and ordering rules of somebody else's, in Cython and Python: deterministic, named, one line when wrong."""

import json
import sys
import threading
from typing import ClassVar

import pytest

from anonvma_rt import Algorithm, Machine, Moment, PyStrategy, Reproducer, UserError, hunt, replay, verify
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.lab.strategies import strategy_name

MERGE = {"scenario": "merge", "parameters": {"pages": 2}, "algorithms": ["unpatched"]}


class Walk(PyStrategy):
    """Sticky, in Python."""

    def __init__(self, n=6):
        self.n = n

    def parameters(self):
        return {"n": self.n}

    def choose(self, moment):
        if moment.current in moment.enabled and self.random.randrange(self.n):
            return moment.current
        return self.random.choice(moment.enabled)


class Leased(PyStrategy):
    """Lets the last task go three steps at a time."""

    def choose(self, moment):
        return moment.enabled[-1], 3


class Broken(PyStrategy):
    def choose(self, moment):
        raise KeyError("no such thing")


class BrokenAtTheBeginning(PyStrategy):
    def begins(self, execution):
        raise KeyError("no beginning")


class Stranger(PyStrategy):
    def choose(self, moment):
        return 63


class Word(PyStrategy):
    def choose(self, moment):
        return "me"


# ---- Python ----------------------------------------------------------------------------------------------------------


def test_a_python_strategy_finds_the_race_and_is_a_function_of_seed_and_index():
    (whole,) = hunt(**MERGE, strategy=Walk(), runs=600).results
    assert whole.violations and hunt(**MERGE, strategy=Walk(), runs=5).strategy == f"{__name__}:Walk:n=6"
    (again,) = hunt(**MERGE, strategy=Walk(), runs=600, jobs=2).results
    assert (again.schedules_sha256, again.indices) == (whole.schedules_sha256, whole.indices)
    (part,) = hunt(**MERGE, strategy=Walk(), start=300, runs=300).results
    assert part.indices == [index for index in whole.indices if index >= 300]
    (other,) = hunt(**MERGE, strategy=Walk(), runs=600, seed=1).results
    (changed,) = hunt(**MERGE, strategy=Walk(n=3), runs=600).results
    assert len({one.schedules_sha256 for one in (whole, other, changed)}) == 3


def test_what_it_found_replays_without_it(tmp_path):
    (one,) = hunt(**MERGE, strategy=Walk(), runs=600, out=tmp_path).results
    reproducer = Reproducer.load(one.first.reproducer)
    assert reproducer.strategy == f"{__name__}:Walk:n=6"
    replayed = replay(reproducer, times=3)
    replayed.explorer.close()
    assert replayed.reproduced == 3 and replayed.same_trace


def test_what_it_sees_is_the_moment(own):
    import embedded

    seen = []

    class Looks(PyStrategy):
        def begins(self, execution):
            seen.append(execution)

        def choose(self, moment):
            assert isinstance(moment, Moment) and threading.current_thread() is not threading.main_thread()
            seen.append(moment)
            return moment.enabled[0]

    with Explorer(embedded.Plain(), Looks(), seed=1) as explorer:
        assert explorer.run(5, 1).halt is None
    index, first, *rest = seen
    assert index == 5
    assert first == (5, 1, None, (0, 1), ("start", "start"), (0, 0))
    by_step = {moment.step: moment for moment in rest}
    assert by_step[2].current == 0 and by_step[2].ops == ("load", "start")
    assert by_step[3].ops == ("store", "start") and by_step[3].objects[0] == by_step[2].objects[0] > 0
    # Task 0 has ended, and nobody is asked where one task only can go on.
    assert set(by_step) == {2, 3}


def test_a_lease_is_as_long_as_it_says():
    with Explorer(program(), Leased(), seed=1) as explorer:
        assert explorer.trace(0).segments[0] == (1, 5)  # it is asked three times, and always says the same


class Patient(PyStrategy):
    """Task 1 comes to the lock that task 0 has; then task 0 may go on as long as it likes. Keeps when it was asked."""

    asked: ClassVar[list[int]] = []

    def choose(self, moment):
        self.asked.append(moment.step)
        return (0, 2) if moment.step == 1 else (1, 1) if moment.step == 3 else (moment.enabled[0], 99)


def test_a_lease_ends_where_the_enabled_tasks_change():
    from anonvma_rt.litmus.program import Program

    locks = [("lock", "a"), ("store", "x", 1), ("unlock", "a"), ("store", "y", 1), ("store", "y", 2)]
    Patient.asked.clear()
    with Explorer(Program([locks, locks]), Patient(), seed=1) as explorer:
        assert explorer.trace(0).segments == [(0, 2), (1, 1), (0, 4), (1, 5)]
    # Between 4 and 6 only task 0 can go on. It unlocks in step 5, and task 1 could have its lock in step 6.
    assert Patient.asked == [1, 3, 6]


def program():
    from anonvma_rt.litmus.program import Program

    return Program([[("store", "x", 1)] * 4, [("store", "y", 1)] * 4])


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        (Broken, "KeyError: 'no such thing'"),
        (BrokenAtTheBeginning, "KeyError: 'no beginning'"),
        (Stranger, "it chose a task that cannot make a step"),
        (Word, "TypeError"),
        (PyStrategy, "NotImplementedError: PyStrategy.choose"),
    ],
)
def test_an_error_in_a_python_strategy_is_one_line_with_its_cause(strategy, says):
    threads = threading.active_count()
    with pytest.raises(UserError) as error:
        hunt(**MERGE, strategy=strategy(), runs=100, jobs=2)
    assert says in str(error.value) and ":" in str(error.value) and threading.active_count() == threads
    with Explorer(program(), Portfolio([strategy(), strategy()])) as explorer:
        assert explorer.run(0, 3).halt == "diverged"
        assert (explorer.strategy.failure is None) == (strategy is Stranger)


def test_it_needs_threads_and_says_so():
    with pytest.raises(UserError, match="needs --carrier threads"):
        hunt(**MERGE, strategy=Walk(), runs=10, carrier="fibers")
    with pytest.raises(ValueError, match="carrier threads"):
        Explorer(program(), Portfolio([Walk(), Walk()]), carrier="fibers")
    with Explorer(program(), Random(), carrier="fibers") as explorer:
        with pytest.raises(ValueError, match="carrier threads"):
            explorer.run_with(Walk(), 0, 1)
        assert explorer.run(0, 10).ran == 10


def test_a_stop_ends_a_hunt_in_python_too():
    from anonvma_rt import StopToken

    token = StopToken()
    threading.Timer(0.3, token.stop).start()
    result = hunt(**MERGE, strategy=Walk(), runs=10_000_000, stop=token)
    assert result.interrupted and result.results[0].executions > 0


def test_names_of_strategies():
    from anonvma_rt.engine.strategy.pct import Pct

    assert strategy_name(Pct(5)) == "pct:depth=5" and strategy_name("pos") == "pos"
    assert strategy_name(Walk(2)) == f"{__name__}:Walk:n=2" and strategy_name(Leased()) == f"{__name__}:Leased"


# ---- Cython ----------------------------------------------------------------------------------------------------------


def test_a_compiled_strategy_is_as_good_as_a_built_in_one(own):
    import embedded

    (mine,) = hunt(**MERGE, strategy=embedded.Toss(), runs=3000, carrier="fibers").results
    (theirs,) = hunt(**MERGE, strategy="random", runs=3000).results
    assert mine.schedules_sha256 == theirs.schedules_sha256


def test_strategies_on_the_command_line(command):
    (command.here / "mine.py").write_text(
        "from anonvma_rt import PyStrategy\n"
        "class First(PyStrategy):\n"
        "    def choose(self, moment):\n"
        "        return moment.enabled[0]\n"
    )
    hunted = ["hunt", "merge", "--algorithm", "unpatched", "--runs", 200, "--json", "--strategy"]
    code, out, err = command(*hunted, "embedded:Toss:sides=3")
    assert json.loads(out)["strategy"] == "embedded:Toss:sides=3" and err == ""
    code, out, err = command(*hunted, "mine:First")
    assert (code, json.loads(out)["results"][0]["violations"]) == (1, {})
    for name, says in (
        ("embedded:Toss:sites=3", 'unknown parameter "sites" (did you mean "sides"?)'),
        ("embedded:Tosss", "embedded has no Strategy of that name (it has Toss)"),
        ("unchecked:Mute", "does not say what it was built against"),
        ("pct:dept=3", 'unknown parameter "dept"'),
    ):
        code, out, err = command(*hunted, name)
        assert (code, out) == (2, "") and err.count("\n") == 1 and says in err, name


# ---- rules -----------------------------------------------------------------------------------------------------------


def ruled(name, base="unpatched"):
    import ordering_rule

    return Algorithm.parse(base).with_rule(getattr(ordering_rule, name)())


def test_the_patch_of_2011_as_a_rule_makes_the_same_executions_as_the_built_in_one(own):
    for scenario, parameters in (("merge", {"pages": 2}), ("error-path", {"pages": 2}), ("lkml-2011", {"pages": 4})):
        mine, theirs = hunt(scenario, parameters, [ruled("MoveToTail"), "unpatched,ordering=tail"], runs=2000).results
        assert mine.schedules_sha256 == theirs.schedules_sha256 and mine.violations == {}
        mine, theirs = hunt(scenario, parameters, [ruled("UnderTheLock"), "rmap-locks"], runs=500).results
        assert mine.schedules_sha256 == theirs.schedules_sha256


def test_right_rules_are_verified_and_wrong_ones_found(own):
    expected = {"MoveToTail": True, "UnderTheLock": True, "MergeOnly": False, "SourceToTail": False}
    result = verify("error-path", {"pages": 2}, [ruled(name) for name in expected])
    assert [one.complete and not one.violating_classes for one in result.results] == list(expected.values())
    (wrong,) = hunt("merge", algorithms=[ruled("SourceToTail")], runs=10_000, carrier="fibers").results
    assert list(wrong.violations) == ["stale-migration-entry"]
    (half,) = hunt("merge", algorithms=[ruled("MergeOnly")], runs=3000, carrier="fibers").results
    assert half.violations == {}  # nothing fails half-way there


def test_a_rule_has_a_name_and_stands_in_the_place_of_the_ordering(own):
    algorithm = ruled("MoveToTail", "rmap-locks")
    assert (algorithm.name, algorithm.ordering) == ("rmap-locks,rule=ordering_rule:MoveToTail", "none")
    assert algorithm == Algorithm.parse(algorithm.name, [algorithm.rule]) and algorithm.as_dict()["rule"]
    assert algorithm != Algorithm.parse("unpatched") and "rule" not in Algorithm.parse("unpatched").as_dict()
    with pytest.raises(UserError, match="needs code of your own"):
        Algorithm.parse(algorithm.name)
    with pytest.raises(UserError, match="is not a Rule"):
        Algorithm.parse("unpatched").with_rule(object())


def test_a_rule_by_hand(own):
    at, away = 1 << 30, 2 << 30
    for algorithm, order in (("unpatched", "older first"), (ruled("MoveToTail"), "source first")):
        machine = Machine(algorithm)
        process = machine.process()
        process.mmap(12, at)
        process.touch(at, 12)
        process.mremap(at + 8 * 4096, 4, 4, to=away)
        process.mremap(away, 2, 2, to=at + 8 * 4096)
        (shown,) = machine.rmap(process.pte(at).pfn)
        assert shown == (process, at) and machine.check() == [], order


def test_a_reproducer_with_a_rule_replays_only_with_it(own, tmp_path):
    algorithm = ruled("SourceToTail")
    (one,) = hunt("merge", algorithms=[algorithm], runs=10_000, carrier="fibers", out=tmp_path).results
    with pytest.raises(UserError, match=r"needs code of your own.*--rule ordering_rule:SourceToTail"):
        Reproducer.load(one.first.reproducer)
    replayed = replay(Reproducer.load(one.first.reproducer, [algorithm.rule]), times=2)
    replayed.explorer.close()
    assert replayed.reproduced == 2 and replayed.same_trace


def test_rules_on_the_command_line(command):
    hunted = ["hunt", "merge", "--runs", 10_000, "--carrier", "fibers", "--algorithm"]
    code, out, err = command(*hunted, "unpatched,rule=ordering_rule:MoveToTail")
    assert (code, err) == (0, "")
    code, out, err = command(*hunted, "unpatched,rule=ordering_rule:SourceToTail")
    (line,) = (line for line in out.splitlines() if line.startswith("Replay it: anonvma-rt "))
    assert (code, err) == (1, "") and line.endswith(" --rule ordering_rule:SourceToTail")
    words = line.removeprefix("Replay it: anonvma-rt ").split()
    assert command(*words)[0] == 0
    code, out, err = command(*words[:2])
    assert (code, out) == (2, "") and "--rule ordering_rule:SourceToTail" in err
    code, out, err = command(*words[:2], "--rule", "unchecked:Dumb")
    assert (code, out) == (2, "") and "does not say what it was built against" in err
    assert sys.modules.get("unchecked") is None  # those were other processes
