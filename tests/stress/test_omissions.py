"""An announcement that is left out of the simulated kernel is reported by an audit; all of the table takes minutes."""

import tomllib
from pathlib import Path

import pytest

from anonvma_rt import get_cimport_path
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.lab.load import load

omissions = pytest.importorskip(
    "anonvma_rt.stress.omissions.__main__", reason="anonvma_rt.stress needs an installation"
)
pytest.importorskip("Cython", reason="an audit compiles")

ENTRIES = tomllib.loads(omissions.TABLE.read_text())["omission"]
KNOWN = {(one.file, one.text, one.nth) for _, _, one in omissions.announcements(Path(get_cimport_path()))}


def key(entry):
    return entry["file"], entry["text"], entry.get("nth", 1)


def test_every_entry_is_there_once_and_has_its_scenario():
    keys = [key(entry) for entry in ENTRIES]
    assert len(keys) == len(set(keys)) >= 30 and set(keys) <= KNOWN
    for entry in ENTRIES:
        assert load(entry["scenario"]) and Algorithm.parse(entry["algorithm"])
    # Each file of mm/ that announces something has one, but those whose announcements were reported nowhere.
    silent = {"fork.pyx", "huge_memory.pyx", "memory.pyx", "mmap.pyx", "mprotect.pyx", "mremap.pyx"}
    silent |= {"fault.pyx", "filemap.pyx", "madvise.pyx", "swapin.pyx"}
    assert {file for file, _, _ in keys} >= {file for file, _, _ in KNOWN} - silent


def test_two_that_are_left_out_are_reported(capfd):
    assert omissions.main(["pgtable.pxd", "--most", "2"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.endswith(" reports") and line.startswith("pgtable.pxd: ") for line in lines)


def test_what_the_table_has_and_the_sources_have_not_is_said(monkeypatch, tmp_path, capsys):
    table = tmp_path / "table.toml"
    table.write_text('[[omission]]\nfile = "fork.pyx"\ntext = "point(t, OP_NONE, x)"\n')
    monkeypatch.setattr(omissions, "TABLE", table)
    with pytest.raises(SystemExit) as ended:
        omissions.main([])
    assert ended.value.code == 2
    assert "the table has what is not there: fork.pyx: point(t, OP_NONE, x)" in capsys.readouterr().err


@pytest.mark.long
def test_all_that_are_left_out_are_reported(capfd):
    assert omissions.main([]) == 0
    assert capfd.readouterr().out.count(" reports\n") == len(ENTRIES)
