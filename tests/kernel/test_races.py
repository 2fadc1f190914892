"""The one table of races: which algorithm goes wrong in which scenario, and which never does.

RACES is the exhaustive check of the ordering claims and what real kernels did; what a scenario file expects of the
algorithms that it names and what the switches change is added to it. Every entry is run once, on fibers, which make the
executions that threads make (test_carriers_agree.py).
"""

from itertools import product
from typing import NamedTuple

import pytest

from anonvma_rt import Algorithm, Scenario, hunt
from anonvma_rt.kernel.algorithm import SWITCHES

STALE = "stale-migration-entry"
OF_2011 = ("peek", "merge", "lucky-merge", "error-path", "lkml-2011")
# What goes wrong does so at least ten times in as many executions as its right counterpart survives, most of it a
# thousand times.
RUNS, MARGIN = 10_000, 10
# Where a thousandth of the executions is wrong: so many that the margin is no matter of luck.
RARE = {"lucky-merge": 20_000, "uffd-move-swap-aba": 40_000, "thp-split-vs-mremap": 10_000}
FEW_RUNS = 2500  # where an execution has thousands of steps

STRICT = "unpatched moveto-tail moveto-tail-merge-only rmap-locks"
TAILS = "moveto-tail moveto-tail-merge-only"
LOCKS = "rmap-locks rmap-locks,restore_peeks=true"
NO_STACK_FLAG = "unpatched,stack_flag=false"
TAIL, NO_ORDER = "unpatched,ordering=tail", "moveto-tail,ordering=none"
RACES = [
    # what, scenario, parameters, algorithms that miss a pte (or worse), algorithms that never do
    ("a fresh dst is safe but for those who peek", "peek", {},
     "peeking moveto-tail,restore_peeks=true double-walk,restore_peeks=true", f"{STRICT} {LOCKS}"),
    ("the same for the second of three pages", "peek", {"pages": 3, "page": 1}, "peeking", STRICT),
    ("merge case 1 with the root lock around the resize", "merge", {"case": 1}, "unpatched", f"{TAILS} {LOCKS}"),
    ("merge case 2, the list is [dst, src]", "merge", {"case": 2}, "unpatched", f"{TAILS} {LOCKS}"),
    ("merge case 3 with the root lock around the resize", "merge", {"case": 3}, "unpatched", f"{TAILS} {LOCKS}"),
    ("other cures of the wrong order", "merge", {}, "unpatched", "interval-tree double-walk fresh-vma"),
    ("a coarser page-table lock changes no order", "merge", {}, "unpatched,single_ptl=true",
     "moveto-tail,single_ptl=true"),
    ("nor does a walker that decodes in zap too", "merge", {}, "unpatched,decode_in_zap=true", "moveto-tail"),
    ("the copy fails", "merge", {"fail_copy": True}, "unpatched", TAILS),
    ("the lucky list is [src, dst]", "lucky-merge", {}, "peeking", STRICT),
    ("a fresh dst, a failure and the way back", "error-path", {},
     "unpatched moveto-tail-merge-only interval-tree,ordering=none", f"moveto-tail interval-tree double-walk {LOCKS}"),
    ("a merge, a failure and the way back", "error-path", {"merged": True}, "unpatched moveto-tail-merge-only",
     f"moveto-tail double-walk {LOCKS}"),
    ("fork puts the child at the head or at the tail", "fork-child-first", {}, "unpatched,child_first=true",
     "unpatched peeking"),
    ("exec locks the widening, or the move, or across both", "exec-stack", {},
     f"{NO_STACK_FLAG} {NO_STACK_FLAG},exec_lock=move", f"{NO_STACK_FLAG},exec_lock=across"),
    ("the round trip of 2011, exactly sized (case 2)", "lkml-2011", {}, "unpatched peeking",
     f"moveto-tail fresh-vma {LOCKS}"),
    ("the same as glibc serves it (case 1)", "lkml-2011", {"exact": False}, "unpatched", "moveto-tail"),
    ("the same with few pages", "lkml-2011", {"exact": False, "pages": 4}, "unpatched", "moveto-tail"),
    # Measured on real kernels.
    ("shot, 64 pages", "shot", {}, f"unpatched {NO_ORDER}", f"moveto-tail {TAIL}"),
    *(("shot, other sizes", "shot", {"pages": n}, "unpatched", "moveto-tail") for n in (1, 8, 512)),
    ("shot with a tail vma", "shot", {"tail": True}, "unpatched", "moveto-tail"),
    ("shot's error path", "shot-error-path", {}, "unpatched moveto-tail,ordering=tail-after-merge", "moveto-tail"),
    ("forkcrash", "forkcrash", {}, f"unpatched {NO_ORDER}", f"moveto-tail {TAIL}"),
    ("forkcrash, BUG in munmap", "forkcrash-munmap", {}, NO_ORDER, "moveto-tail"),
    ("compaction, 2 048 pages", "compaction", {}, "unpatched", f"moveto-tail {TAIL}"),
    ("migration of one's own mm", "own-mm-migration", {}, "unpatched,move_pages=4.17 modern,ordering=none",
     "unpatched moveto-tail moveto-tail,move_pages=4.17 modern"),
]  # fmt: skip

