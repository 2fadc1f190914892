"""The pages about releases are what the data say."""

from pathlib import Path

import pytest

from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.linux import table
from anonvma_rt.releases.pages import BEGIN, END, kernels_page, main, with_matrix, zoo_matrix

DOCS = Path(__file__).parents[2] / "docs"
HOW = "python -m anonvma_rt.releases.pages docs"


def test_the_page_of_kernels_is_made_from_the_table():
    assert (DOCS / "kernels.md").read_text("utf-8") == kernels_page(), HOW


def test_the_matrix_of_the_zoo_is_made_from_the_scenarios():
    page = (DOCS / "zoo.md").read_text("utf-8")
    assert page.count(BEGIN) == page.count(END) == 1 and with_matrix(page) == page, HOW


def test_the_page_has_every_release_every_change_and_everything_unknown():
    page = kernels_page()
    assert all(f"\n| {release} | {when} |" in page for release, when in table.RELEASES.items())
    for change in table.CHANGES:
        commits = change.commit.split(", ")
        assert all(f"[{commit}](https://git.kernel.org/linus/{commit})" in page for commit in commits)
        assert f"`{change.field}`" in page and change.about in page
    assert page.count(" (?))") == sum(change.recalled for change in table.CHANGES)
    assert all(unknown.about.split(" (")[0] in page for unknown in table.UNKNOWN)


@pytest.mark.parametrize(
    ("scenario", "row"),
    [
        ("lkml-2011", "| 2.6.38 to 3.2 | stale-migration-entry | 3.3 |"),
        ("double-reuse", "| 3.19 to 5.19 | use-after-free | 6.0 |"),
        ("thp-split-vs-move", "| 3.2, 3.7 to 3.13 | bug-on | 3.15 |"),
        ("merge-asymmetry", "| 2.6.38, 3.0 to 6.15, 6.16 to 6.18 | use-after-free, wrong-merge | 6.19 |"),
        ("exec-stack", "| none |  |  |"),
    ],
)
def test_a_bug_is_told_with_the_rows_that_have_it(scenario, row):
    (line,) = [line for line in zoo_matrix().splitlines() if f"`{scenario}`" in line]
    assert line.endswith(row)


def test_every_bug_of_the_zoo_has_a_line():
    named = [line.split("`")[1] for line in zoo_matrix().splitlines()[2:]]
    assert sorted(named) == [name for name in Scenario.builtin_names() if Scenario.load(name).zoo]


def test_the_command_writes_both_pages(tmp_path):
    (tmp_path / "zoo.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(str(tmp_path))
    assert (tmp_path / "zoo.md").read_text() == f"before\n{BEGIN}\n{zoo_matrix()}\n{END}\nafter\n"
    assert (tmp_path / "kernels.md").read_text() == kernels_page()
