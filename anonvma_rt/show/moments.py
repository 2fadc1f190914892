"""The moments of an execution at which the state is worth a look, and the state in a few words.

Worth a look are: the beginning, a list that changed, the beginning of a walk that must not miss anything, an arrival of
the entry that the violation is about, and the end. Of the page tables only what changes is told, and what was missed.
"""

from collections.abc import Mapping
from typing import Any

from anonvma_rt.show.story import RESTORE, Story
from anonvma_rt.subjects.history import PAGE

__all__ = ["entry_words", "in_words", "moments", "place_of"]

MOST = 12
STATE_WORDS = {"none": "none", "present": "page {}", "migration": "migration entry of page {}", "huge": "huge page {}"}


def moments(story: Story) -> list[int]:
    """The steps after which to look, ascending; 0 is the beginning."""
    if story.scenes is None:
        return []
    steps = {0, story.end}
    for step, changes in story.scenes.later:
        if any(name.startswith("list:") for name in changes) or story.missed in changes:
            steps.add(step)
    for event in story.trace.events:
        if event.what == "walk" and event.a == RESTORE and not event.c:
            steps.add(event.step)
    return sorted(step for step in steps if step <= story.end)


def in_words(story: Story, step: int) -> list[str]:
    """The state after a step, a line for the lists, the entries, the pages, or the values of a litmus test."""
    if story.scenes is None:
        return []
    state = story.scenes.at(step)
    changing = {name for _, changes in story.scenes.later for name in changes}
    entries = followed(story)
    lines = []
    lists = [name for name in state if name.startswith("list:") and (name in changing or len(state[name]) > 1)]
    walkers = {value[2]: value[3] for value in walkers_at(story, step).values()}
    for name in sorted(lists, key=lambda name: int(name[5:]))[:MOST]:
        at = walkers.get(int(name[5:]))
        order = " ".join(f"[{vma}]" if vma == at else vma for vma in state[name])
        lines.append(f"list of anon_vma {name[5:]}: {order}")
    if entries:
        lines.append("; ".join(f"{place_of(state, n)}: {entry_words(story, state, n, step)}" for n in entries))
    pages = sorted((n for n in changing if n.startswith("page:") and n in state), key=lambda name: int(name[5:]))
    if pages:
        lines.append("; ".join(f"page {n[5:]}: {_page(state[n])}" for n in pages[:MOST]))
    values = [f"{name[6:]} = {value}" for name, value in state.items() if name.startswith("value:")]
    if values:
        lines.append(", ".join(values[: 4 * MOST]) + (", ..." if len(values) > 4 * MOST else ""))
    return lines


def followed(story: Story) -> list[str]:
    """The entries to tell of: those that change, and where they are many, those that ever held the page which the
    violation is about."""
    if story.scenes is None:
        return []
    names = {name for _, changes in story.scenes.later for name in changes if name.startswith("pte:")}
    if story.missed:
        names.add(story.missed)
    if len(names) > MOST and story.trace.finding is not None:
        page = story.trace.finding.c
        values = [*story.scenes.first.items(), *(item for _, changes in story.scenes.later for item in changes.items())]
        held = {name for name, value in values if name in names and value is not None and value[1] == page}
        names = held | ({story.missed} if story.missed else set()) or names
    return sorted(names, key=_place)[:MOST]


def walkers_at(story: Story, step: int) -> dict[str, Any]:
    """Where the walks stand after a step, as Story.walkers has it."""
    state: dict[str, Any] = {}
    for at, changes in story.walkers:
        if at > step:
            break
        state |= changes
    return {name: value for name, value in state.items() if value is not None}


def entry_words(story: Story, state: Mapping[str, Any], name: str, step: int) -> str:
    entry = state.get(name)
    words = STATE_WORDS[entry[0]].format(entry[1]) if entry else "none"
    if step >= story.stale.get(name, step + 1):
        words = f"STALE {words}"
    return f"{words} (the missed one)" if name == story.missed else words


def place_of(state: Mapping[str, Any], name: str) -> str:
    """A+8 for an entry inside a vma, as the table has it, but counted from where the vma begins now."""
    process, address = _place(name)
    for vma, owner, start, end, *_ in state.get("vmas", ()):
        if owner == process and start <= address < end:
            return f"{vma}+{(address - start) // PAGE}"
    return f"{address:#x}"


def _place(name: str) -> tuple[int, int]:
    _, process, address = name.split(":")
    return int(process), int(address, 16)


def _page(page: list[Any]) -> str:
    mapcount, refcount, locked, *_ = page
    return f"mapcount {mapcount}, count {refcount}{', locked' if locked else ''}"