# switch: (scenario, an algorithm that goes wrong by the switch, the same without it)
WRONG_AND_RIGHT = {
    "ordering": ("lkml-2011", "unpatched", "unpatched,ordering=tail"),
    "restore_peeks": ("peek", "moveto-tail,restore_peeks=true", "moveto-tail"),
    "child_first": ("fork-child-first", "unpatched,child_first=true", "unpatched"),
    "tail_own_only": ("forked-round-trip", "moveto-tail,tail_own_only=true", "moveto-tail"),
    "merge": ("forked-merge", "linux-6.19,merge=6.16-forked", "linux-6.19"),
    "import_ahead": ("merge-no-memory", "moveto-tail", "moveto-tail,import_ahead=true"),
    "split_peeks": ("thp-split-peek", "unpatched,split_peeks=true", "unpatched"),
    "huge_ignores_locks": ("thp-split-vs-move", "interval-tree-thp-unfixed",
                           "interval-tree-thp-unfixed,huge_ignores_locks=false"),
    "stack_flag": ("exec-stack", "unpatched,stack_flag=false", "unpatched"),
    "exec_lock": ("exec-stack", "unpatched,stack_flag=false", "unpatched,stack_flag=false,exec_lock=across"),
    "shift_locks": ("border-shift", "moveto-tail", "moveto-tail,shift_locks=true"),
    "place_before_clone": ("clone-before-place", "interval-tree,place_before_clone=false", "interval-tree"),
    "reuse": ("double-reuse", "modern,reuse=degree", "modern"),
    "reuse_forked": ("forked-reuse", "unpatched,reuse_forked=true", "unpatched"),
    "vma_locks": ("fault-during-fork", "modern,vma_locks=racy", "modern"),
    "move_pages": ("own-mm-migration", "unpatched,move_pages=4.17", "unpatched"),
    "mremap_splits": ("thp-split-vs-move", "peeking,mremap_splits=false", "peeking"),
    "own_lock": ("own-locks", "unpatched,own_lock=true", "unpatched"),
    "pin": ("unpinned-migration", "unpatched,pin=false", "unpatched"),
    "careful_pin": ("reused-pin", "unpatched,careful_pin=false", "unpatched"),
    "lock_new": ("unlocked-new-anon-vma", "unpatched,lock_new=false,recheck_mapped=false",
                 "unpatched,recheck_mapped=false"),
    "recheck_mapped": ("reused-root", "unpatched,recheck_mapped=false", "unpatched"),
    "remember_root": ("reused-root", "unpatched,remember_root=false", "unpatched"),
    "recheck_mapping": ("uffd-move", "modern,recheck_mapping=false", "modern"),
    "decode_in_zap": ("forkcrash-munmap", "unpatched,decode_in_zap=true", "unpatched"),
    "pmd_twice": ("huge-pmd-twice", "unpatched", "unpatched,pmd_twice=false"),
    "uncounted_clone": ("failed-clone", "modern,uncounted_clone=true", "modern"),
    "import_unset": ("import-unset", "modern,import_unset=true,case_8_grows=true", "modern,case_8_grows=true"),
    "case_4_forgets": ("case-4-forgets", "linux-6.19,case_4_forgets=true", "linux-6.19"),
    "case_3_keeps_pgoff": ("case-3-pgoff", "modern,case_3_keeps_pgoff=true", "modern"),
    "case_8_grows": ("case-8-protection", "unpatched", "unpatched,case_8_grows=false"),
    "collapse_stale_vma": (
        "collapse-stale-vma", "linux-4.8,collapse_stale_vma=true", "linux-4.8",
    ),
    "collapse_unlocked": ("collapse-vs-migration", "modern,collapse_unlocked=true", "modern"),
    "uncharges_at_0": ("partial-move-at-0", "modern,uncharges_at_0=true", "modern"),
    "dontunmap_uncharges": ("dontunmap-charge", "modern,dontunmap_uncharges=true", "modern"),
    "growth": ("grow-from-middle", "modern,growth=merge-from-address", "modern"),
    "refuse_copies": ("copy-of-private", "unpatched", "unpatched,refuse_copies=true"),
    "exclusive_growth": ("stack-index", "unpatched", "unpatched,exclusive_growth=true"),
    "downgrade_beside_stack": (
        "stack-beside-munmap",
        "modern,downgrade_beside_stack=true,exclusive_growth=false",
        "modern,exclusive_growth=false",
    ),
    "thp": ("thp-split-vs-write", "unpatched,thp=4.5", "unpatched,thp=4.14"),
    "split_locks": ("thp-shared-write", "unpatched,thp=4.14", "unpatched,thp=4.14,split_locks=true"),
    "split_sync": ("thp-split-vs-munmap", "unpatched,thp=4.5", "unpatched,thp=4.5,split_sync=true"),
    "split_warns": ("thp-split-vs-munmap", "unpatched,thp=4.5", "unpatched,thp=4.5,split_warns=true"),
    "split_migrating": (
        "thp-split-migrating", "unpatched,thp=4.14,split_migrating=counts", "unpatched,thp=4.14",
    ),
    "unstable_pmd": ("dontneed-vs-fault", "unpatched", "unpatched,unstable_pmd=no"),
    "free_root_first": ("root-freed-first", "unpatched", "unpatched,free_root_first=false"),
    "move_flush": ("move-vs-free", "modern,batches=no,move_flush=end", "modern,batches=no"),
    "gather_flush": ("full-gather", "modern,gather_flush=rest", "modern"),
    "nested_flush": ("dontneed-twice", "modern,nested_flush=false", "modern"),
    "batched_pending": ("protect-vs-unmap", "modern,batched_pending=false", "modern"),
    "tables_unlocked": ("table-vs-free", "modern,batches=no,tables_unlocked=true", "modern,batches=no"),
    "protect_counts": (
        "protect-vs-unmap", "modern,batched_pending=false", "modern,batched_pending=false,protect_counts=false",
    ),
    "missing_flush": ("protect-vs-unmap", "unpatched,missing_flush=protect", "unpatched"),
    "isolate": ("two-batches", "modern,isolate=false,batches=waiting", "modern,batches=waiting"),
    "batches": ("two-batches", "modern,isolate=false,batches=waiting", "modern,isolate=false"),
    "cow_reuse": ("vmsplice", "unpatched", "unpatched,cow_reuse=5.9"),
    "swapin": ("swapin-skips-cache", "modern,swapin=direct", "modern"),
    "swapin_rechecks": ("swapin-no-recheck", "unpatched,swapin_rechecks=false", "unpatched"),
    "keeps_pinned": ("pinned-swapout", "unpatched,cow_reuse=5.9", "unpatched,cow_reuse=5.9,keeps_pinned=true"),
    "uffd_swap": ("uffd-move-swapcache", "modern,uffd_swap=6.8", "modern"),
    "uffd_any_pmd": ("uffd-move-migrating", "modern,uffd_any_pmd=true", "modern"),
    "gup_cow": ("read-only-pin", "modern,gup_cow=no", "modern"),
    "fork_copies_pinned": ("fork-of-pinned", "modern,fork_copies_pinned=false", "modern"),
    "write_protect_seq": ("fast-pin-vs-fork", "modern,write_protect_seq=false", "modern"),
    "gup_rechecks_pmd": ("fast-pin-vs-collapse", "modern,gup_rechecks_pmd=false", "modern"),
    "lazyfree_refs": ("free-vs-direct-io", "modern,lazyfree_refs=false", "modern"),
}  # fmt: skip
# No scenario can catch these, and docs/zoo.md says why: they only exclude interleavings, or only look at more.
HARMLESS = ("single_ptl", "walk_root_list")
# Nor these: they are how kernels differ, not what went wrong in one.
ERAS = (
    "tree", "shared_walks", "whole_tables", "deferred_flush", "wait_without_pin", "munmap_downgrades",
    "restore_compares", "pud_moves", "cow_splits", "huge_zero", "split_zeroes",
    "large_folios",
)  # fmt: skip
# Too rare for a hunt: an exhaustive search finds them, in tests of their own.
BY_SEARCH = ("retract_asks_early",)


