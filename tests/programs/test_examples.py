"""The examples of docs/examples/native: each is found wrong as it stands, and proved with the repair that it names."""

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
        ("moveto_tail.c", [{"PATCHED": 1}, {"PATCHED": 1, "PAGES": 2}], {"assertion"}),
        ("ring_buffer.c", [{"FIXED": 1}], {"assertion"}),
        ("refcount.c", [{"FIXED": 1}], {"assertion"} | FREED),
        pytest.param("queue.cpp", [{"FIXED": 1}], {"deadlock", "lost-wakeup"}, marks=pytest.mark.xfail(strict=False)),
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
