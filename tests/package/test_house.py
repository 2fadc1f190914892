"""The house: imports run one way, and the engine knows nothing of memory management."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"^\s*(?:from\s+(anonvma_rt[\w.]*)\s+c?import|c?import\s+(anonvma_rt[\w.]*))", re.M)
# Words of the subject that have no meaning to a scheduler.
SUBJECT = re.compile(r"\b(pte|vma|anon_vma|mremap|mm_struct|page_table|rmap|migrat\w*|pgoff)\b", re.I)


def imported(path):
    return [a or b for a, b in IMPORT.findall(path.read_text())]


def files(*patterns):
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found
    return found


@pytest.mark.parametrize("path", files("cython_src/anonvma_rt/engine/**/*.py[xd]"), ids=lambda p: p.name)
def test_the_engine_imports_only_itself_and_never_names_the_subject(path):
    assert all(name.startswith("anonvma_rt.engine") for name in imported(path))
    assert SUBJECT.findall(path.read_text()) == []


@pytest.mark.parametrize("path", files("cython_src/anonvma_rt/mm/*.py[xd]"), ids=lambda p: p.name)
def test_the_subject_imports_only_the_engine_and_itself(path):
    assert all(name.startswith(("anonvma_rt.engine", "anonvma_rt.mm")) for name in imported(path))


@pytest.mark.parametrize("path", files("anonvma_rt/*.py"), ids=lambda p: p.name)
def test_the_package_does_not_import_its_campaigns(path):
    assert not any(name.startswith("anonvma_rt.stress") for name in imported(path))


def test_every_file_has_a_head():
    for path in files("cython_src/anonvma_rt/**/*.py[xd]", "anonvma_rt/**/*.py", "stress/**/*.py"):
        text = path.read_text()
        assert text == "" or text.startswith(('"""', "# ")), path
