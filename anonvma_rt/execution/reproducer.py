"""The file that replays: everything that makes one execution come again, in one JSON object.

It holds the scenario's text, the algorithm's fields and the schedule itself, so it needs neither the strategy nor the
seed, and it says of itself whether it was truncated, edited or written in another format.
"""

import errno
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, at_least, quote
from anonvma_rt.execution.record import Record, record
from anonvma_rt.execution.schedule import MOST_SEGMENTS, MOST_STEPS, Schedule, pairs, pairs_text
from anonvma_rt.lab.again import difference
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import described_by
from anonvma_rt.own.subject import is_embedded
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import SC, Bound, Choice, Described
from anonvma_rt.text.files import Limits, checksum_of, load_json, read_bounded
from anonvma_rt.text.names import MOST_NAMES
from anonvma_rt.text.shape import VALUE, ShapeError, digest, either, line, list_of, shown, table_of, text, whole
from anonvma_rt.text.shape import record as shape_of
from anonvma_rt.text.toml import LARGEST_FILE as LARGEST_TEXT
from anonvma_rt.text.writing import write_whole

__all__ = ["FoundBy", "Replayed", "Reproducer", "ReproducerError", "replay"]

FORMAT = "anonvma-rt reproducer"
VERSION = 1
LARGEST_FILE = 32 << 20
LIMITS = Limits(LARGEST_FILE, 10_000)
MOST_PARAMETERS = 1000
LONGEST_NAME = 200  # characters of a file's name: systems allow 255, and shrink and campaigns add some

PARAMETERS = table_of(VALUE, MOST_PARAMETERS)
# Everything that a reproducer may hold beside format, version and checksum. What a later version adds is passed over.
BODY = shape_of(
    {
        "written_by": line(),
        "violation": shape_of({"kind": line(), "cause": text(1 << 16)}),
        "scenario": shape_of(
            {
                "name": line(), "source": text(1 << 13), "sha256": digest(64), "text": text(LARGEST_TEXT),
                "parameters": PARAMETERS,
            }
        ),
        "algorithm": table_of(either(lambda value: isinstance(value, str), line(2000), VALUE), 100),
        "found_by": shape_of({"strategy": line(2000), "seed": whole(), "index": whole()},
                           {"interesting": list_of(line(), MOST_NAMES), "carrier": line()}, others=True),
        "bound": whole(1, MOST_STEPS), "schedule": Schedule.checked, "schedule_digest": digest(16),
        "trace_sha256": digest(64),
    },
    {
        "shrunk_from": shape_of({"steps": whole(), "switches": whole(), "parameters": PARAMETERS,
                               "schedule_digest": digest(16)}, others=True),
        "failed_allocations": pairs(MOST_SEGMENTS), "memory": line(),
    },
    others=True,
)  # fmt: skip


class ReproducerError(UserError):
    """A file that is no reproducer, or no longer the one that was written."""


@dataclass(frozen=True)
class FoundBy:
    """How a violation was found: its kind, the strategy by name, which execution under which seed, and the carrier that
    made it, of two the last one; "" where nobody says."""

    kind: str
    strategy: str
    seed: int = 0
    index: int = 0
    carrier: str = ""


