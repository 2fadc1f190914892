"""The history of a failing execution: the cause in one sentence, and a table that shows it."""

from dataclasses import replace

import pytest
from first_found import first_found

from anonvma_rt.engine.run.records import Finding
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.history import NOTE_SENTENCES, KernelTrace
from anonvma_rt.kernel.machine.shown import violation
from anonvma_rt.kernel.reasons import ASSERTIONS, CHECKS
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.mm.hooks.notes import BUGS, NOTES
from anonvma_rt.search.hunt import hunt
from anonvma_rt.subjects.history import Event


def history(scenario, parameters, algorithm, where):
    return replay(Reproducer.load(first_found(where, scenario, parameters, algorithm))).trace


def why(scenario, parameters, algorithm, where):
    return history(scenario, parameters, algorithm, where).cause()


def test_the_cause_of_a_wrong_order_names_both_places_and_both_tasks(tmp_path):
    # Case 3: the walk and the merge exclude each other, so the walk looks at both places.
    text = why("merge", {"case": "3", "pages": "2"}, "unpatched", tmp_path)
    assert "migrate looked at A" in text
    assert "before mremap had moved the entry there, then looked at B+0 after it had left for A" in text
    assert "which stays at A" in text and "for ever" in text


def test_the_cause_on_the_error_path_is_a_move_there_and_back(tmp_path):
    text = why("error-path", {}, "moveto-tail-merge-only", tmp_path)
    # The entry was at A or had gone to B when the page was unmapped; either way it comes back to A behind the walk.
    assert "looked at A+0 after it had left for B+0" in text or "looked at A+0 before mremap had moved" in text
    assert "then looked at B+0 after it had left for A+0" in text
    assert "stays at A+0" in text


SENTENCES = [
    (
        "case-8-protection",
        "unpatched",
        "The pte at 0x40001000 of process 0 has not the protection of its vma: nobody may access the one, and",
    ),
    (
        "partial-move-at-0",
        "modern,uncharges_at_0=true",
        "Process 0 is charged for 3 pages, and its vmas will give back 2.",
    ),
    ("fork-of-pinned", "unpatched", "Process 0 has pinned page"),
    ("free-vs-direct-io", "linux-5.15", "and at 0x40001000 it is 0x9: a page was lost"),
    ("vmsplice", "unpatched", "wrote at 0x40000000 of process 0 to a page of which process 1 has a reference"),
    ("peek", "peeking", "looked at A+0 when mremap had taken it out and not yet put it anywhere"),
    ("fork-child-first", "unpatched,child_first=true", "looked at B+0 before fork had copied the entry there"),
    ("exec-stack", "unpatched,stack_flag=false", "looked at A-1024 before exec had moved the entry there"),
    ("own-locks", "unpatched,own_lock=true", "passed over B while munmap was moving its beginning"),
    ("border-shift", "unpatched", "while mprotect was moving the beginning of A"),
    ("thp-split-vs-move", "unpatched", "split_huge_page counted 0 pmds, and 1 are mapped"),
    ("thp-shared-write", "unpatched,thp=4.5", "An entry may write to page 64, and 2 entries show it"),
    ("thp-split-vs-munmap", "unpatched,thp=4.5", "huge page 64 is to be split, and 1 entries show it still"),
    ("forkcrash", "unpatched", "its migration has ended"),
    ("unpinned-migration", "unpatched,pin=false", "followed page 2 to anon_vma 1"),
    ("reused-root", "unpatched,remember_root=false", "reclaim unlocked the root's mutex (1)"),
    ("fault-during-fork", "modern,vma_locks=racy", "cannot be found through the reverse map"),
    ("merge-asymmetry", "unpatched", "counted 2 vmas"),
    ("double-reuse", "modern,reuse=degree", "has been freed"),
    ("two-batches", "modern,isolate=false,batches=waiting", "took a lock of class 3 while it held one of class 3"),
    ("dontneed-twice", "unpatched", "a CPU still has a translation of 0x40000000 to page 1 from before"),
    ("forked-reuse", "unpatched,reuse_forked=true", "are not linked as they should be"),
    (
        "unlocked-new-anon-vma",
        "unpatched,lock_new=false,recheck_mapped=false",
        "changed without the lock, which another task holds",
    ),
]


@pytest.mark.parametrize(("scenario", "algorithm", "sentence"), SENTENCES)
def test_every_kind_of_violation_has_its_sentence(scenario, algorithm, sentence, tmp_path):
    assert sentence in why(scenario, {}, algorithm, tmp_path)


def test_every_kind_has_a_sentence_in_the_list_above_or_cannot_happen_in_a_scenario():
    shown = [Scenario.load(scenario).expected(Algorithm.parse(algorithm).name) for scenario, algorithm, _ in SENTENCES]
    expected = [kinds for name in Scenario.builtin_names() for kinds in named_kinds(name)]
    assert each_of(shown) == each_of(expected) - {"none"}


