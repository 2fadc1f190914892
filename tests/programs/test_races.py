"""Data races and mistakes with the heap: each wrong program is found, and its right twin is proved."""

import shutil
from pathlib import Path

import pytest

from anonvma_rt import Reproducer, UserError, hunt, native, replay, verify

SOURCES = Path(__file__).with_name("sources")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


def program(name, case, *more, **how):
    return native(SOURCES / name, cflags=[f"-DCASE={case}", *more], **how)


@pytest.mark.parametrize("case", range(1, 14))
def test_a_race_is_found_and_its_repair_proved(case):
    (wrong,) = verify(program("races.c", case), all_violations=True).results
    assert wrong.violating_classes.keys() & {"data-race", "freed"}
    for more in ([], ["-DATOMIC"]) if case == 3 else ([],):
        (right,) = verify(program("races.c", case, "-DRIGHT", *more)).results
        assert right.complete and not right.violating_classes


MISTAKES = {1: "freed", 2: "out-of-bounds", 3: "out-of-bounds", 4: "double-free", 5: "bad-free", 6: "use-after-free"}


@pytest.mark.parametrize(("case", "kind"), MISTAKES.items())
def test_a_mistake_with_the_heap_is_found_and_its_repair_proved(case, kind):
    (wrong,) = verify(program("memory.c", case), all_violations=True).results
    assert wrong.violating_classes.keys() == {kind}
    (right,) = verify(program("memory.c", case, "-DRIGHT")).results
    assert right.complete and not right.violating_classes


@pytest.mark.parametrize(
    ("name", "case", "words"),
    [
        ("races.c", 1, ["A data race on data", "thread 1 writes it in body (races.c:", "thread 2 reads it in body"]),
        ("races.c", 13, ["A data race on a local variable of main", "nothing orders the two"]),
        (
            "memory.c",
            1,
            ["thread 1 used freed memory in use (memory.c:", "allocated in main (", "freed in main"],
        ),
        ("memory.c", 2, ["right behind an object of 10 bytes in main (memory.c:", "allocated in main (memory.c:"]),
        ("memory.c", 3, ["1 bytes before an object of 10 bytes"]),
        ("memory.c", 4, ["a second time in main (memory.c:", "first in main (memory.c:"]),
        ("memory.c", 5, ["which is no object of the heap, in main (memory.c:"]),
    ],
)
def test_both_places_are_named(name, case, words):
    (wrong,) = hunt(program(name, case), runs=100).results
    said = " ".join(wrong.trace.cause().split())
    assert all(word in said for word in words), said


def test_carriers_find_the_same():
    found = [hunt(program("races.c", 2), runs=300, carrier=carrier).results[0] for carrier in ("fibers", "threads")]
    assert found[0].violations == found[1].violations
    assert found[0].trace.cause() == found[1].trace.cause()
    assert found[0].schedules_sha256 == found[1].schedules_sha256


def test_where_accesses_race_they_are_points_and_the_search_converges(tmp_path):
    lost = program("races.c", 1, "-DTOTAL=3", races="point")
    (wrong,) = verify(lost, all_violations=True).results
    # Two looks and two writes: four classes, and in two of them an update is lost.
    assert wrong.complete and (wrong.classes, wrong.violating_classes) == (4, {"assertion": 2})
    (right,) = verify(program("races.c", 3, races="point")).results
    assert right.verdict.startswith("VIOLATED") or right.complete
    (mixed,) = verify(program("races.c", 12, races="point")).results
    assert mixed.complete and mixed.classes == 2
    (found,) = hunt(lost, runs=200, out=str(tmp_path)).results
    file = found.first.reproducer
    assert "points = [" in Reproducer.load(file, [lost]).scenario.text
    assert replay(Reproducer.load(file, [program("races.c", 1, "-DTOTAL=3")])).reproduced


def test_a_whole_object_and_a_part_of_it_are_one_point(tmp_path):
    source = tmp_path / "whole.c"
    source.write_text(WHOLE)
    (found,) = verify(native(source, races="point"), all_violations=True).results
    assert found.complete and found.classes == 2 and found.violating_classes == {"assertion": 1}


WHOLE = """
#include <assert.h>
#include <pthread.h>
static struct { long part[3]; } all, copy;
static void *set(void *unused) { all.part[2] = 5; return unused; }
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, set, 0);
    copy = all;
    pthread_join(thread, 0);
    assert(copy.part[2] == 0);
    return 0;
}
"""


def test_a_proof_needs_somebody_who_looks_for_races():
    (one,) = verify(program("races.c", 1, "-DRIGHT", races="ignore")).results
    assert one.verdict.startswith("NOT PROVED") and "--races ignore" in one.verdict
    with pytest.raises(UserError, match="--races"):
        program("races.c", 1, races="never")


LEFT = """
#include <assert.h>
#include <pthread.h>
static volatile int sum;
__attribute__((noinline)) static int before(void) { volatile int left[64]; int all = 0;
    for (int i = 0; i < 64; i++) all |= left[i] == 77;
    return all; }
__attribute__((noinline)) static void after(void) { volatile int left[512];
    for (int i = 0; i < 512; i++) left[i] = 77;
    sum += left[3]; }
static void *run(void *unused) { assert(before() == 0); after(); return unused; }
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, 0, run, 0);
    run(0);
    pthread_join(thread, 0);
    return 0;
}
"""


@pytest.mark.parametrize("carrier", ["fibers", "threads"])
def test_a_stack_holds_nothing_of_the_execution_before(tmp_path, carrier):
    source = tmp_path / "left.c"
    source.write_text(LEFT)
    (found,) = hunt(native(source, cflags=["-Wno-uninitialized"]), runs=300, carrier=carrier).results
    assert not found.violations


@pytest.mark.parametrize("way", range(10))
def test_what_was_handed_over_is_no_data_race(way):
    program = native(SOURCES / "handover.c")
    (right,) = verify(program, {"WAY": way}).results
    assert right.complete and not right.violating_classes
    (wrong,) = hunt(program, {"WAY": way, "WRONG": 1}, runs=300).results
    assert wrong.violations.keys() <= {"data-race", "assertion"} and wrong.violations


@pytest.mark.parametrize("way", range(4))
def test_a_spinlock_of_the_programs_own_is_a_lock(way):
    (proof,) = verify(native(SOURCES / "spin.c"), {"WAY": way}).results
    if way == 3:  # none at all
        assert "data-race" in proof.violating_classes
    else:
        assert proof.complete and proof.classes == 2 and not proof.violating_classes
