"""Compiled modules that stand in for those of the same name: the subjects, built so that they tell every access.

A process whose environment has ANONVMA_RT_AUDIT, the path of a plan, loads what the plan names: {module: file}. Every
verb works in such a process, and whoever audits there hears the subjects.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType

__all__ = ["VARIABLE", "Overlay", "active", "install", "loaded_files"]

VARIABLE = "ANONVMA_RT_AUDIT"


class Overlay:
    """A finder for the modules of a plan."""

    def __init__(self, plan: Mapping[str, str]) -> None:
        self.plan = plan

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_file_location(name, self.plan[name]) if name in self.plan else None


def install() -> None:
    """Called before anything else of the package is loaded. Raises ImportError where the plan cannot be read."""
    path = os.environ[VARIABLE]
    try:
        with open(path, encoding="utf-8") as file:
            plan = json.load(file)
    except (OSError, ValueError) as error:
        raise ImportError(f"{VARIABLE}={path}: no plan of an audit: {error}") from None
    if not isinstance(plan, dict) or not all(isinstance(one, str) for one in plan.values()):
        raise ImportError(f"{VARIABLE}={path}: no plan of an audit: it must name a file for each module")
    sys.meta_path.insert(0, Overlay(plan))


def active() -> bool:
    """Whether this process has a plan."""
    return any(isinstance(one, Overlay) for one in sys.meta_path)


def loaded_files() -> list[str]:
    """The files of all compiled modules that this process has loaded."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({file for file in files if file and file.endswith(tuple(EXTENSION_SUFFIXES))})
