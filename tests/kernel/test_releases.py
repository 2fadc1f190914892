"""The table of releases: a row is what its changes say, and a release without a row says which one stands for it."""

import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt.cli import main
from anonvma_rt.errors import AlgorithmError, ScenarioError
from anonvma_rt.kernel.algorithm import BEHAVIOUR, PRESETS, Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.linux import table

ASKED = {
    "2.6.38", "3.0", "3.2", "3.3", "3.7", "3.15", "4.4", "4.9", "4.14", "4.19", "5.4", "5.10", "5.15", "6.1", "6.6",
    "6.12", "6.16", "6.18", "7.0",
}  # fmt: skip

# What a row has, written down once more, apart from the table.
KNOWN = {
    "2.6.38": {"restore_peeks": True, "mremap_splits": True, "merge": "symmetric", "free_root_first": False},
    "3.0": {"restore_peeks": True, "mremap_splits": True, "merge": "3.0", "free_root_first": True},
    "3.1": {
        "move_flush": "each",
        "restore_peeks": False,
        "mremap_splits": True,
        "ordering": "none",
        "decode_in_zap": False,
    },
    "3.2": {"move_flush": "end", "gather_flush": "mm", "mremap_splits": False, "ordering": "none", "tree": False},
    "3.6": {"gather_flush": "rest", "protect_counts": False},
    "3.11": {"gather_flush": "short", "protect_counts": True, "split_peeks": False},
    "3.18": {"gather_flush": "gathered", "reuse": "no"},
    "4.13": {"nested_flush": True, "batched_pending": True, "move_flush": "dirty"},
    "3.3": {"ordering": "tail", "decode_in_zap": True, "tree": False, "shift_locks": False},
    "3.7": {
        "huge_zero": "no",
        "ordering": "need-rmap-locks",
        "tree": True,
        "huge_ignores_locks": True,
        "shared_walks": False,
    },
    "3.8": {"shared_walks": True, "split_peeks": False, "huge_zero": "3.8"},
    "3.13": {"split_peeks": True, "huge_ignores_locks": True},
    "3.15": {"split_peeks": False, "huge_ignores_locks": False, "free_root_first": True, "pmd_twice": True},
    "3.16": {"free_root_first": False, "reuse": "no", "pmd_twice": False, "uncounted_clone": False},
    "3.19": {"reuse": "degree", "uncounted_clone": True},
    "4.0": {"reuse": "degree", "uncounted_clone": False, "refuse_copies": False},
    "4.3": {"move_pages": "4.3", "restore_compares": False, "cow_reuse": "mapped-once"},
    "4.4": {"reuse": "degree", "import_ahead": False, "move_pages": "4.3"},
    "4.14": {"import_ahead": True, "move_pages": "4.3", "refuse_copies": True, "restore_compares": False},
    "4.5": {"thp": "4.5", "split_sync": True, "split_migrating": "no"},
    "4.6": {"thp": "4.5", "split_sync": False},
    "4.15": {"restore_compares": True, "growth": "adjust", "swapin": "direct"},
    "4.19": {"move_flush": "locked", "move_pages": "4.17", "wait_without_pin": False, "whole_tables": False},
    "5.4": {"wait_without_pin": True, "whole_tables": True, "tables_unlocked": True, "reuse": "degree"},
    "5.8": {
        "gup_cow": "5.8",
        "fork_copies_pinned": False,
        "thp": "4.14",
        "cow_splits": True,
        "huge_zero": "5.8",
        "split_locks": True,
        "split_migrating": "counts",
    },
    "5.9": {"cow_reuse": "5.9", "restore_compares": True, "isolate": True, "gup_cow": "no", "fork_copies_pinned": True},
    "5.10": {"keeps_pinned": False, "write_protect_seq": False},
    "5.11": {"keeps_pinned": True, "write_protect_seq": True, "lazyfree_refs": False},
    "5.13": {"split_warns": True, "split_sync": True, "split_migrating": "references"},
    "5.18": {"lazyfree_refs": True, "gup_cow": "no", "split_migrating": "no"},
    "6.14": {"uffd_swap": "6.14", "swapin": "prepared"},
    "5.14": {"whole_tables": True, "tables_unlocked": False, "cow_reuse": "5.9"},
    "5.19": {"cow_reuse": "5.19", "reuse": "degree", "gup_cow": "5.19"},
    "6.0": {"gup_rechecks_pmd": False},
    "6.1": {"gup_rechecks_pmd": True, "reuse": "counters", "recheck_mapping": False, "growth": "merge-from-address"},
    "4.8": {"import_ahead": True, "case_8_grows": True},
    "4.9": {"move_flush": "dirty", "nested_flush": False, "case_8_grows": False, "uncharges_at_0": False},
    "6.2": {"growth": "merge", "recheck_mapping": False, "batches": "no", "uncharges_at_0": False},
    "6.3": {"batches": "6.3", "aligned": "no", "uncharges_at_0": True, "dontunmap_uncharges": False},
    "6.4": {"vma_locks": "6.4-released"},
    "6.5": {"vma_locks": "6.4"},
    "6.8": {"aligned": "6.8", "large_folios": True, "uffd_any_pmd": True, "split_zeroes": False},
    "6.13": {"huge_zero": "6.13"},
    "6.12": {
        "huge_zero": "5.8",
        "split_zeroes": True,
        "recheck_mapping": True,
        "merge": "3.0",
        "calls": "3.2",
        "aligned": "6.12",
        "vma_locks": "6.4",
    },
    "6.15": {"uncharges_at_0": False, "dontunmap_uncharges": True, "merge": "3.0"},
    "6.16": {
        "uffd_any_pmd": True,
        "merge": "6.16-unrepaired",
        "calls": "3.2",
        "vma_locks": "6.15-unpinned-mm",
        "uffd_swap": "6.16",
    },
    "6.17": {"uffd_any_pmd": False, "calls": "6.17", "dontunmap_uncharges": True},
    "6.18": {"merge": "6.16-unrepaired", "calls": "6.17", "dontunmap_uncharges": False},
    "6.18.8": {"merge": "6.16", "calls": "6.17"},
    "7.0": {"merge": "6.16", "calls": "6.17", "vma_locks": "6.15"},
}


