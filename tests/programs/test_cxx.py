"""Programs in C++, and how programs end: exceptions, exit(), lost wake-ups, and a stack that is full."""

import shutil
from pathlib import Path

import pytest

from anonvma_rt import UserError, hunt, native, verify

SOURCES = Path(__file__).with_name("sources")

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="programs are compiled")


def program(name, *macros):
    return native(SOURCES / name, cflags=["-std=c++20" if name.endswith(".cc") else "-std=gnu11", *macros])


def hunted(name, *macros, **how):
    return hunt(program(name, *macros), runs=how.pop("runs", 500), **how).results[0]


def test_a_queue_that_loses_a_wake_up_is_found_and_its_repair_proved():
    found = hunted("queue.cc")
    assert found.violations.keys() == {"lost-wakeup"}
    assert "Nobody is left who would wake anybody" in found.trace.cause()
    (right,) = verify(program("queue.cc", "-DRIGHT")).results
    assert right.complete and not right.violating_classes and right.classes > 10
    (wrong,) = verify(program("queue.cc"), all_violations=True).results
    assert wrong.complete and wrong.violating_classes.keys() == {"lost-wakeup"}


@pytest.mark.parametrize("carrier", ["fibers", "threads"])
def test_exceptions_are_caught_while_others_run(carrier):
    assert not hunted("thrown.cc", carrier=carrier).violations
    assert hunted("thrown.cc", "-DLEFT", carrier=carrier).violations.keys() == {"deadlock"}
    thrown = hunted("thrown.cc", "-DTHROWN", carrier=carrier)
    assert thrown.violations == {"uncaught-exception": 500} and "out_of_range" in thrown.trace.cause()


def test_stacks_lie_at_the_same_place_on_both_carriers():
    assert len({hunted("queue.cc", carrier=one).schedules_sha256 for one in ("fibers", "threads")}) == 1
    for carrier in ("fibers", "threads"):
        assert hunted("deep.c", runs=2, carrier=carrier).violations == {"stack-overflow": 2}


def test_exit_ends_an_execution_for_all_at_any_time():
    found = hunted("exit.c")
    (right,) = verify(program("exit.c")).results
    assert not found.violations and right.complete and right.classes == found.classes.distinct == 5
    assert hunted("exit.c", "-DLATE").violations.keys() == {"assertion"}
    (wrong,) = verify(program("exit.c", "-DLATE"), all_violations=True).results
    assert wrong.complete and wrong.violating_classes.keys() == {"assertion"}


def test_threads_of_c11_wait_for_what_they_look_at():
    (right,) = verify(program("standard.c", "-DRIGHT")).results
    assert right.complete and not right.violating_classes and right.classes > 3
    assert hunted("standard.c").violations.keys() == {"lost-wakeup"}


def test_a_static_variable_is_made_once():
    (right,) = verify(program("statics.cc")).results
    assert right.complete and not right.violating_classes and right.classes > 1
    assert hunted("statics.cc", "-DTWICE").violations.keys() == {"assertion"}


def test_what_only_the_kernel_could_do_is_refused_by_name(tmp_path):
    (tmp_path / "call.c").write_text("#include <unistd.h>\nint main(void) { return (int)syscall(39); }\n")
    with pytest.raises(UserError, match=r"thread 0 calls syscall\(\), which a program cannot do here"):
        hunt(native(tmp_path / "call.c"), runs=5)


def test_what_the_c_library_remembers_begins_anew_and_no_signal_comes(tmp_path):
    words = ["-n", "3", "-vv", "word", "--loud"]
    (right,) = verify(native(SOURCES / "library.c", args=words)).results
    assert right.complete and right.classes == 2 and not right.violating_classes
    for macro, given, wrong in (("RIGHT", words, 0), ("WRONG", words, 50), ("RIGHT", words[:3], 50)):
        (found,) = hunt(native(SOURCES / "library.c", cflags=[f"-D{macro}"], args=given), runs=50).results
        assert sum(found.violations.values()) == wrong
    (tmp_path / "call.c").write_text("#include <signal.h>\nint main(void) { return raise(SIGTERM); }\n")
    with pytest.raises(UserError, match=r"calls raise\(\)"):
        hunt(native(tmp_path / "call.c"), runs=5)


# What a race may make of a size; with a vector the C++ library's own way to say so is there, and without it is not.
MUCH = """
#include <cstdlib>
#include <new>
#ifdef VECTOR
#include <vector>
#endif
volatile std::size_t much = ~static_cast<std::size_t>(0) - 100;
int main()
{
#ifdef VECTOR
    std::vector<int> some(much & 3);
#endif
    if (std::malloc(much) || std::calloc(much, 1) || std::malloc(much >> 20))
        return 1;
    TRY { std::free(::operator new(much)); return 2; } CATCH
    return 0;
}
"""


def test_more_memory_than_there_is_is_not_given(tmp_path):
    (tmp_path / "much.cc").write_text(MUCH)
    for flags, kinds in (
        (["-DVECTOR", "-DTRY=try", "-DCATCH=catch (const std::bad_alloc &) { }"], set()),
        (["-DVECTOR", "-DTRY=", "-DCATCH="], {"uncaught-exception"}),
        (["-DTRY=", "-DCATCH="], {"uncaught-exception"}),
    ):
        (found,) = hunt(native(tmp_path / "much.cc", cflags=flags), runs=3).results
        assert found.violations.keys() == kinds


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("ATOMIC", {"lost-wakeup"}),
        ("LATCH", {"lost-wakeup"}),
        ("BARRIER", {"assertion", "data-race"}),
        ("SEMAPHORE", {"lost-wakeup"}),
        ("PROMISE", {"lost-wakeup"}),
    ],
)
def test_what_waits_at_a_futex_is_proved_and_its_wrong_twin_found(what, kinds):
    how = ["-std=c++20", f"-D{what}"]
    (right,) = verify(native(SOURCES / "waits.cc", cflags=how)).results
    assert right.complete and not right.violating_classes
    (wrong,) = hunt(native(SOURCES / "waits.cc", cflags=[*how, "-DWRONG"]), runs=500).results
    assert wrong.violations.keys() == kinds
