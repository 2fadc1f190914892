"""A history that is not linearizable, as a small table of intervals: from left to right is time."""

from collections.abc import Sequence

from anonvma_rt.linear.checker import Entry, Operation, operations

__all__ = ["intervals"]


def intervals(history: Sequence[Entry], tasks: Sequence[str]) -> list[str]:
    """A line for each operation, in the order of their calls.

    >>> found = [(0, "push", False, 3), (1, "pop", False, None), (0, "push", True, None), (1, "pop", True, None)]
    >>> print("\\n".join(intervals(found, ["main", "thread 1"])))
    main      push(3)    |----|
    thread 1  pop()         |----|
    """
    every = operations(history)
    names = [tasks[one.task] if one.task < len(tasks) else f"task {one.task}" for one in every]
    texts = [_text(one) for one in every]
    width = max((len(name) for name in names), default=0)
    room = max((len(text) for text in texts), default=0)
    end = 3 * len(history)
    lines = []
    for one, name, text in zip(every, names, texts, strict=True):
        begin = 3 * one.called
        if one.returned is None:
            bar = "|" + "-" * (end - begin) + ">"
        else:
            bar = "|" + "-" * (3 * one.returned - begin - 1) + "|"
        lines.append(f"{name:{width}}  {text:{room}}   {' ' * begin}{bar}")
    return lines


def _text(one: Operation) -> str:
    called = f"{one.name}({'' if one.argument is None else one.argument})"
    if one.returned is None:
        return f"{called} has not returned"
    return called if one.value is None else f"{called} = {one.value}"
