"""The moments of an execution at which the state is worth a look, and the state in a few words.

Worth a look are: the beginning, a list that changed, the beginning of a walk that must not miss anything, an arrival of
the entry that the violation is about, and the end. Of the page tables only what changes is told, and what was missed.
"""

from collections.abc import Mapping
from typing import Any

from anonvma_rt.show.story import Story
from anonvma_rt.subjects.scenes import VMAS, EntryAt, Key, ListOf, PageFrame, PageState, Value, WalkerState, state_at
from anonvma_rt.text.expression import PAGE

__all__ = ["entry_words", "in_words", "moments", "place_of"]

MOST = 12
STATE_WORDS = {"none": "none", "present": "page {}", "migration": "migration entry of page {}", "huge": "huge page {}"}


def moments(story: Story) -> list[int]:
    """The steps after which to look, ascending; 0 is the beginning."""
    if story.scenes is None:
        return []
    steps = {0, story.end}
    for step, changes in story.scenes.later:
        if any(isinstance(key, ListOf) for key in changes) or story.missed in changes:
            steps.add(step)
    for event in story.trace.events:
        if story.trace.must_find(event):
            steps.add(event.step)
    return sorted(step for step in steps if step <= story.end)


def in_words(story: Story, step: int) -> list[str]:
    """The state after a step, a line for the lists, the entries, the pages, or the values of a litmus test."""
    if story.scenes is None:
        return []
    state = story.scenes.at(step)
    changing = {key for _, changes in story.scenes.later for key in changes}
    entries = followed(story)
    lines = []
    walkers = {walk.anon_vma: walk.vma for walk in walkers_at(story, step).values()}
    lists = [key for key in state if isinstance(key, ListOf) and (key in changing or len(state[key]) > 1)]
    for key in sorted(lists)[:MOST]:
        at = walkers.get(key.anon_vma)
        order = " ".join(f"[{vma}]" if vma == at else vma for vma in state[key])
        lines.append(f"list of anon_vma {key.anon_vma}: {order}")
    if entries:
        lines.append("; ".join(f"{place_of(state, key)}: {entry_words(story, state, key, step)}" for key in entries))
    pages = sorted(key for key in changing if isinstance(key, PageFrame) and key in state)
    if pages:
        lines.append("; ".join(f"page {key.pfn}: {_page(state[key])}" for key in pages[:MOST]))
    values = [f"{key.name} = {value}" for key, value in state.items() if isinstance(key, Value)]
    if values:
        lines.append(", ".join(values[: 4 * MOST]) + (", ..." if len(values) > 4 * MOST else ""))
    return lines


def followed(story: Story) -> list[EntryAt]:
    """The entries to tell of: those that change, and where they are many, those that ever held the page which the
    violation is about."""
    if story.scenes is None:
        return []
    missed = {story.missed} if isinstance(story.missed, EntryAt) else set()
    keys = {key for _, changes in story.scenes.later for key in changes if isinstance(key, EntryAt)} | missed
    if len(keys) > MOST and story.trace.finding is not None:
        page = story.trace.finding.c
        values = [*story.scenes.first.items(), *(item for _, changes in story.scenes.later for item in changes.items())]
        held = {key for key, value in values if isinstance(key, EntryAt) and value is not None and value.page == page}
        keys = (held & keys) | missed or keys
    return sorted(keys)[:MOST]


def walkers_at(story: Story, step: int) -> dict[Key, WalkerState]:
    """Where the walks stand after a step."""
    return state_at({}, story.walkers, step)


def entry_words(story: Story, state: Mapping[Key, Any], key: EntryAt, step: int) -> str:
    entry = state.get(key)
    words = STATE_WORDS[entry.state].format(entry.page) if entry else "none"
    if step >= story.stale.get(key, step + 1):
        words = f"STALE {words}"
    return f"{words} (the missed one)" if key == story.missed else words


def place_of(state: Mapping[Key, Any], key: EntryAt) -> str:
    """A+8 for an entry inside a vma, as the table has it, but counted from where the vma begins now."""
    for vma in state.get(VMAS, ()):
        if vma.process == key.process and vma.start <= key.address < vma.end:
            return f"{vma.name}+{(key.address - vma.start) // PAGE}"
    return f"{key.address:#x}"


def _page(page: PageState) -> str:
    return f"mapcount {page.mapcount}, count {page.refcount}{', locked' if page.locked else ''}"
