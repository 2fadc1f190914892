"""Campaign files: what they say, and that hostile ones are refused within a second, before anything is executed."""

import contextlib
import json
import re
import shlex
import time
from pathlib import Path

import pytest
from campaign_tools import one_line, write
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt import UserError
from anonvma_rt.cli import _parser
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import names_of_all

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

from anonvma_rt.stress.campaign.file import _AXES, _BUDGET, read_campaign

DOCS = Path(__file__).parents[2] / "docs"


def cells_of(group, top=""):
    return read_campaign(f'campaign = "c"\n{top}\n[[cells]]\n{group}\n', "c.toml").cells


def test_cells_are_the_product_of_the_lists():
    cells = cells_of(
        'scenarios = ["merge"]\nparameters = { pages = [4, 8], case = "1 + 1" }\n'
        'algorithms = ["unpatched", "moveto-tail"]\n'
        'strategies = ["pct:depth=2", "surw"]\nseeds = { from = 5, count = 3 }'
    )
    assert len(cells) == 2 * 2 * 2 * 3
    assert [cell.number for cell in cells] == list(range(24))
    assert {(c.parameters["pages"], c.algorithm, c.strategy, c.seed) for c in cells} == {
        (p, a, s, n)
        for p in (4, 8)
        for a in ("unpatched", "moveto-tail")
        for s in ("pct:depth=2", "surw")
        for n in (5, 6, 7)
    }
    assert {cell.parameters["case"] for cell in cells} == {2}
    assert {cell.expected for cell in cells if cell.algorithm == "unpatched"} == {"stale-migration-entry"}


def test_what_is_left_out_is_what_the_scenario_says():
    (sticky, *_) = cells_of('scenarios = ["thp-split-peek"]')
    assert sticky.strategy == "sticky"
    for name in ("zoo", "all"):
        known = Scenario.builtin_names() if name == "zoo" else names_of_all()
        assert list(dict.fromkeys(cell.scenario for cell in cells_of(f'scenarios = "{name}"'))) == known
    for cell in cells_of('scenarios = ["merge"]'):
        assert cell.expected is not None and (cell.executions, cell.seed, cell.stop) == (20_000, 0, "all")


def test_a_group_overrides_the_head_of_the_file():
    one, other = read_campaign(
        'campaign = "c"\nexecutions = 7\nstop = "first"\n[[cells]]\nscenarios = ["merge"]\nalgorithms = ["unpatched"]\n'
        '[[cells]]\nscenarios = ["merge"]\nalgorithms = ["unpatched"]\nexecutions = 9\nstop = { upper_bound = 0.5 }\n',
        "c.toml",
    ).cells
    assert (one.executions, one.stop, one.bound) == (7, "first", None)
    assert (other.executions, other.stop, other.bound) == (9, "bound", 0.5)


def test_scenarios_are_found_beside_the_file(tmp_path):
    (tmp_path / "mine.toml").write_text(Scenario.load("merge").text)
    text = 'campaign = "c"\n[[cells]]\nscenarios = ["./mine.toml"]\nalgorithms = ["unpatched"]\n'
    plan = read_campaign(text, str(tmp_path / "c.toml"))
    assert plan.cells[0].scenario == "merge"
    assert list(plan.texts) == [Scenario.load("merge").sha256]


GROUP = 'scenarios = ["merge"]\nalgorithms = ["unpatched"]\n'
WRONG = {
    'campaign = "c"': "1 to 1000 tables [[cells]]",
    "[[cells]]\n" + GROUP: '"campaign" is missing',
    f'campaign = "c"\nexecution = 1\n[[cells]]\n{GROUP}': 'did you mean "executions"?',
    f'campaign = "c"\n[[cells]]\n{GROUP}sed = [1]': 'did you mean "seeds"?',
    f'campaign = "c"\n[[cells]]\n{GROUP}strategies = ["pct", "sticki"]': 'did you mean "sticky"?',
    'campaign = "c"\n[[cells]]\nscenarios = ["merg"]': 'did you mean "merge"?',
    'campaign = "c"\n[[cells]]\nscenarios = ["merge"]\nalgorithms = ["unpached"]': 'did you mean "unpatched"?',
    'campaign = "c"\n[[cells]]\nscenarios = 5': "must be a list of names",
    'campaign = "c"\n[[cells]]\nalgorithms = ["unpatched"]': '"scenarios" is missing',
    f'campaign = "c"\n[[cells]]\n{GROUP}seeds = [-1]': "whole number from 0",
    f'campaign = "c"\n[[cells]]\n{GROUP}seeds = [{1 << 64}]': "whole number from 0",
    f'campaign = "c"\n[[cells]]\n{GROUP}seeds = {{ count = 0 }}': "seeds: count",
    f'campaign = "c"\n[[cells]]\n{GROUP}executions = 0': "executions: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}executions = true': "executions: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}range = {1 << 63}': "range: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}seconds = nan': "seconds: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}seconds = inf': "seconds: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}seconds = {"9" * 400}': "seconds: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}stop = "frist"': "stop: must be",
    f'campaign = "c"\n[[cells]]\n{GROUP}stop = {{ upper_bound = 0 }}': "upper_bound",
    f'campaign = "c"\n[[cells]]\n{GROUP}stop = {{ upper_bound = 0.1 }}': "may never be reached",
    f'campaign = "c"\n[[cells]]\n{GROUP}carrier = "fibres"': 'did you mean "fibers"?',
    f'campaign = "c"\n[[cells]]\n{GROUP}expect = "non"': 'did you mean "none"?',
    f'campaign = "c"\n[[cells]]\n{GROUP}parameters = {{ pagse = 4 }}': 'did you mean "page"?',
    f'campaign = "c"\n[[cells]]\n{GROUP}parameters = {{ pages = [[4]] }}': "must be an integer",
    f'campaign = "c"\n[[cells]]\n{GROUP}parameters = {{ pages = [] }}': "1 to 1000 values",
    'campaign = "c"\n[[cells]]\nscenarios = ["merge"]\nalgorithms = "asked"': "--algorithm",
    'campaign = "c"\n[[cells]]\nscenarios = ["/etc/passwd"]': "passwd",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_every_error_says_what_would_be_right(text):
    with pytest.raises(UserError) as caught:
        read_campaign(text, "c.toml")
    assert WRONG[text] in str(caught.value) and str(caught.value).startswith("c.toml")


