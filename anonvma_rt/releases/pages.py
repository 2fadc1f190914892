"""What the documentation says of releases, made from the table and from what the scenarios say.

docs/kernels.md as a whole, and in docs/zoo.md the table between two marks. `python -m anonvma_rt.releases.pages docs`
writes both anew, and a test holds them against the data.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from anonvma_rt.kernel.algorithm import BEHAVIOUR, PRESETS, Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.linux import table
from anonvma_rt.text.expected import NONE, expected_text

__all__ = ["kernels_page", "with_matrix", "zoo_matrix"]

BEGIN, END = "<!-- releases: made by anonvma_rt.releases.pages -->", "<!-- end of releases -->"
INTRODUCTION = """\
# The kernel of every release

This page is made from `anonvma_rt/linux/releases.toml`, as are the presets, `anonvma-rt list algorithms` and the matrix
of `anonvma-rt hunt SCENARIO --releases all`. A release is a row of choices, the fields of `Algorithm`: those of the
release before, and what its commits changed. `--algorithm linux-6.6` hunts under it.

- Every release in which a choice changed has a row. One that has none is taken as the newest older one, and a line
  says so: `linux-6.7` is `linux-6.6`.
- Older than {first} is an error. Newer than {last} is taken as {last}.
- A row is what Linus released. What stable kernels took over later is not modelled, except where the table names a
  version ({stable}).
- `linux-host` is the row of the running kernel.
- What a row does not know is said below, and a scenario that needs it has no verdict.
"""
LEGEND = """\
A value in bold is new in that release. `-` is false or no, `x` is true. What a choice means is said in
`anonvma_rt/linux/choices.py` (`help("anonvma_rt.linux.choices")`). All other choices are the same in all releases."""
_COMMIT = re.compile(r"\b[0-9a-f]{8,40}\b")
_CHANGED = tuple(name for name in BEHAVIOUR if name in {c.field for c in table.CHANGES} | set(table.BEFORE))


def linked(text: str) -> str:
    """With a link where a commit is named.

    >>> linked("since 948f017b")
    'since [948f017b](https://git.kernel.org/linus/948f017b)'
    """
    return _COMMIT.sub(lambda found: f"[{found[0]}](https://git.kernel.org/linus/{found[0]})", text)


def kernels_page() -> str:
    first, last = next(iter(table.RELEASES)), next(reversed(table.RELEASES))
    return "\n".join(
        [
            INTRODUCTION.format(first=first, last=last, stable=", ".join(f"`linux-{one}`" for one in table.STABLE)),
            "## What each release changed",
            "",
            "| release | | what it changed | preset |",
            "|---|---|---|---|",
            *map(_release, table.RELEASES),
            "",
            "Where a commit is marked with (?) its number is from memory.",
            "",
            "## Every choice in every release",
            "",
            LEGEND,
            "",
            f"| release | {' | '.join(f'`{name}`' for name in _CHANGED)} |",
            f"|---|{'---|' * len(_CHANGED)}",
            *map(_choices, table.ROWS),
            "",
            "## What a row does not know",
            "",
            "| releases | |",
            "|---|---|",
            *(f"| {u.span} | {linked(u.about)}{_needed(u.of)} |" for u in table.UNKNOWN),
            "",
            "## Calls that older releases do not have",
            "",
            "| call | since | commit |",
            "|---|---|---|",
            *(f"| {one.name} | {one.since} | {linked(one.commit)} |" for one in table.CALLS),
            "",
        ]
    )


def zoo_matrix() -> str:
    """The bugs of the zoo by release."""
    rows = [
        (scenario.zoo.split(", "), name, scenario)
        for name in Scenario.builtin_names()
        if (scenario := Scenario.load(name)).zoo
    ]
    rows.sort(key=lambda row: (int(row[0][0][1:]), row[1]))
    return "\n".join(
        [
            "| id | scenario | commit | rows that have it | what a hunt finds | clean from |",
            "|---|---|---|---|---|---|",
            *(_bug(scenario) for _, _, scenario in rows),
        ]
    )


def with_matrix(page: str) -> str:
    """The page with the matrix of today between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{zoo_matrix()}\n{END}{after}"


def _release(release: str) -> str:
    changes = [change for change in table.CHANGES if change.release == release]
    said = [
        f"`{change.field}` = {_value(change.value)}: {change.about} ({linked(change.commit)}{' (?)' * change.recalled})"
        for change in changes
    ]
    if release == next(iter(table.RELEASES)):
        said = ["the oldest in the table"]
    name = Algorithm.parse(f"linux-{release}").name
    preset = f"`{name}`" if name in PRESETS else ""
    return f"| {release} | {table.RELEASES[release]} | {'; '.join(said) or 'nothing'} | {preset} |"


def _choices(release: str) -> str:
    made = Algorithm.parse(f"linux-{release}").as_dict()
    new = {change.field: change for change in table.CHANGES if release == change.release or release in change.stable}
    cells = []
    for name in _CHANGED:
        cell = _value(made[name])
        if name in new:
            commit = new[name].commit.split(", ")[0]
            cell = f"[**{cell}**](https://git.kernel.org/linus/{commit})"
        cells.append(cell)
    return f"| {release} | {' | '.join(cells)} |"


def _value(value: object) -> str:
    return {"True": "x", "False": "-", "no": "-"}.get(str(value), str(value))


def _needed(of: str) -> str:
    return f"; no verdict where a scenario needs `{of}`" if of else ""


def _bug(scenario: Scenario) -> str:
    spans = list(_bad(scenario))
    kinds = dict.fromkeys(kind for _, _, kind in spans)
    known = list(table.RELEASES)
    clean = ""
    if spans and spans[-1][1] != known[-1]:
        clean = known[known.index(spans[-1][1]) + 1]
    where = ", ".join(first if first == last else f"{first} to {last}" for first, last, _ in spans) or "none"
    return (
        f"| {scenario.zoo} | `{scenario.name}` | {linked(scenario.commit)} | {where} | {', '.join(kinds)} | {clean} |"
    )


def _bad(scenario: Scenario) -> Iterable[tuple[str, str, str]]:
    """The first and the last of neighbours for which the same violation is expected."""
    going: tuple[str, str, str] | None = None
    for release in table.RELEASES:
        kind = expected_text(scenario.releases.of(release))
        if going is not None and kind == going[2]:
            going = (going[0], release, kind)
            continue
        if going is not None:
            yield going
        going = None if kind in (NONE, "") else (release, release, kind)
    if going is not None:
        yield going


def main(folder: str) -> None:
    docs = Path(folder)
    (docs / "kernels.md").write_text(kernels_page(), "utf-8")
    zoo = docs / "zoo.md"
    zoo.write_text(with_matrix(zoo.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
