"""Builds against the anonvma_rt that is installed, and needs nothing else of it."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import anonvma_rt

extension = Extension("ordering_rule", ["ordering_rule.pyx"], include_dirs=[anonvma_rt.get_include()])

setup(
    name="ordering_rule",
    version="1.0",
    ext_modules=cythonize([extension], include_path=[anonvma_rt.get_cimport_path()], language_level=3),
)
