"""Exhaustive search: every class of interleavings once, compared with brute force and with what other tools found."""

import json
import subprocess
import sys
import time

import pytest
from engine_programs import CPU
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interpreter import class_of, interleavings
from random_programs import small_programs, steps

from anonvma_rt import Reproducer, StopToken, UserError, VerifyInterrupted, replay, verify
from anonvma_rt.cli import main
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.lab import pump
from anonvma_rt.litmus.program import Program
from anonvma_rt.search import exhaust
from anonvma_rt.search.frontier import Frontier


def search(threads, carrier="fibers"):
    """(executions, sleep-blocked, the set of final values without zeros) of a Program."""
    program = Program([steps(thread) for thread in threads])
    ran, blocked, finals, hashes = 0, 0, set(), set()
    with Explorer(program, Dpor(), cpu=CPU, carrier=carrier) as explorer:
        explorer.observing = True
        while not explorer.strategy.exhausted:
            block = explorer.run(ran + blocked, 1)
            hashes.update(memoryview(block.classes).cast("Q"))
            ran, blocked = ran + block.ran, blocked + block.pruned
            if block.ran:
                finals.add(frozenset((name, value) for name, value in program.values(explorer).items() if value))
    assert len(hashes) == ran, "a class was visited twice"
    return ran, blocked, finals


ORDER = [(1, 3, 1), (2, 15, 7), (3, 84, 46), (4, 495, 299)]


@pytest.mark.parametrize(("pages", "count", "violating"), ORDER)
def test_order_has_the_classes_that_three_other_tools_found(pages, count, violating):
    result = verify("order", {"pages": pages}, all_violations=True)
    unpatched, patched = result.results
    assert (unpatched.classes, unpatched.violating_classes) == (count, {"assertion": violating})
    assert unpatched.verdict == f"VIOLATED ({violating} of {count} classes)"
    assert (patched.classes, patched.violating_classes) == (count, {})
    assert patched.verdict == f"VERIFIED under SC (complete, {count} classes)"
    assert unpatched.sleep_blocked == patched.sleep_blocked == 0
    assert result.as_expected


BLOCKS_NONE = [
    ("lkml-2011", {"pages": 2}, ["moveto-tail", "fresh-vma"]),
    ("lkml-2011", {"pages": 1024}, ["moveto-tail"]),
    ("error-path", {"pages": 2}, ["double-walk"]),
    ("unpinned-migration", {}, ["peeking"]),
    ("reused-pin", {}, ["peeking"]),
]


@pytest.mark.parametrize(("name", "parameters", "algorithms"), BLOCKS_NONE)
def test_on_what_ships_no_execution_is_begun_in_vain(name, parameters, algorithms):
    """Why there are no wake-up trees: they would save blocked executions, and nothing else."""
    for one in verify(name, parameters, algorithms, all_violations=True, limit=4000).results:
        assert one.complete and one.classes > 60 and one.sleep_blocked == 0


# How often the reads and writes of each test can be ordered, less the one circle that cannot be.
LITMUS = {"sb": 3, "mp": 3, "lb": 3, "r": 3, "s": 3, "2+2w": 3, "corr": 3, "wrc": 7, "isa2": 7, "iriw": 15}


@pytest.mark.parametrize(("name", "count"), LITMUS.items())
def test_the_classic_litmus_tests_have_their_sc_verdicts(name, count):
    result = verify(name).results[0]
    assert (result.classes, result.complete, result.violating_classes) == (count, True, {})


# No task begins a reversed execution with what a step of another one must come before: by its past, or by its object.
@example(
    [
        [("await", "x", 1), ("read_lock", "A"), ("read_unlock", "A")],
        [("lock", "A"), ("unlock", "A"), ("load", "y", "r")],
        [("store", "x", 1), ("store", "y", 1)],
    ]
)
@example(
    [
        [("lock", "A"), ("unlock", "A"), ("await", "x", 1)],
        [("await", "x", 1), ("read_lock", "A"), ("read_unlock", "A")],
        [("store", "x", 1), ("read_lock", "A"), ("read_unlock", "A")],
    ]
)
# A try that fails because its own thread has the lock hides nothing of what a reader could have come before.
@example(
    [[("load", "x", "r"), ("trylock", "A", "r"), ("trylock", "A", "r")], [("read_lock", "A"), ("read_unlock", "A")]]
)
# One that fails because of a reader hides no other reader.
@example([[("read_lock", "A"), ("trylock", "A", "r")]] * 2)
# Nor does a second reader hide the first one.
@example([[("read_trylock", "A", "r"), ("read_trylock", "A", "r")], [("wait", "A")]])
@given(small_programs())
def test_every_class_of_a_random_program_is_visited_once_and_no_other(threads):
    visited, _, finals = search(threads)
    everything = list(interleavings(threads))
    assert visited == len({class_of(done) for done, _ in everything})
    assert finals == {final for _, final in everything}


