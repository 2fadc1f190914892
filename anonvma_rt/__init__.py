"""A race laboratory for Linux's reverse map of anonymous memory, and for threaded nogil code at large."""

from importlib.machinery import EXTENSION_SUFFIXES
from os.path import abspath, dirname, exists, isdir, join

__version__ = "0.1.0"

_here = dirname(abspath(__file__))

if not any(exists(join(_here, "engine", "task" + suffix)) for suffix in EXTENSION_SUFFIXES):
    raise ImportError(
        f"{_here} is a checkout whose compiled half was not built: run `pip install -e .` in {dirname(_here)}, "
        "or start Python in another folder to use an installed anonvma_rt"
    )


def get_cimport_path() -> str:
    """The folder to put into `include_path` of cythonize(), so that `from anonvma_rt.engine.klist cimport ...` works.

    >>> import os; os.path.exists(os.path.join(get_cimport_path(), "anonvma_rt", "engine", "klist.pxd"))
    True
    """
    mirror = join(dirname(_here), "cython_src")
    return mirror if isdir(join(mirror, "anonvma_rt")) else dirname(_here)


def get_include() -> str:
    """The folder to put into `include_dirs` of an Extension that cimports anonvma_rt.

    The .pxd files carry their C inside them today, so the folder has nothing that a build would miss; it is part of
    the interface so that a downstream setup.py stays as it is when that changes.
    """
    return join(get_cimport_path(), "anonvma_rt")