def lists(n, make):
    return ", ".join(make(i) for i in range(n))


HOSTILE = {
    "a billion cells": GROUP
    + f"seeds = {{ count = 10000 }}\nparameters = {{ pages = [{lists(500, lambda i: str(i + 2))}], "
    f"case = [{lists(500, lambda i: '2')}] }}",
    "2**200 cells": GROUP + f"parameters = {{ {lists(100, lambda i: f'p{i} = [1, 2, 3, 4]')} }}",
    "2**63 pages": GROUP + f"parameters = {{ pages = {1 << 63} }}",
    "a power of powers": GROUP + 'parameters = { pages = "9**9**9**9" }',
    "a long expression": GROUP + f'parameters = {{ pages = "{"(" * 4000}" }}',
    "deep nesting": f"seeds = {'[' * 4000}{']' * 4000}",
    "deep keys": f"{'a.' * 2000}b = 1",
    "a thousand threads": 'scenarios = ["./threads.toml"]',
    "a scenario without end": 'scenarios = ["/dev/zero.toml", "/dev/zero"]',
    "a huge number": GROUP + f"executions = {'9' * 4000}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_within_a_second_and_nothing_is_executed(name, tmp_path):
    threads = "".join(
        f'[[thread]]\nname = "t{i}"\nsteps = [{{ do = "munmap", at = 4096, pages = 1 }}]\n' for i in range(1000)
    )
    (tmp_path / "threads.toml").write_text(f'name = "x"\nabout = "x"\n{threads}')
    text = f'campaign = "hostile"\n[[cells]]\n{HOSTILE[name]}\n'
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        read_campaign(text, str(tmp_path / "c.toml"))
    assert time.process_time() - started < 1
    assert len(str(caught.value)) < 600
    file, db = write(tmp_path / "c.toml", text), tmp_path / "x.db"
    one_line("run", file, "--store", db)
    assert not db.exists()


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
)
USUAL = {"scenarios": ["merge"], "algorithms": ["unpatched"]}


@given(st.dictionaries(st.sampled_from((*_AXES, *_BUDGET)), VALUES, max_size=3))
def test_whatever_stands_at_a_key_the_answer_is_cells_or_a_user_error(values):
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in (USUAL | values).items())
    with contextlib.suppress(UserError):
        assert read_campaign(f'campaign = "c"\n[[cells]]\n{lines}', "c.toml").cells


def test_the_example_of_the_docs_is_a_campaign(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "campaigns.md").read_text(), re.DOTALL)
    (tmp_path / "mine.toml").write_text(Scenario.load("lkml-2011").text.replace('"lkml-2011"', '"mine"', 1))
    plan = read_campaign(text, str(tmp_path / "campaign.toml"))
    assert {cell.scenario for cell in plan.cells} == {"lkml-2011", "mine"} and len(plan.cells) == 32


def test_the_commands_of_the_docs_are_commands():
    texts = [(DOCS / "campaigns.md").read_text(), (DOCS.parent / "README.md").read_text()]
    lines = re.findall(r"anonvma(?:-rt|_rt) campaign [^#`\n]*", "\n".join(texts))
    assert len(lines) > 12
    for line in lines:
        words = [word for word in shlex.split(line) if word not in ("||", "true")][1:]
        assert _parser().parse_args(words).verb.run
