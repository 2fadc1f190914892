"""A subject that is built for an audit, once per session, and what is left over when it was audited."""

import importlib.util
import sys
from pathlib import Path

import pytest
from compiled import BESIDE, once

from anonvma_rt.auditing.build import AUDIT_FLAGS, Builder


@pytest.fixture(scope="session")
def racy(tmp_path_factory):
    """The module racy.pyx, built with the flags of an audit."""
    pytest.importorskip("Cython", reason="an audit compiles")

    def make(folder):
        Builder(AUDIT_FLAGS, folder=folder).files({"racy": BESIDE / "racy.pyx"})

    (path,) = once(tmp_path_factory, "racy", make).glob("racy-*")
    spec = importlib.util.spec_from_file_location("racy", path)
    module = sys.modules["racy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Path(tmp_path)
