"""Build of the compiled half.

cython_src/ mirrors the package, because Cython finds a .pxd only under its full dotted name. The one custom
command puts the .pxd files into wheels and sdists; the list of modules is explicit, so that a mistake in it is an
error and not a wheel without binaries.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.command.build_py import build_py as _build_py

SRC, PACKAGE = "cython_src", "anonvma_rt"
MODULES = [
    "engine.klist",
    "engine.arena",
    "engine.task",
    "engine.subject",
    "engine.block",
    "engine.carrier",
    "engine.explorer",
    "engine.strategy.base",
    "engine.strategy.random",
    "engine.strategy.sticky",
    "engine.strategy.pct",
    "engine.strategy.replay",
    "mm.vma_tree",
    "mm.memory",
    "mm.rmap",
    "mm.mmap",
    "mm.mremap",
    "mm.migrate",
    "mm.check",
    "mm.kernel",
    "mm.notes",
]
SHARED = sorted(str(path) for path in Path(SRC, PACKAGE).rglob("*.pxd"))
PYX = [f"{SRC}/{PACKAGE}/{module.replace('.', '/')}.pyx" for module in MODULES]


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

    def get_source_files(self):
        return super().get_source_files() + SHARED + PYX

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [target for _, target in self._shared()]

    def get_output_mapping(self):
        return {**super().get_output_mapping(), **{target: source for source, target in self._shared()}}


class build_ext(_build_ext):
    """Compiles the modules side by side: each is one translation unit."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


def extensions():
    flags = ["-O2", "-g0", "-Wall", "-pthread"]
    return [
        Extension(
            f"{PACKAGE}.{module}",
            [source],
            depends=SHARED,
            extra_compile_args=flags,
            extra_link_args=["-pthread"],
        )
        for module, source in zip(MODULES, PYX, strict=True)
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        include_path=[SRC],
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_py": build_py, "build_ext": build_ext},
)
