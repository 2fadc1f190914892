"""Whether a history of calls and returns is linearizable: whether each operation can have taken effect at one moment
between its call and its return, so that all results are those of a sequential specification.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe, "Testing for Linearizability"
(2017): what was reached is remembered (a state, and who has taken effect), and an operation takes effect only when one
that returns needs it ("just in time"). So the history is read once from front to back, and the first return that
nothing explains ends the shortest prefix that is wrong.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Entry", "Machine", "Model", "Operation", "first_wrong", "operations", "smallest"]

# Task, name of the operation, whether it returns, and its argument or its value, None for none.
Entry = tuple[int, str, bool, int | None]
# States that are remembered; then all are forgotten.
MOST_STATES = 200_000
# Operations of a history that is made smaller: all of them at once may come in any order there.
MOST_SHRUNK = 12


class Model(Protocol):
    """A sequential specification. What is not right in it is a UserError."""

    def begin(self) -> Any:
        """The state at the beginning."""

    def apply(self, state: Any, name: str, argument: int | None) -> tuple[int | None, Any]:
        """What an operation returns in a state, which stays as it is, and the state behind it."""

    def key(self, state: Any) -> Hashable:
        """Equal for states that nothing tells apart, and for no others."""


class Machine:
    """A model whose states have numbers, 0 for the first, and whose steps are made once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.forget()

    def forget(self) -> None:
        begin = self.model.begin()
        self.states = [begin]
        self.numbers = {self.model.key(begin): 0}
        self.steps: dict[tuple[int, str, int | None], tuple[int | None, int]] = {}

    def step(self, state: int, name: str, argument: int | None) -> tuple[int | None, int]:
        found = self.steps.get((state, name, argument))
        if found is None:
            value, then = self.model.apply(self.states[state], name, argument)
            key = self.model.key(then)
            number = self.numbers.get(key)
            if number is None:
                number = self.numbers[key] = len(self.states)
                self.states.append(then)
            found = self.steps[state, name, argument] = value, number
        return found


@dataclass
class Operation:
    """called, returned: where in the history; returned is None where it never did, and then it may have taken effect
    or not."""

    task: int
    name: str
    argument: int | None
    called: int
    returned: int | None = None
    value: int | None = None


def operations(history: Sequence[Entry]) -> list[Operation]:
    """In the order of their calls. A task has one at a time.

    >>> operations([(0, "push", False, 3), (1, "pop", False, None), (1, "pop", True, 3)])[1].value
    3
    """
    found: list[Operation] = []
    open_: dict[int, Operation] = {}
    for at, (task, name, returns, value) in enumerate(history):
        if returns:
            done = open_.pop(task)
            done.returned, done.value = at, value
        else:
            open_[task] = Operation(task, name, value, at)
            found.append(open_[task])
    return found


def first_wrong(history: Sequence[Entry], machine: Machine) -> int | None:
    """The index of the first return that no order of the operations until then explains, if those that are still open
    return what they do later; None where there is none.

    A configuration is a state and, as bits, those of the open operations that have taken effect. All of them that are
    possible are kept.
    """
    if len(machine.states) > MOST_STATES:
        machine.forget()
    every = operations(history)
    by_call = {one.called: one for one in every}
    bits = {one.called: 1 << i for i, one in enumerate(every)}
    of_task: dict[int, Operation] = {}
    reached = {(0, 0)}
    for at, (task, _, returns, _) in enumerate(history):
        if not returns:
            of_task[task] = by_call[at]
            continue
        bit = bits[of_task[task].called]
        after = set()
        todo, seen = list(reached), set(reached)
        while todo:
            state, done = todo.pop()
            if done & bit:
                after.add((state, done & ~bit))
                continue
            for one in of_task.values():
                own = bits[one.called]
                if done & own:
                    continue
                value, then = machine.step(state, one.name, one.argument)
                if one.returned is not None and value != one.value:
                    continue
                if (reach := (then, done | own)) not in seen:
                    seen.add(reach)
                    todo.append(reach)
        if not after:
            return at
        reached = after
        del of_task[task]
    return None


def smallest(history: Sequence[Entry], machine: Machine) -> list[Entry]:
    """What of a history that is not linearizable is enough to see it: the shortest prefix, without the operations that
    can be left out.

    One may be left out if what is left could happen: all returns before the last are explained still; where only the
    order of the operations is wrong with all of it, nothing else is with what is left; and where some of the operations
    can make the last one return what it did, some of those that are left can. Else a pop without its push would be an
    answer.
    """
    wrong = first_wrong(history, machine)
    if wrong is None:
        return list(history)
    # What an operation returned later may be a part of why: the prefix alone does not know it.
    while first_wrong(history[: wrong + 1], machine) is None:
        wrong += 1
    left = list(history[: wrong + 1])
    if len(operations(left)) > MOST_SHRUNK:
        return left
    kept = [holds for holds in (_right_in_any_order, _last_can_be) if holds(left, machine)]
    again = True
    while again:
        again = False
        for group in _groups(left):
            fewer = [entry for at, entry in enumerate(left) if at not in group]
            ends_so = first_wrong(fewer, machine) is not None and first_wrong(fewer[:-1], machine) is None
            if ends_so and all(holds(fewer, machine) for holds in kept):
                left, again = fewer, True
                break
    return left


def _groups(history: Sequence[Entry]) -> list[set[int]]:
    """What may be left out together, never the last return: first two operations of which one returned what the other
    was given (a push and its pop), then one, then any two."""
    every = [one for one in operations(history) if one.returned != len(history) - 1]
    at = [{one.called} if one.returned is None else {one.called, one.returned} for one in every]
    pairs = [(i, k) for i in range(len(every)) for k in range(len(every)) if i != k]
    matching = [(i, k) for i, k in pairs if every[i].argument is not None and every[i].argument == every[k].value]
    return [
        *(at[i] | at[k] for i, k in matching),
        *at,
        *(at[i] | at[k] for i, k in pairs if i < k),
    ]


def _right_in_any_order(history: Sequence[Entry], machine: Machine) -> bool:
    """Whether the results are explained if all operations overlap, those of one task among them."""
    every = operations(history)
    calls = [(i, one.name, False, one.argument) for i, one in enumerate(every)]
    returns = [(i, one.name, True, one.value) for i, one in enumerate(every) if one.returned is not None]
    return first_wrong([*calls, *returns], machine) is None


def _last_can_be(history: Sequence[Entry], machine: Machine) -> bool:
    """Whether the last operation can return what it did behind some of the others, whatever those return."""
    every = operations(history)
    calls = [(i, one.name, False, one.argument) for i, one in enumerate(every)]
    last = next(i for i, one in enumerate(every) if one.returned == len(history) - 1)
    return first_wrong([*calls, (last, every[last].name, True, every[last].value)], machine) is None
