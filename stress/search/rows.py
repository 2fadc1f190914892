"""The subjects of the table: whatever has a known violation, in the zoo, among the litmus tests and in SCTBench."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.stress.judges.published import COLUMNS, PUBLISHED
from anonvma_rt.stress.judges.sctbench import TO_COMPILE, questions
from anonvma_rt.stress.search.first import Looked, look
from anonvma_rt.text.expected import Expected, expected_text

__all__ = ["CORPORA", "Row", "answer", "racing", "rows"]

CORPORA = ("zoo", "litmus", "sctbench")

# What is told of a subject; whom to ask (judges/alone), and what, None where it cannot run here; how long that may
# take beside the time to look.
Row = tuple[dict[str, Any], tuple[str, dict[str, Any], float] | None]


def racing(described: Any) -> Iterator[tuple[str, Expected | None]]:
    """The algorithms under which a violation is expected, and which. A preset that "*" stands for is one of many that
    fail alike."""
    for algorithm in described.algorithms():
        kind = described.expected(algorithm)
        if kind != "none" and algorithm in described.expect:
            yield algorithm, kind


def rows(wanted: Sequence[str], sctbench: Path | None) -> list[Row]:
    """Those that are wanted: a corpus, a name, or a pattern of names as a shell has them; none: all. sctbench: the
    checkout of SCTBench, if there is one. Raises UserError."""
    every = [*_builtin("zoo", Scenario.builtin_names()), *_builtin("litmus", Litmus.builtin_names())]
    if sctbench is not None:
        every += [*_sctbench(sctbench)]
    if not wanted:
        return every
    for word in wanted:
        if word == "sctbench" and sctbench is None:
            raise UserError("--subjects sctbench needs --sctbench PATH, a checkout of SCTBench")
        if not any(_is(word, row) for row, _ in every):
            known = {*CORPORA, *(row["name"] for row, _ in every)}
            raise UserError(f"--subjects: no subject {quote(word)} with a known violation{nearest(word, known)}")
    return [one for one in every if any(_is(word, one[0]) for word in wanted)]


def _is(word: str, row: Mapping[str, Any]) -> bool:
    return row["corpus"] == word or fnmatchcase(row["name"], word)


def _builtin(corpus: str, names: Sequence[str]) -> Iterator[Row]:
    for name in names:
        for algorithm, kind in racing(load(name)):
            row = {"corpus": corpus, "name": name, "algorithm": algorithm, "kind": expected_text(kind)}
            yield row, ("builtin", {"name": name, "algorithm": algorithm}, 0.0)


def _sctbench(root: Path) -> Iterator[Row]:
    for row, question in questions(root, []):
        published = dict(zip(COLUMNS, PUBLISHED.get(row["name"], ()), strict=False))
        told = {"corpus": "sctbench", "name": row["name"]}
        if question is None:
            yield told | {"left_out": row["left_out"]}, None
        else:
            yield told | {"published": published}, ("sctbench", question, TO_COMPILE)


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """What look() says of a scenario or a litmus test."""
    return look(Looked(load(question["name"]), [question["algorithm"]]), question)