class Race(NamedTuple):
    scenario: str
    parameters: tuple  # all of them, as pairs
    algorithm: str
    kind: str  # of violation, or "none"

    def __str__(self):
        values = ",".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.scenario}({values}) {self.algorithm}"


def race(scenario, parameters, algorithm, kind=None):
    """kind None: what the scenario expects, and where it expects nothing, a stale entry."""
    bound = Scenario.load(scenario).bind(parameters)
    name = Algorithm.parse(algorithm).name
    kind = kind or bound.expected(name) or STALE
    return Race(scenario, tuple(bound.parameters.items()), name, kind if isinstance(kind, str) else kind[0])


def every_race():
    """Each once: two entries with different verdicts would both be here."""
    found = []
    for _, scenario, parameters, misses, never in RACES:
        found += [race(scenario, parameters, algorithm) for algorithm in misses.split()]
        found += [race(scenario, parameters, algorithm, "none") for algorithm in never.split()]
    for scenario in map(Scenario.load, Scenario.builtin_names()):
        named = [algorithm for algorithm in scenario.algorithms() if algorithm in scenario.expect]
        found += [race(scenario.name, {}, algorithm) for algorithm in named]
    for scenario, wrong, right in WRONG_AND_RIGHT.values():
        found += [race(scenario, {}, wrong), race(scenario, {}, right, "none")]
    for switch, scenario, preset in product(HARMLESS, HARMLESS_IN, ("unpatched", "moveto-tail")):
        kind = Scenario.load(scenario).expected(preset)
        found.append(race(scenario, {}, f"{preset},{switch}=true", kind))
    return sorted(set(found))


