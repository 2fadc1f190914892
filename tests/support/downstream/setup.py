"""A package of somebody else's that brings its own subject: all it knows of anonvma_rt is what is installed."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import anonvma_rt

extension = Extension("lostcount", ["lostcount.pyx"], include_dirs=[anonvma_rt.get_include()])

setup(
    name="lostcount",
    version="1.0",
    ext_modules=cythonize([extension], include_path=[anonvma_rt.get_cimport_path()], language_level=3),
)
