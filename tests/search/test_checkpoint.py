"""Checkpoints from a hostile hand, with checksums that are right again: refused, or believed and said to be."""

import json

import pytest
from resealed import changed, sealed

from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.search import exhaust
from anonvma_rt.search.verify import verify

PROGRAM = ("order", {"pages": 6}, ["patched"])
WORDS = ["verify", "order", "-p", "pages=6", "--algorithm", "patched", "--checkpoint"]


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """Of a search with parts and states."""
    file = tmp_path_factory.mktemp("checkpoint") / "search.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhaust, "ALONE", 64)
        verify(*PROGRAM, jobs=2, limit=700, checkpoint=file)
    body = json.loads(file.read_text())
    search = body["searches"]["patched"]
    assert search["parts"] and search["states"]
    return body


def refused(body, tmp_path, capsys):
    """The line with which the command line refuses it."""
    file = tmp_path / "search.json"
    file.write_text(body if isinstance(body, str) else sealed(body))
    assert main([*WORDS, str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


HERE = ("searches", "patched")
WRONG = [
    ((*HERE, "parts", 0, "tasks", 11), 255, "parts: 1: tasks: must be a list of whole numbers from 0 to 254"),
    ((*HERE, "parts", 0, "tasks", 11), 5, "a part"),
    ((*HERE, "parts", 0, "tasks"), None, "parts: 1: tasks: must be a list, not null"),
    ((*HERE, "parts", 0, "explored", 0), -1, "explored: must be a list of whole numbers"),
    ((*HERE, "parts", 0, "explored", 0), 3, "explored who is not to be"),
    ((*HERE, "parts", 0, "backtrack", 0), 0, "explored who is not to be"),
    ((*HERE, "parts", 0, "backtrack"), [], "different lengths"),
    ((*HERE, "parts", 0, "root"), 1 << 30, "root: must be a whole number from 0 to 2**24"),
    ((*HERE, "parts", 0, "sleep"), 1 << 255, "sleep: must be a whole number from 0 to 2**255 - 1"),
    ((*HERE, "parts", 0, "sleep"), (1 << 255) - 1, "somebody who sleeps"),
    ((*HERE, "states"), [], "no state has given away"),
    ((*HERE, "states", 0, 1), 0, "explored who could not be"),
    ((*HERE, "states", 0, 3), 0, "a state"),
    ((*HERE, "states", 0), [[], 1], "states: 1: must be a list of 5 entries"),
    ((*HERE, "classes"), 10**6, "do not add up"),
    ((*HERE, "classes"), True, "classes: must be a whole number"),
    ((*HERE, "visited"), 1e3, "visited: must be a whole number"),
    ((*HERE, "violating"), {"deadlock": 3}, "first is not the first"),
    ((*HERE, "first"), ["dpor", 0, "deadlock", []], "first is not the first"),
    ((*HERE, "first"), ["dpor", 0, "deadlock", [[0, -5]]], "must be a whole number from 1 to"),
    ((*HERE, "seen"), ["x"], "seen: must be a list of whole numbers"),
    ((*HERE, "seen"), ..., 'the key "seen" is missing'),
    (("question",), ..., 'the key "question" is missing'),
    (("question",), 3, "question: must be a table, not 3"),
    (("searches",), [], "searches: must be a table, not a list"),
    (("searches", "patched"), None, "must be a table, not null"),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=lambda one: str(one)[:40])
def test_what_no_search_can_have_is_refused_in_one_line(path, value, says, body, tmp_path, capsys):
    assert says in refused(changed(body, path, value), tmp_path, capsys)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 990 + "]" * 990, "nested more than 12 deep"),
        ('{"format": "anonvma-rt checkpoint", "question": ' + '{"a":' * 900 + "0" + "}" * 901, "nested more than"),
        ("1" * 5000, "not a checkpoint"),
        ("NaN", "NaN is no number"),
        ("", "not a checkpoint"),
        ('"\\ud800"', "not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_at_all(text, says, tmp_path, capsys):
    assert says in refused(text, tmp_path, capsys)


def part_of_nobody(tasks):
    sets = [1 << task for task in tasks]
    return {"tasks": tasks, "explored": [0] * len(tasks), "backtrack": sets, "sleep": 0, "root": 0}


@pytest.mark.parametrize("tasks", [[0] * 200, [1, 0] * 100, [1] * 3000])
def test_a_part_that_the_program_cannot_follow_ends_the_search_with_its_name(tasks, body, tmp_path, capsys):
    other = changed(changed(body, (*HERE, "parts"), [part_of_nobody(tasks)]), (*HERE, "states"), [])
    assert "the checkpoint is not of this program" in refused(other, tmp_path, capsys)


def test_what_is_of_another_program_is_said_to_be(body, tmp_path, capsys):
    other = changed(changed(body, (*HERE, "parts"), [part_of_nobody([0, 7])]), (*HERE, "states"), [])
    assert "this one has 2 tasks" in refused(other, tmp_path, capsys)
    search = {**body["searches"]["patched"], "violating": {"no-such-kind": 1}, "first": ["dpor", 0, "no-such-kind", []]}
    assert "no-such-kind" in refused(changed(body, HERE, search), tmp_path, capsys)


def test_a_counterexample_that_does_not_come_again_is_none(body, tmp_path, capsys):
    search = {**body["searches"]["patched"], "violating": {"assertion": 1}, "first": ["dpor", 0, "assertion", [[0, 3]]]}
    assert "the assertion in it does not come again" in refused(changed(body, HERE, search), tmp_path, capsys)


def test_a_proof_says_what_it_takes_on_trust(body, tmp_path, capsys):
    """That nothing is left is believed, because it cannot be checked; so it is said."""
    file = tmp_path / "search.json"
    file.write_text(sealed(changed(body, (*HERE, "parts"), [])))
    assert main([*WORDS, str(file)]) == 0
    out = capsys.readouterr().out
    assert "VERIFIED under SC (complete, 700 classes)" in out
    assert f"resumed from {file}; its 700 classes are taken on trust" in out
    assert main([*WORDS, str(file), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["rests_on"] == f"resumed from {file}; its 700 classes are taken on trust"


def test_a_proof_that_was_seen_whole_rests_on_nothing(tmp_path):
    assert verify("order", {"pages": 2}).results[0].rests_on is None
    file = tmp_path / "search.json"
    assert verify("order", {"pages": 2}, checkpoint=file).results[0].rests_on is None
    assert "taken on trust" in str(verify("order", {"pages": 2}, checkpoint=file).results[0].rests_on)


@pytest.mark.parametrize("preemptions", [None, 2])
@pytest.mark.parametrize(
    ("name", "values", "algorithm"), [("order", {"pages": 6}, "patched"), ("merge", {}, "unpatched")]
)
def test_what_a_search_saves_is_never_refused(name, values, algorithm, preemptions, tmp_path, monkeypatch):
    monkeypatch.setattr(exhaust, "ALONE", 64)
    file = tmp_path / "search.json"
    for limit in range(200, 2000, 200):
        how = {"jobs": 2, "all_violations": True, "preemptions": preemptions}
        result = verify(name, values, [algorithm], limit=limit, checkpoint=file, **how).results[0]
    assert result.classes > 0


def test_a_search_that_became_too_large_for_a_file_says_so(tmp_path, monkeypatch):
    from anonvma_rt.search import checkpoint

    monkeypatch.setattr(checkpoint, "LIMITS", checkpoint.Limits(500, 1000))
    with pytest.raises(UserError, match="cannot be written: the search has become too large"):
        verify("order", {"pages": 2}, checkpoint=tmp_path / "search.json")


# ---- a time for the search -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("how", [{}, {"preemptions": 2}, {"delays": 2, "iterate": True}])
def test_a_search_in_many_short_times_ends_with_the_figures_of_one(how, jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(exhaust, "ALONE", 64)
    how = {"all_violations": True, "jobs": jobs, **how}
    program = ("order", {"pages": 4}, ["unpatched"])
    whole = verify(*program, **how).results[0]
    times = 0
    while True:
        one = verify(*program, seconds=1e-6, checkpoint=tmp_path / "search.json", **how).results[0]
        times += 1
        if one.left_in is None:
            break
        assert (not one.complete or how.get("iterate")) and "VERIFIED under SC (" not in one.verdict
    assert times > 2 and one.complete and whole.left_in is None
    for name in ("classes", "schedules", "violating_classes", "verdict"):
        assert getattr(one, name) == getattr(whole, name)


def test_what_there_was_no_time_for_is_left_in_a_new_file_and_said(tmp_path, capsys):
    words = ["verify", "order", "-p", "pages=6", "--algorithm", "patched", "--out", str(tmp_path)]
    for name in ("order-verify.json", "order-verify-2.json"):
        assert main([*words, "--seconds", "0.000001"]) == 1
        out = capsys.readouterr().out
        assert "NOT PROVED: 1e-06 s were over after 16 classes, none violating" in out
        assert f"the same command goes on with --checkpoint {tmp_path / name}" in out
    assert main([*words, "--checkpoint", str(tmp_path / "order-verify.json")]) == 0
    assert "VERIFIED under SC (complete, 18564 classes)" in capsys.readouterr().out
    (tmp_path / "order-verify.json").unlink()
    assert main([*words, "--seconds", "1000", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["results"]
    assert one["complete"] and one["left_in"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["order-verify-2.json"]
    nothing = ["--seconds", "9", "--out", str(tmp_path / "nothing")]
    assert main(["verify", "order", "--algorithm", "patched", *nothing]) == 0
    assert not (tmp_path / "nothing").exists()
    assert verify(*PROGRAM, seconds=1e-6).results[0].left_in is None


def test_a_violation_ends_a_search_with_a_time_like_any_other(tmp_path):
    one = verify("order", {"pages": 3}, ["unpatched"], seconds=1e-6, out=tmp_path).results[0]
    assert one.verdict.startswith("VIOLATED") and one.as_expected and one.left_in is None
    assert [file.name for file in tmp_path.iterdir()] == [one.first.reproducer.rpartition("/")[2]]


@pytest.mark.parametrize(("seconds", "says"), [("0", "not 0"), ("-1", "not -1"), ("nan", "not nan"), ("1e10", "1e+10")])
def test_what_is_no_time_is_one_clear_line(seconds, says, capsys):
    assert main(["verify", "order", "--seconds", seconds]) == 2
    err = capsys.readouterr().err
    assert err.startswith("anonvma-rt: --seconds must be more than 0 and at most 1e+09, not") and says in err
    assert main(["verify", "order", "--seconds", "soon"]) == 2
    assert capsys.readouterr().err == 'anonvma-rt: --seconds must be a number, not "soon"\n'
