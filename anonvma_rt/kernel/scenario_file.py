"""Reading a scenario file: TOML text to a checked Document, whose expressions are still unevaluated.

The file may come from anyone, so everything is bounded, every unknown key is an error, and every error is one line that
names the file, the key and what would be right. scenario.py turns a Document and parameter values into a program.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.failing import ALLOCATIONS, Failing
from anonvma_rt.linux.stated import Stated, read_stated
from anonvma_rt.linux.table import HOST
from anonvma_rt.mm.hooks.notes import KINDS
from anonvma_rt.mm.lab.interesting import DEFAULT, NAMES
from anonvma_rt.mm.lab.syscall import PROT_WORDS
from anonvma_rt.mm.lab.syscall import VERBS as CALLS
from anonvma_rt.text.expected import Expected, read_expected
from anonvma_rt.text.names import for_threads, read_names
from anonvma_rt.text.parameters import Definitions
from anonvma_rt.text.toml import as_table, as_value, check_keys, get_line, get_list, get_word, load_toml, shown

__all__ = [
    "VERBS",
    "VIOLATION_KINDS",
    "Document",
    "Key",
    "RawCall",
    "RawThread",
    "read_document",
]

MOST_THREADS = MOST_PROCESSES = 64
MOST_STEPS = 10_000
TOP_KEYS = (
    "name", "about", "zoo", "commit", "year", "symptom", "strategy", "interesting", "fail_alloc", "processes",
    "parameters", "names",
    "require", "expect", "releases", "setup", "thread", "after",
)  # fmt: skip
ALL_OTHERS = "*"  # in [expect]: every preset that is not named

VIOLATION_KINDS = tuple(KINDS.values())


# The operations that SURW can order, and those that it does where nothing is named.
OPERATIONS: Mapping[str, str] = {name: about for name, (_, about) in NAMES.items()}
USUAL_OPERATIONS = (DEFAULT,)


class Key(NamedTuple):
    """One key of a verb. `kind`: address (bytes), length (pages), tag, count, switch, rights (a switch, or PROT in its
    place) or process; `default` None: required."""

    name: str
    kind: str
    default: int | str | None = None  # an int as it is, or the name of the key whose value it takes


VERBS: Mapping[str, tuple[Key, ...]] = {verb: tuple(Key(*key) for key in keys) for verb, keys in CALLS.items()}

# Every verb: its allocations of the kind `fail` fail once so many of them were had.
FAIL_AFTER = Key("fail_after", "count", -1)

# In the place of `writable`, a word.
PROT = "prot"

# The keys that every step may have beside those of its verb.
STEP_KEYS: Mapping[str, str] = {
    "do": "the verb",
    "process": "whose call it is, of `processes` (default: that of the thread, or the first)",
    "when": "true, false or an expression: whether the step is there at all",
    "errno": 'what it returns if not success: a name as "EFAULT", or several as ["", "EFAULT"], each of which is right '
    'and "" is success',
    "cpu": "of a touch or read in setup: the number of the CPU that keeps its translations",
    "fail": f"which of its allocations fail: {', '.join(ALLOCATIONS)} (default table)",
    "fail_after": "how many of these it gets before",
}


class RawCall(NamedTuple):
    """A call whose values are not evaluated yet; `process` is an index, `errno` a number (0: success) or several,
    `fail` the kind of allocation that `fail_after` of the values speaks of."""

    verb: str
    process: int
    values: Mapping[str, int | bool | str]
    when: int | bool | str
    errno: int | tuple[int, ...]
    where: str
    fail: str
    cpu: int | None


class RawThread(NamedTuple):
    name: str
    calls: tuple[RawCall, ...]
    cpu: int | None


@dataclass(frozen=True)
class Document:
    """A scenario file, checked as far as it can be without parameter values."""

    name: str
    about: str
    origin: dict[str, str]
    interesting: tuple[str, ...]
    processes: list[str]
    definitions: Definitions
    expect: dict[str, Expected]
    releases: Stated
    setup: tuple[RawCall, ...]
    threads: tuple[RawThread, ...]
    after: tuple[RawCall, ...]
    fail_alloc: Failing | None


def read_document(text: str, source: str) -> Document:
    """The document in `text`; `source` begins every message. Raises ScenarioError and nothing else."""
    top = load_toml(text, source)
    check_keys(top, TOP_KEYS, source)
    processes = _processes(top, source)
    definitions = Definitions.read(top, source)
    raw_threads = get_list(top, "thread", source)
    if not 1 <= len(raw_threads) <= MOST_THREADS:
        raise ScenarioError(f"{source}: thread: there are {len(raw_threads)} threads (1 to {MOST_THREADS} are right)")
    calls = _CallReader(source, processes)
    setup = calls.read(get_list(top, "setup", source), "setup")
    threads: list[RawThread] = []
    for number, value in enumerate(raw_threads, 1):
        threads.append(calls.read_thread(value, f"thread {number}", [thread.name for thread in threads]))
    interesting = read_names(top, source)
    if interesting is None:
        interesting = USUAL_OPERATIONS
    for_threads(interesting, [thread.name for thread in threads], OPERATIONS, ScenarioError, f"{source}: interesting")
    return Document(
        name=get_word(top, "name", source),
        about=get_line(top, "about", source),
        origin={key: get_line(top, key, source, "") for key in ("zoo", "commit", "year", "symptom", "strategy")},
        interesting=interesting,
        processes=processes,
        definitions=definitions,
        expect=_expect(top, source),
        releases=read_stated(top, VIOLATION_KINDS, source),
        setup=setup,
        threads=tuple(threads),
        after=calls.read(get_list(top, "after", source), "after"),
        fail_alloc=_fail_alloc(top, source),
    )


class _CallReader:
    """Reads calls, and counts them over the whole file."""

    def __init__(self, source: str, processes: list[str]) -> None:
        self.source, self.processes, self.count, self.alone = source, processes, 0, False

    def read_thread(self, value: object, place: str, taken: list[str]) -> RawThread:
        where = f"{self.source}: {place}"
        table = as_table(value, where)
        check_keys(table, ["name", "process", "cpu", "steps"], where)
        name = get_word(table, "name", where)
        if name in taken:
            raise ScenarioError(f"{where}: there are two threads of the name {quote(name)} (names must differ)")
        process = self._process(table, where, 0)
        steps = get_list(table, "steps", where)
        if not steps:
            raise ScenarioError(f"{where}: thread {quote(name)} has no steps (at least 1 is right)")
        return RawThread(name, self.read(steps, f"thread {quote(name)}", process), _cpu(table, where))

    def read(self, values: list[object], place: str, process: int = 0) -> tuple[RawCall, ...]:
        self.count += len(values)
        self.alone = place == "setup"
        if self.count > MOST_STEPS:
            raise ScenarioError(f"{self.source}: more than {MOST_STEPS} steps")
        steps = enumerate(values, 1)
        return tuple(self._call(value, f"{self.source}: {place} step {number}", process) for number, value in steps)

    def _call(self, value: object, where: str, process: int) -> RawCall:
        table = as_table(value, where)
        if "do" not in table:
            raise ScenarioError(f'{where}: the key "do" is missing (one of {", ".join(VERBS)})')
        verb = table["do"]
        if not isinstance(verb, str):
            raise ScenarioError(f"{where}: do: must be a string, not {shown(verb)}")
        if verb not in VERBS:
            raise ScenarioError(f"{where}: unknown verb {quote(verb)}{nearest(verb, VERBS)}")
        where = f"{where} ({verb})"
        keys = VERBS[verb]
        rights = next((key.name for key in keys if key.kind == "rights"), "")
        check_keys(table, [*(key.name for key in keys), *([PROT] if rights else []), *STEP_KEYS], where)
        prot = {PROT: _prot(table, rights, where)} if rights and PROT in table else {}
        for key in keys:
            if key.default is None and key.name not in table and not (key.name == rights and prot):
                raise ScenarioError(f'{where}: the key "{key.name}" is missing')
        values = prot | {key.name: self._value(key, table, where) for key in (*keys, FAIL_AFTER) if key.name in table}
        when = as_value(table.get("when", True), f"{where}: when")
        process = self._process(table, where, process)
        cpu = _cpu(table, where)
        if cpu is not None and (verb not in ("touch", "read") or not self.alone):
            raise ScenarioError(f"{where}: cpu: belongs to a touch or read of setup, or to a thread")
        return RawCall(verb, process, values, when, _errno(table, where), where, _fail(table, where), cpu)

    def _value(self, key: Key, table: dict[str, Any], where: str) -> int | bool | str:
        if key.kind == "process":
            return self._process(table, where, 0, key.name)
        return as_value(table[key.name], f"{where}: {key.name}")

    def _process(self, table: dict[str, Any], where: str, default: int, key: str = "process") -> int:
        if key not in table:
            return default
        name = get_word(table, key, where)
        if name not in self.processes:
            raise ScenarioError(f"{where}: unknown process {quote(name)}{nearest(name, self.processes)}")
        return self.processes.index(name)


def _cpu(table: dict[str, Any], where: str) -> int | None:
    """The number of a thread's CPU, which keeps translations; None where it names none."""
    cpu = table.get("cpu")
    if cpu is None or (isinstance(cpu, int) and not isinstance(cpu, bool) and 0 <= cpu < MOST_THREADS):
        return cpu
    raise ScenarioError(f"{where}: cpu: must be a number, from 0 to {MOST_THREADS - 1}, not {shown(cpu)}")


