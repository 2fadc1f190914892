"""What a proof rests on: whether the announcements that it covers were audited, and what an audit hears meanwhile.

clean.toml has the built-in scenarios and algorithms under which `anonvma-rt audit --all --table FILE` found nothing,
with a digest of the sources that were audited and of each scenario's text. Where one of them is another now, what it
says does not count.
"""

import hashlib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anonvma_rt import get_cimport_path
from anonvma_rt.auditing.build import subjects
from anonvma_rt.auditing.overlay import active, loaded_files
from anonvma_rt.auditing.pairs import Pair, merge
from anonvma_rt.engine.audit.audit import Audit, listen
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import Subject
from anonvma_rt.errors import UserError
from anonvma_rt.linux.table import ROWS, is_release
from anonvma_rt.programs.subject import NativeProgram
from anonvma_rt.subjects.protocols import Bound, Choice
from anonvma_rt.text.parameters import spelled

__all__ = [
    "NOT_AUDITED", "TABLE", "Clean", "announcements", "attach", "distinct_rows", "found_by", "source_digest",
    "table_text", "told",
]  # fmt: skip

TABLE = Path(__file__).with_name("clean.toml")
NOT_AUDITED = "announcements not audited"
LOOKED_AT = "under sequential consistency; plain accesses were looked at for data races in every class"


@dataclass(frozen=True)
class Clean:
    """A scenario without a report. text: the digest of it; parameters: their values, as text; algorithms: which."""

    name: str
    text: str
    parameters: str
    algorithms: Sequence[str]


def told(subject: Subject) -> bool:
    """Whether the modules of a subject's class tell what they do; from now on they do."""
    modules = {cls.__module__ for cls in type(subject).__mro__ if issubclass(cls, Subject) and cls is not Subject}
    if not active() and all(name.startswith("anonvma_rt.") for name in modules):
        return False
    heard = set(listen(loaded_files()))
    return bool(modules) and all(getattr(sys.modules[name], "__file__", None) in heard for name in modules)


def attach(explorers: Sequence[Explorer]) -> list[Audit]:
    """An audit for each explorer, where their subject tells what it does."""
    return [Audit(one) for one in explorers] if explorers and told(explorers[0].subject) else []


def found_by(audits: Sequence[Audit], program: Bound) -> list[Pair]:
    """Ends the audits; the pairs that they have."""
    if not audits:
        return []
    for one in audits:
        one.close()
    subject = audits[0].explorer.subject
    return merge([pair for one in audits for pair in one.pairs], subject, program.task_names())


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(TABLE.read_text("utf-8"))


@cache
def source_digest() -> str:
    """Of what an audit of the built-in subjects depends on: their sources, and every .pxd that they might name. ""
    where there are none."""
    root = Path(get_cimport_path(), "anonvma_rt")
    try:
        sources = {*subjects().values(), *(path for path in root.rglob("*.pxd") if path.parent.name != "programs")}
    except UserError:
        return ""
    sha = hashlib.sha256()
    for path in sorted(sources):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def announcements(program: Bound, choice: Choice) -> str:
    """In words, whether the operations that tasks announce were audited for this subject and algorithm, and when; and
    with what those that they call were compared."""
    spec = program.compared_with
    return _announced(program, choice) + (f"; every history of calls was compared with {spec}" if spec else "")


@cache
def distinct_rows() -> dict[str, str]:
    """By the name of each release's row, the name of the oldest that makes the same choices."""
    from anonvma_rt.kernel.algorithm import BEHAVIOUR, of_release

    first: dict[tuple[object, ...], str] = {}
    found = {}
    for row in (of_release(f"linux-{release}") for release in ROWS):
        found[row.name] = first.setdefault(tuple(getattr(row, name) for name in BEHAVIOUR), row.name)
    return found


def _audited(choice: Choice) -> str:
    """Of a release, the one that was audited because it makes the same choices."""
    if not is_release(choice.name):
        return choice.name
    return distinct_rows().get(choice.name, choice.name)


def _announced(program: Bound, choice: Choice) -> str:
    """Of a program every access is seen in the proof itself."""
    if isinstance(program, NativeProgram):
        return NOT_AUDITED if program.unannounced(program.choose(choice.name)) else LOOKED_AT
    table = _table()
    clean = table.get("scenario", {}).get(program.scenario.name, {})
    if clean.get("text") != program.scenario.sha256 or not {choice.name, _audited(choice)} & {*clean["algorithms"]}:
        return NOT_AUDITED
    if table["sources"] != source_digest():
        return f"{NOT_AUDITED} since the sources of the subject changed"
    sizes = "" if spelled(program.parameters) == clean["parameters"] else f", with {clean['parameters']}"
    return f"announcements audited for this subject and algorithm, {table['audited']}{sizes}"


def table_text(audited: str, clean: Iterable[Clean]) -> str:
    """The content of clean.toml, of an audit of the sources as they are now. audited: the year and the month."""
    lines = [
        "# Made by `anonvma-rt audit --all --table FILE`: the algorithms under which nothing was reported.",
        f'audited = "{audited}"',
        f'sources = "{source_digest()}"',
    ]
    for one in sorted(clean, key=lambda one: one.name):
        lines += ["", f'[scenario."{one.name}"]', f'text = "{one.text}"', f'parameters = "{one.parameters}"']
        lines += ["algorithms = [", *(f'    "{name}",' for name in one.algorithms), "]"]
    return "\n".join(lines) + "\n"
