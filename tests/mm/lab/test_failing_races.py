"""Allocations that fail by chance while others race: which ones is a pure function of seed and execution index, and the
schedules are what they are where nothing fails. Then hunts, reproducers and storms with failures, and bad rates."""

import pytest
from calls import FAR, exit_process, fork, migrate, mmap, mprotect, mremap, touch

from anonvma_rt import Reproducer, hunt, replay, verify
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.mm.lab.kernel import Kernel
from anonvma_rt.storming.storm import storm

PAGE, TABLE = 4096, 512
# Two bugs of the zoo want no more than calls that fail: memory that runs out in mprotect's case 6 (until 4.8,
# scenario merge-no-memory), and a root freed before its child, until 3.16. Apart from these nothing may break.
REPAIRED = "import_ahead=true,free_root_first=false"
SOUND = [name if preset.import_ahead else f"{name},{REPAIRED}" for name, preset in PRESETS.items()]
FEW = [f"moveto-tail,{REPAIRED}", f"interval-tree,{REPAIRED}", "linux-6.19", "modern,reuse=degree"]
FOREVER = range(1, 4000)

RATE = Failing(rate=0.15)
SETUP = [mmap(0, 8), touch(0, 8), mremap(4, 4, to=FAR)]
THREADS = [
    [mremap(FAR, 4, to=4), mprotect(2, 3, False), touch(0, 2, 9), mremap(1, 2, to=2 * FAR - 1), exit_process()],
    [migrate(FAR), fork(1), migrate(0), migrate(2)],
    [mmap(3 * FAR, 2, process=2), touch(3 * FAR, 2, process=2), exit_process(process=2)],
]
PROCESSES = 3


def racing(algorithm=FEW[0], failing=RATE, **options):
    fields = Algorithm.parse(algorithm).as_dict()
    return Explorer(Kernel(fields, PROCESSES, SETUP, THREADS, (), failing=failing), Random(), seed=5, **options)


def test_which_fail_is_a_pure_function_of_seed_and_index_on_every_carrier():
    totals = []
    for carrier, pieces in (("threads", [(0, 400)]), ("fibers", [(0, 150), (150, 250)])):
        with racing(carrier=carrier) as explorer_:
            blocks = [explorer_.run(first, count) for first, count in pieces]
        assert not any(block.failures or block.halt for block in blocks)
        totals.append((b"".join(b.digests for b in blocks), sum(b.counters["failed_allocations"] for b in blocks)))
    assert totals[0] == totals[1] and totals[0][1] > 400


def test_an_execution_in_which_nothing_fails_is_the_one_without_failing():
    with racing(failing=Failing()) as without, racing(failing=Failing(rate=0.02)) as with_:
        same = 0
        for index in range(60):
            plain, failing = without.run(index, 1), with_.run(index, 1)
            if failing.counters["failed_allocations"] == 0:
                assert plain.digests == failing.digests
                same += 1
    assert 5 < same < 55


@pytest.mark.parametrize("algorithm", SOUND)
def test_races_with_failures_break_nothing_and_leak_nothing(algorithm):
    with racing(algorithm, Failing(rate=0.1)) as explorer_:
        block = explorer_.run(0, 1500)
    kinds = {explorer_.subject.kinds()[kind] for _, kind in block.failures}
    # What an algorithm is known for may be found, too; what failing allocations add to it may not.
    assert kinds <= {"stale-migration-entry", "bug-on"} and block.halt is None
    assert block.counters.get("failed_allocations", 0) > 1000
    if algorithm.startswith(("moveto-tail,", "interval-tree,", "modern", "linux-6.19", "rmap-locks")):
        assert not kinds


def test_a_rate_of_zero_and_a_rate_of_one():
    for name in ("shot", "merge", "fault-during-fork"):
        usual = hunt(name, runs=300).results
        none = hunt(name, runs=300, fail_alloc=0).results
        assert [r.schedules_sha256 for r in usual] == [r.schedules_sha256 for r in none]
    with racing(failing=Failing(rate=1.0)) as every:
        block = every.run(0, 100)
    assert not block.failures and block.counters.get("failed_allocations", 0) >= 100 * 3


def test_setup_never_fails_by_chance():
    with racing(failing=Failing(rate=1.0)) as every:
        assert every.run(0, 1).halt is None


# ---- hunts, reproducers, bad input -----------------------------------------------------------------------------------


