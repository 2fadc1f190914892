"""Every row of the two tables that the lab must agree with, as data, and everything else that a scenario expects.

TABLE is the exhaustive check of the ordering claims; MEASURED is what real kernels did. A row that says MISS must be
found within 50 000 executions, the others must not be found in 200 000 (the long run; the usual one makes 20 000).
"""

import pytest

from anonvma_rt import Algorithm, Scenario, hunt

MISS, NONE = True, False
TABLE = [
    # what, scenario, parameters, algorithm, whether it can miss
    ("fresh dst, forward, ptl walker", "peek", {}, "unpatched", NONE),
    ("fresh dst, forward, peeking walker", "peek", {}, "peeking", MISS),
    ("merge case 2, list [dst, src], unpatched", "merge", {"case": 2}, "unpatched", MISS),
    ("merge case 1, lock around the resize, unpatched", "merge", {"case": 1}, "unpatched", MISS),
    ("merge case 3, lock around the resize, unpatched", "merge", {"case": 3}, "unpatched", MISS),
    ("merge, lucky list [src, dst], unpatched", "lucky-merge", {}, "unpatched", NONE),
    ("merge case 1 + moveto_tail(dst)", "merge", {"case": 1}, "moveto-tail", NONE),
    ("merge case 2 + moveto_tail(dst)", "merge", {"case": 2}, "moveto-tail", NONE),
    ("merge case 3 + moveto_tail(dst)", "merge", {"case": 3}, "moveto-tail", NONE),
    ("fresh dst + failure + move back, no second tail", "error-path", {}, "moveto-tail-merge-only", MISS),
    ("same with moveto_tail(src)", "error-path", {}, "moveto-tail", NONE),
    ("merge + failure: no tails", "error-path", {"merged": True}, "unpatched", MISS),
    ("merge + failure: first tail only", "error-path", {"merged": True}, "moveto-tail-merge-only", MISS),
    ("merge + failure: both tails", "error-path", {"merged": True}, "moveto-tail", NONE),
    ("rmap lock per extent, wrong order, forward", "merge", {}, "rmap-locks", NONE),
    ("rmap lock per extent, forward and back", "error-path", {"merged": True}, "rmap-locks", NONE),
    ("rmap lock per extent, forward, peeking walker", "merge", {}, "rmap-locks,restore_peeks=true", NONE),
    ("rmap lock, back, peeking", "error-path", {"merged": True}, "rmap-locks,restore_peeks=true", NONE),
    ("need_rmap_locks=false forward, locked back", "error-path", {}, "interval-tree", NONE),
    ("need_rmap_locks=false forward, unlocked back", "error-path", {}, "interval-tree,ordering=none", MISS),
    ("need_rmap_locks, wrong order of the tree", "merge", {}, "interval-tree", NONE),
    ("double-loop walk, wrong order, forward", "merge", {}, "double-walk", NONE),
    ("double-loop walk, merge + move back", "error-path", {"merged": True}, "double-walk", NONE),
    ("double-loop walk, fresh + move back", "error-path", {}, "double-walk", NONE),
    ("double-loop walk with peeking", "peek", {}, "double-walk,restore_peeks=true", MISS),
    ("fork, child at tail, strict", "fork-child-first", {}, "unpatched", NONE),
    ("fork, child at tail, peeking", "fork-child-first", {}, "peeking", NONE),
    ("fork, child at head", "fork-child-first", {}, "unpatched,child_first=true", MISS),
    ("exec single vma: lock at widening only", "exec-stack", {}, "unpatched,stack_flag=false", MISS),
    ("exec: also around the move", "exec-stack", {}, "unpatched,stack_flag=false,exec_lock=move", MISS),
    ("exec: across both", "exec-stack", {}, "unpatched,stack_flag=false,exec_lock=across", NONE),
    ("always-fresh vma, forward", "merge", {}, "fresh-vma", NONE),
    ("always-fresh vma, forward, round trip", "lkml-2011", {}, "fresh-vma", NONE),
    ("LKML round trip: unpatched", "lkml-2011", {}, "unpatched", MISS),
    ("LKML round trip: unpatched, merge case 1", "lkml-2011", {"exact": False, "pages": 4}, "unpatched", MISS),
    ("LKML round trip: 3.3", "lkml-2011", {}, "moveto-tail", NONE),
    ("LKML round trip: 3.3, merge case 1", "lkml-2011", {"exact": False, "pages": 4}, "moveto-tail", NONE),
]

V32, V32_BOTH, V33, V33_NEITHER = "unpatched", "unpatched,ordering=tail", "moveto-tail", "moveto-tail,ordering=none"
MEASURED = [
    *(("shot, 64 pages", "shot", {}, a, a in (V32, V33_NEITHER)) for a in (V32, V32_BOTH, V33, V33_NEITHER)),
    *(("forkcrash", "forkcrash", {}, a, a in (V32, V33_NEITHER)) for a in (V32, V32_BOTH, V33, V33_NEITHER)),
    ("forkcrash: BUG in munmap", "forkcrash-munmap", {}, V33_NEITHER, MISS),
    ("forkcrash: munmap, patched", "forkcrash-munmap", {}, V33, NONE),
    ("compaction, 2 048 pages", "compaction", {}, V32, MISS),
    ("compaction, with both calls", "compaction", {}, V32_BOTH, NONE),
    ("compaction, 3.3.8", "compaction", {}, V33, NONE),
    *(("shot, other sizes", "shot", {"pages": n}, V32, MISS) for n in (1, 8, 512)),
    *(("shot, other sizes", "shot", {"pages": n}, V33, NONE) for n in (1, 512)),
    ("shot with a tail vma", "shot", {"tail": True}, V32, MISS),
    ("shot with a tail vma", "shot", {"tail": True}, V33, NONE),
    ("error path", "shot-error-path", {}, V32, MISS),
    ("error path", "shot-error-path", {}, V33, NONE),
    ("error path without only the second call", "shot-error-path", {}, "moveto-tail,ordering=tail-after-merge", MISS),
    ("migration of one's own mm", "own-mm-migration", {}, V32, NONE),
]
LONGEST_SEARCH = 50_000
USUAL_RUNS = 20_000


