"""Compiled code of somebody else's, built once per session against the package as it is, in one go.

What works: two of docs/examples, cython/embedded.pyx, trouble.pyx and counted.pyx beside this, and the code in
docs/embedding.md. `version` and `layout` were built against .pxd files of another API version, and of the same version
with another struct.
"""

import re
import shutil
from pathlib import Path

from compiled import BESIDE, build

import anonvma_rt

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
from anonvma_rt.api cimport Subject, require_api
require_api(__name__)
cdef class Any(Subject):
    pass
"""


def documented(language):
    """The blocks of code in docs/embedding.md."""
    text = (ROOT / "docs" / "embedding.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def build_all(folder):
    examples = ROOT / "docs" / "examples"
    paths = [examples / "aba_stack" / "aba_stack.pyx", examples / "ordering_rule" / "ordering_rule.pyx",
             *(BESIDE / f"{name}.pyx" for name in ("embedded", "trouble", "unchecked", "counted",
                                                   "graces"))]  # fmt: skip
    sources = {path.stem: path.read_text() for path in paths}
    sources |= zip(("counter", "mypatch"), documented("cython"), strict=True)
    for name, file, old, new in (
        ("version", "api.pxd", "API_VERSION = ", "API_VERSION = 1000 + "),
        ("layout", "engine/run/task.pxd", "    Task task[MAX_TASKS]", "    Task task[MAX_TASKS]\n    int one_more"),
    ):
        (folder / f"{name}.pyx").write_text(SMALL)
        for pxd in Path(anonvma_rt.get_include()).rglob("*.pxd"):
            target = folder / f"pxd_{name}" / "anonvma_rt" / pxd.relative_to(anonvma_rt.get_include())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pxd, target)
        changed = folder / f"pxd_{name}" / "anonvma_rt" / file
        text = changed.read_text()
        assert text.count(old) == 1
        changed.write_text(text.replace(old, new))
    build(folder, sources, {"pxd_version": ["version"], "pxd_layout": ["layout"]})