def _prot(table: dict[str, Any], rights: str, where: str) -> int:
    """The rights that a word stands for, as the verb has them."""
    if rights in table:
        raise ScenarioError(f"{where}: {PROT} and {rights} are both there (one of them is right)")
    word = get_line(table, PROT, where)
    if word not in PROT_WORDS:
        raise ScenarioError(f"{where}: {PROT}: unknown word {quote(word)}{nearest(word, PROT_WORDS)}")
    return PROT_WORDS.index(word)


def _errno(table: dict[str, Any], where: str) -> int | tuple[int, ...]:
    """What the step may return: a name of an errno, "" for success, or a list where each of several is right."""
    given = table.get("errno", "")
    if not isinstance(given, list):
        return _errno_number(given, where)
    if not given:
        raise ScenarioError(f'{where}: errno: the list is empty ("" is success)')
    return tuple(dict.fromkeys(_errno_number(name, where) for name in given))


def _errno_number(name: object, where: str) -> int:
    numbers = {known: number for number, known in errno.errorcode.items()}
    if not isinstance(name, str):
        raise ScenarioError(f"{where}: errno: must be a string or a list of strings, not {shown(name)}")
    if name and name not in numbers:
        # The names that mremap and its like return come first, so that a list of choices is of use.
        usual = ["EINVAL", "EFAULT", "ENOMEM", "EAGAIN", "EBUSY"]
        raise ScenarioError(f"{where}: unknown errno {quote(name)}{nearest(name, [*usual, *numbers])}")
    return numbers.get(name, 0)


