"""Random programs with operations: what a search finds is what all schedules have, and what a model in Python says."""

import random
import shutil
from pathlib import Path

import pytest
from classes_of_programs import every_class

from anonvma_rt import native, verify
from anonvma_rt.linear.checker import Machine, first_wrong
from anonvma_rt.linear.specification import PythonModel

SOURCE = Path(__file__).with_name("sources") / "operations.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


class Register:
    def __init__(self):
        self.value = 0

    def put(self, value):
        self.value = value

    def get(self):
        return self.value

    def next(self):
        self.value += 1
        return self.value


# What a letter of the program does: one step after the other. "call" and "return" are of an operation, whose value is
# what was read last; the others are of the number that is held.
LETTERS = {
    "1": [("call", "put", 1), ("write", 1), ("return", "put", False)],
    "2": [("call", "put", 2), ("write", 2), ("return", "put", False)],
    "g": [("call", "get", None), ("read",), ("return", "get", True)],
    "n": [("call", "next", None), ("add",), ("return", "next", True)],
    "N": [("call", "next", None), ("read+1",), ("write-read",), ("return", "next", True)],
    "G": [("read",), ("call", "get", None), ("return", "get", True)],
    "e": [("exit",)],
    "o": [],
}
RIGHT, WRONG = "12gno", "12gnNGoe"


def can_go_wrong(script):
    """Whether some order of all steps of the model is not linearizable."""
    threads = [[step for letter in one for step in LETTERS[letter]] for one in script]
    machine, seen = Machine(PythonModel(Register, "Register")), set()
    todo = [((0,) * len(threads), 0, (0,) * len(threads), ())]
    while todo:
        at, held, last, history = todo.pop()
        if (at, held, last, history) in seen:
            continue
        seen.add((at, held, last, history))
        ended = all(i == len(thread) for i, thread in zip(at, threads, strict=True))
        for task, thread in enumerate(threads):
            if at[task] == len(thread):
                continue
            what, *more = thread[at[task]]
            now, then, value = history, held, last[task]
            if what == "exit":
                ended = True
                continue
            if what == "call":
                now = (*history, (task, more[0], False, more[1]))
            elif what == "return":
                now = (*history, (task, more[0], True, value if more[1] else None))
            elif what == "write":
                then = more[0]
            elif what == "write-read":
                then = value
            elif what == "add":
                then = value = held + 1
            else:
                value = held + (what == "read+1")
            step = tuple(i + (k == task) for k, i in enumerate(at))
            todo.append((step, then, tuple(value if k == task else v for k, v in enumerate(last)), now))
        if ended and first_wrong(history, machine) is not None:
            return True
    return False


def draw(seed, letters):
    """Arguments of operations.c: two threads of up to three letters, or three of up to two."""
    rng = random.Random(seed)
    threads = rng.choice([2, 2, 3])
    return ["".join(rng.choices(letters, k=rng.randint(1, 3 if threads == 2 else 2))) for _ in range(threads)]


def agree(seeds, letters):
    """How many of the scripts can go wrong, and how many can not; verify() says the same of each."""
    answers = [0, 0]
    for seed in seeds:
        script = draw(seed, letters)
        if not any(letter in one for one in script for letter in "12gnNG"):
            continue
        (found,) = verify(native(SOURCE, args=script, spec=Register)).results
        wrong = can_go_wrong(script)
        assert (set(found.violating_classes) == {"not-linearizable"}) == wrong, (seed, script)
        assert found.complete or wrong or "called no operation" in found.verdict, (seed, script)
        answers[wrong] += 1
    return answers


def test_a_search_finds_what_a_model_has():
    right, none = agree(range(8), RIGHT)
    assert none == 0 and right > 5
    right, wrong = agree(range(100, 124), WRONG)
    assert right > 3 and wrong > 3


def test_a_search_visits_what_all_schedules_have():
    compared = kinds = 0
    drawn = (draw(seed, "12gnNGoce") for seed in range(16))
    scripts = [["N", "N"], ["1", "G"], ["Ge", "1"], ["N", "Ne"]]
    scripts += ([one[:most] for one, most in zip(script, (2, 1), strict=False)] for script in drawn)
    for script in scripts:
        described = native(SOURCE, args=script, spec=Register)
        every = every_class(described, 1000, 3000)
        if every is not None:
            assert every_class(described, None, 3000) == every, script
            compared += 1
            kinds += "not-linearizable" in every.values()
    assert compared > 8 and kinds > 1


@pytest.mark.long
def test_many_more():
    right, wrong = agree(range(1000, 1600), WRONG)
    assert min(right, wrong) > 100
