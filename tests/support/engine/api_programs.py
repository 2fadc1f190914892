"""Random programs over all of anonvma_rt.api (tests/support/cython/programs.pyx runs them), by seed."""

import random
from typing import Any, NamedTuple

__all__ = ["ApiWorld", "draw_program"]

Step = tuple[Any, ...]


class ApiWorld(NamedTuple):
    """The arguments of ApiProgram."""

    threads: list[list[Step]]
    classes: tuple[int, ...]
    wrong: int | None


SECTIONS = {"mutex_lock": "mutex_unlock", "spin_lock": "spin_unlock", "down_write": "up_write", "down_read": "up_read"}
AWAITS = ("await_not", "await_less", "await_at_least", "await_bits", "await_no_bits")
TRIES = {"mutex_trylock": "mutex_unlock", "spin_trylock": "spin_unlock", "try_down_read": "up_read"}


def draw_program(seed: int, most: int = 12) -> ApiWorld:
    """The program of a seed; most: steps of all threads together, of which a few are several points."""
    draw = random.Random(seed)
    threads: list[list[Step]] = []
    left = most
    for _ in range(draw.choice((2, 2, 3))):
        thread: list[Step] = []
        for _ in range(draw.randint(1, 4)):
            piece = _piece(draw)
            if len(piece) <= left:
                thread += piece
                left -= len(piece)
        if thread and thread[0][0] in ("must_be", "note", "mark"):
            # What comes before the first point is part of the task's start, and plain enumeration starts all in order.
            thread.insert(0, ("load", 2, 3))
        threads.append(thread)
    classes = draw.choice(((0, 0, 0), (0, 0, 0), (1, 2, 0), (1, 1, 3)))
    return ApiWorld(threads, classes, draw.choice((None, None, None, 0)))


def _piece(draw: random.Random) -> list[Step]:
    """A few steps that belong together."""
    lock, other = draw.sample(range(3), 2)
    kind = draw.randrange(10)
    if kind < 4:
        return [_access(draw)]
    if kind < 6:
        take = draw.choice(list(SECTIONS))
        inside = [_access(draw)] if draw.random() < 0.6 else []
        if draw.random() < 0.3:
            inside = [("mutex_lock", other), ("mutex_unlock", other)]
        return [(take, lock), *inside, (SECTIONS[take], lock)]
    if kind == 6:
        # Where it was not taken, what is given back is not held: a bad unlock.
        take = draw.choice(list(TRIES))
        back = [(TRIES[take], lock)] if draw.random() < 0.3 else []
        return [(take, lock, draw.randrange(4)), *back]
    if kind == 7:
        return [("lock_wait", lock)]
    if kind == 8:
        verb = draw.choice(("await_value", "await_value", *AWAITS))
        return [(verb, draw.randrange(2), draw.choice((1, 1, 2, 0)))]
    return [_node(draw)]


def _access(draw: random.Random) -> Step:
    word, register = draw.randrange(2), draw.randrange(4)
    return draw.choice(
        [
            ("load", word, register),
            ("store", word, draw.randint(1, 3)),
            ("store_register", word, register),
            ("fetch_add", word, 1, register),
            ("compare_exchange", word, draw.randint(0, 1), draw.randint(1, 2), register),
            ("must_be", register, draw.randint(0, 1)),
            ("mark", 0),
            ("note", 0, 7),
        ]
    )


def _node(draw: random.Random) -> Step:
    slot, register = draw.choice((0, 0, 1)), draw.randrange(4)
    return draw.choice(
        [
            ("alloc", slot, draw.randint(1, 2)),
            ("free", slot),
            ("free", slot),
            ("use", slot, register),
            ("use", slot, register),
            ("set_node", slot, draw.randint(3, 4)),
            (draw.choice(("add", "add_tail", "move", "move_tail", "del")), slot),
            (draw.choice(("walk", "walk_back")), 0, register),
            ("free_lock", draw.randrange(3)),
        ]
    )
