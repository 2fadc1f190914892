"""What a proof says of its own ground: the table of what was found clean, and executions that an audit hears."""

import sys
import tomllib

import pytest

from anonvma_rt import Scenario, subject, verify
from anonvma_rt.auditing import grounds
from anonvma_rt.auditing.grounds import NOT_AUDITED, TABLE, Clean, distinct_rows, source_digest, table_text
from anonvma_rt.cli.verbs.audit import all_of
from anonvma_rt.lab.load import least_values, load, names_of_all
from anonvma_rt.text.parameters import spelled

# mprotect lets an unfaulted vma, in which a fault without mmap_sem gets an anon_vma meanwhile, take over that of its
# faulted neighbour.
IMPORT = """
name = "import-beside-fault"
about = "mprotect merges an unfaulted vma with a faulted one, and a fault without mmap_sem comes meanwhile"
names.a = "1*GiB"
setup = [
    { do = "mmap", at = "a + PAGE", pages = 1 },
    { do = "touch", at = "a + PAGE", pages = 1 },
    { do = "mprotect", at = "a + PAGE", pages = 1, writable = false },
    { do = "mmap", at = "a", pages = 1 },
]
thread = [
    { name = "mprotect", steps = [{ do = "mprotect", at = "a + PAGE", pages = 1, writable = true }] },
    { name = "fault", steps = [{ do = "touch", at = "a", pages = 1 }] },
]
"""


def test_an_import_beside_a_fault_without_mmap_sem_is_violated():
    scenario = Scenario.from_text(IMPORT)
    bad, good = verify(scenario, None, ["linux-6.19,vma_locks=fork", "linux-6.19"], all_violations=True).results
    assert bad.complete and bad.violating_classes["use-after-free"] > 0
    assert good.complete and good.violating_classes == {}


def test_what_is_known_to_be_unannounced_is_proved_only_where_an_audit_found_nothing():
    """Only fork takes the lock of a vma, so what munmap does beside a fault that has no other is not announced."""
    setup = 'setup = [{ do = "mmap", at = "a", pages = 1 }, { do = "touch", at = "a", pages = 1 }]\n'
    threads = """
        [[thread]]
        name = "reader"
        steps = [{ do = "read", at = "a", pages = 1, errno = ["", "EFAULT"] }]
        [[thread]]
        name = "mapper"
        steps = [{ do = "mmap", at = "a + 8 * PAGE", pages = 1 }]
    """
    world = Scenario.from_text(f'name = "beside"\nabout = "a fault beside mmap"\nnames.a = "1*GiB"\n{setup}{threads}')
    plain, locks, pinless = verify(world, None, ["modern", "modern,vma_locks=fork", "modern,pin=false"]).results
    assert plain.complete and plain.verdict.startswith("VERIFIED")
    for one, why in (locks, "only fork takes the lock of a vma"), (pinless, "an anon_vma that nothing pins"):
        assert not one.complete and one.verdict.startswith("NOT PROVED (") and why in one.verdict
    audited = verify("fault-during-fork", None, ["modern,vma_locks=fork"]).results[0]
    assert audited.complete and audited.verdict.startswith("VERIFIED")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """table(text): what stands in the place of clean.toml."""

    def table(text):
        path = tmp_path / "clean.toml"
        path.write_text(text)
        monkeypatch.setattr(grounds, "TABLE", path)
        grounds._table.cache_clear()

    yield table
    monkeypatch.undo()
    grounds._table.cache_clear()


def says(name, parameters, algorithm):
    return verify(name, parameters, [algorithm]).results[0].announcements


def test_a_proof_says_what_was_audited_and_no_more(table):
    merge, order = load("merge"), load("order")
    rows = [
        Clean("merge", merge.sha256, spelled(least_values(merge)), ["moveto-tail"]),
        Clean("order", order.sha256, spelled(least_values(order)), ["patched"]),
    ]
    text = table_text("2026.11", rows)
    table(text)
    audited = "announcements audited for this subject and algorithm, 2026.11"
    assert says("order", {"pages": 1}, "patched") == audited
    assert says("order", {"pages": 2}, "patched") == f"{audited}, with pages=1"
    assert says("order", {"pages": 1}, "unpatched") == NOT_AUDITED
    assert says("sb", None, "sc") == NOT_AUDITED
    # Of another text, or of other sources, it says nothing.
    table(text.replace(order.sha256, merge.sha256))
    assert says("order", {"pages": 1}, "patched") == NOT_AUDITED
    table(text.replace(source_digest(), "0" * 64))
    assert says("order", {"pages": 1}, "patched") == f"{NOT_AUDITED} since the sources of the subject changed"


def test_what_is_changed_in_a_source_is_seen(tmp_path, monkeypatch):
    for name, text in {"mm/vma.pyx": "a = 1", "mm/vma.pxd": "", "engine/x.pxd": ""}.items():
        path = tmp_path / "anonvma_rt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(grounds, "get_cimport_path", lambda: str(tmp_path))
    monkeypatch.setattr("anonvma_rt.auditing.build.get_cimport_path", lambda: str(tmp_path))
    seen = [source_digest.__wrapped__()]
    for name in ("mm/vma.pyx", "mm/vma.pxd", "engine/x.pxd"):
        (tmp_path / "anonvma_rt" / name).write_text("b = 2")
        seen.append(source_digest.__wrapped__())
    assert len(set(seen)) == 4
    (tmp_path / "anonvma_rt" / "mm" / "vma.pyx").unlink()
    assert source_digest.__wrapped__() == ""


def test_the_table_names_what_there_is():
    scenarios = tomllib.loads(TABLE.read_text())["scenario"]
    assert set(scenarios) <= set(names_of_all())
    for name, row in scenarios.items():
        assert set(row["algorithms"]) <= set(all_of(load(name))), name


@pytest.mark.long
def test_the_table_is_of_these_sources_and_has_all_that_is_built_in():
    table = tomllib.loads(TABLE.read_text())
    assert table["sources"] == source_digest(), "anonvma-rt audit --all --table anonvma_rt/auditing/clean.toml"
    for name in names_of_all():
        assert set(table["scenario"][name]["algorithms"]) == set(all_of(load(name))), name


def test_a_release_is_audited_with_those_that_make_the_same_choices():
    said = verify("merge", least_values(load("merge")), ["linux-3.16", "linux-4.4", "linux-7.0"]).results
    assert all(one.announcements.startswith("announcements audited for this subject") for one in said)
    assert distinct_rows()["linux-4.9"] == "linux-4.9" and distinct_rows()["linux-7.0"] == "linux-6.18.8"


def test_what_an_audit_reports_meanwhile_is_no_proof(racy):
    unordered, ordered = (verify(subject("racy:Racy"), {"way": racy.WAYS.index(way)}) for way in ("plain", "locked"))
    (result,) = unordered.results
    assert result.verdict.startswith("NOT PROVED: no announcement orders the accesses of")
    assert "racy.pyx" in result.verdict and not result.complete and not result.violating_classes
    assert "racy" in sys.modules and ordered.results[0].verdict.startswith("VERIFIED")
