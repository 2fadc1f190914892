"""What require_api() asks at run time (see api.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Execution, Task

from anonvma_rt.engine.run.subject import ARENA_ROOT  # no-cython-lint: for the user's object_name()

# The modules that asked, by name: the lab refuses a subject whose module did not.
CHECKED = set()


cdef int check_api(str module, int version, uint64_t execution, uint64_t task) except -1:
    """Version first, because it says more; the sizes notice a change of the structs that nobody counted."""
    what = f"version {version}"
    if version == API_VERSION and (execution != sizeof(Execution) or task != sizeof(Task)):
        what = f"another build of version {version}"
    elif version == API_VERSION:
        CHECKED.add(module)
        return 0
    raise ImportError(
        f"{module} was built against {what} of the Cython API of anonvma_rt, and version {API_VERSION} is installed: "
        "build it again (python -m pip install --force-reinstall --no-cache-dir, from its sources)",
        name=module,
    )


def api_version():
    """The version of the Cython API that is installed."""
    return API_VERSION
