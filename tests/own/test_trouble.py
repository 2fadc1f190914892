"""Own code that goes wrong: what it did gets a name, a place and a schedule, and the lab goes on."""

import os
import re
import signal
import subprocess
import sys
from time import monotonic, sleep

import pytest

from anonvma_rt import UserError, hunt, replay, storm, subject, verify
from anonvma_rt.subjects.stacks import Stacks

pytestmark = pytest.mark.usefixtures("own")
CARRIERS = ["fibers", "threads"]
CRASHES = {
    "null": "SIGSEGV at 0x0",
    "poison": "SIGSEGV, by a pointer that points nowhere, as in what was freed",
    "divide": "SIGFPE",
    "illegal": "SIGILL",
    "abort": "SIGABRT",
}


def trouble(patience=0.3):
    """The class of tests/support/cython/trouble.pyx, whose bodies go wrong, with less patience."""
    from trouble import Trouble

    class Impatient(Trouble):
        pass

    Impatient.patience = patience
    return subject(Impatient)


def number(how):
    from trouble import WAYS

    return {"how": WAYS.index(how)}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("how", CRASHES)
def test_a_body_that_crashes_is_a_violation_and_the_hunt_goes_on(how, carrier):
    result = hunt(trouble(), number(how), runs=200, carrier=carrier).results[0]
    assert result.executions == 200 and set(result.violations) == {"crash"}
    assert 20 < result.violations["crash"] < 180
    cause = result.trace.cause()
    assert cause.startswith("task 1 crashed at step ") and f": {CRASHES[how]}" in cause
    if Stacks().why_not is None:
        assert "go_wrong" in cause and "Trouble.body" in cause


def test_both_carriers_and_a_replay_agree_on_a_crash(tmp_path):
    found = [hunt(trouble(), number("null"), runs=300, carrier=carrier).results[0] for carrier in (*CARRIERS, "auto")]
    assert len({(one.schedules_sha256, *one.violations.items()) for one in found}) == 1
    assert found[2].confirmed.agrees and found[2].confirmed.tried > 20
    assert found[0].reproducer.kind == "crash" and replay(found[0].reproducer).reproduced == 1


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_crash_is_proved_and_proved_away(carrier):
    result = verify(trouble(), number("null"), carrier=carrier, all_violations=True).results[0]
    assert result.complete and set(result.violating_classes) == {"crash"} and result.classes == 4
    assert verify(trouble(), number("nothing"), carrier=carrier).results[0].verdict.startswith("VERIFIED")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_check_that_crashes(carrier):
    result = hunt(trouble(), number("check-null"), runs=50, carrier=carrier).results[0]
    assert result.violations == {"crash": 50}
    assert result.trace.cause().startswith("the check crashed at step ")


def test_a_build_that_crashes():
    with pytest.raises(UserError, match="while the subject was built, before any task ran: crash"):
        hunt(trouble(), number("build-null"), runs=1)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_stack_that_is_used_up(carrier):
    result = hunt(trouble(), number("deep"), runs=100, carrier=carrier).results[0]
    assert result.executions == 100 and set(result.violations) == {"stack-overflow"}


def test_a_stack_that_is_used_up_is_confirmed_and_one_that_is_only_too_small_for_a_fiber_takes_the_hunt_to_threads():
    deep = hunt(trouble(), number("deep"), runs=100).results[0]
    assert set(deep.violations) == {"stack-overflow"} and deep.confirmed.agrees and deep.confirmed.tried > 10
    hunted = {
        (carrier, jobs): hunt(trouble(), number("much-stack"), runs=200, carrier=carrier, jobs=jobs).results[0]
        for carrier, jobs in (("fibers", 1), ("threads", 1), ("auto", 1), ("auto", 2))
    }
    assert set(hunted["fibers", 1].violations) == {"stack-overflow"}
    for jobs in (1, 2):
        one = hunted["auto", jobs]
        assert one.violations == {} and one.kept == [] and one.confirmed is None and one.carrier == "threads"
        assert one.because == f"execution {hunted['fibers', 1].first.index} needs a larger stack than a fiber has"
        assert one.executions == 200 and one.schedules_sha256 == hunted["threads", 1].schedules_sha256


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("how", ["loop", "mutex", "check-loop"])
def test_code_that_comes_to_no_point_is_ended_and_named(how, carrier):
    begun = monotonic()
    result = hunt(trouble(), number(how), runs=1000, carrier=carrier).results[0]
    assert monotonic() - begun < 30
    assert list(result.violations.values()) == [1] and "stuck" in result.violations
    assert not result.as_expected or result.expected is None