@pytest.mark.parametrize(
    "threads",
    [
        [[("store", "x", 1)]] * 3,
        [[("lock", "A"), ("unlock", "A")], [("read_lock", "A"), ("read_unlock", "A")]],
    ],
    ids=["an initial that is there is enough", "what the past orders is no race"],
)
def test_no_execution_is_begun_in_vain(threads):
    assert search(threads)[1] == 0


@settings(max_examples=20)
@given(small_programs(7))
def test_the_carrier_makes_no_difference(threads):
    assert search(threads, "threads") == search(threads, "fibers")


@given(small_programs(8), st.randoms(use_true_random=False))
def test_parts_that_are_shed_make_up_the_whole(threads, draw):
    """Whatever is given away, and when, and who takes it: each class belongs to one part."""
    program = Program([steps(thread) for thread in threads])
    frontier, visited = Frontier(), 0
    explorers = [Explorer(program, Dpor(), cpu=CPU, carrier="fibers") for _ in range(3)]
    searching = []
    while searching or frontier.parts:
        explorer = draw.choice(explorers)
        dpor = explorer.strategy
        if explorer not in searching:
            if not frontier.parts:
                continue
            dpor.load(frontier.parts.popleft())
            searching.append(explorer)
        for _ in range(draw.randint(1, 3)):
            visited += explorer.run(0, 1).ran
            if dpor.exhausted:
                break
        wanted = dpor.escapes()
        if wanted:
            frontier.escaped(dpor.tasks(max(wanted)), wanted)
        if dpor.exhausted:
            searching.remove(explorer)
        elif draw.random() < 0.6 and (given_away := dpor.shed()):
            frontier.shed(dpor.tasks(given_away[-1][0]), given_away)
        elif draw.random() < 0.2:
            # As a checkpoint does it.
            saved = json.loads(json.dumps(frontier.as_dict([dpor.dump()])))
            frontier = Frontier.from_dict(saved)
            searching.remove(explorer)
    for explorer in explorers:
        explorer.close()
    assert visited == len({class_of(done) for done, _ in interleavings(threads)})


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
    assert patched.complete and patched.verdict.startswith("VERIFIED under SC (complete, ")
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
    assert found.as_expected and found.results[0].first.index < 1000
    # By the hunt that goes before or by the search: the search alone finds it too.
    assert verify(name, parameters, [algorithm], all_violations=True, limit=20_000).as_expected


def test_a_counterexample_replays_on_threads(tmp_path):
    first = verify("merge", {"pages": 1}, ["unpatched"], all_violations=True, out=tmp_path).results[0].first
    reproducer = Reproducer.load(first.reproducer)
    assert reproducer.strategy == "dpor" and "restore walk missed" in reproducer.cause
    replayed = replay(reproducer, times=20)
    assert replayed.reproduced == 20 and replayed.same_trace


def test_a_deadlock_ends_a_class_and_hides_no_other():
    threads = [[("lock", "A"), ("lock", "B"), ("unlock", "B"), ("unlock", "A")]]
    threads.append([("lock", "B"), ("lock", "A"), ("unlock", "A"), ("unlock", "B")])
    visited, blocked, _ = search(threads)
    assert (visited, blocked) == (3, 0)


def test_locks_that_are_both_tried_and_shared_can_be_proved():
    modern, host = verify("lkml-2011", {"pages": 2}, ["modern", "linux-6.19"]).results
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


@pytest.mark.parametrize("jobs", [2, 3])
def test_explorers_together_visit_the_same_classes(jobs, monkeypatch):
    monkeypatch.setattr(exhaust, "ALONE", 100)
    monkeypatch.setattr(pump, "BLOCK_SECONDS", 0.001)
    unpatched, patched = verify("order", {"pages": 6}, jobs=jobs, all_violations=True).results
    assert (unpatched.classes, unpatched.violating_classes) == (18_564, {"assertion": 12_616})
    assert (patched.classes, patched.violating_classes, patched.complete) == (18_564, {}, True)
    alone, together = (verify("error-path", {"pages": 2}, ["moveto-tail"], jobs=n).results[0] for n in (1, jobs))
    assert together.complete and together.classes == alone.classes


def test_a_search_goes_on_from_its_checkpoint(tmp_path):
    whole = verify("order", {"pages": 5}, all_violations=True).results
    file = tmp_path / "search.json"
    for pieces in range(1, 50):
        # The limit is of all executions so far.
        part = verify("order", {"pages": 5}, all_violations=True, limit=700 * pieces, checkpoint=file)
        if all(one.complete for one in part.results):
            break
    assert pieces > 1
    assert [(one.classes, one.violating_classes, one.first.index if one.first else None) for one in part.results] == [
        (one.classes, one.violating_classes, one.first.index if one.first else None) for one in whole
    ]
    # A finished one says at once what it found.
    again = verify("order", {"pages": 5}, all_violations=True, checkpoint=file).results
    assert [one.verdict for one in again] == [one.verdict for one in whole]


