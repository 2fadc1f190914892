"""Whether a loop only waits: each of its rounds looks at shared variables, and begins with nothing from the one before.

Such a loop needs no bound. The engine's search passes over rounds that find what they found (spin_hint), which is right
if a round depends on nothing but what it looks at: so not on a register that a round before has set.
"""

from collections.abc import Iterator

from anonvma_rt.litmus.herd.tree import (
    Assign,
    Binary,
    Break,
    Call,
    Cast,
    Declare,
    Do,
    Expr,
    If,
    Index,
    Loop,
    Name,
    Statement,
    Unary,
)  # fmt: skip
from anonvma_rt.litmus.lowering.forms import form_of

__all__ = ["only_looks"]

# A try and a compare-and-swap only look where they fail; where they do not, the engine notices.
_LOOKS = ("load", "load_acquire", "is_locked", "trylock", "compare_exchange", "mb", "rmb", "wmb", "")


def only_looks(loop: Loop) -> bool:
    statements = (*loop.body, *loop.step)
    if any(isinstance(one, Loop) for one in _inner(statements)):
        return False
    calls = [*_calls(loop.condition), *(call for one in _inner(statements) for call in _calls_of(one))]
    looks = [form_of(call.name) for call in calls]
    if any(form is None or form.verb not in _LOOKS for form in looks):
        return False
    if any(isinstance(one, Assign) and not isinstance(one.target, Name) for one in _inner(statements)):
        return False
    shared = any(form is not None and form.verb not in ("mb", "rmb", "wmb", "") for form in looks)
    reads_plainly = any(_plain(part) for one in _inner(statements) for part in _parts(one)) or _plain(loop.condition)
    if not shared and not reads_plainly:
        return False  # It looks at nothing that others could change.
    return not _carried(loop)


def _inner(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for one in statements:
        yield one
        if isinstance(one, If):
            yield from _inner((*one.then, *one.other))


def _parts(one: Statement) -> Iterator[Expr]:
    match one:
        case Declare(value=value) if value is not None:
            yield value
        case Assign(value=value):
            yield value
        case Do(expression=expression):
            yield expression
        case If(condition=condition):
            yield condition


def _calls_of(one: Statement) -> Iterator[Call]:
    for part in _parts(one):
        yield from _calls(part)


def _walk(node: Expr) -> Iterator[Expr]:
    yield node
    match node:
        case Unary(operand=operand) | Cast(operand=operand):
            yield from _walk(operand)
        case Binary(left=left, right=right):
            yield from _walk(left)
            yield from _walk(right)
        case Index(base=base, at=index):
            yield from _walk(base)
            yield from _walk(index)
        case Call(args=args):
            for arg in args:
                yield from _walk(arg)


def _calls(node: Expr) -> Iterator[Call]:
    return (one for one in _walk(node) if isinstance(one, Call))


def _plain(node: Expr) -> bool:
    return any(isinstance(one, Index) or (isinstance(one, Unary) and one.op == "*") for one in _walk(node))


def _carried(loop: Loop) -> bool:
    """Whether a round may read a register that it has not set itself, and that rounds set."""
    statements = (*loop.body, *loop.step)
    sets = {one.target.name for one in _inner(statements) if isinstance(one, Assign) and isinstance(one.target, Name)}
    sets |= {one.name for one in _inner(statements) if isinstance(one, Declare) and one.value is not None}
    known: set[str] = set()

    def reads(node: Expr) -> bool:
        return any(isinstance(one, Name) and one.name in sets - known for one in _walk(node))

    def carries(block: tuple[Statement, ...], sure: bool) -> bool:
        for one in block:
            if any(reads(part) for part in _parts(one)):
                return True
            match one:
                case If(then=then, other=other):
                    if carries(then, False) or carries(other, False):
                        return True
                case Assign(target=Name(name=name)) | Declare(name=name) if sure:
                    known.add(name)
                case Break(what="continue"):
                    return True
        return False

    if loop.first:
        return reads(loop.condition) or carries(statements, True)
    return carries(statements, True) or reads(loop.condition)
