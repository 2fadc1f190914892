"""Leaves out one announcement of the simulated kernel after the other, and makes sure that an audit reports it.

    python -m anonvma_rt.stress.omissions                all of the table, one after the other
    python -m anonvma_rt.stress.omissions FILE ...       those of some files of mm/
    python -m anonvma_rt.stress.omissions --search       also what the table does not have: where would it be reported?

It needs the sources of the compiled half, a C compiler, Cython and setuptools. A copy of the sources is built once, in
which every point asks whether it is the one that is left out. Exit code 0: all were reported; 1: one was not; 2: bad
input.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anonvma_rt import get_cimport_path
from anonvma_rt.auditing import overlay
from anonvma_rt.auditing.build import AUDIT_FLAGS, Builder, subjects

TABLE = Path(__file__).with_name("table.toml")
VARIABLE = "ANONVMA_RT_LEFT_OUT"
NOTHING = -1  # the number of no announcement: what is reported then says nothing about the others
POINT = re.compile(r"^(\s+)((?:point|announce_vmas|announce_tree|announce_flags)\(t, .*\))$", re.M)
FIRST_IMPORT = re.compile(r"^from ", re.M)
ASK = f'''cdef extern from *:
    """
    #ifndef ANONVMA_RT_OMISSIONS
    #define ANONVMA_RT_OMISSIONS
    #include <stdlib.h>
    static int rt_left_out(int n)
    {{
        static int out = -2;
        if (out == -2)
            out = getenv("{VARIABLE}") ? atoi(getenv("{VARIABLE}")) : -1;
        return n == out;
    }}
    #endif
    """
    bint rt_left_out(int n) nogil

'''


@dataclass(frozen=True)
class Omission:
    """One announcement. text: what stands there; nth: which one of that text in its file, from 1."""

    file: str
    text: str
    nth: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.file}: {self.text}" + (f" ({self.nth})" if self.nth > 1 else "")


def announcements(root: Path) -> Iterator[tuple[Path, re.Match[str], Omission]]:
    """Every announcement of mm/, with its number."""
    number = 0
    for path in sorted([*root.glob("anonvma_rt/mm/*.pyx"), *root.glob("anonvma_rt/mm/*.pxd")]):
        seen: dict[str, int] = {}
        for match in POINT.finditer(path.read_text()):
            seen[match[2]] = seen.get(match[2], 0) + 1
            yield path, match, Omission(path.name, match[2], seen[match[2]], number)
            number += 1


def copy(root: Path, folder: Path) -> list[Omission]:
    """The sources once more, where every announcement asks before it is made."""
    found = list(announcements(root))
    for path in (*root.rglob("*.pxd"), *root.rglob("*.pyx")):
        text = path.read_text()
        here = [(match, one) for of, match, one in found if of == path]
        for match, one in reversed(here):
            asked = f"{match[1]}if not rt_left_out({one.number}):\n{match[1]}    {match[2]}"
            text = text[: match.start()] + asked + text[match.end() :]
        if here:
            at = FIRST_IMPORT.search(text)
            assert at is not None
            text = text[: at.start()] + ASK + text[at.start() :]
        to = folder / path.relative_to(root)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
    return [one for _, _, one in found]


def reports(plan: Path, number: int, scenario: str, algorithm: str, runs: int) -> int:
    """How many pairs an audit reports without announcement `number`; -1 where it could not be made."""
    command = [sys.executable, "-m", "anonvma_rt", "audit", scenario, "--algorithm", algorithm, "--json"]
    environment = os.environ | {overlay.VARIABLE: str(plan), VARIABLE: str(number)}
    done = subprocess.run([*command, "--runs", str(runs)], env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        return -1
    return sum(len(one["pairs"]) for one in json.loads(done.stdout)["results"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m anonvma_rt.stress.omissions", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="*", help="only those of this file of mm/")
    parser.add_argument("--runs", type=int, default=500, help="executions of each audit (default %(default)s)")
    parser.add_argument("--search", action="store_true", help="try every scenario for what is not in the table")
    parser.add_argument("--most", type=int, help="only so many, from the beginning of the table")
    options = parser.parse_args(arguments)
    table = tomllib.loads(TABLE.read_text())
    root = Path(get_cimport_path())
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        known = {(one.file, one.text, one.nth): one for one in copy(root, folder)}
        wanted = [one for one in table.get("omission", []) if not options.file or one["file"] in options.file]
        if missing := [one for one in wanted if (one["file"], one["text"], one.get("nth", 1)) not in known]:
            parser.error(f"the table has what is not there: {missing[0]['file']}: {missing[0]['text']}")
        builder = Builder(AUDIT_FLAGS, lambda line: print(line, file=sys.stderr, flush=True), include=folder)
        plan = builder.plan({name: folder / path.relative_to(root) for name, path in subjects().items()})
    bad = 0
    sound: dict[tuple[str, str], bool] = {}
    for entry in wanted[: options.most]:
        one = known.pop((entry["file"], entry["text"], entry.get("nth", 1)))
        place = entry["scenario"], entry["algorithm"]
        if place not in sound:
            sound[place] = reports(plan, NOTHING, *place, options.runs) == 0
        if not sound[place]:
            print(f"{one.name:70} {place[0]} under {place[1]} reports without it, too", flush=True)
            bad += 1
            continue
        pairs = reports(plan, one.number, entry["scenario"], entry["algorithm"], options.runs)
        print(f"{one.name:70} {'NOT REPORTED' if pairs < 1 else f'{pairs} reports'}", flush=True)
        bad += pairs < 1
    if options.search:
        rest = [one for one in known.values() if not options.file or one.file in options.file]
        search(plan, rest, table, options.runs)
    return 1 if bad else 0


def search(plan: Path, rest: list[Omission], table: dict[str, list[dict[str, str]]], runs: int) -> None:
    """Prints an entry for the table, for each that some scenario of it shows."""
    places = [one for one in table["place"] if reports(plan, NOTHING, one["scenario"], one["algorithm"], runs) == 0]
    for one in rest:
        for place in places:
            if reports(plan, one.number, place["scenario"], place["algorithm"], runs) > 0:
                print(f"\n[[omission]]\nfile = {json.dumps(one.file)}\ntext = {json.dumps(one.text)}")
                if one.nth > 1:
                    print(f"nth = {one.nth}")
                print(
                    f"scenario = {json.dumps(place['scenario'])}\nalgorithm = {json.dumps(place['algorithm'])}",
                    flush=True,
                )
                break
        else:
            print(f"# not reported anywhere: {one.name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
