"""The releases of Linux: which choices each made, which commits brought them, and what its row does not know.

The data are releases.toml. A release that has no row of its own is taken as the newest older one that has, and `said`
of what resolve() returns is the line that tells the user so.
"""

import platform
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

from anonvma_rt.errors import AlgorithmError, quote

__all__ = [
    "CALLS",
    "CHANGES",
    "HOST",
    "PRESETS",
    "RELEASES",
    "Change",
    "Preset",
    "Resolved",
    "between",
    "changes_up_to",
    "is_release",
    "resolve",
    "row",
    "select",
    "unknown_of",
]

HOST = "linux-host"
Value = str | bool
Order = tuple[int, ...]

_NUMBER = re.compile(r"(\d{1,3})\.(\d{1,4})(?:\.(\d{1,5}))?(?:\.(\d{1,5}))?(?:-?rc(\d{1,3}))?")


@dataclass(frozen=True)
class Change:
    """A choice that a release makes otherwise than the one before. stable: the first versions of stable kernels that
    have it, too. recalled: the commit's number is from memory."""

    release: str
    field: str
    value: Value
    commit: str
    about: str
    recalled: bool = False
    stable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unknown:
    """What the rows of some releases do not know. of: what a scenario must not need under them."""

    about: str
    since: str = ""
    until: str = ""
    of: str = ""

    @property
    def span(self) -> str:
        """The releases that it is about, in words."""
        if self.since and self.until:
            return f"{self.since} to {self.until}"
        return f"since {self.since}" if self.since else f"until {self.until}" if self.until else "all releases"


@dataclass(frozen=True)
class Needed:
    """A call that only newer releases have; key: it is that call only where this key of the step is there."""

    verb: str
    since: str
    commit: str
    name: str
    key: str = ""


@dataclass(frozen=True)
class Preset:
    """A release, but for some choices."""

    name: str
    release: str
    about: str
    kernel: str = ""
    but: Mapping[str, Value] = field(default_factory=dict)


class Resolved(NamedTuple):
    """release: the row, as "6.6" or "6.18.8". said: "", or that it is not what was asked for."""

    release: str
    said: str


_DATA: dict[str, Any] = tomllib.loads((resources.files(__package__) / "releases.toml").read_text("utf-8"))

RELEASES: dict[str, str] = _DATA["releases"]  # when each came out, oldest first
BEFORE: dict[str, Value] = _DATA["before"]
CHANGES = tuple(Change(**{**one, "stable": tuple(one.get("stable", ()))}) for one in _DATA["change"])
UNKNOWN = tuple(Unknown(**one) for one in _DATA["unknown"])
CALLS = tuple(Needed(**one) for one in _DATA["call"])
PRESETS = tuple(Preset(**one) for one in _DATA["preset"])


def order(release: str) -> Order:
    """By which releases are compared: "3.10" is newer than "3.7".

    >>> order("3.10") > order("3.7") > order("2.6.38")
    True
    """
    return tuple(map(int, release.split(".")))


def mainline(release: str) -> str:
    """Without the number of a stable kernel.

    >>> mainline("6.18.8"), mainline("2.6.38")
    ('6.18', '2.6.38')
    """
    parts = release.split(".")
    return ".".join(parts[: 3 if parts[0] == "2" else 2])


STABLE = tuple(sorted({version for change in CHANGES for version in change.stable}, key=order))
ROWS = tuple(sorted([*RELEASES, *STABLE], key=order))  # all that there is a row for


# ---- rows ------------------------------------------------------------------------------------------------------------


def has(release: str, change: Change) -> bool:
    """Whether a release, or a version of a stable kernel, has a change."""
    if order(change.release) <= order(mainline(release)):
        return True
    return any(mainline(one) == mainline(release) and order(one) <= order(release) for one in change.stable)


def changes_up_to(release: str) -> list[Change]:
    return [change for change in CHANGES if has(release, change)]


def row(release: str) -> dict[str, Value]:
    """The choices that are not those of Linux 3.2, or were not at some time.

    >>> row("3.3")["ordering"]
    'tail'
    """
    return BEFORE | {change.field: change.value for change in changes_up_to(release)}


