"""Allocations that fail: every call unwinds as the kernel does, the invariants hold, and nothing leaks.

By hand each allocation of a sequence of calls fails once, all of them in turn; in hunts they fail by chance, as a pure
function of seed and execution index, which leaves the schedules what they are where nothing fails.
"""

import contextlib
import itertools
import random
from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM

import pytest
from calls import FAR, exit_process, fork, migrate, mmap, mprotect, mremap, touch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from kernels import clean, explorer, run
from looks import vmas

from anonvma_rt import Machine, Reproducer, hunt, replay, verify
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.failing import ALLOCATIONS, Failing
from anonvma_rt.kernel.machine import KernelBug
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.mm.lab.kernel import Kernel
from anonvma_rt.storming.storm import storm

PAGE, TABLE = 4096, 512
# Two bugs of the zoo want no more than calls that fail: memory that runs out in mprotect's case 6 (until 4.8,
# scenario merge-no-memory), and a root freed before its child, until 3.16. Apart from these nothing may break.
REPAIRED = "import_ahead=true,free_root_first=false"
SOUND = [name if preset.import_ahead else f"{name},{REPAIRED}" for name, preset in PRESETS.items()]
FEW = [f"moveto-tail,{REPAIRED}", f"interval-tree,{REPAIRED}", "linux-host", "modern,reuse=degree"]
FOREVER = range(1, 4000)


# ---- by hand ---------------------------------------------------------------------------------------------------------


def page(number):
    return (1 << 30) + number * PAGE


class Script:
    """Calls on a Machine; those that fail for want of memory, or because an earlier one did, are passed over."""

    def __init__(self, algorithm, *failing, kinds=()):
        self.machine = Machine(algorithm)
        self.alive = [self.machine.process()]
        self.begin = self.machine.live_objects()
        self.per_process, self.made = self.begin - Machine(algorithm).live_objects(), 1
        self.machine.fail_allocations(*failing, kinds=kinds)

    def call(self, method, *args, **how):
        with contextlib.suppress(OSError):
            return method(*args, **how)
        return None

    def fork(self, process):
        self.made += 1  # the address space that the failed call was to fill exists, empty
        child = self.call(process.fork)
        if child is not None:
            self.alive.append(child)
        return child

    def check(self):
        assert self.machine.check() == []

    def end(self):
        """All processes exit, those that a failed fork left, too: nothing is left but their empty address spaces."""
        for process in self.machine.processes:
            process.exit()
        self.check()
        assert self.machine.live_objects() == self.begin + (self.made - 1) * self.per_process
        return self.machine.allocations


def everything(script):
    """Every call that allocates, and every way in which it does."""
    m, p = script.machine, script.alive[0]
    yield script.call(p.mmap, 12, at=page(0))
    yield script.call(p.touch, page(0), 12)
    yield script.call(p.mmap, 2, at=page(4), writable=False)
    yield script.call(p.touch, page(4), 2, write=False)
    yield script.call(p.munmap, page(7), 1)
    yield script.call(p.mprotect, page(9), 1, writable=False)
    yield script.call(p.mprotect, page(9), 1, writable=True)
    c = script.fork(p)
    yield c
    for q in filter(None, (p, c)):
        yield script.call(q.touch, page(0), 12)
        yield script.call(q.mremap, page(8), 3, 3, to=page(FAR - 1))
        yield script.call(q.mremap, page(FAR - 1), 3, 3, to=page(8))
        yield script.call(q.mremap, page(8), 3, 6)
        yield script.call(q.mremap, page(0), 3, 3, to=page(2 * FAR), dontunmap=True)
        yield script.call(q.touch, page(0), 3)
        yield script.call(q.brk, page(3 * FAR), 2)
        yield script.call(q.uffd_move, page(1), page(3 * FAR))
    g = script.fork(c or p)
    yield g
    pfn = p.pte(page(0)).pfn
    if pfn:
        yield script.call(m.migrate, pfn)
    yield script.call(p.move_pages, page(0), 4)
    # Huge pages: a fault, a fork, copy on write, a move as one, a move in pieces.
    yield script.call(p.mmap, 2 * TABLE, at=1 << 32, huge=True)
    yield script.call(p.write, 1 << 32, 1)
    h = script.fork(p)
    for q in filter(None, (p, h)):
        yield script.call(q.write, 1 << 32, 2)
        yield script.call(q.mremap, 1 << 32, TABLE, TABLE, to=1 << 33)
        yield script.call(q.mremap, 1 << 33, 8, 8, to=page(5 * FAR))


@pytest.mark.parametrize("algorithm", FEW)
def test_each_allocation_in_turn_fails_and_nothing_breaks_or_leaks(algorithm):
    whole = Script(algorithm)
    for _ in everything(whole):
        whole.check()
    made, failed = whole.end()
    assert made > 100 and failed == 0, "the sequence allocates"
    for n in range(1, made + 1):
        script = Script(algorithm, n)
        for _ in everything(script):
            script.check()
        assert script.end()[1] == 1, f"allocation {n} failed"


@pytest.mark.parametrize("kind", ALLOCATIONS)
@pytest.mark.parametrize("algorithm", FEW)
def test_without_a_kind_of_memory_from_some_moment_on(algorithm, kind):
    failed = 0
    for first in range(1, 120, 3):
        script = Script(algorithm, *range(first, 4000), kinds=[kind])
        for _ in everything(script):
            script.check()
        failed += script.end()[1]
    assert failed > 40


