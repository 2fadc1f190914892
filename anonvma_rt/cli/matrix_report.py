"""A matrix of releases in plain text: the verdict of each, and the changes at which it turns."""

from collections.abc import Sequence
from itertools import groupby

from anonvma_rt.releases.matrix import ABSENT, Cell, Matrix, Turn
from anonvma_rt.text.expected import expected_text
from anonvma_rt.text.parameters import spelled

__all__ = ["matrices_report", "matrix_report"]


def matrix_report(matrix: Matrix) -> str:
    """Of one scenario, neighbours with the same verdict in one line."""
    how = f"strategy {matrix.strategy}, seed {matrix.seed}, {_rows(matrix)}"
    heading = f"{matrix.scenario} ({spelled(matrix.parameters) or 'no parameters'}), {how}"
    lines = [heading + (", INTERRUPTED" if matrix.interrupted else ""), ""]
    lines.append(f"  {'releases':20}{'verdict':32}expected")
    for (verdict, why, said), cells in groupby(matrix.cells, lambda cell: (_verdict(cell), cell.why, _expected(cell))):
        lines.append(f"  {_span(list(cells)):20}{verdict:32}{said}".rstrip())
        if why:
            lines.append(f"  {'':20}{why}")
    lines += ["", _summary(matrix)]
    lines += [_turn("came with", turn) for turn in matrix.introduced] + [
        _turn("gone in", turn) for turn in matrix.fixed
    ]
    saved = dict.fromkeys(cell.reproducer for cell in matrix.cells if cell.reproducer)
    return "\n".join([*lines, *([f"Kept: {', '.join(map(str, saved))}"] if saved else [])])


def matrices_report(matrices: Sequence[Matrix]) -> str:
    """Of many, a line each."""
    lines = [f"  {'scenario':24}{'bad in':34}{'kind':38}expected"]
    for matrix in matrices:
        bad = ", ".join(_ends(first, last) for first, last in matrix.bad) or "-"
        kinds = ", ".join(dict.fromkeys(cell.verdict for cell in matrix.cells if cell.bad))
        said = "as expected" if matrix.as_expected else "NOT AS EXPECTED"
        lines.append(f"  {matrix.scenario:24}{bad:34}{kinds:38}{said}")
        for why, cells in groupby(matrix.cells, lambda cell: cell.why):
            if why:
                lines.append(f"  {'':24}no verdict in {_span(list(cells))}: {why}")
    return "\n".join(lines)


def _rows(matrix: Matrix) -> str:
    return f"{len(matrix.results)} rows of choices, at most {matrix.runs} executions of each"


def _verdict(cell: Cell) -> str:
    if cell.verdict == ABSENT:
        return "no such call"
    return cell.verdict or "not hunted"


def _expected(cell: Cell) -> str:
    if cell.why or not cell.verdict:
        return ""
    if cell.as_expected:
        return "as expected"
    return f"NOT AS EXPECTED: {expected_text(cell.expected)}" if cell.expected else "VIOLATED (no expectation stated)"


def _span(cells: Sequence[Cell]) -> str:
    return _ends(cells[0].release, cells[-1].release)


def _ends(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _summary(matrix: Matrix) -> str:
    if matrix.bad:
        return f"First bad release {matrix.first_bad}, last bad release {matrix.last_bad}."
    return "No release with a verdict is bad."


def _turn(word: str, turn: Turn) -> str:
    by = (" and " if turn.together else " or ").join(turn.by) or f"{', '.join(turn.changes)} (none of them alone)"
    return f"  {word} {turn.after} (after {turn.before}): {by}"
