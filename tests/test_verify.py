"""Exhaustive search: every class of interleavings once, compared with brute force and with what other tools found."""

import json

import pytest
from interleavings import classes, random_threads, steps
from mm_tools import core

from anonvma_rt import Reproducer, StopToken, UserError, VerifyInterrupted, replay, verify
from anonvma_rt.cli import main
from anonvma_rt.engine.dpor import Dpor
from anonvma_rt.engine.explorer import Explorer
from anonvma_rt.engine.program import Program


def search(threads, carrier="fibers"):
    """(classes, sleep-blocked) of a Program."""
    with Explorer(Program([steps(thread) for thread in threads]), Dpor(), cpu=core(), carrier=carrier) as explorer:
        block = explorer.run(0, 1_000_000)
    assert block["halt"] == "stopped", "nothing is left to visit"
    return block["ran"], block["pruned"]


ORDER = [(1, 3, 1), (2, 15, 7), (3, 84, 46), (4, 495, 299)]


@pytest.mark.parametrize(("pages", "count", "violating"), ORDER)
def test_order_has_the_classes_that_three_other_tools_found(pages, count, violating):
    result = verify("order", {"pages": pages}, all_violations=True)
    unpatched, patched = result.results
    assert (unpatched.classes, unpatched.violating_classes) == (count, {"assertion": violating})
    assert unpatched.verdict == f"VIOLATED ({violating} of {count} classes)"
    assert (patched.classes, patched.violating_classes) == (count, {})
    assert patched.verdict == f"VERIFIED (complete, {count} classes)"
    assert unpatched.sleep_blocked == patched.sleep_blocked == 0
    assert result.as_expected


# How often the reads and writes of each test can be ordered, less the one circle that cannot be.
LITMUS = {"sb": 3, "mp": 3, "lb": 3, "r": 3, "s": 3, "2+2w": 3, "corr": 3, "wrc": 7, "isa2": 7, "iriw": 15}


@pytest.mark.parametrize(("name", "count"), LITMUS.items())
def test_the_classic_litmus_tests_have_their_sc_verdicts(name, count):
    result = verify(name).results[0]
    assert (result.classes, result.complete, result.violating_classes) == (count, True, {})


@pytest.mark.parametrize("tries", [False, True])
@pytest.mark.parametrize("hundred", range(4))
def test_every_class_of_a_random_program_is_visited_once_and_no_other(hundred, tries):
    compared = 0
    for seed in range(100 * hundred, 100 * hundred + 100):
        threads = random_threads(seed, tries)
        if sum(map(len, threads)) > 11:
            continue
        assert search(threads)[0] == len(classes(threads)), (seed, threads)
        compared += 1
    assert compared > 20


def test_the_carrier_makes_no_difference():
    for seed in range(12):
        threads = random_threads(seed, True)
        if sum(map(len, threads)) < 10:
            assert search(threads, "threads") == search(threads, "fibers")


SMALL = [
    ("lkml-2011", {"pages": 2}),
    ("merge", {"pages": 1, "case": 1}),
    ("merge", {"pages": 1, "case": 2}),
    ("merge", {"pages": 1, "case": 3}),
    ("error-path", {"pages": 2}),
    ("error-path", {"pages": 2, "merged": True}),
]


@pytest.mark.parametrize(("name", "parameters"), SMALL)
def test_the_patch_of_2011_is_proved_and_what_was_before_it_is_refuted(name, parameters):
    unpatched, patched = verify(name, parameters, ["unpatched", "moveto-tail"]).results
    assert patched.complete and patched.verdict.startswith("VERIFIED (complete, ")
    assert unpatched.violating_classes.keys() == {"stale-migration-entry"}
    assert unpatched.first.index < 1000


