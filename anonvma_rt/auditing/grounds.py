"""What a proof rests on: whether the announcements that it covers were audited, and what an audit hears meanwhile.

clean.toml has the built-in scenarios and algorithms under which `anonvma-rt audit --all --table FILE` found nothing,
with a digest of the sources that were audited and of each scenario's text; tests/auditing guards it.
"""

import hashlib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from anonvma_rt.auditing.overlay import active, loaded_files
from anonvma_rt.auditing.pairs import Pair, merge
from anonvma_rt.engine.audit.audit import Audit, listen
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import Subject
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["TABLE", "announcements", "attach", "found_by", "source_digest", "table_text", "told"]

TABLE = Path(__file__).with_name("clean.toml")
NOT_AUDITED = "announcements not audited"


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


def announcements(program: Bound, choice: Choice) -> str:
    """In words, whether the operations that tasks announce were audited for this subject and algorithm, and when."""
    table = _table()
    clean = table["scenario"].get(program.scenario.name, {})
    if clean.get("text") != program.scenario.sha256 or choice.name not in clean.get("algorithms", ()):
        return NOT_AUDITED
    return f"announcements audited for this subject and algorithm, {table['audited']}"


def source_digest(root: Path, sources: Iterable[Path]) -> str:
    """Of what an audit depends on: the subjects' sources, and every .pxd."""
    sha = hashlib.sha256()
    for path in sorted({*sources, *root.rglob("*.pxd")}):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def table_text(audited: str, sources: str, clean: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """The content of clean.toml. clean: the digest of each scenario's text, and the algorithms without a report."""
    lines = [
        "# Made by `anonvma-rt audit --all --table FILE`: the algorithms under which nothing was reported.",
        f'audited = "{audited}"',
        f'sources = "{sources}"',
    ]
    for name, (text, algorithms) in clean.items():
        lines += ["", f'[scenario."{name}"]', f'text = "{text}"', "algorithms = ["]
        lines += [*(f'    "{one}",' for one in algorithms), "]"]
    return "\n".join(lines) + "\n"
