"""Hunts under releases: the first and the last bad one, which change it was, and what a row cannot say."""

import json

import pytest

from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.linux import table
from anonvma_rt.releases.matrix import hunt_releases
from anonvma_rt.search.hunt import hunt

BUILTIN = Scenario.builtin_names()
ALL = list(table.RELEASES)
KNOWN = {
    # name: bad ranges, and the changes at which they begin and end.
    "lkml-2011": ([("2.6.38", "3.2")], [], ["ordering=tail (948f017b)"]),
    "peek": ([("2.6.38", "3.0")], [], ["restore_peeks=false (486cf46f3f9b)"]),
    "root-freed-first": (
        [("3.0", "3.15")],
        ["free_root_first=true (88c22088bf23)"],
        ["free_root_first=false (624483f3ea82)"],
    ),
    "swapin-skips-cache": (
        [("4.15", "6.6")],
        ["swapin=direct (0bcac06f27d7)"],
        ["swapin=prepared (13ddaf26be32)"],
    ),
    "pinned-swapout": ([("5.9", "5.10")], ["cow_reuse=5.9 (09854ba94c6a)"], ["keeps_pinned=true (feb889fb40fa)"]),
    "double-reuse": ([("3.19", "5.19")], ["reuse=degree (7a3ef208e662)"], ["reuse=counters (2555283eb40d)"]),
    "thp-split-peek": ([("3.13", "3.13")], ["split_peeks=true (117b0791ac42)"], ["split_peeks=false (b5a8cad376ee)"]),
    "thp-split-vs-move": (
        [("3.2", "3.2"), ("3.7", "3.13")],
        ["mremap_splits=false (37a1c49a91ad)", "tree=true (bf181b9f9d8d)"],
        ["ordering=tail (948f017b)", "huge_ignores_locks=false (dd18dbc2d42a)"],
    ),
    "thp-split-vs-munmap": (
        [("4.6", "5.11")],
        ["split_sync=false (fec89c109f3a)"],
        ["split_warns=true (504e070dc08f)", "split_sync=true (732ed55823fc)"],
    ),
    "thp-shared-write": (
        [("3.13", "3.13"), ("4.5", "5.4")],
        ["split_peeks=true (117b0791ac42)", "thp=4.5 (eef1b3ba053a, e9b61f19858a)"],
        ["split_peeks=false (b5a8cad376ee)", "split_locks=true (c444eb564fb1)"],
    ),
    "thp-split-migrating": (
        [("4.14", "5.8")],
        ["thp=4.14 (616b8371539a)", "split_migrating=counts (84c3fc4e9c56)"],
        ["split_migrating=references (ec0abae6dcdf)"],
    ),
    "uffd-move-migrating": (
        [("6.8", "6.16")],
        [],  # it came with the call
        ["uffd_any_pmd=false (aba6faec0103)"],
    ),
    "merge-no-memory": ([("2.6.38", "4.6")], [], ["import_ahead=true (734537c9cb72)"]),
    "failed-clone": (
        [("3.19", "3.19")],
        ["reuse=degree (7a3ef208e662)", "uncounted_clone=true (7a3ef208e662)"],  # it takes both
        ["uncounted_clone=false (3fe89b3e2a7b)"],
    ),
    "stack-beside-munmap": (
        [("4.20", "5.4")],
        ["munmap_downgrades=true (dd2283f2605e, 85a06835f6f1)", "downgrade_beside_stack=true (dd2283f2605e)"],
        ["downgrade_beside_stack=false (246c320a8cfe)"],
    ),
    "stack-index": ([("2.6.38", "6.4")], [], ["exclusive_growth=true (8d7071af8907)"]),
    "huge-pmd-twice": ([("2.6.38", "3.15")], [], ["pmd_twice=false (f72e7dcdd252)"]),
    "case-8-protection": ([("2.6.38", "4.8")], [], ["case_8_grows=false (e86f15ee64d8)"]),
    "partial-move-at-0": (
        [("6.3", "6.14")],
        ["uncharges_at_0=true (6b73cff239e5)"],
        ["uncharges_at_0=false (937582ee8e8d)"],
    ),
    "dontunmap-charge": (
        [("6.15", "6.17")],
        ["dontunmap_uncharges=true (b714ccb02a76)"],
        ["dontunmap_uncharges=false (0e59f47c15ce)"],
    ),
    "copy-of-private": ([("2.6.38", "4.13")], [], ["refuse_copies=true (dba58d3b8c50)"]),
    "move-vs-free": (
        [("2.6.38", "3.0"), ("3.2", "4.8")],
        ["move_flush=end (7b6efc2bc4f1)"],
        ["restore_peeks=false (486cf46f3f9b)", "move_flush=dirty (5d1904204c99)"],
    ),
    "table-vs-free": (
        [("5.8", "5.13"), ("6.15", "6.17")],  # MREMAP_DONTUNMAP came with 5.7
        ["dontunmap_uncharges=true (b714ccb02a76)"],
        ["tables_unlocked=false (97113eb39fa7)", "dontunmap_uncharges=false (0e59f47c15ce)"],
    ),
    "dontneed-twice": ([("2.6.38", "4.9")], [], ["nested_flush=true (99baac21e458)"]),
    "full-gather": (
        [("3.6", "3.16")],
        ["gather_flush=rest (597e1c3580b7)"],
        ["gather_flush=gathered (ce9ec37bddb6)"],
    ),
    "grow-from-middle": (
        [("6.1", "6.1")],
        ["growth=merge-from-address (ca3d76b0aa80)"],
        ["growth=merge (6f12be792fde)"],
    ),
    "unlocked-import": (
        [("3.19", "3.19"), ("6.4", "6.4")],
        ["uncounted_clone=true (7a3ef208e662)", "vma_locks=6.4-released (5e31275cc997)"],
        ["uncounted_clone=false (3fe89b3e2a7b)", "vma_locks=6.4 (fb49c455323f, d8ab9f7b644a, 657b5146955e)"],
    ),
    "unpinned-mm": (
        [("6.15", "6.16")],
        ["vma_locks=6.15-unpinned-mm (f35ab95ca0af, 3104138517fc)"],
        ["vma_locks=6.15 (9bbffee67ffd)"],
    ),
    "uncloned-merge": (
        [("6.15", "6.18")],
        ["dontunmap_uncharges=true (b714ccb02a76)"],  # and in 6.16 the merge
        ["merge=6.16 (61f67c230a5e, 3b617fd3d317)"],
    ),
}