def parsed(release: str) -> Algorithm:
    return Algorithm.parse(f"linux-{release}")


def test_every_release_that_was_asked_for_has_a_row() -> None:
    assert set(table.RELEASES) >= ASKED
    assert list(table.RELEASES) == sorted(table.RELEASES, key=table.order)


@pytest.mark.parametrize("release", table.ROWS)
def test_a_row_is_what_its_changes_say(release: str) -> None:
    made = parsed(release).as_dict()
    base = Algorithm("x").as_dict()
    last: dict[str, object] = dict(table.BEFORE)
    for change in table.CHANGES:
        if change in table.changes_up_to(release):
            last[change.field] = change.value
    assert {name: made[name] for name in BEHAVIOUR} == {name: last.get(name, base[name]) for name in BEHAVIOUR}
    assert {name: made[name] for name in KNOWN.get(release, {})} == KNOWN.get(release, {})
    assert Algorithm.parse(str(made["name"])) == parsed(release)


def test_a_change_changes_something_and_its_release_has_a_row() -> None:
    value = Algorithm("x").as_dict() | table.BEFORE
    assert [table.order(c.release) for c in table.CHANGES] == sorted(table.order(c.release) for c in table.CHANGES)
    for change in table.CHANGES:
        assert change.release in table.RELEASES and change.field in BEHAVIOUR
        assert value[change.field] != change.value, change
        value[change.field] = change.value
        assert change.commit and change.about.isprintable()
        assert all(table.mainline(version) in table.RELEASES for version in change.stable)


def test_a_row_that_is_a_preset_is_that_preset() -> None:
    names = {release: parsed(release).name for release in table.RELEASES}
    presets = {release: name for release, name in names.items() if name in PRESETS}
    assert presets == {
        "3.0": "peeking", "3.2": "unpatched", "3.3": "moveto-tail", "3.7": "interval-tree-thp-unfixed",
        "3.15": "interval-tree-shared", "6.19": "linux-6.19",
    }  # fmt: skip
    assert all(name == f"linux-{release}" for release, name in names.items() if release not in presets)


@pytest.mark.parametrize(
    ("asked", "taken", "why"),
    [
        ("6.7", "6.6", "the newest older release in the table"),
        ("4.2", "4.0", "the newest older release in the table"),
        ("6.8-rc3", "6.6", "the newest older release in the table"),
        ("6.6.87", "6.6", "what stable kernels took over later is not in the table"),
        ("2.6.38.8", "2.6.38", "what stable kernels took over later is not in the table"),
        ("6.18.7", "6.18", "what stable kernels took over later is not in the table"),
        ("6.18.44", "6.18.8", "the newest older release in the table"),
        ("7.3", "7.0", "the newest release in the table"),
    ],
)
def test_a_release_without_a_row_is_the_newest_older_one_and_says_so(asked: str, taken: str, why: str) -> None:
    assert table.resolve(f"linux-{asked}") == (taken, f"linux-{asked} is taken as linux-{taken}, {why}")
    made = parsed(asked)
    assert made == parsed(taken) and made.name == parsed(taken).name
    assert made.kernel.endswith(f"(linux-{asked} is taken as linux-{taken}, {why})")
    assert Algorithm.parse(f"linux-{asked},single_ptl=true") == Algorithm.parse(f"linux-{taken},single_ptl=true")


