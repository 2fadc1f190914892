"""What the tests of campaigns share: a small campaign, command lines as processes, and who is left of them."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from uuid import uuid4

from anonvma_rt.cli import main

MARK = "ANONVMA_RT_TEST_MARK"

# Bugs and their fix, found by two strategies: 8 cells of 6 ranges.
SMALL = """
campaign = "small"
executions = 600
range = 100
carrier = "fibers"
[[cells]]
scenarios = ["merge"]
algorithms = ["unpatched", "moveto-tail"]
strategies = ["pct", "sticky"]
seeds = [0, 1]
"""


def command(*arguments):
    return [sys.executable, "-m", "anonvma_rt", "campaign", *map(str, arguments)]


def run(*arguments, expect=0, **options):
    """(stdout, stderr) of a command line, whose exit code must be `expect`: here, or with options in a process."""
    if options:
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, **options)
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as complained:
            code = main(["campaign", *map(str, arguments)])
        out, err = said.getvalue(), complained.getvalue()
    assert code == expect, out + err
    return out, err


def one_line(*arguments, **options):
    """The error of bad input: one line, no traceback, nothing on stdout."""
    out, err = run(*arguments, expect=2, **options)
    assert out == "" and err.startswith("anonvma-rt: ") and err.count("\n") == 1, out + err
    return err


def totals(db):
    """The cells of a report without what depends on the clock."""
    with redirect_stdout(StringIO()) as said:
        main(["campaign", "report", str(db), "--json"])
    cells = json.loads(said.getvalue())["cells"]
    for cell in cells:
        del cell["seconds"]
    return cells


def write(path, text=SMALL):
    path.write_text(text)
    return path


class Marked:
    """A command line in a process of its own, which it and all that it starts can be recognized by."""

    def __init__(self, *arguments):
        self.mark = uuid4().hex
        self.process = subprocess.Popen(
            command(*arguments),
            env=os.environ | {MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def living(self):
        """The pids of all processes that have the mark in their environment and are no zombies."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if (
                    folder.name.isdigit()
                    and f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes()
                    and (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                ):
                    found.append(int(folder.name))
            except (OSError, IndexError):
                continue  # it has just ended
        return found

    def workers(self):
        """Those children that execute ranges."""
        found = []
        for pid in self.living():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if pid != self.process.pid and b"spawn_main" in words:
                found.append(pid)
        return found

    def all_gone(self, within=10.0):
        end = time.monotonic() + within
        while self.living():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


def finished_ranges(db):
    """How many ranges a store has now; 0 where there is none yet."""
    try:
        database = sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute("select count(*) from range").fetchone()[0]
        finally:
            database.close()
    except sqlite3.OperationalError:
        return 0


def wait_for(condition, within=60.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
