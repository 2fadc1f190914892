"""A race laboratory for Linux's reverse map of anonymous memory, and for threaded nogil code at large."""

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from os import environ, walk
from os.path import abspath, dirname, exists, isdir, join, relpath
from sys import version_info
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_here = dirname(abspath(__file__))
_mirror = join(dirname(_here), "cython_src")


def _check_built() -> None:
    """Refuses a checkout with a module that has no binary for this Python; an installed package has no source."""
    missing, modules = [], 0
    for folder, _, files in walk(join(_mirror, "anonvma_rt")):
        for name in files:
            if name.endswith(".pyx"):
                modules += 1
                module = relpath(join(folder, name[:-4]), join(_mirror, "anonvma_rt"))
                # What the experiments under stress/ compile is installed beside them.
                places = join(_here, module), join(dirname(_here), module)
                if not any(exists(place + suffix) for place in places for suffix in EXTENSION_SUFFIXES):
                    missing.append(module.replace("/", "."))
    if missing:
        which = "is not built" if len(missing) == modules else f"lacks {', '.join(sorted(missing))}"
        raise ImportError(
            f"{dirname(_here)} is a checkout whose compiled half {which} "
            f"(for Python {version_info.major}.{version_info.minor}). Run `python -m pip install -e .` there. If you "
            "meant an anonvma_rt that is installed elsewhere, start Python in another folder; for the tests, "
            "`pytest` instead of `python -m pytest`.",
            name=__name__,
        )


_check_built()

if "ANONVMA_RT_AUDIT" in environ:
    # Before anything compiled is loaded, because some of it is another one then.
    import_module(f"{__name__}.auditing.overlay").install()

if TYPE_CHECKING:
    from anonvma_rt.engine.base.bell import StopToken
    from anonvma_rt.engine.strategy.python import Moment, PyStrategy
    from anonvma_rt.errors import UserError
    from anonvma_rt.execution.reproducer import Reproducer, replay
    from anonvma_rt.importing.importer import Imported, ImportOptions, import_scenario
    from anonvma_rt.kernel.algorithm import Algorithm
    from anonvma_rt.kernel.machine import KernelBug, Machine, Page, Process, Pte, Violation, Vma
    from anonvma_rt.kernel.recording import RecordedProcess, Recording
    from anonvma_rt.kernel.scenario import Scenario
    from anonvma_rt.own.subject import subject
    from anonvma_rt.programs.subject import native
    from anonvma_rt.releases.matrix import Matrix, MatrixInterrupted, hunt_releases
    from anonvma_rt.search.hunt import hunt
    from anonvma_rt.search.hunt_result import HuntInterrupted, HuntResult
    from anonvma_rt.search.verify import Verification, VerifyInterrupted, verify
    from anonvma_rt.shrinking.shrink import ShrinkInterrupted, Shrunk, shrink
    from anonvma_rt.storming.storm import storm
    from anonvma_rt.storming.storm_result import StormInterrupted, StormResult

# Where each public name lives. A module is imported when one of its names is first asked for, so that nobody waits for
# what he does not use.
_HOMES = {
    "engine.base.bell": "StopToken",
    "engine.strategy.python": "Moment PyStrategy",
    "errors": "UserError",
    "execution.reproducer": "Reproducer replay",
    "importing.importer": "Imported ImportOptions import_scenario",
    "kernel.algorithm": "Algorithm",
    "kernel.machine": "KernelBug Machine Page Process Pte Violation Vma",
    "kernel.recording": "RecordedProcess Recording",
    "kernel.scenario": "Scenario",
    "own.subject": "subject",
    "programs.subject": "native",
    "releases.matrix": "Matrix MatrixInterrupted hunt_releases",
    "search.hunt": "hunt",
    "search.hunt_result": "HuntInterrupted HuntResult",
    "search.verify": "Verification VerifyInterrupted verify",
    "shrinking.shrink": "ShrinkInterrupted Shrunk shrink",
    "storming.storm": "storm",
    "storming.storm_result": "StormInterrupted StormResult",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Algorithm",
    "HuntInterrupted",
    "HuntResult",
    "ImportOptions",
    "Imported",
    "KernelBug",
    "Machine",
    "Matrix",
    "MatrixInterrupted",
    "Moment",
    "Page",
    "Process",
    "Pte",
    "PyStrategy",
    "RecordedProcess",
    "Recording",
    "Reproducer",
    "Scenario",
    "ShrinkInterrupted",
    "Shrunk",
    "StopToken",
    "StormInterrupted",
    "StormResult",
    "UserError",
    "Verification",
    "VerifyInterrupted",
    "Violation",
    "Vma",
    "get_cimport_path",
    "get_include",
    "hunt",
    "hunt_releases",
    "import_scenario",
    "native",
    "replay",
    "shrink",
    "storm",
    "subject",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_cimport_path() -> str:
    """The folder to put into `include_path` of cythonize(), so that `from anonvma_rt.api cimport ...` works.

    >>> import os; os.path.exists(os.path.join(get_cimport_path(), "anonvma_rt", "api.pxd"))
    True
    """
    return _mirror if isdir(join(_mirror, "anonvma_rt")) else dirname(_here)


def get_include() -> str:
    """The folder to put into `include_dirs` of an Extension that cimports anonvma_rt.

    The .pxd files carry their C inside them today, so the folder has nothing that a build would miss; it is part of
    the interface so that a downstream setup.py stays as it is when that changes.
    """
    return join(get_cimport_path(), "anonvma_rt")
