"""The file from which an exhaustive search goes on: what it has found and what is left, for each algorithm.

A search that came to its end stays in the file with its figures, so a command that is given again says the same at
once. The file is replaced as a whole, and it belongs to one question: another scenario, other parameters or bounds
are refused.

A checksum tells damage and not origin. What can be known of a search without making it again is checked: types, ranges,
and that its parts and states fit together. That classes were visited cannot be known, so whoever goes on from a file
says that they are taken on trust.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.errors import UserError, quote, reason
from anonvma_rt.execution.reproducer import LONGEST_NAME
from anonvma_rt.execution.schedule import LAST_TASK, MOST_SEGMENTS, MOST_STEPS
from anonvma_rt.text.files import Limits, checksum_of, load_json, read_bounded
from anonvma_rt.text.shape import (
    LAST,
    ShapeError,
    line,
    list_of,
    maybe,
    record,
    shown,
    switch,
    table_of,
    tuple_of,
    whole,
    wholes,
)
from anonvma_rt.text.writing import write_whole

__all__ = ["Checkpoint"]

FORMAT = "anonvma-rt checkpoint"
VERSION = 1
LIMITS = Limits(256 << 20, 1 << 25)
DEEPEST = 1 << 24  # steps of an execution that can be searched
MOST_NAMES = 1000

COUNT = whole(0, 1 << 62)
LAST_SET = (1 << LAST_TASK + 1) - 1
TASKS, SETS = wholes(0, LAST_TASK, DEEPEST), wholes(0, LAST_SET, DEEPEST)
SET = whole(0, LAST_SET)
HASHES = wholes(0, LAST, LIMITS.values)
PART = record({"tasks": TASKS, "explored": SETS, "backtrack": SETS, "sleep": SET, "root": whole(0, DEEPEST)})
STATE = tuple_of(TASKS, SET, SET, SET, SET)  # as Frontier.as_dict() has it
SEGMENT = tuple_of(whole(0, LAST_TASK), whole(1, MOST_STEPS))
SEARCH = record(
    {
        "visited": COUNT, "scouts": COUNT, "classes": COUNT, "sleep_blocked": COUNT,
        "repeated": COUNT,
        "violating": table_of(COUNT, MOST_NAMES), "seen": HASHES, "seen_violating": table_of(HASHES, MOST_NAMES),
        "seen_exits": HASHES, "limited": switch,
        "first": maybe(tuple_of(line(), whole(), line(), list_of(SEGMENT, MOST_SEGMENTS))),
        "parts": list_of(PART, DEEPEST), "states": list_of(STATE, DEEPEST),
    }
)  # fmt: skip
BODY = record(
    {"question": table_of(lambda value, where: value, MOST_NAMES), "searches": table_of(SEARCH, MOST_NAMES)},
    {"format": line(), "version": whole(), "written_by": line()},
)  # fmt: skip


class Checkpoint:
    """The file at `path`; made when it is first saved, which is now or with the first search. `question` says what is
    searched.

    Raises UserError for a file that cannot be read or written, is damaged, or belongs to another search.
    """

    def __init__(self, path: str | Path, question: Mapping[str, Any], at_once: bool = True) -> None:
        self.path = Path(path)
        self.question = dict(question)
        self.searches: dict[str, dict[str, Any]] = {}
        try:
            there = self.path.exists()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise UserError(f"--checkpoint {quote(str(path))}: cannot be read: {reason(error)}") from None
        if there:
            self._read()
        elif at_once:
            self.save()

    @classmethod
    def anew(cls, folder: Path, name: str, question: Mapping[str, Any]) -> "Checkpoint":
        """In a file of its own, whatever the folder has already."""
        name = "".join(c if (c.isascii() and c.isalnum()) or c in "-._" else "-" for c in name[:LONGEST_NAME])
        tries = (folder / f"{name}{f'-{n}' if n > 1 else ''}.json" for n in count(1))
        return cls(next(path for path in tries if not os.path.lexists(path)), question, at_once=False)

    def save(self) -> None:
        body = {
            "format": FORMAT,
            "version": VERSION,
            "written_by": f"anonvma_rt {__version__}",
            "question": self.question,
            "searches": self.searches,
        }
        text = json.dumps(body | {"sha256": checksum_of(body)}) + "\n"
        try:
            if len(text) > LIMITS.bytes:
                raise OSError(f"the search has become too large: {len(text)} bytes, and the most is {LIMITS.bytes}")
            write_whole(self.path, text)
        except OSError as error:
            raise UserError(f"--checkpoint {quote(str(self.path))}: cannot be written: {reason(error)}") from None

    def _read(self) -> None:
        where = f"--checkpoint {quote(str(self.path))}"
        try:
            body = load_json(read_bounded(self.path, LIMITS.bytes, "a checkpoint"), LIMITS, where)
        except ShapeError as error:
            raise UserError(f"{error}: not a checkpoint, or a damaged one") from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise UserError(f'{where}: not a checkpoint: "format" must be {quote(FORMAT)}')
        checksum = body.pop("sha256", None)
        if body.get("version") != VERSION or body.get("written_by") != f"anonvma_rt {__version__}":
            raise UserError(
                f"{where}: written by {shown(body.get('written_by'))}; this anonvma_rt {__version__} may make "
                "other steps: finish it there, or begin anew with another file"
            )
        if checksum != checksum_of(body):
            raise UserError(f"{where}: the checkpoint was edited or damaged (its sha256 is another)")
        known = BODY(body, where)
        for key, value in self.question.items():
            if known["question"].get(key) != value:
                raise UserError(
                    f"{where}: belongs to another search: its {key} is {quote(str(known['question'].get(key)))}, not "
                    f"{quote(str(value))}; begin anew with another file"
                )
        for name, search in known["searches"].items():
            for problem in problems(search):
                raise UserError(f"{where}: the search of {quote(name)} cannot be gone on with: {problem}")
        self.searches = known["searches"]


def problems(search: Mapping[str, Any]) -> Iterator[str]:
    """What cannot be of a search whose values have the right types: its counts, and how its sets lie in each other."""
    kinds, first = search["violating"], search["first"]
    if search["classes"] + search["sleep_blocked"] + search["repeated"] != search["visited"]:
        yield "classes, sleep_blocked and repeated do not add up to visited"
    if bool(kinds) != (first is not None) or (first is not None and first[2] not in kinds):
        yield "first is not the first of what violates"
    if sum(kinds.values()) > search["visited"] + search["scouts"]:
        yield "more violate than were visited"
    states = {tuple(tasks): sets for tasks, *sets in search["states"]}
    for path, (enabled, sleep, explored, backtrack) in states.items():
        if explored & ~enabled or explored & ~backtrack:
            yield "a state in which somebody was explored who could not be"
        if backtrack & enabled & ~explored & ~sleep:
            yield "a state in which somebody is to be explored, and no part has it"
        if path and not _explored(states, path):
            yield "a state to which no other leads"
    for part in search["parts"]:
        yield from _part_problems(part, states)


def _explored(states: Mapping[tuple[int, ...], Sequence[int]], path: tuple[int, ...]) -> bool:
    """Whether the last task of `path` counts as explored in the state before it."""
    before = states.get(path[:-1])
    return before is not None and bool(before[2] >> path[-1] & 1)


def _part_problems(part: Mapping[str, Any], states: Mapping[tuple[int, ...], Sequence[int]]) -> Iterator[str]:
    tasks, root = part["tasks"], part["root"]
    if not len(tasks) == len(part["explored"]) == len(part["backtrack"]) or root > len(tasks):
        yield "a part whose lists have different lengths"
        return
    if not all(_explored(states, tuple(tasks[:depth])) for depth in range(1, root + 1)):
        yield "a part that no state has given away"
    for task, explored, backtrack in zip(tasks, part["explored"], part["backtrack"], strict=True):
        if explored & ~backtrack or explored >> task & 1 or not backtrack >> task & 1:
            yield "a part in which somebody is explored who is not to be"
    if part["sleep"] >> tasks[root - 1] & 1 if root else part["sleep"]:
        yield "a part that begins with somebody who sleeps"
