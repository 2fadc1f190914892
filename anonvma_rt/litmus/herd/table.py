"""The threads of a litmus file in assembly: a table with a column for each thread, "|" between them, ";" at the end."""

import re

from anonvma_rt.errors import ScenarioError
from anonvma_rt.litmus.herd.tree import Assembly, Statement, Thread

__all__ = ["read_table"]

_LABEL = re.compile(r"\s*([A-Za-z_.][\w.]*)\s*:(?!\w)\s*")
_INSTRUCTION = re.compile(r"((?:lock\s*;?\s+)?[A-Za-z]\w*)\s*(.*)", re.IGNORECASE)


def read_table(text: str, source: str, line: int) -> tuple[Thread, ...]:
    """From the row of the threads' names on; `line`: where the text begins."""
    columns: list[list[Statement]] = []
    begin = line
    for number, row in _rows(text, line):
        cells = [cell.strip() for cell in row.split("|")]
        if not columns:
            begin = number
            if cells != [f"P{i}" for i in range(len(cells))]:
                raise ScenarioError(f"{source}: line {number}: the names P0 | P1 | ... are needed here")
            columns = [[] for _ in cells]
            continue
        if len(cells) > len(columns):
            raise ScenarioError(f"{source}: line {number}: {len(cells)} columns, and {len(columns)} threads")
        for column, cell in zip(columns, cells, strict=False):
            column += _cell(cell, source, number)
    if not columns:
        raise ScenarioError(f"{source}: line {line}: a table of threads is needed here")
    return tuple(Thread((), tuple(column), begin) for column in columns)


def _rows(text: str, line: int) -> list[tuple[int, str]]:
    """(line, row) for each row: all but the last end in ";"."""
    rows = []
    for part in text.split(";"):
        blank = len(part) - len(part.lstrip())
        if part.strip():
            rows.append((line + part.count("\n", 0, blank), part))
        line += part.count("\n")
    return rows


def _cell(cell: str, source: str, line: int) -> list[Statement]:
    found: list[Statement] = []
    while label := _LABEL.match(cell):
        found.append(Assembly(label[1], (), True, line))
        cell = cell[label.end() :]
    if not cell:
        return found
    instruction = _INSTRUCTION.fullmatch(cell)
    if instruction is None:
        raise ScenarioError(f"{source}: line {line}: {cell} is no instruction")
    # A comma within parentheses is part of an address.
    operands = tuple(part.strip() for part in re.split(r",(?![^(\[]*[)\]])", instruction[2])) if instruction[2] else ()
    word = " ".join(instruction[1].lower().replace(";", " ").split())
    return [*found, Assembly(word, operands, False, line)]