HARMLESS_IN = ("lkml-2011", "merge", "error-path", "forked-round-trip", "fork-child-first")
EVERY = every_race()
# The usual strategy for all, and two more for the scenarios of 2011.
RUN = [(one, None) for one in EVERY]
RUN += [(one, name) for one in EVERY if one.scenario in OF_2011 for name in ("pct:depth=3", "sticky")]


def made(one, strategy=None, runs=None, **options):
    if runs is None:
        long = one.scenario.startswith(("thp", "compaction")) or dict(one.parameters).get("pages", 0) > 500
        runs = RARE.get(one.scenario, FEW_RUNS if long else RUNS)
    return hunt(one.scenario, dict(one.parameters), [one.algorithm], strategy, "fibers", runs=runs, classes=0,
                **options).results[0].violations  # fmt: skip


@pytest.mark.parametrize(("one", "strategy"), RUN, ids=str)
def test_a_race(one, strategy):
    violations = made(one, strategy)
    if one.kind == "none":
        assert violations == {}
    else:
        # Somebody may decode a stale entry, but nothing else goes wrong.
        assert violations.keys() - {"bug-on"} <= {one.kind}
        assert violations.get(one.kind, 0) >= (1 if strategy else MARGIN)


# What keeps a scenario clean: changes, one of which, made to an algorithm that is clean in it, lets it go wrong there.
# An algorithm may have another guard than most, or two.
GUARDS = {
    "border-shift": ["shift_locks=false", "tree=false,shift_locks=false"],
    "case-3-pgoff": ["case_3_keeps_pgoff=true"],
    "case-4-forgets": ["case_4_forgets=true", "merge=6.16,calls=6.17"],
    "case-8-protection": ["case_8_grows=true"],
    "collapse-stale-vma": ["collapse_stale_vma=true"],
    "collapse-vs-migration": ["collapse_unlocked=true"],
    "copy-of-private": ["refuse_copies=false", "refuse_copies=false,calls=3.2"],
    "clone-before-place": ["place_before_clone=false", "tree=true"],
    "dontneed-vs-fault": ["unstable_pmd=walks"],
    "dontunmap-charge": ["dontunmap_uncharges=true"],
    "double-reuse": ["reuse=degree"],
    "exec-stack": ["stack_flag=false", "exec_lock=widening"],
    "failed-clone": ["uncounted_clone=true", "reuse=degree"],
    "fault-during-fork": ["vma_locks=racy"],
    "fork-child-first": ["child_first=true", "child_first=true,tree=false"],
    "folio-migrate-vs-move": ["ordering=none"],
    "forked-merge": ["merge=6.16-forked"],
    "forked-reuse": ["reuse_forked=true"],
    "fallback-vs-dontneed": ["unstable_pmd=faults"],
    "forkcrash-munmap": ["ordering=none", "decode_in_zap=true"],
    "grow-from-middle": ["growth=merge-from-address", "growth=merge-from-address,calls=3.2"],
    "huge-pmd-twice": ["pmd_twice=true", "pmd_twice=true,thp=3.2,cow_splits=false,cow_reuse=mapped-once"],
    "import-unset": ["import_unset=true", "import_unset=true,case_8_grows=true", "reuse=degree"],
    "lucky-merge": ["restore_peeks=true", "restore_peeks=true,ordering=none"],
    "merge-asymmetry": ["merge=3.0"],
    "merge-no-memory": ["import_ahead=false"],
    "own-locks": ["own_lock=true"],
    "move-vs-free": ["move_flush=end,batches=no", "move_flush=end,batches=no,restore_peeks=false"],
    "table-vs-free": ["whole_tables=true,tables_unlocked=true,batches=no"],
    "dontneed-twice": ["nested_flush=false"],
    "protect-vs-unmap": ["batched_pending=false", "missing_flush=protect"],
    "full-gather": ["gather_flush=rest", "gather_flush=short"],
    "own-mm-migration": ["ordering=none", "move_pages=4.17", "move_pages=4.17,ordering=none"],
    "stack-beside-munmap": ["downgrade_beside_stack=true,exclusive_growth=false"],
    "stack-index": ["exclusive_growth=false"],
    "partial-move-at-0": ["uncharges_at_0=true"],
    "peek": ["restore_peeks=true", "restore_peeks=true,ordering=none"],
    "reused-pin": ["careful_pin=false"],
    "reused-root": ["recheck_mapped=false"],
    "root-freed-first": ["free_root_first=true"],
    "thp-migrate-vs-move": ["ordering=none", "huge_ignores_locks=true", "thp=4.14", "thp=4.14,ordering=none"],
    "thp-shared-write": ["split_locks=false", "thp=4.5", "thp=4.5,cow_reuse=mapped-once"],
    "thp-split-migrating": ["split_migrating=counts", "thp=4.14,split_migrating=counts"],
    "thp-split-peek": ["split_peeks=true"],
    "thp-split-vs-mremap": ["ordering=none", "thp=4.5,ordering=none,split_sync=true"],
    "thp-split-vs-munmap": ["split_sync=false,split_warns=false", "thp=4.5,split_sync=false,split_warns=false"],
    "thp-split-vs-write": ["thp=4.5", "thp=4.5,cow_reuse=mapped-once"],
    "thp-split-vs-fork": ["child_first=true", "child_first=true,tree=false"],
    "thp-split-vs-move": ["ordering=none", "huge_ignores_locks=true", "mremap_splits=false"],
    "two-batches": ["batches=waiting,isolate=false"],
    "uffd-move": ["recheck_mapping=false"],
    "uncloned-merge": ["merge=6.16-uncloned"],
    "unlocked-new-anon-vma": ["lock_new=false", "lock_new=false,recheck_mapped=false"],
    "unlocked-import": ["vma_locks=6.4-unlocked-import"],
    "unpinned-migration": ["pin=false"],
    "reused-vma": ["vma_locks=6.15-any-mm"],
    "unpinned-mm": ["vma_locks=6.15-unpinned-mm"],
    "swapin-skips-cache": ["swapin=direct"],
    "swapin-no-recheck": ["swapin_rechecks=false", "swapin_rechecks=false,swapin=cache"],
    "uffd-move-migrating": ["uffd_any_pmd=true"],
    "uffd-move-swapcache": ["uffd_swap=6.8"],
    "uffd-move-swap-aba": ["uffd_swap=6.14"],
    "vmsplice": ["cow_reuse=mapped-once,gup_cow=no"],
    "fork-of-pinned": ["fork_copies_pinned=false"],
    "fast-pin-vs-fork": ["write_protect_seq=false"],
    "read-only-pin": ["gup_cow=no"],
    "fast-pin-vs-collapse": ["gup_rechecks_pmd=false"],
    "pinned-swapout": ["cow_reuse=5.9", "keeps_pinned=false,cow_reuse=5.9"],
    "free-vs-direct-io": ["lazyfree_refs=false"],
}