def test_tables_that_run_out_by_chance_find_the_hole_that_three_reviewers_missed(tmp_path):
    result = hunt("tables-run-out", algorithms=["moveto-tail-merge-only", "moveto-tail"], runs=3000, out=tmp_path)
    half, whole = result.results
    assert result.as_expected and half.failed_allocations == whole.failed_allocations > 500
    assert set(half.violations) == {"stale-migration-entry"} and whole.violations == {}
    reproducer = Reproducer.load(half.first.reproducer)
    assert reproducer.failures == [(0, reproducer.failures[0][1])]
    again = replay(reproducer, times=20)
    assert (again.reproduced, again.same_trace) == (20, True)
    again.explorer.close()
    assert "fails: no table" in again.trace.table()


def test_the_bug_of_2016_is_a_scenario():
    result = hunt("merge-no-memory", runs=50, algorithms=["moveto-tail", "modern", "moveto-tail,import_ahead=true"])
    assert [r.violations for r in result.results] == [{"use-after-free": 50}, {}, {}] and result.as_expected


def test_hunts_with_failures_do_not_depend_on_jobs_carriers_and_cuts():
    def digest(**how):
        one = hunt("shot", algorithms=["moveto-tail"], fail_alloc="0.2:page,table", **how).results[0]
        return one.schedules_sha256, one.failed_allocations

    assert digest(runs=600) == digest(runs=600, jobs=2) == digest(runs=600, carrier="fibers")
    usual = hunt("shot", algorithms=["moveto-tail"], runs=600)
    assert digest(runs=600)[0] != usual.results[0].schedules_sha256 and usual.fail_alloc is None
    assert usual.results[0].failed_allocations == 0


@pytest.mark.parametrize("name", ["shot", "forkcrash", "own-mm-migration", "exec-stack", "lkml-2011", "compaction"])
def test_scenarios_stay_clean_under_the_patched_algorithms(name):
    result = hunt(name, algorithms=["moveto-tail", "interval-tree", "modern"], runs=400,
                  fail_alloc=0.1)  # fmt: skip
    for one in result.results:
        assert one.failed_allocations > 5
        assert one.violations == {}


def test_a_storm_confirms_what_it_finds_with_the_same_failures(tmp_path):
    """All tasks at once: which allocation fails is drawn by the same numbers, so a replay has the same failures."""
    result = storm(
        "tables-run-out", algorithms=["moveto-tail-merge-only", "moveto-tail"], executions=6000, out=tmp_path
    )
    half, whole = result.results
    assert half.failed_allocations > 600 and whole.failed_allocations > 600 and whole.violations == {}
    assert half.confirmed >= 0.9 * half.recorded
    for found in half.found:
        reproducer = Reproducer.load(found.reproducer)
        again = replay(reproducer, times=5)
        again.explorer.close()
        assert reproducer.failures and again.reproduced == 5
    with pytest.raises(UserError, match="from 0 to 1"):
        storm("merge", executions=1, fail_alloc=2)


@pytest.mark.parametrize("name", ["forkcrash", "shot"])
def test_storms_with_failures_break_nothing(name):
    result = storm(name, algorithms=[FEW[0], "modern"], executions=1500, fail_alloc=0.2, record=False)
    assert all(one.violations == {} and one.failed_allocations > 100 for one in result.results)


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        ("often", 'must be a number from 0 to 1, not "often"'),
        ("1.5", "must be from 0 to 1, not 1.5"),
        ("nan", "must be from 0 to 1, not nan"),
        ("-0.1", "must be from 0 to 1, not -0.1"),
        ("0.1:tables", 'unknown kind of allocation "tables"'),
        ("0.1:", 'unknown kind of allocation ""'),
    ],
)
def test_a_bad_rate_says_what_would_be_right(rate, says):
    with pytest.raises(UserError) as error:
        hunt("merge", runs=1, fail_alloc=rate)
    assert says in str(error.value)


def test_litmus_tests_allocate_nothing_and_chance_proves_nothing():
    with pytest.raises(UserError, match="litmus test"):
        hunt("sb", runs=1, fail_alloc=0.1)
    with pytest.raises(UserError, match="nothing is proved where allocations fail by chance"):
        verify("tables-run-out")
    assert verify("error-path", {"pages": 2}, ["moveto-tail"]).results[0].complete