RARE = {
    "unpinned-mm": 1500,
    "move-vs-free": 2000,
    "uffd-move-swap-aba": 6000,
    "swapin-skips-cache": 1500,
}  # where less than a hundredth of the executions is wrong


def matrix(name, releases=ALL, runs=400, **how):
    return hunt_releases(name, releases, runs=runs, **how)


@pytest.mark.parametrize("name", KNOWN)
def test_the_first_and_the_last_bad_release_and_the_change_that_it_was(name):
    found = matrix(name, runs=RARE.get(name, 400))
    bad, came, went = KNOWN[name]
    assert found.bad == bad and (found.first_bad, found.last_bad) == (bad[0][0], bad[-1][1])
    assert [by for turn in found.introduced for by in turn.by] == came
    assert [by for turn in found.fixed for by in turn.by] == went
    assert found.as_expected


@pytest.mark.parametrize("name", BUILTIN)
def test_what_a_scenario_says_of_releases_is_what_the_lab_finds(name):
    scenario = Scenario.load(name)
    assert scenario.releases.given
    found = matrix(name, runs=RARE.get(name, 150))
    wrong = [(cell.release, cell.verdict, cell.expected) for cell in found.cells if not cell.as_expected]
    assert not wrong and all(cell.verdict for cell in found.cells)


@pytest.mark.long
@pytest.mark.parametrize("name", BUILTIN)
def test_what_a_scenario_says_of_releases_holds_in_many_executions(name):
    assert matrix(name, runs=20_000, jobs=2).as_expected


@pytest.mark.parametrize("name", BUILTIN)
def test_a_release_and_the_preset_that_it_is_have_one_expectation(name):
    scenario = Scenario.load(name)
    for release in ALL:
        preset = Algorithm.parse(f"linux-{release}").name
        said = scenario.expected(preset)
        assert said in (None, scenario.releases.of(release)), (release, preset)
    assert scenario.expected("linux-6.18.8") == scenario.releases.of("6.18.8")


def test_whole_tables_without_the_lock_need_the_order_of_the_tree():
    """5.1 to 5.13 move a table under the root's lock only where the order is wrong, later releases always."""
    found = hunt(
        "lkml-2011",
        {"pages": 2048},
        ["linux-5.4", "linux-5.4,ordering=none", "linux-5.15", "linux-5.15,ordering=none"],
        runs=1000,
    )
    assert [bool(one.violations) for one in found.results] == [False, True, False, False]


def test_releases_with_the_same_choices_are_hunted_once():
    found = matrix("merge", ["3.16", "5.1", "5.4", "6.19", "7.0"], runs=20)
    assert [cell.algorithm for cell in found.cells] == [
        "linux-3.16", "linux-5.1", "linux-5.1", "linux-6.19", "linux-6.19"
    ]  # fmt: skip
    assert [one.algorithm for one in found.results] == ["linux-3.16", "linux-5.1", "linux-6.19"]


