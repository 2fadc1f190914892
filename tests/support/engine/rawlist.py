"""The list of klist.pxd for Python, link by link: every primitive, on ten entries that are known by their numbers.

Compiled as a user's module would be. Nothing is checked on the way, so that a test sees what an operation does to links
that it should never have been given.
"""

from enum import IntEnum

import pytest
from compiled import build, load, once


class Fault(IntEnum):
    """The codes of `list_fault`."""

    OK = 0
    NEXT_POISONED = 1
    PREV_POISONED = 2
    NEXT_WILD = 3
    PREV_WILD = 4
    NEXT_BROKEN = 5
    PREV_BROKEN = 6
    ADDED_TWICE = 7
    SELF_LINKED = 8


SIGNATURES = {  # how many links each takes
    "void": {
        "INIT_LIST_HEAD": 1, "list_add": 2, "list_add_tail": 2, "list_del": 1, "list_del_init": 1, "list_replace": 2,
        "list_replace_init": 2, "list_swap": 2, "list_move": 2, "list_move_tail": 2, "list_bulk_move_tail": 3,
        "list_rotate_left": 1, "list_rotate_to_front": 2, "list_cut_position": 3, "list_cut_before": 3,
        "list_splice": 2, "list_splice_tail": 2, "list_splice_init": 2, "list_splice_tail_init": 2,
    },
    "int": {
        "list_is_first": 2, "list_is_last": 2, "list_is_head": 2, "list_empty": 1, "list_is_singular": 1,
        "list_del_valid": 1, "list_add_valid": 3, "list_count_nodes": 1,
    },
    "link": {"list_first": 1, "list_last": 1, "list_first_or_null": 1},
}  # fmt: skip
WALKS = ["list_for_each", "list_for_each_prev", "list_for_each_safe", "list_for_each_prev_safe"]

SOURCE = """
from anonvma_rt.engine.base cimport klist as k

cdef struct item:
    int value
    k.list_head link

cdef item items[10]

cdef k.list_head *link(int i):
    return &items[i].link

cdef item *item_of(k.list_head *link):
    return <item *>k.container_of(link, <size_t>&(<item *>NULL).link)

cdef name(k.list_head *link):
    if link == k.LIST_POISON1() or link == k.LIST_POISON2():
        return "POISON1" if link == k.LIST_POISON1() else "POISON2"
    return item_of(link).value if &items[0].link <= link <= &items[9].link else <size_t>link

FAULTS = {"OK": k.LIST_OK, "NEXT_POISONED": k.LIST_NEXT_POISONED, "PREV_POISONED": k.LIST_PREV_POISONED,
          "NEXT_WILD": k.LIST_NEXT_WILD, "PREV_WILD": k.LIST_PREV_WILD, "NEXT_BROKEN": k.LIST_NEXT_BROKEN,
          "PREV_BROKEN": k.LIST_PREV_BROKEN, "ADDED_TWICE": k.LIST_ADDED_TWICE, "SELF_LINKED": k.LIST_SELF_LINKED}
POISON1, POISON2 = <size_t>k.LIST_POISON1(), <size_t>k.LIST_POISON2()

def reset():
    for i in range(10):
        items[i] = item(i, k.list_head(NULL, NULL))

def set_links(int i, next, prev):
    items[i].link.next = link(next) if next < 10 else <k.list_head *><size_t>next
    items[i].link.prev = link(prev) if prev < 10 else <k.list_head *><size_t>prev

def links(int i):
    return name(items[i].link.next), name(items[i].link.prev)

def add_valid_after(int new, int head):
    return k.list_add_valid(link(new), link(head), link(head).next)

def add_valid_before(int new, int head):
    return k.list_add_valid(link(new), link(head).prev, link(head))

def walk(str kind, int head, body):
    cdef k.list_cursor c
    if kind == "list_for_each":
        c = k.list_for_each(link(head))
    elif kind == "list_for_each_prev":
        c = k.list_for_each_prev(link(head))
    elif kind == "list_for_each_safe":
        c = k.list_for_each_safe(link(head))
    else:
        c = k.list_for_each_prev_safe(link(head))
    seen = []
    while len(seen) < 20 and k.list_step(&c):
        seen.append(item_of(c.pos).value)
        body(seen[-1])
    again = bool(c.corrupt) and k.list_step(&c)
    return seen, c.corrupt, name(c.pos), again
"""


def source():
    text = SOURCE
    for kind, arities in SIGNATURES.items():
        for function, arity in arities.items():
            call = f"k.{function}({', '.join(f'link({x})' for x in 'abc'[:arity])})"
            text += f"\ndef {function}({', '.join(f'int {x}' for x in 'abc'[:arity])}):\n"
            text += f"    {call}\n" if kind == "void" else f"    return {call if kind == 'int' else f'name({call})'}\n"
    return text


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    return load(once(tmp_path_factory, "rawlist", lambda folder: build(folder, {"rawlist": source()})), "rawlist")


@pytest.fixture
def raw(compiled):
    compiled.reset()
    return compiled