PROVED = [
    ("peek", {}, "unpatched"),
    ("fork-child-first", {"pages": 1}, "unpatched"),
    ("exec-stack", {"pages": 1}, "unpatched,exec_lock=across,stack_flag=false"),
    ("lkml-2011", {"pages": 2}, "rmap-locks"),
    ("lkml-2011", {"pages": 2}, "interval-tree"),
    ("lkml-2011", {"pages": 2}, "double-walk"),
    ("lkml-2011", {"pages": 2}, "moveto-tail,walk_root_list=true"),
    ("lkml-2011", {"pages": 2}, "moveto-tail,single_ptl=true"),
    ("border-shift", {"pages": 1}, "unpatched,shift_locks=true"),
    ("unpinned-migration", {}, "unpatched"),
]
REFUTED = [
    ("peek", {}, "peeking"),
    ("fork-child-first", {"pages": 1}, "unpatched,child_first=true"),
    ("exec-stack", {"pages": 1}, "unpatched,stack_flag=false"),
    ("lkml-2011", {"pages": 2}, "interval-tree,ordering=none"),
    ("border-shift", {"pages": 1}, "moveto-tail"),
    ("unpinned-migration", {}, "unpatched,pin=false"),
    ("reused-root", {}, "unpatched,remember_root=false"),
]


@pytest.mark.parametrize(("name", "parameters", "algorithm"), PROVED)
def test_what_hunts_never_found_is_proved_impossible(name, parameters, algorithm):
    assert verify(name, parameters, [algorithm]).results[0].complete


@pytest.mark.parametrize(("name", "parameters", "algorithm"), REFUTED)
def test_what_hunts_found_is_found(name, parameters, algorithm):
    found = verify(name, parameters, [algorithm])
    assert found.as_expected and found.results[0].first.index < 20_000


def test_a_counterexample_replays_on_threads(tmp_path):
    first = verify("merge", {"pages": 1}, ["unpatched"], out=tmp_path).results[0].first
    reproducer = Reproducer.load(first.reproducer)
    assert reproducer.strategy == "dpor" and "restore walk missed" in reproducer.cause
    replayed = replay(reproducer, times=20)
    assert replayed.reproduced == 20 and replayed.same_trace


def test_a_deadlock_ends_a_class_and_hides_no_other():
    threads = [[("lock", "A"), ("lock", "B"), ("unlock", "B"), ("unlock", "A")]]
    threads.append([("lock", "B"), ("lock", "A"), ("unlock", "A"), ("unlock", "B")])
    assert search(threads) == (3, 0)


def test_locks_that_are_both_tried_and_shared_can_be_proved():
    modern, host = verify("lkml-2011", {"pages": 2}, ["modern", "linux-host"]).results
    assert modern.complete and host.complete and modern.classes == host.classes


def test_a_limit_and_a_stop_token_end_the_search_without_a_proof():
    limited = verify("order", {"pages": 6}, ["patched"], limit=500).results[0]
    assert limited.classes == 500 and not limited.complete
    assert limited.verdict == "NOT PROVED: ended after 500 classes"
    token = StopToken()
    token.stop()
    stopped = verify("order", {"pages": 6}, ["patched"], stop=token)
    assert stopped.interrupted and not stopped.results[0].complete


def test_an_interrupt_says_how_far_the_search_came():
    def interrupt(algorithm, executions):
        raise KeyboardInterrupt

    with pytest.raises(VerifyInterrupted) as caught:
        verify("order", {"pages": 8}, ["patched"], progress=interrupt)
    result = caught.value.result
    assert result.interrupted and result.results[0].classes > 0
    assert result.results[0].verdict == f"NOT PROVED: ended after {result.results[0].classes} classes"


def test_bad_input_is_refused():
    with pytest.raises(UserError, match="unknown carrier"):
        verify("order", carrier="parallel")
    with pytest.raises(UserError, match="--limit must be at least 1"):
        verify("order", limit=0)


def test_the_command_line_prints_the_verdict(tmp_path, capsys):
    assert main(["verify", "lkml-2011", "-p", "pages=2", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "moveto-tail               VERIFIED (complete, " in text
    assert "unpatched                 VIOLATED (after " in text
    assert "So its restore walk missed" in text and "anonvma-rt replay" in text
    assert main(["verify", "order", "-p", "pages=2", "--all-violations", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["classes"] for one in told["results"]] == [15, 15]
    assert told["results"][0]["violating_classes"] == {"assertion": 7} and told["results"][1]["complete"]
    assert main(["verify", "order", "-p", "pages=6", "--algorithm", "patched", "--limit", "9", "--out", "x"]) == 1
    assert "NOT PROVED" in capsys.readouterr().out
    assert main(["verify", "ordre"]) == 2