@dataclass(frozen=True)
class Reproducer:
    """One failing execution.

    strategy, interesting (the operations that SURW orders), seed, index and carrier (FoundBy) say how it was found;
    bound is the number of steps that counts as a livelock; trace is the SHA-256 of the recorded events, digest the
    engine's digest of the choices. shrunk_from says what was found, where this is what `shrink` made of it: steps,
    switches, parameters and schedule_digest. failures: the allocations that failed, as (task, n); None where none
    could. memory: the model under which it was executed.
    """

    scenario: Described
    parameters: Mapping[str, int | bool]
    algorithm: Choice
    strategy: str
    seed: int
    index: int
    bound: int
    schedule: Schedule
    kind: str
    cause: str
    digest: str
    trace: str
    interesting: Sequence[str] = ()
    version: str = field(default=__version__)
    shrunk_from: Mapping[str, Any] | None = None
    failures: Sequence[tuple[int, int]] | None = None
    carrier: str = ""
    memory: str = SC

    @classmethod
    def of(cls, record: Record, found: FoundBy, shrunk_from: Mapping[str, Any] | None = None) -> "Reproducer":
        """What makes a recorded violation come again."""
        program = record.program
        return cls(
            scenario=program.scenario, parameters=program.parameters, algorithm=record.choice, strategy=found.strategy,
            seed=found.seed, index=found.index, interesting=program.interesting, bound=record.bound,
            schedule=record.schedule, kind=found.kind, cause=record.cause, digest=record.digest,
            trace=record.events_sha256, shrunk_from=shrunk_from, failures=record.failures,
            carrier=found.carrier, memory=program.memory,
        )  # fmt: skip

    def under(self, algorithm: str) -> str:
        """What it was executed under, in words: an algorithm, and the memory model where that is not SC."""
        return algorithm if self.memory == SC else f"{algorithm} ({self.memory.upper()})"

    @property
    def steps(self) -> int:
        return self.schedule.steps

    @property
    def switches(self) -> int:
        return self.schedule.switches

    def program(self, parameters: Mapping[str, int | bool] | None = None) -> Bound:
        """What is executed; with other parameters, the same with those."""
        program = self.scenario.bind(self.parameters if parameters is None else parameters).under(self.memory)
        if self.interesting:
            program = program.with_interesting(self.interesting)
        return program if self.failures is None else program.fail(self.failures)

    def open(self, program: Bound, other: Choice | None = None) -> Explorer:
        """An explorer that makes the execution again, or one under another choice that follows the schedule as far as
        it can; `program` is program()."""
        strategy = script.replay(self.schedule) if other is None else script.follow(self.schedule)
        return make_explorer(program, other or self.algorithm, strategy, bound=self.bound, seed=self.seed)

    def name(self) -> str:
        """The file name under which a hunt saves it."""
        name = f"{self.scenario.name}-{self.algorithm.name}-{self.seed}-{self.index}.json"
        name = "".join(c if (c.isascii() and c.isalnum()) or c in "-._" else "-" for c in name)
        if len(name) <= LONGEST_NAME:
            return name
        return f"{name[: LONGEST_NAME - 22]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"

    def as_dict(self) -> dict[str, Any]:
        scenario = self.scenario
        body: dict[str, Any] = {
            "format": FORMAT, "version": VERSION, "written_by": f"anonvma_rt {self.version}",
            "violation": {"kind": self.kind, "cause": self.cause},
            "scenario": {
                "name": scenario.name, "source": scenario.source, "sha256": scenario.sha256, "text": scenario.text,
                "parameters": dict(self.parameters),
            },
            "algorithm": dict(self.algorithm.as_dict()),
            "found_by": {
                "strategy": self.strategy, "interesting": list(self.interesting), "seed": self.seed,
                "index": self.index, **({"carrier": self.carrier} if self.carrier else {}),
            },
            "bound": self.bound, "schedule": str(self.schedule), "schedule_digest": self.digest,
            "trace_sha256": self.trace,
        }  # fmt: skip
        if self.shrunk_from is not None:
            body["shrunk_from"] = dict(self.shrunk_from)
        body["memory"] = self.memory
        if self.failures is not None:
            body["failed_allocations"] = pairs_text(self.failures)
        return body | {"sha256": checksum_of(body)}

    def save(self, path: Path) -> Path:
        """Writes the file so that it is whole or not there. Raises OSError, also where load() would refuse it."""
        if len(self.schedule) > MOST_SEGMENTS:
            raise OSError(
                errno.EFBIG, f"it has {len(self.schedule)} segments; a reproducer has at most {MOST_SEGMENTS}"
            )
        return write_whole(path, json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path, own: Iterable[Any] = ()) -> "Reproducer":
        """Reads and checks a file. Raises ReproducerError, which says what is wrong with it.

        own: code of your own that the file may name, a subject() or a Rule; a file that names anything else is refused,
        because reading a file must not run code.
        """
        try:
            data = read_bounded(path, LARGEST_FILE, "a reproducer")
        except ShapeError as error:
            raise ReproducerError(str(error)) from None
        return cls.from_bytes(data, str(path), own)

    @classmethod
    def from_bytes(cls, data: bytes, where: str, own: Iterable[Any] = ()) -> "Reproducer":
        """Checks the content of a file; `where` begins every message, `own` as for load(). Raises ReproducerError."""
        try:
            body = load_json(data, LIMITS, where)
        except ShapeError as error:
            if data.lstrip()[:1] == b"{" and f'"format": "{FORMAT}"'.encode() in data[:1000]:
                raise ReproducerError(f"{error}: the reproducer is truncated or damaged") from None
            raise ReproducerError(f"{error}: not a reproducer") from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ReproducerError(f'{where}: not a reproducer: "format" must be {quote(FORMAT)}')
        if body.get("version") != VERSION:
            raise ReproducerError(
                f"{where}: format version {shown(body.get('version'))}; this anonvma_rt {__version__} reads "
                f"version {VERSION}: replay it with the anonvma_rt that wrote it ({shown(body.get('written_by'))})"
            )
        checksum = body.pop("sha256", None)
        try:
            known = BODY(body, where)
            text = known["scenario"]["text"]
            if hashlib.sha256(text.encode()).hexdigest() != known["scenario"]["sha256"]:
                edited = "the scenario inside was edited after the reproducer was written; hunt the edited scenario"
                raise ReproducerError(f"{where}: {edited}")
            if checksum != checksum_of(body):
                raise ReproducerError(
                    f"{where}: the reproducer was edited after it was written (its sha256 is another)"
                )
        except ShapeError as error:
            raise ReproducerError(f"{error}: the reproducer is damaged") from None
        try:
            reproducer = cls._of_body(known, where, list(own))
            reproducer.program()
        except UserError as error:
            raise ReproducerError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
        return reproducer

    @classmethod
    def _of_body(cls, body: dict[str, Any], where: str, own: list[Any]) -> "Reproducer":
        """Of what BODY has checked."""
        text, source = body["scenario"]["text"], body["scenario"]["source"]
        scenario = described_by(text, where if "subject" in text and is_embedded(text, where) else source, own)
        found_by, violation = body["found_by"], body["violation"]
        return cls(
            scenario=scenario, parameters=body["scenario"]["parameters"],
            algorithm=scenario.read_choice(body["algorithm"], own), strategy=found_by["strategy"],
            seed=found_by["seed"], index=found_by["index"], interesting=tuple(found_by.get("interesting", ())),
            bound=body["bound"], schedule=body["schedule"], kind=violation["kind"],
            cause=violation["cause"], digest=body["schedule_digest"], trace=body["trace_sha256"],
            version=body["written_by"].removeprefix("anonvma_rt "), shrunk_from=body.get("shrunk_from"),
            failures=body.get("failed_allocations"), carrier=found_by.get("carrier", ""),
            memory=body.get("memory", SC),
        )  # fmt: skip


