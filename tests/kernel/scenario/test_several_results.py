"""Steps that may have several right results, because it depends on who comes first: all of them are raced."""

import errno
from pathlib import Path

import pytest

from anonvma_rt import Recording, Reproducer, Scenario, hunt, replay, verify
from anonvma_rt.errors import ScenarioError
from anonvma_rt.kernel.scenario import BoundScenario
from anonvma_rt.kernel.scenario_file import STEP_KEYS, TOP_KEYS

TEXT = """
name = "munmap-vs-touch"
about = "a thread unmaps what another one touches"
names.a = "1*GiB"
setup = [{ do = "mmap", at = "a", pages = 2 }, { do = "touch", at = "a", pages = 1 }]
[[thread]]
name = "munmap"
steps = [{ do = "munmap", at = "a", pages = 2 }]
[[thread]]
name = "touch"
steps = [{ do = "touch", at = "a", pages = 2, errno = ["", "EFAULT"] }]
"""
ONLY_SUCCESS = TEXT.replace(', errno = ["", "EFAULT"]', "")


def results(program: BoundScenario, runs: int = 300) -> set[int]:
    """What the second thread's call returned, over executions."""
    from anonvma_rt.engine.strategy.random import Random
    from anonvma_rt.execution.record import record
    from anonvma_rt.lab.explorers import make_explorer

    algorithm = program.choose("modern")
    with make_explorer(program, algorithm, Random(), carrier="fibers") as explorer:
        traces = [record(program, algorithm, explorer, index).trace for index in range(runs)]
    return {e.c for trace in traces for e in trace.events if e.what == "step" and e.b and e.task == 1}


def test_munmap_beside_touch_is_raced_where_both_results_are_right() -> None:
    scenario = Scenario.from_text(TEXT, "x.toml")
    program = scenario.bind({})
    assert program.threads[1].calls[0].errno == (0, errno.EFAULT)
    assert results(program) == {0, errno.EFAULT}
    for one in hunt(scenario, runs=500).results + verify(scenario).results:
        assert one.as_expected
    assert verify(scenario, algorithms=["modern"]).results[0].classes > 1


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ("", r'touch\): EFAULT: .* is not all mapped \(if either is right: errno = \["", "EFAULT"\]\)'),
        (', errno = ["EFAULT", "EAGAIN"]', r"EFAULT or EAGAIN is expected, but the step succeeded \(if .*, \"\"\]\)"),
        (', errno = ["", "EAGAIN"]', r"success or EAGAIN is expected, but EFAULT: .* is not all mapped"),
    ],
)
def test_another_result_ends_the_run_and_says_how_it_would_not(right: str, message: str) -> None:
    scenario = Scenario.from_text(TEXT.replace(', errno = ["", "EFAULT"]', right), "x.toml")
    with pytest.raises(ScenarioError, match=message):
        hunt(scenario, algorithms=["modern"], runs=500)


def test_a_setup_may_have_several_right_results_too() -> None:
    twice = TEXT.replace("pages = 1 }]", 'pages = 1 }, { do = "touch", at = 0, pages = 1, errno = ["EFAULT", ""] }]')
    assert hunt(Scenario.from_text(twice), runs=50).as_expected
    with pytest.raises(ScenarioError, match=r"setup step 3 .*EAGAIN or success is expected, but EFAULT"):
        hunt(Scenario.from_text(twice.replace('["EFAULT"', '["EAGAIN"')), runs=50)


READ_ONLY = """
name = "read-only"
about = "a write where only reads are right"
setup = [{ do = "mmap", at = "1*GiB", pages = 2, writable = false }]
[[thread]]
name = "other"
steps = [{ do = "read", at = "1*GiB", pages = 2 }]
[[thread]]
name = "writer"
steps = [{ do = "touch", at = "1*GiB", pages = 2 }]
"""


def test_a_write_to_a_read_only_mapping_says_so() -> None:
    with pytest.raises(
        ScenarioError, match=r'"writer" .*EFAULT: a mapping in .* is read-only, and this writes \(if eith'
    ):
        hunt(Scenario.from_text(READ_ONLY), runs=1)
    in_setup = READ_ONLY.replace("false }", 'false }, { do = "touch", at = "1*GiB", pages = 1 }')
    with pytest.raises(ScenarioError, match=r"setup step 2 .*EFAULT: a mapping in .* is read-only, and this writes$"):
        hunt(Scenario.from_text(in_setup), runs=1)
    # The history has the errno that a user sees.
    right = READ_ONLY.replace("pages = 2 }]\n", 'pages = 2, errno = ["", "EFAULT"] }]\n')
    assert results(Scenario.from_text(right).bind({}), 3) == {errno.EFAULT}


def test_a_reproducer_holds_which_results_are_right(tmp_path) -> None:
    text = (
        TEXT.replace("pages = 2, errno", "pages = 2, tag = 3, errno")
        + """[[thread]]
name = "compare"
steps = [{ do = "compare", a = "a", b = "a + PAGE", pages = 1, errno = ["", "EFAULT"] }]
"""
    )
    found = hunt(Scenario.from_text(text), algorithms=["modern"], runs=500, out=tmp_path).results[0]
    assert found.violations.keys() == {"lost-page"}
    kept = Reproducer.load(found.first.reproducer)
    assert kept.scenario.text == text
    replayed = replay(kept, times=3)
    replayed.explorer.close()
    assert replayed.reproduced == 3


def test_a_recording_says_it_by_errnos() -> None:
    r = Recording("munmap-vs-touch")
    p = r.process()
    at = p.mmap(2)
    p.touch(at, 1)
    p.touch(at, 3, errnos="EFAULT")
    p.read(at + 2 * 4096, errnos=["", "EFAULT"])
    with pytest.raises(OSError, match="not all mapped"):
        p.touch(at + 2 * 4096, errnos=["", "EAGAIN"])
    with pytest.raises(ScenarioError, match="EFAULT or EAGAIN was expected, and the call succeeded"):
        p.touch(at, errnos=["EFAULT", "EAGAIN"])
    with r.thread("munmap"):
        p.munmap(at, 2)
    with r.thread("touch"):
        p.touch(at, 2, errnos=["", "EFAULT"])
    with r.thread("grow"), r.failing(0, "vma", errnos=["ENOMEM", "EFAULT"]):
        p.mremap(at, 1, 2, to=1 << 30)
        p.mremap(at, 1, 2, to=1 << 30, errnos=["", "ENOMEM", "EFAULT"])
    program = r.scenario().bind({})
    assert [call.errno for call in program.setup] == [0, 0, errno.EFAULT, (0, errno.EFAULT)]
    assert program.threads[1].calls[0].errno == (0, errno.EFAULT)
    assert [call.errno for call in program.threads[2].calls] == [
        (errno.ENOMEM, errno.EFAULT), (0, errno.ENOMEM, errno.EFAULT),
    ]  # fmt: skip
    assert hunt(r.scenario(), algorithms=["modern"], runs=300).as_expected


def test_the_page_about_scenario_files_is_right() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    assert verify(Scenario.from_text(example)).as_expected
    named = {word for line in page.splitlines() if line.startswith("| `") for word in line.split("|")[1].split("`")}
    assert named >= {*STEP_KEYS, "[expect]", "[releases]", "[[thread]]", "[[after]]"} - {"do"}
    assert {key for key in TOP_KEYS if key not in ("expect", "releases", "thread", "after")} <= named
