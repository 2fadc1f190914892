"""Build of the compiled half.

cython_src/ mirrors the package, because Cython finds a .pxd only under its full dotted name. One custom command puts
the .pxd files into wheels and sdists, the other turns Cython into C. What lies below cython_src/ is built, and what
lies below the package and stress/ is installed: there is no list in which a file could be forgotten.
"""

import os
import shlex
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.command.build_py import build_py as _build_py

SRC, PACKAGE = "cython_src", "anonvma_rt"
MIRROR = Path(SRC, PACKAGE)
SHARED = sorted(str(path) for path in MIRROR.rglob("*.pxd"))
# The interface between the lab and programs that are compiled for it, in C for both sides.
RUNTIME = os.path.join(PACKAGE, "programs", "runtime")
HEADERS = sorted(str(path) for path in Path(RUNTIME).glob("*.h"))
PYX = sorted(str(path) for path in MIRROR.rglob("*.pyx"))
PACKAGES = {PACKAGE: PACKAGE, f"{PACKAGE}.stress": "stress"}
CORES = len(os.sched_getaffinity(0))


class build_py(_build_py):
    """Ships the .pxd files beside the modules they describe, so that other packages can cimport them."""

    def _shared(self):
        for source in SHARED:
            yield source, os.path.join(self.build_lib, os.path.relpath(source, SRC))

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._shared():
                self.mkpath(os.path.dirname(target))
                self.copy_file(source, target)
            self._drop_leftovers()

    def _drop_leftovers(self):
        """A wheel is whatever lies in build_lib, so a module that was deleted since the last build must leave it."""
        wanted = {*self.get_outputs(), *self.get_finalized_command("build_ext").get_outputs()}
        for path in Path(self.build_lib, PACKAGE).rglob("*"):
            if path.is_file() and str(path) not in wanted:
                path.unlink()

    def get_source_files(self):
        return super().get_source_files() + SHARED + PYX

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [target for _, target in self._shared()]

    def get_output_mapping(self):
        return {**super().get_output_mapping(), **{target: source for source, target in self._shared()}}


class build_ext(_build_ext):
    """Makes C of the modules, then compiles them, side by side: each is one translation unit.

    Neither happens before a build is run: metadata and an sdist need no C, and an error in a .pyx belongs to the build.
    """

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or CORES

    def run(self):
        from Cython.Build import cythonize

        translated = cythonize(
            # Bare ones: setuptools has put state of its own into those of self.extensions, and a copy would lose it.
            [Extension(extension.name, extension.sources) for extension in self.extensions],
            include_path=[SRC],
            build_dir="build/cython",
            nthreads=CORES,
            force=bool(self.force),
            # With the debugger's line tables (-g1) they say which line of a .pyx a recorded call stack stands at.
            emit_linenums=True,
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                "embedsignature": True,
                "freethreading_compatible": True,
            },
        )
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().run()


def extensions():
    # The compiler reads these last, so the builder's own CFLAGS (-O0, -fsanitize=thread) come again behind them. A
    # fortified long jump takes a jump between two stacks for an attack.
    flags = ["-O3", "-g1", "-Wall", "-pthread", "-U_FORTIFY_SOURCE", *shlex.split(os.environ.get("CFLAGS", ""))]
    return [
        Extension(
            os.path.relpath(source, SRC)[: -len(".pyx")].replace(os.sep, "."),
            [source],
            depends=[*SHARED, *HEADERS, "setup.py"],
            include_dirs=[RUNTIME],
            extra_compile_args=flags,
            extra_link_args=["-pthread"],
        )
        for source in PYX
    ]


def packages():
    """Every folder with an __init__.py, below the package and below stress/, which is installed inside it."""
    return sorted(
        ".".join((name, *init.parent.relative_to(folder).parts))
        for name, folder in PACKAGES.items()
        for init in Path(folder).rglob("__init__.py")
    )


# Cython's worker processes may import this file again, depending on how the platform starts them.
if __name__ == "__main__":
    setup(
        packages=packages(),
        package_dir=PACKAGES,
        ext_modules=extensions(),
        cmdclass={"build_py": build_py, "build_ext": build_ext},
    )