@dataclass(frozen=True)
class Replayed:
    """What replay() saw. `reproduced` of `times` executions had the same violation after the same choices.

    kind: the violation, or None; steps, switches: of one execution; same_trace: every recorded event was the same too;
    trace: the history, up to the violation or the step asked for. differs: in words, where code of the user's own does
    not do the same twice.
    """

    times: int
    reproduced: int
    kind: str | None
    steps: int
    switches: int
    same_trace: bool
    trace: Trace
    explorer: Explorer
    program: Bound
    differs: str | None = None


def replay(reproducer: Reproducer, times: int = 1, until: int | None = None) -> Replayed:
    """Makes the execution come again, `times` times; once more with its history recorded.

    until: stop the recorded one before that step. The explorer of the result is idle and holds the final state. Raises
    ReproducerError where the schedule cannot be followed any more.
    """
    at_least("--times", times)
    if until is not None:
        at_least("--until", until)
    program = reproducer.program()
    explorer = reproducer.open(program)
    kinds = explorer.subject.kinds()
    done = explorer.run(0, times)
    same = sum(
        1
        for index, kind in done.failures
        if kinds[kind] == reproducer.kind and done.digests[8 * index : 8 * index + 8].hex() == reproducer.digest
    )
    if done.halt is not None and not done.ran:
        raise ReproducerError(
            f"the schedule of {reproducer.name()} cannot be followed: this anonvma_rt {__version__} or your own code "
            f"makes other steps than when {reproducer.version} wrote it"
        )
    differs = None
    if same < times:
        differs = difference(program, explorer, explorer.trace(0), explorer.trace(0))
    recorded = record(program, reproducer.algorithm, explorer, until=until)
    return Replayed(
        times, same, kinds[done.failures[0].kind] if done.failures else None, recorded.schedule.steps,
        recorded.schedule.switches, recorded.events_sha256 == reproducer.trace, recorded.trace, explorer, program,
        differs,
    )  # fmt: skip