def test_code_that_is_only_slow_is_no_violation():
    result = hunt(trouble(patience=5.0), number("slow") | {"always": True}, runs=1).results[0]
    assert result.violations == {} and result.executions == 1


def test_a_storm_names_a_crash():
    result = storm(trouble(), number("null") | {"always": True}, executions=50).results[0]
    assert result.violations == {"crash": 50}


def command(*words, **options):
    """The command line in a process of its own, where the compiled subjects are. What spins for ever leaves the file
    `spins` in its folder when it begins."""
    return subprocess.Popen(
        [sys.executable, "-m", "anonvma_rt", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SPINS": "spins"},
        # A test in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("how", ["loop", "check-loop"])
def test_interrupting_a_stuck_hunt_ends_it_and_says_where_it_was(how, carrier, tmp_path):
    hunting = command("hunt", "trouble:Patient", "-p", f"how={number(how)['how']}", "--carrier", carrier, cwd=tmp_path)
    patience = monotonic() + 60
    while not (tmp_path / "spins").exists():
        assert hunting.poll() is None, hunting.communicate()
        assert monotonic() < patience
        sleep(0.02)
    hunting.send_signal(signal.SIGINT)
    said, _ = hunting.communicate(timeout=60)
    assert hunting.returncode == 130, said
    assert re.search(r"stuck", said), said


def test_calling_exit_is_said_and_does_not_look_like_success(tmp_path):
    hunting = command("hunt", "trouble:Trouble", "-p", f"how={number('exit')['how']}", cwd=tmp_path)
    said, _ = hunting.communicate(timeout=60)
    assert hunting.returncode == 1
    assert re.search(r"anonvma-rt: task 1 called exit\(\) in step \d+ of execution \d+", said)


def test_somebody_else_s_fault_is_handed_on(tmp_path):
    """Also where another handler was there before, and another one came after."""
    code = (
        "import faulthandler, os, sys\n"
        "from anonvma_rt import hunt, subject\n"
        "{first}\n"
        f"hunt(subject('trouble:Trouble'), dict(how={number('null')['how']}), runs=50)\n"
        "{second}\n"
        "import ctypes\n"
        "ctypes.string_at(0)\n"
    )
    for first, second in (("faulthandler.enable()", ""), ("", "faulthandler.enable()")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(first=first, second=second)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == -signal.SIGSEGV
        assert done.stderr.count("Fatal Python error: Segmentation fault") == 1


# ---- what does not come again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", [*CARRIERS, "auto"])
@pytest.mark.parametrize("how", ["static", "late-static", "static-crash"])
def test_an_execution_that_does_not_come_again_is_one_verdict_and_no_race(how, carrier):
    from trouble import reset

    reset()
    result = hunt(trouble(), number(how), runs=3000, carrier=carrier).results[0]
    assert result.violations == {"not-reproducible": 1} and result.reproducer is None and result.trace is None
    assert result.first.kind == "not-reproducible" and not result.as_expected
    assert result.not_reproducible.startswith("the same schedule does not make the same execution: ")
    if how == "static":
        assert re.search(r"at step \d+ .* the first time, and .* the second time", result.not_reproducible)


@pytest.mark.parametrize("how", ["static", "late-static"])
def test_what_does_not_come_again_is_not_proved(how):
    from trouble import reset

    reset()
    result = verify(trouble(), number(how)).results[0]
    assert result.verdict == "NOT REPRODUCIBLE" and not result.complete and not result.as_expected
    assert result.not_reproducible


def test_the_command_line_says_once_what_differed(tmp_path):
    hunting = command("hunt", "trouble:Trouble", "-p", f"how={number('static')['how']}", cwd=tmp_path)
    said, _ = hunting.communicate(timeout=60)
    assert hunting.returncode == 1
    assert said.count("NOT REPRODUCIBLE: the same schedule does not make the same execution: at step ") == 1
