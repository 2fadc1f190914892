"""The carrier `auto`, the usual one: the search on fibers, and a second opinion on what it found from threads."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine_programs import WRONG, explore, split_digests

from anonvma_rt import PyStrategy, Reproducer, UserError, hunt, replay, verify
from anonvma_rt.cli import main
from anonvma_rt.engine.run.records import Failure
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.lab.again import NotReproducible
from anonvma_rt.search.second_carrier import MOST_CONFIRMED, Confirmed, Confirmer, Disagreement

RUNS = 1500


def test_the_three_carriers_give_one_answer_and_one_reproducer(tmp_path):
    found = {c: hunt("merge", carrier=c, runs=RUNS, out=tmp_path / c) for c in ("threads", "fibers", "auto")}
    for one in zip(*(result.results for result in found.values()), strict=True):
        assert len({r.schedules_sha256 for r in one}) == len({str(r.violations) for r in one}) == 1
    files = [found[c].results[0].first.reproducer for c in found]
    texts = [json.loads(Path(file).read_text()) for file in files]
    # A file names the carrier that made the execution last, and says the same besides.
    assert [text["found_by"].pop("carrier") for text in texts] == ["threads", "fibers", "threads"]
    assert len({json.dumps(text | {"sha256": ""}) for text in texts}) == 1
    assert replay(Reproducer.load(files[2]), times=3).reproduced == 3
    assert found["threads"].results[0].confirmed is found["fibers"].results[0].confirmed is None
    unpatched, patched = found["auto"].results
    violations = sum(unpatched.violations.values())
    assert violations > 10 and found["auto"].as_expected
    assert violations > MOST_CONFIRMED
    assert unpatched.confirmed == Confirmed("threads", MOST_CONFIRMED, MOST_CONFIRMED)
    assert patched.confirmed == Confirmed("threads", 0, 0)


def test_it_is_the_usual_one_and_does_not_depend_on_the_number_of_explorers():
    result = hunt("merge", algorithms=["unpatched"], runs=RUNS)
    (one,) = result.results
    (two,) = hunt("merge", algorithms=["unpatched"], carrier="auto", runs=RUNS, jobs=2).results
    assert one.confirmed == two.confirmed and one.confirmed.confirmed > 10
    assert one.schedules_sha256 == two.schedules_sha256
    assert (result.carrier, one.carrier, one.because) == ("auto", "fibers", "")


def test_the_first_hundred_are_tried_and_the_first_of_each_kind_whenever_it_comes():
    with explore(WRONG, Random(), carrier="fibers") as search, explore(WRONG, Random()) as second:
        block = search.run(0, 4 * MOST_CONFIRMED)
        digests, confirmer = split_digests(block), Confirmer(lambda: second, "threads")
        late = block.failures[0][1]
        common = [(index, kind) for index, kind in block.failures if kind != late]
        assert len(common) > MOST_CONFIRMED
        for index, kind in common:
            confirmer.show(index, kind, digests[index], search)
        assert confirmer.result == Confirmed("threads", MOST_CONFIRMED, MOST_CONFIRMED)
        for index, kind in block.failures:
            if kind == late:
                confirmer.show(index, kind, digests[index], search)
        assert confirmer.result == Confirmed("threads", MOST_CONFIRMED + 1, MOST_CONFIRMED + 1)
        index, kind = common[-1]
        assert confirmer.show(index, kind, digests[index], search, kept=True)
        assert confirmer.result == Confirmed("threads", MOST_CONFIRMED + 2, MOST_CONFIRMED + 2)


def confirmed(digest, failures):
    """What becomes of a violation of kind 1 with digest b"a", if the other carrier makes this of it."""
    block = SimpleNamespace(digests=digest, failures=[Failure(*one) for one in failures], halt=None)
    subject = SimpleNamespace(kinds=lambda: {1: "assertion", 2: "deadlock"})
    confirmer = Confirmer(lambda: SimpleNamespace(subject=subject, run=lambda first, count: block), "threads")
    found = SimpleNamespace(digests=b"a", failures=[Failure(0, 1)], halt=None)
    confirmer.show(0, 1, b"a", SimpleNamespace(run=lambda first, count: found))
    return confirmer.result


def test_the_same_violation_after_other_choices_is_a_disagreement():
    assert confirmed(b"a", [(0, 1)]).agrees
    assert confirmed(b"b", [(0, 1)]).disagreements == [Disagreement(0, "assertion", "assertion", False)]


def test_another_verdict_after_the_same_choices_is_a_disagreement():
    assert confirmed(b"a", [(0, 2)]).disagreements == [Disagreement(0, "assertion", "deadlock", True)]
    assert confirmed(b"a", []).disagreements == [Disagreement(0, "assertion", "none", True)]


def test_a_carrier_that_disagrees_with_itself_is_no_defect_of_the_lab():
    """It is code that does not do the same twice; whichever of the two it is."""
    blocks = [SimpleNamespace(digests=bytes([i]), failures=[Failure(0, 1)], halt=None) for i in range(9)]
    always = SimpleNamespace(digests=b"a", failures=[Failure(0, 1)], halt=None)
    for first, second in (([always] * 9, blocks), (blocks, [blocks[7]] * 9)):
        runs = [iter(first), iter(second)]
        explorers = [
            SimpleNamespace(subject=SimpleNamespace(kinds=lambda: {1: "assertion"}), run=lambda _, n, r=r: next(r))
            for r in runs
        ]
        confirmer = Confirmer(lambda other=explorers[1]: other, "threads")
        with pytest.raises(NotReproducible, match="after other choices"):
            confirmer.show(0, 1, b"a", explorers[0])
        assert confirmer.result.disagreements == []


def nothing_but_this(monkeypatch, name, value):
    monkeypatch.setattr(sys.modules["anonvma_rt.search.second_carrier"], name, value)


def test_a_system_without_room_for_threads_is_named_and_what_was_found_stays(monkeypatch, tmp_path, capsys):
    def refused(*arguments):
        raise OSError(11, "no more threads")

    module = sys.modules["anonvma_rt.search.hunt"]
    monkeypatch.setattr(module._Hunt, "second", refused)
    assert main(["hunt", "merge", "--algorithm", "unpatched", "--runs", str(RUNS), "--out", str(tmp_path)]) == 0
    assert "unpatched: seen on fibers, and not confirmed on threads: no more threads" in capsys.readouterr().out
    (file,) = tmp_path.iterdir()
    assert Reproducer.load(file).carrier == "fibers" and replay(Reproducer.load(file)).reproduced == 1


class First(PyStrategy):
    """A strategy in Python."""

    def choose(self, moment):
        return moment.enabled[0]


def test_a_strategy_in_python_takes_auto_to_threads_and_the_verdict_says_why(tmp_path, capsys):
    result = hunt("merge", strategy=First(), runs=50)
    assert {(one.carrier, one.confirmed) for one in result.results} == {("threads", None)}
    assert "is Python, which cannot run on the stack of a fiber" in result.results[0].because
    words = ["hunt", "merge", "--strategy", f"{__name__}:First", "--runs", "50", "--out", str(tmp_path)]
    assert main(words) in (0, 1)
    out = capsys.readouterr().out
    assert out.count("on threads: strategy ") == 1 and "executions from 0, on threads\n" in out
    assert main([*words, "--carrier", "fibers"]) == 2
    assert "is Python, which needs --carrier threads" in capsys.readouterr().err


def test_a_debugger_takes_auto_to_threads(monkeypatch):
    nothing_but_this(monkeypatch, "_traced_by", lambda: 4711)
    traced = hunt("merge", algorithms=["unpatched"], runs=50).results[0]
    assert traced.carrier == "threads" and traced.because.startswith("a debugger looks on (process 4711)")
    asked = hunt("merge", algorithms=["unpatched"], runs=50, carrier="fibers").results[0]
    assert (asked.carrier, asked.because, asked.schedules_sha256) == ("fibers", "", traced.schedules_sha256)


@pytest.fixture
def broken_threads(monkeypatch):
    """A lab whose threads do not make the executions that its fibers make."""
    # The package's `hunt` is the function.
    module = sys.modules["anonvma_rt.search.hunt"]
    usual = module.make_explorer

    def other(*arguments, seed, carrier, **options):
        return usual(*arguments, seed=seed + (carrier == "threads"), carrier=carrier, **options)

    monkeypatch.setattr(module, "make_explorer", other)


def test_a_disagreement_is_a_bug_of_the_lab_and_said_loudly(broken_threads, tmp_path, capsys):
    arguments = ["hunt", "merge", "--carrier", "auto", "--runs", str(RUNS), "--out", str(tmp_path)]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "THE LAB IS WRONG: execution" in told.out
    assert "is stale-migration-entry on fibers and none on threads, after other choices" in told.out
    assert "a bug of the lab: unpatched differs between fibers and threads" in told.err
    assert main([*arguments, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    unpatched, patched = told["results"]
    assert not told["as_expected"] and not unpatched["as_expected"] and patched["as_expected"]
    confirmed = unpatched["confirmed"]
    assert confirmed["tried"] == MOST_CONFIRMED > confirmed["confirmed"]
    assert len(confirmed["disagreements"]) == confirmed["tried"] - confirmed["confirmed"]
    assert confirmed["disagreements"][0]["index"] == unpatched["first"]["index"]
    # What was found is saved all the same.
    assert replay(Reproducer.load(unpatched["first"]["reproducer"])).reproduced == 1


def test_the_report_says_how_many_were_confirmed(tmp_path, capsys):
    assert main(["hunt", "merge", "--carrier", "auto", "--runs", str(RUNS), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    found = sum(hunt("merge", algorithms=["unpatched"], runs=RUNS).results[0].violations.values())
    assert f"unpatched: 100 of 100 violations confirmed on threads; {found} were found on fibers" in out
    assert "executions from 0, on fibers\n" in out
    assert "moveto-tail: saw " in out and "classes of interleavings" in out and "pct finds a bug" not in out
    assert main(["hunt", "merge", "--strategy", "pct", "--runs", "200", "--out", str(tmp_path)]) in (0, 1)
    out = capsys.readouterr().out
    assert "pct finds a bug of depth 3" in out and re.search(r"(\d+) of \1 violations confirmed on threads\n", out)


def test_only_a_hunt_has_two_carriers():
    with pytest.raises(UserError, match='unknown carrier "auto"'):
        verify("sb", carrier="auto")