def each_of(expected):
    """The kinds in expectations, of which each is a kind or several that may be found."""
    return {kind for one in expected for kind in ((one,) if isinstance(one, str) else one)}


def named_kinds(name):
    scenario = Scenario.load(name)
    return {scenario.expected(algorithm) for algorithm in scenario.algorithms()}


def test_places_of_two_processes_at_one_address_are_told_apart(tmp_path):
    # Parent and child have the page at the same address; only the child's is the one that was missed.
    text = why("fork-child-first", {}, "unpatched,child_first=true", tmp_path)
    assert "A+0" not in text


def test_a_reproducer_carries_the_cause(tmp_path):
    first = hunt("merge", algorithms=["unpatched"], runs=2000, out=tmp_path).results[0].first
    reproducer = Reproducer.load(first.reproducer)
    assert reproducer.cause == replay(reproducer).trace.cause()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_has_a_column_per_task_and_every_step_in_order(width, tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    lines = trace.table(width).splitlines()
    assert "mremap" in lines[0] and "migrate" in lines[0]
    second = lines[0].index("migrate")
    steps = [int(line[:7]) for line in lines[1:] if line[:7].strip()]
    assert steps == sorted(steps)
    columns = {bool(line[9:second].strip()) for line in lines[1:]}
    assert columns == {True, False}
    text = " ".join(" ".join(lines).split())
    for happening in ("restore walk for page", "merges into A", "out of B+0", "puts it at A"):
        assert happening in text.replace("  ", " ") or width == 40


def test_the_full_table_shows_every_point(tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    points = sum(not event.is_note for event in trace.events)
    assert len(list(trace.rows(full=True))) >= points
    assert len(list(trace.rows())) < points
    text = trace.table(full=True)
    for name in ("mmap_sem", "ptl of 0x", "the pte of 0x", "mapcount of page", "vm_end of A", "the root's mutex"):
        assert name in text


def test_points_and_notes_come_in_the_order_in_which_they_happened(tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    steps = [event.step for event in trace.events]
    assert steps == sorted(steps)
    points = [event.step for event in trace.events if not event.is_note]
    assert points == list(range(1, len(points) + 1))


def made_of(events, finding=(1, -1, 20, 0, 0x5000, 7)):
    """A history of one vma at 0x1000, in which a migration entry for page 7 stays at 0x5000."""
    every = [Event(*event) for event in events]
    return KernelTrace(every, ["migrate"], Finding(*finding), "stale-migration-entry", [None], lambda offset: None,
                       {1: 0x1000}, {1: 0})  # fmt: skip


def test_what_brought_a_stale_entry_to_its_place_is_no_restore_and_no_huge_pmd():
    """A page that was there before was restored, and a huge pmd was moved there: neither is the entry that stays."""
    walk = [(9, 0, "walk", True, 2, 7, 0), (10, 0, "look", True, 1, 0x5000, 0), (11, 0, "walk", True, 2, 7, 1)]
    before = [(1, 0, "restore", True, 1, 0x5000, 6), (2, 0, "huge-move", True, 1, 0x5000, 0x601)]
    assert made_of([*before, (3, 0, "unmap", True, 1, 0x5000, 7), *walk]).accesses() == []
    arrives = (12, 0, "set", True, 1, 0x5000, 7 << 8 | 2)
    (looked, read), (arrived, write) = made_of([*before, *walk, arrives]).accesses()
    assert (looked.step, arrived.step, read, write) == (10, 12, "read of pte A+4", "write to pte A+4 (0x5000)")


def test_letters_are_those_of_vmas_and_not_of_addresses():
    """A child's vma takes part, and the address where it begins is none."""
    letters = made_of([(1, 0, "child-vma", True, 4, 2, 1), (1, 0, "fork", True, 0, 1, 0)][::-1])
    assert (letters.vma(4), letters.vma(2), letters.vma(1)) == ("A", "vma 2", "vma 1")


def test_a_machine_and_a_history_say_the_same_of_what_a_check_finds():
    for kind, clause in CHECKS.items():
        text = clause.format(a=3, b=2, c=5)
        assert str(violation(kind, 3, 2, 5)) == f"{kind}: {text}"
        if kind != "stale-migration-entry":
            trace = replace(made_of([], (1, -1, 9, 3, 2, 5)), kind=kind)
            assert trace.cause().rstrip(".").lower() in text.lower()


def test_every_note_and_every_assertion_has_a_sentence():
    assert set(NOTES.values()) == set(NOTE_SENTENCES)
    one = made_of([])
    for name, note in NOTE_SENTENCES.items():
        for text in [note.text] if isinstance(note.text, str) else note.text:
            assert one.fill(text, Event(1, 0, name, True, 1, 2, 0)).isprintable()
    assert set(ASSERTIONS) <= set(BUGS.values())