def test_a_search_that_was_killed_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "search.json"
    code = (
        "from anonvma_rt import verify; from anonvma_rt.search import exhaust; exhaust.CHECKPOINT_SECONDS = 0.01; "
        f"verify('order', {{'pages': 7}}, ['patched'], jobs=2, checkpoint={str(file)!r})"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not (file.exists() and json.loads(file.read_text())["searches"]):
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    left = json.loads(file.read_text())["searches"]["patched"]
    result = verify("order", {"pages": 7}, ["patched"], checkpoint=file).results[0]
    assert 0 < left["classes"] < result.classes
    assert result.verdict == "VERIFIED under SC (complete, 116280 classes)"


def test_a_checkpoint_of_another_search_or_a_damaged_one_is_refused(tmp_path):
    file = tmp_path / "search.json"
    verify("order", {"pages": 2}, checkpoint=file)
    with pytest.raises(UserError, match="belongs to another search: its parameters"):
        verify("order", {"pages": 3}, checkpoint=file)
    with pytest.raises(UserError, match="its preemptions is"):
        verify("order", {"pages": 2}, preemptions=1, checkpoint=file)
    text = file.read_text()
    file.write_text(text.replace('"classes": 15', '"classes": 14'))
    with pytest.raises(UserError, match="edited or damaged"):
        verify("order", {"pages": 2}, checkpoint=file)
    file.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="not a checkpoint, or a damaged one"):
        verify("order", {"pages": 2}, checkpoint=file)
    file.write_text(text.replace("written_by", "written"))
    with pytest.raises(UserError, match="written by"):
        verify("order", {"pages": 2}, checkpoint=file)
    with pytest.raises(UserError, match="cannot be written"):
        verify("order", {"pages": 2}, checkpoint=tmp_path / "no" / "folder.json")


# Exact numbers of classes; the estimate comes before they are counted.
ESTIMATED = [("order", {"pages": 4}), ("order", {"pages": 6}), ("philosophers", {"seats": 4}), ("iriw", {})]


@pytest.mark.parametrize(("name", "parameters"), ESTIMATED)
def test_an_estimate_goes_before_and_is_right_within_its_spread(name, parameters):
    told = []
    result = verify(name, parameters, all_violations=True, estimated=lambda name, one: told.append((name, one)))
    assert [name for name, _ in told] == [one.algorithm for one in result.results]
    for one in result.results:
        assert abs(one.estimate.classes - one.classes) <= 4 * one.estimate.spread + 0.2 * one.classes
        assert one.estimate.probes > 900


def test_bad_input_is_refused():
    with pytest.raises(UserError, match="unknown carrier"):
        verify("order", carrier="parallel")
    with pytest.raises(UserError, match="--limit must be at least 1"):
        verify("order", limit=0)
    with pytest.raises(UserError, match="--jobs must be from 1"):
        verify("order", jobs=0)
    with pytest.raises(UserError, match="--preemptions must be from 0"):
        verify("order", preemptions=-1)
    with pytest.raises(UserError, match="--delays must be from 0"):
        verify("order", delays=-1)
    with pytest.raises(UserError, match="--preemptions and --delays: a search has one bound"):
        verify("order", preemptions=1, delays=1)


def test_the_command_line_prints_the_verdict(tmp_path, capsys):
    assert main(["verify", "lkml-2011", "-p", "pages=2", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "moveto-tail               VERIFIED under SC (complete, " in text
    assert "unpatched                 VIOLATED (execution " in text
    assert "So its restore walk missed" in text and "anonvma-rt replay" in text
    assert main(["verify", "order", "-p", "pages=2", "--all-violations", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["classes"] for one in told["results"]] == [15, 15]
    assert told["results"][0]["violating_classes"] == {"assertion": 7} and told["results"][1]["complete"]
    assert main(["verify", "order", "-p", "pages=6", "--algorithm", "patched", "--limit", "9", "--out", "x"]) == 1
    assert "NOT PROVED" in capsys.readouterr().out
    assert main(["verify", "ordre"]) == 2


def test_all_takes_names_and_sizes_of_its_own(capsys):
    assert main(["verify", "order", "--all"]) == 2
    assert "--all proves every built-in scenario" in capsys.readouterr().err
    assert main(["verify", "--all", "-p", "pages=2"]) == 2
    assert "omit -p and --checkpoint" in capsys.readouterr().err


@pytest.mark.long
def test_everything_built_in_is_proved_or_refuted_at_its_smallest_size(tmp_path, capsys):
    main(["verify", "--all", "--jobs", "2", "--limit", "20000", "--json", "--out", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)["verifications"]
    open_ends = {one["scenario"] for one in told if not one["as_expected"]}
    # Two processes and two threads in a round trip: more classes than the limit.
    assert open_ends <= {"forkcrash", "forkcrash-munmap"}
    assert sum(len(one["results"]) for one in told) > 390
