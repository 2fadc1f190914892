"""One step of a scenario as plain integers: made of what the file says, and explained where it went wrong."""

import os
from collections.abc import Iterable, Mapping
from errno import errorcode
from typing import NamedTuple

from anonvma_rt.errors import ScenarioError
from anonvma_rt.kernel.reasons import TASK_SIZE, errno_of, reason_of
from anonvma_rt.kernel.scenario_file import FAIL_AFTER, PROT, VERBS, Key, RawCall
from anonvma_rt.text.expression import evaluate
from anonvma_rt.text.parameters import holds
from anonvma_rt.text.toml import shown

__all__ = ["Call", "errno_name", "explain_refusal", "read_calls"]

# What a value of each kind may be: the bounds, and the words that say what would be right.
_RANGES: Mapping[str, tuple[int, int, str]] = {
    "address": (0, TASK_SIZE - 1, "an address in bytes, from 0 to below 2**39"),
    "length": (0, 1 << 26, "a length in pages, from 0 to 2**26"),
    "tag": (0, (1 << 31) - 1, "a content tag, from 0 to below 2**31"),
    "count": (0, (1 << 31) - 1, "a number, from 0 to below 2**31"),
    "process": (0, 63, "a process"),
    "order": (2, 8, "true, false, or an order from 2 to 8"),
}


class Call(NamedTuple):
    """One call into the simulated kernel, as plain integers.

    `args` are the keys of scenario_file.VERBS in their order: addresses in bytes, lengths in pages, truth values as 0
    and 1, processes by index. For mremap, to = -1 means not MREMAP_FIXED. `process` is an index into
    BoundScenario.processes, `errno` what the call is expected to return (0: success), or a tuple of which each is
    right, and `where` the place in the scenario, for messages. `fails`: (kind, n) where the call's allocations of that
    kind fail once n of them were had. cpu: the number of the CPU that keeps the translations of an access of setup.
    """

    verb: str
    process: int
    args: tuple[int, ...]
    errno: int | tuple[int, ...]
    where: str
    fails: tuple[str, int] | None = None
    cpu: int | None = None

    @property
    def right(self) -> tuple[int, ...]:
        """All that it may return."""
        return self.errno if isinstance(self.errno, tuple) else (self.errno,)


def explain_refusal(call: Call, code: int) -> str:
    """One line for a call that returned `code` (an errno, 0: success) where another result was expected.

    >>> explain_refusal(Call("munmap", 0, (4097, 1), 0, "x.toml: setup step 1 (munmap)"), 22)
    'x.toml: setup step 1 (munmap): EINVAL: address 0x1001 is not page-aligned'
    """
    code = abs(code)
    names = " or ".join(errno_name(number) or "success" for number in call.right)
    expected = "" if call.right == (0,) else f"{names} is expected, but "
    if code == 0:
        return f"{call.where}: {expected}the step succeeded"
    errno = errno_of(code)
    why = reason_of(call.verb, call.args, code, call.fails) or os.strerror(errno)
    return f"{call.where}: {expected}{errno_name(errno)}: {why}"


def errno_name(errno: int) -> str:
    """As a scenario says it."""
    return errorcode.get(errno, f"errno {errno}") if errno else ""


def read_calls(calls: Iterable[RawCall], names: Mapping[str, int | bool]) -> tuple[Call, ...]:
    return tuple(_call(raw, names) for raw in calls if holds(raw.when, names, f"{raw.where}: when"))


def _call(raw: RawCall, names: Mapping[str, int | bool]) -> Call:
    args: dict[str, int] = {}
    for key in VERBS[raw.verb]:
        if key.kind == "rights" and PROT in raw.values:
            args[key.name] = int(raw.values[PROT])
        elif key.name in raw.values:
            where = f"{raw.where}: {key.name}"
            args[key.name] = _in_range(evaluate(raw.values[key.name], names, where), key, where)
        elif isinstance(key.default, str):
            args[key.name] = args[key.default]
        else:
            assert key.default is not None  # read_document saw to it that a required key is there
            args[key.name] = key.default
    fails = None
    if FAIL_AFTER.name in raw.values:
        where = f"{raw.where}: {FAIL_AFTER.name}"
        fails = (raw.fail, _in_range(evaluate(raw.values[FAIL_AFTER.name], names, where), FAIL_AFTER, where))
    return Call(raw.verb, raw.process, tuple(args.values()), raw.errno, raw.where, fails, raw.cpu)


def _in_range(value: int | bool, key: Key, where: str) -> int:
    if key.kind in ("switch", "rights"):
        if not isinstance(value, bool):
            raise ScenarioError(f"{where}: must be true or false, not {value}")
        return int(value)
    if key.kind == "order" and isinstance(value, bool):
        return int(value)
    low, high, right = _RANGES[key.kind]
    if isinstance(value, bool) or not low <= value <= high:
        got = hex(value) if key.kind == "address" and not isinstance(value, bool) else shown(value)
        raise ScenarioError(f"{where}: must be {right}, not {got}")
    return value
