"""A race laboratory for Linux's reverse map of anonymous memory, and for threaded nogil code at large."""

from importlib.machinery import EXTENSION_SUFFIXES
from os import walk
from os.path import abspath, dirname, exists, isdir, join, relpath
from sys import version_info

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

# Below the check, which says something better than a missing module does.
from anonvma_rt.engine.run.explorer import StopToken  # noqa: E402
from anonvma_rt.engine.strategy.python import Moment, PyStrategy  # noqa: E402
from anonvma_rt.errors import UserError  # noqa: E402
from anonvma_rt.execution.reproducer import Reproducer, replay  # noqa: E402
from anonvma_rt.kernel.algorithm import Algorithm  # noqa: E402
from anonvma_rt.kernel.machine import KernelBug, Machine, Page, Process, Pte, Violation, Vma  # noqa: E402
from anonvma_rt.kernel.recording import RecordedProcess, Recording  # noqa: E402
from anonvma_rt.kernel.scenario import Scenario  # noqa: E402
from anonvma_rt.own.subject import subject  # noqa: E402
from anonvma_rt.search.hunt import hunt  # noqa: E402
from anonvma_rt.search.hunt_result import HuntInterrupted, HuntResult  # noqa: E402
from anonvma_rt.search.verify import Verification, VerifyInterrupted, verify  # noqa: E402
from anonvma_rt.shrinking.shrink import ShrinkInterrupted, Shrunk, shrink  # noqa: E402
from anonvma_rt.storming.storm import storm  # noqa: E402
from anonvma_rt.storming.storm_result import StormInterrupted, StormResult  # noqa: E402

__all__ = [
    "Algorithm",
    "HuntInterrupted",
    "HuntResult",
    "KernelBug",
    "Machine",
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
    "replay",
    "shrink",
    "storm",
    "subject",
    "verify",
]


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
