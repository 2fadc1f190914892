"""Files that are read: texts of the user's, texts that the package brings, and JSON that the lab itself wrote.

Whoever has a file may have changed it, and made its checksum again. So its size is bounded before it is read, the
number and the nesting of its values before they are parsed, and what they are is checked by a shape after that.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from anonvma_rt.errors import ScenarioError, nearest, quote, reason
from anonvma_rt.text.shape import ShapeError
from anonvma_rt.text.toml import LARGEST_FILE

__all__ = ["Builtins", "Limits", "checksum_of", "is_path", "load_json", "read_bounded", "read_text"]

DEEPEST = 12  # tables and lists within each other, in any file of the lab's own


def is_path(name: str) -> bool:
    """Whether what a user names is a file, and not something built in.

    >>> is_path("./sb"), is_path("sb.litmus"), is_path("sb")
    (True, True, False)
    """
    return "/" in name or name.endswith((".toml", ".litmus"))


class Builtins:
    """The TOML files in a folder of the package; what: how messages call one of them."""

    def __init__(self, folder: str, what: str) -> None:
        self.folder, self.what = resources.files("anonvma_rt") / folder, what

    def names(self) -> list[str]:
        """Sorted."""
        return sorted(entry.name.removesuffix(".toml") for entry in self.folder.iterdir() if entry.name[-5:] == ".toml")

    def read(self, name_or_path: str) -> tuple[str, str]:
        """The text, and what it is called in messages, of one of these by name, or of any file by path (is_path).
        Raises ScenarioError."""
        if is_path(name_or_path):
            return read_text(name_or_path), name_or_path
        known = self.names()
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise ScenarioError(f"unknown {self.what} {quote(name_or_path)}{hint}; a file's path ends in .toml")
        file = f"{name_or_path}.toml"
        return (self.folder / file).read_text("utf-8"), file


def read_text(source: str) -> str:
    """The text of the file at the path `source`. Raises ScenarioError."""
    data = read_bounded(source, LARGEST_FILE, "a scenario")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{source}: not UTF-8 text (at byte {error.start})") from None


def read_bounded(path: str | Path, most: int, what: str) -> bytes:
    """The content of a file of at most `most` bytes; what: how messages call such a file. Raises ShapeError."""
    where = str(path) or quote("")
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ShapeError(f"{where}: cannot be read: {reason(error)}") from None
    if len(data) > most:
        raise ShapeError(f"{where}: larger than {_spelled(most)}, which is the most for {what}")
    return data


class Limits(NamedTuple):
    """Of a JSON file: bytes, and values, where each entry of a list or a table counts."""

    bytes: int
    values: int


_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def load_json(data: bytes, limits: Limits, where: str) -> Any:
    """What a JSON text says. Raises ShapeError, also for what would cost too much to parse."""
    if len(data) > limits.bytes:
        raise ShapeError(f"{where}: larger than {_spelled(limits.bytes)}")
    bare = _STRINGS.sub(b"", data)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > limits.values:
        raise ShapeError(f"{where}: more than {limits.values} values")
    depth = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise ShapeError(f"{where}: nested more than {DEEPEST} deep")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except ValueError as error:
        raise ShapeError(f"{where}: no JSON ({error})") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _spelled(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def checksum_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a JSON file: tells whether it is the one that was written."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