def without(algorithm, change):
    """The name of an algorithm with some fields changed, whatever it says of them itself."""
    fields = dict(part.split("=") for part in f"{algorithm},{change}".split(",")[1:])
    return Algorithm.parse(",".join([algorithm.split(",")[0], *(f"{name}={fields[name]}" for name in fields)])).name


@pytest.mark.parametrize("one", [one for one in EVERY if one.kind == "none"], ids=str)
def test_what_never_goes_wrong_does_when_its_guard_is_taken_away(one):
    """Else the row says nothing."""
    changed = [without(one.algorithm, change) for change in GUARDS.get(one.scenario, ["ordering=none"])]
    assert any(
        made(one._replace(algorithm=name), runs=2 * RUNS, until_violation=True)
        for name in changed
        if name != Algorithm.parse(one.algorithm).name
    ), changed


@pytest.mark.long
@pytest.mark.parametrize("one", [one for one in EVERY if one.kind == "none"], ids=str)
def test_what_never_goes_wrong_does_not_in_200_000_executions(one):
    assert made(one, runs=200_000, jobs=2) == {}


@pytest.mark.long
@pytest.mark.parametrize("name", Scenario.builtin_names())
def test_a_scenario_does_what_it_says_of_every_preset(name):
    scenario = Scenario.load(name)
    assert hunt(scenario, algorithms=scenario.algorithms(), runs=50_000, jobs=2).as_expected


