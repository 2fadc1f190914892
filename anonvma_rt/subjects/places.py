"""Where in its source a step is made: the file, the line, and the text of the line where the file can be read."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Place", "cells", "place_at", "source_lines"]

LARGEST = 16 << 20  # bytes of a source that is read


class Place(NamedTuple):
    """file: as the compiler was given it, with its folder; text: "" where nobody can read it."""

    file: str
    line: int
    text: str

    @property
    def short(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    @property
    def full(self) -> str:
        """The line with its text.

        >>> Place("/home/me/queue.c", 41, "pthread_mutex_lock(&q->m);").full
        'queue.c:41: pthread_mutex_lock(&q->m);'
        """
        return f"{self.short}: {self.text}" if self.text else self.short


def place_at(file: str, line: int) -> Place:
    """With the text of the line."""
    try:
        known = Path(file).stat()
        lines = _lines(file, known.st_mtime_ns) if known.st_size <= LARGEST else ()
    except OSError:
        lines = ()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return Place(file, line, re.sub(r"\s+", " ", text).strip())


@cache
def _lines(file: str, changed: int) -> tuple[str, ...]:
    path = Path(file)
    return tuple(path.read_text("utf-8", "replace").split("\n")) if path.is_file() else ()


def cells(places: Iterable[Place | None]) -> tuple[str, dict[Place, str]]:
    """A column for these places: its heading, and what stands there. The number is enough where all are in one file; ""
    and nothing where there are none.

    >>> one, two = Place("a/q.c", 7, ""), Place("b/r.c", 12, "")
    >>> cells([one, None]), cells([one, two])[1][two], cells([None])
    (('line', {Place(file='a/q.c', line=7, text=''): '7'}), 'r.c:12', ('', {}))
    """
    known = dict.fromkeys(place for place in places if place is not None)
    if len({place.file for place in known}) == 1:
        return "line", {place: str(place.line) for place in known}
    return ("where", {place: place.short for place in known}) if known else ("", {})


def source_lines(places: Iterable[Place | None], width: int) -> list[str]:
    """The lines of these places as the sources have them, in order, a file after the other.

    >>> source_lines([Place("a/q.c", 12, "unlock(&q);"), None, Place("a/q.c", 7, "lock(&q);")], 40)
    ['q.c', '      7  lock(&q);', '     12  unlock(&q);']
    """
    known = sorted({place for place in places if place is not None and place.text})
    found = []
    for i, place in enumerate(known):
        if i == 0 or known[i - 1].file != place.file:
            found.append(Path(place.file).name)
        line = f"{place.line:7d}  {place.text}"
        found.append(line if len(line) <= width else f"{line[: width - 3]}...")
    return found
