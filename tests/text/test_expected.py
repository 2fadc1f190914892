"""What is expected may be several kinds of violation, and a kind that does not exist is named."""

import json

import pytest

from anonvma_rt import Scenario, hunt
from anonvma_rt.cli import main
from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.litmus import Litmus
from anonvma_rt.text.expected import as_expected, expected_text, read_expected, still_expected

KINDS = ["bug-on", "lost-page", "leak"]
TWO_KINDS = """
litmus = "two-kinds"
about = "either the outcome or a deadlock"
forbidden = "x == 1"
expect.sc = {}
[[thread]]
name = "A"
steps = ["lock a", "lock b", "store x 1", "unlock b", "unlock a"]
[[thread]]
name = "B"
steps = ["lock b", "lock a", "store x 1", "unlock a", "unlock b"]
"""


@pytest.mark.parametrize(
    ("expected", "found", "ended", "so_far"),
    [
        ("none", [], True, True),
        ("none", ["leak"], False, False),
        (None, [], True, True),
        (None, ["leak"], False, False),
        ("leak", ["leak"], True, True),
        ("leak", [], False, True),
        ("leak", ["leak", "bug-on"], False, False),
        (("leak", "bug-on"), ["leak"], True, True),
        (("leak", "bug-on"), ["bug-on", "leak"], True, True),
        (("leak", "bug-on"), ["lost-page", "leak"], False, False),
        (("leak", "bug-on"), [], False, True),
        (["leak", "none"], [], True, True),
        (["leak", "none"], ["leak"], True, True),
    ],
)
def test_every_kind_found_is_in_the_set_and_one_is_found(expected, found, ended, so_far):
    assert as_expected(expected, found) is ended
    assert still_expected(expected, [kind for kind in found if kind != "none"]) is so_far


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("lost-pgae", 'here: unknown violation kind "lost-pgae" (did you mean "lost-page"?)'),
        (["leak", "bugon"], 'here: unknown violation kind "bugon" (did you mean "bug-on"?)'),
        (["leak", 3], "here: must be a string, not 3"),
        (3, "here: must be a string or a list of strings, not 3"),
        ([], 'here: the list is empty ("none" says that nothing is found)'),
    ],
)
def test_what_is_no_expectation_is_one_line(given, says):
    with pytest.raises(ScenarioError) as error:
        read_expected(given, KINDS, "here")
    assert str(error.value) == says


def test_a_list_is_read_once_each_and_said_in_words():
    assert read_expected(["leak", "bug-on", "leak"], KINDS, "here") == ("leak", "bug-on")
    assert expected_text(("leak", "bug-on")) == "leak or bug-on" and expected_text("leak") == "leak"
    assert expected_text(None) == ""


@pytest.mark.parametrize(
    ("expect", "right"),
    [('["assertion", "deadlock"]', True), ('["livelock", "deadlock"]', False), ('"deadlock"', False)],
)
def test_a_hunt_is_judged_by_the_set_and_shows_it(tmp_path, capsys, expect, right):
    file = tmp_path / "two.toml"
    file.write_text(TWO_KINDS.format(expect))
    assert main(["hunt", str(file), "--runs", "300", "--out", str(tmp_path)]) == (0 if right else 1)
    said = capsys.readouterr().out
    wanted = " or ".join(word for word in expect.split('"')[1::2])
    assert ("as expected" in said) if right else (f"NOT AS EXPECTED: {wanted}" in said)
    assert main(["verify", str(file), "--all-violations", "--json"]) == (0 if right else 1)
    told = json.loads(capsys.readouterr().out)["results"][0]
    assert told["expected"] == json.loads(expect) and told["violating_classes"].keys() == {"assertion", "deadlock"}


def test_a_scenario_may_expect_a_set(tmp_path, capsys):
    text = Scenario.load("merge").text
    text = text.replace('unpatched = "stale-migration-entry"', 'unpatched = ["stale-migration-entry", "lost-page"]')
    scenario = Scenario.from_text(text)
    assert scenario.expected("linux-3.2") is None and scenario.expected("unpatched") == (
        "stale-migration-entry", "lost-page",
    )  # fmt: skip
    assert hunt(scenario, algorithms=["unpatched"], runs=2000).as_expected
    with pytest.raises(
        UserError, match=r'expect.unpatched: unknown violation kind "lost-pag" .did you mean "lost-page"'
    ):
        Scenario.from_text(text.replace('"lost-page"', '"lost-pag"'))
    (tmp_path / "bad.toml").write_text(TWO_KINDS.format('["deadlok"]'))
    assert main(["hunt", str(tmp_path / "bad.toml")]) == 2
    assert capsys.readouterr().err.endswith('expect.sc: unknown violation kind "deadlok" (did you mean "deadlock"?)\n')


def test_a_litmus_test_made_in_python_may_expect_a_set():
    test = Litmus.of("x", {"A": ["store x 1"]}, forbidden=["x == 1"], expect=["assertion", "deadlock"])
    assert test.expected("sc") == ("assertion", "deadlock") and hunt(test, runs=10).as_expected