def first_violation(scenario, parameters, algorithm, limit):
    """The result of as many executions as it takes, up to `limit`."""
    start, runs = 0, 5000
    while True:
        found = hunt(scenario, parameters, [algorithm], start=start, runs=min(runs, limit - start)).results[0]
        start += runs
        if found.first is not None or start >= limit:
            return found
        runs *= 2


def identity(row):
    what, scenario, parameters, algorithm, _ = row
    return f"{what}: {scenario} {parameters or ''} {algorithm}"


@pytest.mark.parametrize("row", TABLE + MEASURED, ids=identity)
def test_a_row_of_the_tables(row):
    _, scenario, parameters, algorithm, can_miss = row
    if can_miss:
        found = first_violation(scenario, parameters, algorithm, LONGEST_SEARCH)
        assert found.first is not None, f"not found in {LONGEST_SEARCH} executions"
        assert list(found.violations) == [found.expected or "stale-migration-entry"]
    else:
        runs = USUAL_RUNS // 8 if parameters.get("pages", 0) > 500 or scenario == "compaction" else USUAL_RUNS
        assert not hunt(scenario, parameters, [algorithm], runs=runs).results[0].violations


@pytest.mark.long
@pytest.mark.parametrize("row", [row for row in TABLE + MEASURED if not row[-1]], ids=identity)
def test_a_row_without_a_miss_has_none_in_200_000(row):
    _, scenario, parameters, algorithm, _ = row
    assert not hunt(scenario, parameters, [algorithm], runs=200_000, jobs=2).results[0].violations


EXPECTED = [(name, a) for name in Scenario.builtin_names() for a in Scenario.load(name).algorithms()]
NAMED = [(name, a) for name, a in EXPECTED if a in Scenario.load(name).expect]


@pytest.mark.parametrize(("name", "algorithm"), NAMED, ids=str)
def test_what_a_scenario_names_is_what_happens(name, algorithm):
    scenario = Scenario.load(name)
    if scenario.expected(algorithm) == "none":
        runs = 1000 if name.startswith("thp") or name == "compaction" else 4000
        assert not hunt(scenario, algorithms=[algorithm], runs=runs).results[0].violations
    else:
        found = first_violation(scenario, {}, algorithm, LONGEST_SEARCH)
        assert list(found.violations) == [scenario.expected(algorithm)]


@pytest.mark.long
@pytest.mark.parametrize("name", Scenario.builtin_names())
def test_a_scenario_does_what_it_says_of_every_preset(name):
    scenario = Scenario.load(name)
    assert hunt(scenario, algorithms=scenario.algorithms(), runs=50_000, jobs=2).as_expected


MUTANTS = {
    "restore_peeks": "peek",
    "child_first": "fork-child-first",
    "tail_own_only": "forked-round-trip",
    "merge": "merge-asymmetry",
    "split_peeks": "thp-split-peek",
    "huge_ignores_locks": "thp-split-vs-move",
    "stack_flag": "exec-stack",
    "place_before_clone": "clone-before-place",
    "reuse": "double-reuse",
    "reuse_forked": "forked-reuse",
    "vma_locks": "fault-during-fork",
    "own_lock": "own-locks",
    "pin": "unpinned-migration",
    "careful_pin": "reused-pin",
    "lock_new": "unlocked-new-anon-vma",
    "recheck_mapped": "reused-root",
    "remember_root": "reused-root",
    "recheck_mapping": "uffd-move",
}
# No scenario can catch these, and docs/zoo.md says why: they only exclude interleavings, or only look at more.
HARMLESS = ("single_ptl", "walk_root_list")


@pytest.mark.parametrize(("switch", "name"), MUTANTS.items())
def test_a_switch_turns_the_bug_on(switch, name):
    """A named algorithm with the switch fails, and the same one without it does not."""
    scenario = Scenario.load(name)
    wrong = [
        a
        for a in scenario.algorithms()
        if scenario.expected(a) != "none" and (f"{switch}=" in a or getattr(Algorithm.parse(a), switch) is True)
    ]
    assert wrong
    for text in wrong:
        preset, *changes = text.split(",")
        rest = ",".join([preset, *(c for c in changes if not c.startswith(f"{switch}="))])
        if rest != text:
            before = hunt(scenario, algorithms=[rest], runs=500).results[0].violations
            assert before != hunt(scenario, algorithms=[text], runs=20_000).results[0].violations


@pytest.mark.parametrize("switch", HARMLESS)
@pytest.mark.parametrize("name", ["lkml-2011", "merge", "error-path", "forked-round-trip", "fork-child-first"])
def test_a_harmless_switch_adds_no_violation_and_hides_none(switch, name):
    scenario = Scenario.load(name)
    for preset in ("unpatched", "moveto-tail"):
        found = hunt(scenario, algorithms=[f"{preset},{switch}=true"], runs=20_000).results[0]
        assert set(found.violations) == {scenario.expected(preset)} - {"none"}