@pytest.mark.parametrize("release", table.ROWS)
def test_a_release_with_a_row_says_nothing(release: str) -> None:
    assert table.resolve(f"linux-{release}") == (release, "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("linux-2.6.32", '"linux-2.6.32" is older than the oldest release in the table, linux-2.6.38'),
        ("linux-2.4", '"linux-2.4" is older than the oldest release in the table, linux-2.6.38'),
        ("linux-6", 'algorithm "linux-6": not a release of Linux (linux-7.0 is one)'),
        ("linux-6.6-generic", 'algorithm "linux-6.6-generic": not a release of Linux (linux-7.0 is one)'),
        ("linux-6.99999999", 'algorithm "linux-6.99999999": not a release of Linux (linux-7.0 is one)'),
        ("linux-six", 'unknown algorithm "linux-six" (did you mean "linux-'),
    ],
)
def test_what_is_no_release_is_refused(asked: str, message: str) -> None:
    with pytest.raises(AlgorithmError) as caught:
        Algorithm.parse(asked)
    assert str(caught.value).startswith(message)


@given(st.from_regex(r"\Alinux-\d.{0,12}\Z"))
def test_a_name_that_looks_like_a_release_is_one_or_is_refused(name: str) -> None:
    try:
        release, said = table.resolve(name)
    except AlgorithmError:
        return
    assert release in table.ROWS and said.isprintable()


@pytest.mark.parametrize(
    ("running", "name"),
    [
        ("6.18.44-fc-v657", "linux-6.18.8"),
        ("6.18.3-arch1-1", "linux-6.18"),
        ("5.15.0-91-generic", "linux-5.15"),
        ("6.6.87.2-microsoft-standard-WSL2", "linux-6.6"),
        ("7.1.0-rc2+", "linux-7.0"),
        ("3.10.0-1160.el7.x86_64", "linux-3.8"),
        ("6.19.0", "linux-6.19"),
    ],
)
def test_linux_host_is_the_row_of_the_running_kernel(running, name, monkeypatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "release", lambda: running)
    made = Algorithm.parse("linux-host")
    assert made.name == name and f"linux-host: this machine runs {running}, which is" in made.kernel


@pytest.mark.parametrize(("system", "running"), [("Darwin", "23.1.0"), ("Linux", "2.6.32-754.el6"), ("Linux", "odd")])
def test_linux_host_is_refused_where_it_is_no_known_linux(system, running, monkeypatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "release", lambda: running)
    with pytest.raises(AlgorithmError):
        Algorithm.parse("linux-host")


def test_no_scenario_may_expect_something_of_linux_host() -> None:
    text = Scenario.load("merge").text.replace("[expect]", '[expect]\n"linux-host" = "none"')
    with pytest.raises(ScenarioError, match="linux-host is another kernel on each machine"):
        Scenario.from_text(text)


def test_what_a_release_is_taken_as_is_told_once(capsys, tmp_path) -> None:
    assert main(["hunt", "merge", "--algorithm", "linux-3.2.5", "--runs", "200", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "linux-3.2.5 is taken as linux-3.2, what stable kernels took over later" in told


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        ("all", list(table.RELEASES)),
        ("3.2", ["3.2"]),
        ("linux-3.3, 3.2", ["3.2", "3.3"]),
        ("..3.1", ["2.6.38", "3.0", "3.1"]),
        ("6.19..", ["6.19", "7.0"]),
        ("3.0..3.2,3.1..3.3", ["3.0", "3.1", "3.2", "3.3"]),
    ],
)
def test_several_releases_are_chosen_by_names_and_ranges(text, releases) -> None:
    assert table.select(text, "--releases") == releases


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3.5", '--releases: "3.5" is not in the table of releases (near it: 3.4, 3.6)'),
        ("3.2..3.5", '--releases: "3.5" is not in the table of releases (near it: 3.4, 3.6)'),
        ("2.4", '--releases: "2.4" is not in the table of releases (near it: 2.6.38)'),
        ("9.9", '--releases: "9.9" is not in the table of releases (near it: 7.0)'),
        ("x", '--releases: "x" is not in the table of releases (it goes from 2.6.38 to 7.0)'),
        ("4.4..3.2", '--releases: "4.4..3.2": the older release comes first'),
    ],
)
def test_a_wrong_range_is_refused(text, message) -> None:
    with pytest.raises(AlgorithmError) as caught:
        table.select(text, "--releases")
    assert str(caught.value) == message