def unknown_of(release: str) -> list[Unknown]:
    at = order(mainline(release))
    return [u for u in UNKNOWN if (not u.since or order(u.since) <= at) and (not u.until or at <= order(u.until))]


# ---- names -----------------------------------------------------------------------------------------------------------


def is_release(name: str) -> bool:
    """Whether it looks like one: `linux-` and a digit, or the running kernel."""
    return name == HOST or re.match(r"linux-\d", name) is not None


def resolve(name: str) -> Resolved:
    """The row for `linux-6.6`, or the newest older one. Raises AlgorithmError for what is no release or is too old.

    >>> resolve("linux-6.7")
    Resolved(release='6.6', said='linux-6.7 is taken as linux-6.6, the newest older release in the table')
    """
    asked, running = name, ""
    if name == HOST:
        running = running_kernel()
        asked = f"linux-{running}"
    found = (re.match if running else re.fullmatch)(r"linux-" + _NUMBER.pattern, asked)
    if found is None:
        where = f"{HOST}: the running kernel calls itself {quote(running)}" if running else f"algorithm {quote(name)}"
        raise AlgorithmError(f"{where}: not a release of Linux (linux-{next(reversed(RELEASES))} is one)")
    version = ".".join(part for part in found.groups()[:4] if part is not None)
    known = [one for one in ROWS if _counts(one, version, found[5] is not None)]
    if not known:
        raise AlgorithmError(f"{quote(asked)} is older than the oldest release in the table, linux-{ROWS[0]}")
    taken = known[-1]
    if taken == version and not running:
        return Resolved(taken, "")
    who = f"{HOST}: this machine runs {running}, which" if running else name
    if taken == version:
        return Resolved(taken, f"{who} is linux-{taken}")
    why = "the newest older release in the table"
    if taken == mainline(version):
        why = "what stable kernels took over later is not in the table"
    elif order(version) > order(ROWS[-1]):
        why = "the newest release in the table"
    return Resolved(taken, f"{who} is taken as linux-{taken}, {why}")


def _counts(row_name: str, version: str, candidate: bool) -> bool:
    """Whether a row is older than a version, or is it. A stable kernel's is there for that kernel only; a release
    candidate comes before its release."""
    if row_name in STABLE and mainline(row_name) != mainline(version):
        return False
    return order(row_name) < order(version) or (row_name == version and not candidate)


def running_kernel() -> str:
    if platform.system() != "Linux":
        raise AlgorithmError(f"{HOST}: this machine runs {platform.system() or 'no Linux'}; name a release")
    return platform.release()


# ---- several ---------------------------------------------------------------------------------------------------------


def between(text: str, where: str) -> list[str]:
    """The releases of a range: `3.2..4.4`, `..3.2`, `3.3..` or one alone; its ends must be in the table.

    >>> between("3.0..3.3", "here")
    ['3.0', '3.1', '3.2', '3.3']
    """
    first, dots, last = (part.strip().removeprefix("linux-") for part in text.partition(".."))
    last = last if dots else first
    for end in (first or next(iter(RELEASES)), last or next(reversed(RELEASES))):
        if end not in RELEASES:
            raise AlgorithmError(f"{where}: {quote(end)} is not in the table of releases{_near(end)}")
    known = list(RELEASES)
    low = known.index(first) if first else 0
    high = known.index(last) if last else len(known) - 1
    if low > high:
        raise AlgorithmError(f"{where}: {quote(text)}: the older release comes first")
    return known[low : high + 1]


def select(text: str, where: str) -> list[str]:
    """What `--releases` says: `all`, or releases and ranges with commas between; oldest first."""
    if text.strip() == "all":
        return list(RELEASES)
    chosen = {release for part in text.split(",") for release in between(part, where)}
    return [release for release in RELEASES if release in chosen]


def _near(release: str) -> str:
    """The one before and the one after; what is none gets the ends of the table."""
    if _NUMBER.fullmatch(release) is None or "rc" in release:
        return f" (it goes from {ROWS[0]} to {ROWS[-1]})"
    older = [one for one in RELEASES if order(one) < order(release)]
    newer = [one for one in RELEASES if order(one) > order(release)]
    return f" (near it: {', '.join(older[-1:] + newer[:1])})"