@pytest.mark.parametrize("algorithm", SOUND)
def test_random_calls_with_random_failures(algorithm):
    @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 1 << 32), failing=st.sets(st.integers(1, 150), max_size=20))
    def ends_as_it_began(seed, failing):
        draw = random.Random(seed)
        script = Script(algorithm, *failing)
        m = script.machine
        for _ in range(25):
            p = draw.choice(script.alive)
            base = draw.choice([page(0), page(FAR - 4), 1 << 32])
            where, pages = base + draw.randrange(10) * PAGE, draw.randrange(1, 6)
            huge, whole = base == 1 << 32, draw.random() < 0.2
            verb = draw.choice(["mmap", "munmap", "mprotect", "fork", "migrate", *["touch"] * 3, *["mremap"] * 3])
            note(f"{p.pid}: {verb} {where:#x} {pages}")
            if verb == "mmap" and huge and whole:
                script.call(p.mmap, 2 * TABLE, at=base, huge=True)
            elif verb == "mmap":
                script.call(p.mmap, pages, at=where, writable=draw.random() < 0.9)
            elif verb == "munmap":
                script.call(p.munmap, where, pages)
            elif verb == "mprotect":
                script.call(p.mprotect, where, pages, draw.random() < 0.6)
            elif verb == "touch":
                script.call(p.touch, where, pages, write=draw.random() < 0.8)
            elif verb == "mremap" and whole:
                script.call(p.mremap, 1 << 32, TABLE, TABLE, to=1 << 33)
            elif verb == "mremap":
                to = draw.choice([page(0), page(FAR - 4), page(2 * FAR)]) + draw.randrange(10) * PAGE
                script.call(p.mremap, where, pages, pages + draw.randrange(2), to=to, dontunmap=draw.random() < 0.1)
            elif verb == "fork" and len(script.alive) < 4:
                script.fork(p)
            elif verb == "migrate" and p.pte(where).pfn:
                script.call(m.migrate, p.pte(where).pfn)
            script.check()
        script.end()

    ends_as_it_began()


def test_a_refusal_says_that_there_is_no_memory_and_leaves_everything_as_it_was():
    m = Machine()
    p = m.process()
    p.mmap(8, at=page(0))
    p.touch(page(0), 8)
    before = p.maps(), m.live_objects()
    for call in (
        lambda: p.munmap(page(2), 2),
        lambda: p.mprotect(page(2), 2, writable=False),
        lambda: p.mremap(page(0), 2, 2, to=page(FAR)),
    ):
        m.fail_allocations(*FOREVER)
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == ENOMEM and (p.maps(), m.live_objects()) == before and m.check() == []
    m.fail_allocations(*FOREVER, kinds=["page"])
    with pytest.raises(OSError):
        m.migrate(p.pte(page(0)).pfn)
    m.fail_allocations()
    p.munmap(page(2), 2)
    assert m.allocations[1] == 0 and len(p.maps()) == 2


def test_a_failed_fork_leaves_an_empty_child_and_the_parent_as_it_was():
    for n in itertools.count(1):
        m = Machine()
        p = m.process()
        p.mmap(4, at=page(0))
        p.touch(page(0), 4)
        p.mmap(2, at=page(FAR))
        p.touch(page(FAR), 2)
        m.fail_allocations(n, n + 1)  # a chain may be had at the second attempt
        try:
            p.fork()
            break
        except OSError as error:
            assert error.errno == ENOMEM
            child = m.processes[-1]
            assert child.maps() == [] and [vma.chain_length for vma in p.maps()] == [1, 1]
            assert m.page(p.pte(page(0)).pfn).mapcount == 1 and m.check() == []
            p.write(page(0), 1)
    assert n > 8, "vma, chains, anon_vma and tables, twice"


def test_a_chain_that_is_had_at_the_second_attempt_is_as_good():
    # anon_vma_clone tries without sleeping, drops the root's lock where that fails, and tries again.
    setup = [mmap(0, 8), touch(0, 8), mremap(4, 2, to=FAR)]
    once = clean(run(setup, [mremap(FAR, 2, to=2 * FAR)]))
    names = [(name, field) for name, field in once.locks("mutex", between=("step", None))]
    m = Machine("unpatched")
    p = m.process()
    p.mmap(4, at=page(0))
    p.touch(page(0), 4)
    m.fail_allocations(2, kinds=["anon_vma_chain"])  # 1 is the vma of the split
    p.munmap(page(1), 1)
    assert m.allocations[1] == 1 and len(p.maps()) == 2 and m.check() == [] and names


def test_memory_that_runs_out_in_the_middle_of_case_6_is_the_bug_of_2016():
    for algorithm, kind in (("moveto-tail", "use-after-free"), ("modern", None), (FEW[0], None)):
        m = Machine(algorithm)
        p = m.process()
        p.mmap(6, at=page(0))
        p.mprotect(page(2), 2, writable=False)
        p.touch(page(4), 2)
        m.fail_allocations(1, 2)
        if kind is None:
            p.mprotect(page(2), 2, writable=True)
            assert len(p.maps()) == 3 and m.check() == []
        else:
            with pytest.raises(KernelBug) as bug:
                p.mprotect(page(2), 2, writable=True)
            assert bug.value.violation.kind == kind


# ---- while others race -----------------------------------------------------------------------------------------------

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
    if algorithm.startswith(("moveto-tail,", "interval-tree,", "modern", "linux-host", "rmap-locks")):
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
    made = explorer(SETUP, [touch(0, 1)])
    assert vmas(clean(run(SETUP, [touch(0, 1)])).world) and made is not None
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


def test_every_errno_is_one_of_the_kernels(tmp_path):
    known = {0, ENOMEM, EFAULT, EINVAL, EEXIST, ENOENT, EBUSY}
    scenario = Scenario.load("tables-run-out").bind({})
    assert scenario.failing is not None and {step.errno for step in scenario.setup} <= known
