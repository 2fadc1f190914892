"""The sdist, and the wheel that is made of it: what is in them, and what the build said."""

import base64
import csv
import hashlib
import io
import re
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest
from package_tools import COMPLAINT, PROJECT, ROOT, SUFFIX, copy_of_checkout, files, modules


def test_the_wheel_has_every_file_of_the_package_and_no_other(dist):
    (wheel,) = dist.glob("*.whl")
    source = dist / "source"
    expected = {f"anonvma_rt/{name}" for name in files(source / "anonvma_rt")}
    expected |= {f"anonvma_rt/stress/{name}" for name in files(source / "stress")}
    expected |= {"pytest_anonvma_rt.py"}
    expected |= {name for name in files(source / "cython_src") if name.endswith(".pxd")}
    expected |= {f"anonvma_rt/{name.replace('.', '/')}{SUFFIX}" for name in modules(source)}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"anonvma_rt/py.typed", "anonvma_rt/scenarios/lkml-2011.toml", "anonvma_rt/engine/base/klist.pxd",
            "anonvma_rt/litmus_tests/order.toml", "anonvma_rt/api.pxd",
            "anonvma_rt/engine/run/explorer.pyi"} <= found  # fmt: skip
    assert "anonvma_rt/__init__.pxd" in found and "anonvma_rt/engine/strategy/__init__.pxd" in found


def test_the_wheel_is_one_for_this_python(dist):
    (wheel,) = dist.glob("*.whl")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.startswith(f"anonvma_rt-{PROJECT['version']}-{tag}-{tag}") and "none-any" not in wheel.name


def test_the_sdist_has_the_sources_and_nothing_that_was_made_of_them(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert not_metadata(found) == not_metadata(files(dist / "source"))


def not_metadata(names):
    return {name for name in names if not name.startswith("anonvma_rt.egg-info/")} - {"PKG-INFO", "setup.cfg"}


def test_record_matches_the_files(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == set(archive.namelist())
        for name, (digest, size) in rows.items():
            if name != record:
                content = archive.read(name)
                sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={sha256}", len(content)), name


def test_metadata(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert archive.read(f"{info}/licenses/LICENSE")
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert "anonvma-rt = anonvma_rt.cli:main" in entry_points
        assert "[pytest11]\npytest_anonvma_rt = pytest_anonvma_rt" in entry_points
        assert "Root-Is-Purelib: false" in archive.read(f"{info}/WHEEL").decode()
        assert archive.read(f"{info}/top_level.txt").decode().split() == ["anonvma_rt", "pytest_anonvma_rt"]
    assert (metadata["Name"], metadata["Version"]) == ("anonvma_rt", PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    required = [name for name in metadata.get_all("Requires-Dist") if "extra ==" not in name]
    assert required == ["tqdm>=4.60"]
    assert {"test", "lint"} <= set(metadata.get_all("Provides-Extra"))


def test_no_file_of_the_wheel_knows_where_it_was_built(dist):
    (wheel,) = dist.glob("*.whl")
    places = [str(dist).encode(), f"{ROOT}/".encode()]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not [place for place in places if place in content], name


def test_the_build_has_no_warning(dist, installed):
    log = (dist / "log").read_text()
    # That it says what it does, so that silence means something.
    assert len(set(re.findall(r"Cythonizing (\S+)", log))) == len(modules(dist / "source"))
    assert len(re.findall(r"^\S*(?:cc|clang)\S* .* -Wall .* -c ", log, re.MULTILINE)) == len(modules(dist / "source"))
    for text in (log, installed.log):
        complaints = [line for line in text.splitlines() if COMPLAINT.search(line)]
        assert not complaints


@pytest.mark.parametrize(
    "line",
    [
        "build/cython/a.c:12:3: warning: unused variable",
        "warning: cython_src/anonvma_rt/mm/mmap.pyx:3:5: Unreachable code",
        "performance hint: cython_src/anonvma_rt/mm/mmap.pyx:3:5: Exception check",
        "/x/dist.py:1: SetuptoolsDeprecationWarning: old",
    ],
)
def test_a_warning_would_be_seen(line):
    assert COMPLAINT.search(line)


def test_a_deleted_file_leaves_the_next_build(installed, tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    extra = [source / "anonvma_rt" / "gone.py", source / "cython_src" / "anonvma_rt" / "engine" / "gone.pxd"]
    for file in extra:
        file.touch()
    installed.python("setup.py", "-q", "build_py", cwd=source)
    (built,) = source.glob("build/lib*")
    binary = built / "anonvma_rt" / "engine" / "run" / f"task{SUFFIX}"
    binary.touch()
    before = files(built)
    for file in extra:
        file.unlink()
    installed.python("setup.py", "-q", "build_py", cwd=source)
    assert before - files(built) == {"anonvma_rt/gone.py", "anonvma_rt/engine/gone.pxd"}
    assert binary.exists()
