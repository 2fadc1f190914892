"""The examples of docs/examples/native: each is found wrong as it stands, and proved with the repair that it names."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from anonvma_rt import hunt, native, verify

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "native"
# A freed object may be met in more ways than one.
FREED = {"crash", "use-after-free", "freed", "data-race", "double-free"}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


@pytest.mark.parametrize(
    ("name", "repairs", "kinds"),
    [
        ("tally.c", [{"FIXED": 1}], {"assertion"}),
        ("moveto_tail.c", [{"PATCHED": 1}, {"PATCHED": 1, "PAGES": 2}], {"assertion"}),
        ("ring_buffer.c", [{"FIXED": 1}], {"assertion"}),
        ("refcount.c", [{"FIXED": 1}], {"assertion"} | FREED),
        ("queue.cpp", [{"FIXED": 1}], {"deadlock", "lost-wakeup"}),
        ("rcu_list.c", [{"FIXED": 1}, {"FIXED": 2}], FREED),
    ],
)
def test_an_example_is_found_and_its_repair_proved(name, repairs, kinds):
    (found,) = hunt(native(EXAMPLES / name), runs=2000).results
    assert found.violations and set(found.violations) <= kinds
    for repair in repairs:
        (proof,) = verify(native(EXAMPLES / name), repair).results
        assert proof.complete and not proof.violating_classes and proof.classes > 1


def test_the_nogil_code_of_a_cython_module_is_a_program(tmp_path):
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").is_file():
        pytest.skip("there is no Python.h")
    made = tmp_path / "tally.c"
    source = EXAMPLES / "cython_module" / "tally.pyx"
    subprocess.run([sys.executable, "-m", "cython", str(source), "-o", str(made)], check=True)
    program = native(EXAMPLES / "cython_module" / "main.c", made, cflags=[f"-I{include}"], link=["-Wl,-z,undefs"])
    (found,) = hunt(program, runs=200).results
    assert set(found.violations) == {"assertion"}
    (proof,) = verify(program, {"FIXED": 1}).results
    assert proof.complete and proof.classes == 2 and not proof.violating_classes


BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


def test_every_command_of_the_page_works(tmp_path):
    page = (EXAMPLES.parents[1] / "native.md").read_text()
    shutil.copytree(EXAMPLES, tmp_path / "native")
    (tmp_path / "bin").mkdir()
    where = tmp_path / "native"
    for name, command in {
        "anonvma-rt": "-m anonvma_rt",
        "cython": "-m cython",
        "python3-config": f"-c 'print(\"-I{sysconfig.get_paths()['include']}\")'",
    }.items():
        tool = tmp_path / "bin" / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        tool.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.parents[2]),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }
    lines = [line for block in BLOCK.findall(page) for line in block.splitlines()]
    assert len(lines) >= 12
    for line in lines:
        if line.startswith("cd "):
            where = where / line[3:]
            continue
        where = where if re.search("main.c|cython|specs.py", line) else tmp_path / "native"
        done = subprocess.run(
            ["sh", "-c", line], cwd=where, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == ("exit code 1" in line), f"{line}\n{done.stdout}\n{done.stderr}"
        assert not done.stderr
