"""The example of docs/scenarios.md is what the importer writes, and finds what the text says."""

import re

from anonvma_rt import ImportOptions, Scenario, hunt, hunt_releases, import_scenario
from anonvma_rt.cli import main
from anonvma_rt.importing.calls import TABLE


def block(text, label):
    return re.search(rf"<!-- {label} -->\n```\w+\n(.*?)```", text, re.DOTALL)[1]


def test_the_example_of_the_page(pytestconfig, tmp_path, monkeypatch, capsys):
    page = (pytestconfig.rootpath / "docs/scenarios.md").read_text()
    (tmp_path / "small.log").write_text(block(page, "log"))
    monkeypatch.chdir(tmp_path)
    assert main(["import", "small.log", "--fold", "--migrate", "-o", "small.toml"]) == 0
    assert (tmp_path / "small.toml").read_text() == block(page, "imported")
    found = hunt(Scenario.load("small.toml"), runs=2000)
    assert [set(one.violations) for one in found.results] == [{"stale-migration-entry"}, set()]
    matrix = hunt_releases(Scenario.load("small.toml"), ["3.2", "3.3", "6.18"], runs=2000)
    assert matrix.last_bad == "3.2"


def test_a_row_of_the_table_is_all_that_a_call_needs(monkeypatch):
    """A reason in place of a function, and the other way round."""
    log = "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x40000000\n"
    log += "madvise(0x40000000, 4096, MADV_DONTNEED) = 0\nmunmap(0x40000000, 4096) = 0\n"
    monkeypatch.setitem(TABLE, "munmap", "nobody may say munmap")
    monkeypatch.setitem(TABLE, "madvise", lambda m, call: m.say(call, "munmap", at=0x40000000, pages=1))
    imported = import_scenario(log, ImportOptions(threads=1))
    assert [note.reason for note in imported.notes if note.kind == "not said"] == ["nobody may say munmap"]
    assert imported.said == 2 and "munmap-2" in imported.text