def test_a_release_without_the_call_has_no_verdict():
    found = matrix("uffd-move", ["6.6", "6.8"], runs=20)
    assert [cell.verdict for cell in found.cells] == ["absent", "none"]
    assert found.cells[0].why == "UFFDIO_MOVE came with 6.8 (adef440691ba)" and found.bad == []
    kept = hunt_releases("uncloned-merge", "5.4", {"dontunmap": False}, runs=20)
    assert kept.cells[0].verdict == "none"


def test_what_a_row_does_not_know_is_no_verdict():
    faults = matrix("fault-during-fork", ["6.2", "6.4", "6.5"], runs=20)
    assert [cell.verdict for cell in faults.cells] == ["none", "unknown", "none"]
    assert "private file mappings" in faults.cells[1].why


def test_a_matrix_where_nothing_can_be_hunted_is_empty():
    found = matrix("uffd-move", ["3.2", "3.3"])
    assert found.results == [] and found.as_expected and found.runs == 0


def test_the_same_matrix_comes_with_two_jobs():
    one, two = (matrix("lkml-2011", ["3.1", "3.2", "3.3"], jobs=jobs).as_dict() for jobs in (1, 2))
    assert one == two


def test_a_litmus_test_has_no_releases():
    with pytest.raises(UserError, match="is no scenario of the kernel, so it has no releases"):
        hunt_releases("mp", ["3.2"])


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_command_tells_the_verdicts_and_the_change(capsys, tmp_path):
    asked = ["hunt", "lkml-2011", "--releases", "3.1..3.7", "--runs", "300", "--out", str(tmp_path)]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "  3.1 to 3.2          stale-migration-entry           as expected\n" in told
    assert "  3.3 to 3.7          none                            as expected\n" in told
    assert "First bad release 3.1, last bad release 3.2.\n  gone in 3.3 (after 3.2): ordering=tail (948f017b)\n" in told
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [cell["verdict"] for cell in found["cells"]] == ["stale-migration-entry"] * 2 + ["none"] * 4
    assert (found["first_bad"], found["last_bad"], found["bad"]) == ("3.1", "3.2", [["3.1", "3.2"]])
    assert found["fixed"][0]["by"] == ["ordering=tail (948f017b)"] and found["introduced"] == []


def test_all_scenarios_are_a_line_each(capsys, tmp_path):
    asked = ["hunt", "--all", "--releases", "3.2,3.3", "--runs", "150", "--out", str(tmp_path)]
    assert main(asked) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1 + len(BUILTIN) + 8  # these say why there is no verdict
    assert any(line.split() == ["merge", "3.2", "stale-migration-entry", "as", "expected"] for line in told)
    assert main([*asked[:3], "3.3", *asked[4:], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["scenario"] for one in found["matrices"]] == BUILTIN and found["as_expected"]


def test_a_scenario_that_is_wrong_about_a_release_is_found_out(capsys, tmp_path):
    text = Scenario.load("merge").text.replace('"..3.2" = "stale-migration-entry"', '"..3.1" = "stale-migration-entry"')
    (tmp_path / "wrong.toml").write_text(text)
    assert main(["hunt", str(tmp_path / "wrong.toml"), "--releases", "3.1..3.3", "--out", str(tmp_path)]) == 1
    assert "NOT AS EXPECTED: none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["merge", "--releases", "3.5"], '--releases: "3.5" is not in the table of releases (near it: 3.4, 3.6)'),
        (["merge", "--releases", "3.2", "--algorithm", "modern"], "--releases says under what to hunt, and so does"),
        (["mp", "--releases", "all"], "is no scenario of the kernel, so it has no releases"),
    ],
)
def test_a_wrong_matrix_is_one_clear_line(asked, message, capsys):
    assert main(["hunt", *asked]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"3.5" = "bug-on"', 'releases: "3.5" is not in the table of releases (near it: 3.4, 3.6)'),
        ('3.2 = "bug-on"', 'releases.3: is a table (a release needs quotes: "3.2")'),
        ('"3.2" = "bug"', 'releases.3.2: unknown violation kind "bug"'),
        ('"..3.2" = "bug-on"\n"3.0..3.3" = "bug-on"', 'releases: 3.0 is there twice (the second time in "3.0..3.3")'),
        ('needs = ["swap"]', 'releases.needs: unknown word "swap" (choices: files)'),
        ('needs = "huge"', "releases.needs: must be a list of strings"),
    ],
)
def test_a_wrong_table_of_releases_is_one_clear_line(line, message):
    text = Scenario.load("merge").text.split("[releases]")[0] + f"[releases]\n{line}\n"
    with pytest.raises(UserError) as caught:
        Scenario.from_text(text)
    assert message in str(caught.value)