# ---- the table itself ------------------------------------------------------------------------------------------------


def test_no_two_entries_contradict_each_other():
    assert len({one[:3] for one in EVERY}) == len(EVERY)


def test_every_scene_in_which_something_goes_wrong_has_an_algorithm_that_does_not():
    right = {one[:2] for one in EVERY if one.kind == "none"}
    assert {one[:2] for one in EVERY} == right


def test_every_scene_of_2011_is_run_with_the_whole_patch():
    scenes = {one[:2] for one in EVERY if one.scenario in OF_2011}
    assert scenes == {one[:2] for one in EVERY if one.scenario in OF_2011 and one[2:] == ("moveto-tail", "none")}


@pytest.mark.parametrize("switch", WRONG_AND_RIGHT)
def test_the_wrong_algorithm_and_the_right_one_differ_in_the_switch_alone(switch):
    """That the one fails and the other does not is then the switch's doing; test_a_race shows both."""
    scenario, wrong, right = WRONG_AND_RIGHT[switch]
    one, other = (Algorithm.parse(text).as_dict() for text in (wrong, right))
    assert {field for field in one if one[field] != other[field]} == {"name", switch}
    assert race(scenario, {}, wrong).kind != "none"


def test_every_switch_is_wrong_somewhere_or_known_to_be_harmless():
    assert set(SWITCHES) <= {*WRONG_AND_RIGHT, *HARMLESS, *ERAS, *BY_SEARCH}
