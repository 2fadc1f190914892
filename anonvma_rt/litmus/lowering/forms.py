"""What the kernel's primitives are in the language of Program: their arguments, the step, and what they return.

The orders of read-modify-writes make no difference in the models that the lab has: each drains the buffers.
"""

import re
from typing import NamedTuple

from anonvma_rt.litmus.lowering.emitter import Word

__all__ = ["Form", "form_of"]


class Form(NamedTuple):
    """args: for each argument in C, "l" an lvalue, "p" a pointer, "v" and "w" values. operands: words for each of the
    step's values, in which v and w stand for the arguments. result: words in which "old" stands for the register that
    the step gives; empty where nothing is returned. gives: whether the step gives a register. then: a step behind it.
    wraps: whether the result is computed, so that it has to be wrapped as the variable is."""

    verb: str
    args: str
    operands: tuple[tuple[Word, ...], ...] = ()
    result: tuple[Word, ...] = ()
    gives: bool = False
    then: str = ""
    wraps: bool = False


_V: tuple[Word, ...] = ("v",)
_OLD: tuple[Word, ...] = ("old",)


def _load(verb: str, arg: str) -> Form:
    return Form(verb, arg, (), _OLD, True)


def _store(verb: str, args: str, then: str = "") -> Form:
    return Form(verb, args, (_V,), then=then)


_FORMS = {
    "READ_ONCE": _load("load", "l"),
    "rcu_dereference": _load("load", "l"),
    "rcu_dereference_raw": _load("load", "l"),
    "lockless_dereference": _load("load", "l"),
    "smp_load_acquire": _load("load_acquire", "p"),
    "WRITE_ONCE": _store("store", "lv"),
    "rcu_assign_pointer": _store("store_release", "lv"),
    "smp_store_release": _store("store_release", "pv"),
    "smp_store_mb": _store("store", "lv", "mb"),
    # Where nothing orders but the compiler, nothing is to be done.
    "barrier": Form("", ""),
    "smp_read_barrier_depends": Form("", ""),
    "spin_lock": Form("lock", "p"),
    "spin_unlock": Form("unlock", "p"),
    "spin_trylock": _load("trylock", "p"),
    "spin_is_locked": _load("is_locked", "p"),
    "spin_unlock_wait": Form("wait", "p"),
    "rcu_read_lock": Form("rcu_read_lock", ""),
    "rcu_read_unlock": Form("rcu_read_unlock", ""),
    "synchronize_rcu": Form("synchronize_rcu", ""),
    "synchronize_rcu_expedited": Form("synchronize_rcu", ""),
    "srcu_read_lock": _load("srcu_read_lock", "p"),
    "srcu_read_unlock": _store("srcu_read_unlock", "pv"),
    "synchronize_srcu": Form("synchronize_srcu", "p"),
    "synchronize_srcu_expedited": Form("synchronize_srcu", "p"),
    **{
        name: Form("mb", "")
        for name in (
            "smp_mb", "smp_mb__before_atomic", "smp_mb__after_atomic", "smp_mb__after_spinlock",
            "smp_mb__after_unlock_lock", "smp_mb__after_srcu_read_unlock",
        )
    },
    "smp_rmb": Form("rmb", ""),
    "smp_wmb": Form("wmb", ""),
}  # fmt: skip
_ORDER = r"(?:_relaxed|_acquire|_release)?"
_XCHG = Form("exchange", "pv", (_V,), _OLD, True)
_CMPXCHG = Form("compare_exchange", "pvw", (_V, ("w",)), _OLD, True)
# Of each operation on an atomic_t: the verb that gives what was there, the operand, and what is there afterwards.
_UPDATES: dict[str, tuple[str, tuple[Word, ...], tuple[Word, ...]]] = {
    "add": ("fetch_add", _V, ("old", "v", "+")),
    "sub": ("fetch_add", ("v", "neg"), ("old", "v", "-")),
    "inc": ("fetch_add", (1,), ("old", 1, "+")),
    "dec": ("fetch_add", (-1,), ("old", 1, "-")),
    "and": ("fetch_and", _V, ("old", "v", "&")),
    "or": ("fetch_or", _V, ("old", "v", "|")),
    "xor": ("fetch_xor", _V, ("old", "v", "^")),
    "andnot": ("fetch_and", ("v", "~"), ("old", "v", "~", "&")),
}
_UPDATE = re.compile(rf"(fetch_)?({'|'.join(_UPDATES)})(_return)?{_ORDER}")
_TESTS: dict[str, tuple[Word, ...]] = {
    "sub_and_test": (0, "=="), "inc_and_test": (0, "=="), "dec_and_test": (0, "=="), "add_negative": (0, "<"),
}  # fmt: skip


def form_of(name: str) -> Form | None:
    """The form of one of the kernel's primitives by its name in C.

    >>> form_of("atomic_inc_return_release").result, form_of("do_something_else")
    (('old', 1, '+'), None)
    """
    if name in _FORMS:
        return _FORMS[name]
    if re.fullmatch(f"xchg{_ORDER}", name):
        return _XCHG
    if re.fullmatch(f"cmpxchg{_ORDER}", name):
        return _CMPXCHG
    atomic = re.fullmatch(r"atomic(?:64|_long)?_(\w+)", name)
    return _atomic(atomic[1]) if atomic else None


def _atomic(rest: str) -> Form | None:
    if rest in ("read", "read_acquire"):
        return _load("load_acquire" if rest.endswith("acquire") else "load", "p")
    if rest in ("set", "set_release"):
        return _store("store_release" if rest.endswith("release") else "store", "pv")
    if re.fullmatch(f"xchg{_ORDER}", rest):
        return _XCHG
    if re.fullmatch(f"cmpxchg{_ORDER}", rest):
        return _CMPXCHG
    if rest == "add_unless":
        return Form("add_unless", "pvw", (_V, ("w",)), _OLD, True)
    if rest == "inc_not_zero":
        return Form("add_unless", "p", ((1,), (0,)), _OLD, True)
    if rest in _TESTS:
        verb, operand, after = _UPDATES[rest.split("_")[0]]
        return Form(verb, _args(operand), (operand,), (*after, *_TESTS[rest]), True, wraps=True)
    found = _UPDATE.fullmatch(rest)
    if found is None or (found[1] and found[3]):
        return None
    verb, operand, after = _UPDATES[found[2]]
    args = _args(operand)
    if found[1]:
        return Form(verb, args, (operand,), _OLD, True)
    if found[3]:
        return Form(verb, args, (operand,), after, True, wraps=True)
    # Without a result there is no order to name.
    return Form(verb, args, (operand,), (), True) if rest == found[2] else None


def _args(operand: tuple[Word, ...]) -> str:
    """The value comes first in C."""
    return "vp" if "v" in operand else "p"