def _fail(table: dict[str, Any], where: str) -> str:
    kind = get_line(table, "fail", where, "table")
    if kind not in ALLOCATIONS:
        raise ScenarioError(f"{where}: fail: unknown kind of allocation {quote(kind)}{nearest(kind, ALLOCATIONS)}")
    if "fail" in table and "fail_after" not in table:
        raise ScenarioError(f'{where}: the key "fail_after" is missing: how many such allocations succeed')
    return kind


def _fail_alloc(top: dict[str, Any], source: str) -> Failing | None:
    value = top.get("fail_alloc")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ScenarioError(f'{source}: fail_alloc: must be a rate, or a string as "0.05:table", not {shown(value)}')
    try:
        return Failing.parse(value)
    except UserError as error:
        raise ScenarioError(f"{source}: fail_alloc: {error}") from None


def _processes(top: dict[str, Any], source: str) -> list[str]:
    if "processes" not in top:
        return ["main"]
    values = get_list(top, "processes", source)
    if not 1 <= len(values) <= MOST_PROCESSES:
        raise ScenarioError(f"{source}: processes: there are {len(values)} (1 to {MOST_PROCESSES} are right)")
    names: list[str] = []
    for value in values:
        name = get_word({"processes": value}, "processes", source)
        if name in names:
            raise ScenarioError(f"{source}: processes: {quote(name)} is there twice (names must differ)")
        names.append(name)
    return names


def _expect(top: dict[str, Any], source: str) -> dict[str, Expected]:
    expect: dict[str, Expected] = {}
    for text, kind in as_table(top.get("expect", {}), f"{source}: expect").items():
        if isinstance(kind, dict):  # linux-3.2 = ... is, to TOML, the key 2 in a table linux-3
            example = quote(f"{text}.{next(iter(kind), '')}")
            raise ScenarioError(f"{source}: expect.{text}: is a table (a name with a dot needs quotes: {example})")
        if text.split(",")[0].strip() == HOST:
            raise ScenarioError(f"{source}: expect: {HOST} is another kernel on each machine (name a release)")
        try:
            name = ALL_OTHERS if text == ALL_OTHERS else Algorithm.parse(text).name
        except UserError as error:
            raise ScenarioError(f"{source}: expect: {error}") from None
        where = f"{source}: expect.{name}"
        if name in expect:
            raise ScenarioError(f"{where}: the same algorithm is there twice (once as {quote(text)})")
        expect[name] = read_expected(kind, VIOLATION_KINDS, where)
    return expect
