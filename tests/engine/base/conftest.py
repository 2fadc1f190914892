"""The list compiled for Python, for the tests of this folder."""

from rawlist import compiled, raw  # noqa: F401
