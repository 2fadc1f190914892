"""No attribute of a compiled class ends the process, not even of an object that no constructor has made."""

import subprocess
import sys
from pathlib import Path

import bare_objects
import pytest

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.mm.lab.hand import Hand


def test_whatever_is_done_to_a_bare_object_is_an_exception_at_most():
    done = subprocess.run([sys.executable, bare_objects.__file__], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_many_classes_are_looked_at():
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in bare_objects.classes()}
    assert {"anonvma_rt.engine.run.explorer.Explorer", "anonvma_rt.mm.lab.hand.Hand"} <= names and len(names) > 20


def test_one_that_ends_the_process_is_seen():
    code = (
        f"import os, signal, sys\nsys.path[:0] = [{str(Path(bare_objects.__file__).parent)!r}]\nimport bare_objects\n"
        "class Bad:\n def dies(self): os.kill(os.getpid(), signal.SIGSEGV)\n def fine(self): return 1\n"
        "print([one[:2] for one in bare_objects.endings(Bad) if one[0] in ('dies', 'fine')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[('dies', 0)]\n", done.stderr


def test_it_says_what_is_wrong():
    with pytest.raises(RuntimeError, match="the explorer was never built"):
        _ = Explorer.__new__(Explorer).bound
    with pytest.raises(RuntimeError, match="the kernel was never built"):
        Hand.__new__(Hand).process()
