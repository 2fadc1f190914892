"""The checker of linearizability against all permutations, and what its smallest histories keep."""

import random
from itertools import permutations

import pytest

from anonvma_rt.errors import UserError
from anonvma_rt.linear.checker import Machine, first_wrong, operations, smallest
from anonvma_rt.linear.specification import Linear, PythonModel, of_class, of_file


class Queue:
    def __init__(self):
        self.items = []

    def push(self, value):
        self.items.append(value)

    def pop(self):
        return self.items.pop(0) if self.items else -1


class Stack(Queue):
    def pop(self):
        return self.items.pop() if self.items else -1


def by_brute_force(history, cls):
    """Whether some permutation that keeps the order in time, with or without each pending operation, is right."""
    every = operations(history)
    done = [one for one in every if one.returned is not None]
    pending = [one for one in every if one.returned is None]
    for some in range(1 << len(pending)):
        chosen = done + [one for i, one in enumerate(pending) if some >> i & 1]
        for order in permutations(chosen):
            if any(
                later.returned is not None and later.returned < earlier.called
                for i, earlier in enumerate(order)
                for later in order[i + 1 :]
            ):
                continue
            state = cls()
            for one in order:
                value = getattr(state, one.name)(*(() if one.argument is None else (one.argument,)))
                if one.returned is not None and value != one.value:
                    break
            else:
                return True
    return False


def random_history(rng):
    """Of three tasks and at most six operations; values are those of a queue or stack, or nearly."""
    history, open_, left = [], {}, rng.randint(1, 6)
    while left or open_:
        task = rng.randrange(3)
        if task in open_:
            if rng.random() < 0.15 and not left:
                break
            name = open_.pop(task)
            history.append((task, name, True, None if name == "push" else rng.choice([-1, 1, 2, 2, 3])))
        elif left:
            left -= 1
            open_[task] = rng.choice(["push", "pop"])
            history.append((task, open_[task], False, rng.randint(1, 3) if open_[task] == "push" else None))
    return history


@pytest.mark.parametrize("cls", [Queue, Stack])
def test_it_says_what_all_permutations_say(cls):
    rng, machine = random.Random(7), Machine(PythonModel(cls, cls.__name__))
    answers = [0, 0]
    for _ in range(2000):
        history = random_history(rng)
        wrong = first_wrong(history, machine)
        assert (wrong is None) == by_brute_force(history, cls), history
        answers[wrong is None] += 1
        if wrong is not None:
            small = smallest(history, machine)
            assert by_brute_force(small[:-1], cls) and not by_brute_force(small, cls)
            end = next(i for i in range(len(history)) if not by_brute_force(history[: i + 1], cls))
            assert small[-1] == history[end]
    assert min(answers) > 200


def test_a_pop_keeps_its_push():
    history = [
        (0, "push", False, 1), (0, "push", True, None), (0, "push", False, 2), (0, "push", True, None),
        (1, "pop", False, None), (1, "pop", True, 2),
    ]  # fmt: skip
    judge = Linear(of_class(Queue))
    assert judge.check(history) == 5
    assert smallest(history, judge.machine) == history
    assert judge.why(history, ["main", "thread"]).splitlines()[-1] == "  thread  pop() = 2               |--|"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class A:\n    x = 1\n", "has no class"),
        ("1 / 0\n", "cannot be run: ZeroDivisionError"),
        ("class Q:\n    def __init__(self, n): pass\n", "cannot be made without arguments"),
    ],
)
def test_a_specification_that_is_none_is_one_line(tmp_path, text, said):
    (tmp_path / "spec.py").write_text(text)
    with pytest.raises(UserError, match=said):
        of_file(f"{tmp_path}/spec.py:Q")
    with pytest.raises(UserError, match="there is no file"):
        of_file(f"{tmp_path}/nowhere.py:Q")
