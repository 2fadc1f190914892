"""Files that are read: texts of the user's, texts that the package brings, and whether one is what was written."""

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from anonvma_rt.errors import ScenarioError, nearest, quote, reason
from anonvma_rt.text.toml import LARGEST_FILE

__all__ = ["Builtins", "checksum_of", "read_text"]


class Builtins:
    """The TOML files in a folder of the package; what: how messages call one of them."""

    def __init__(self, folder: str, what: str) -> None:
        self.folder, self.what = resources.files("anonvma_rt") / folder, what

    def names(self) -> list[str]:
        """Sorted."""
        return sorted(entry.name.removesuffix(".toml") for entry in self.folder.iterdir() if entry.name[-5:] == ".toml")

    def read(self, name_or_path: str) -> tuple[str, str]:
        """The text, and what it is called in messages, of one of these by name, or of any file by path: what contains a
        / or ends in .toml is a path. Raises ScenarioError."""
        if "/" in name_or_path or name_or_path.endswith(".toml"):
            return read_text(name_or_path), name_or_path
        known = self.names()
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise ScenarioError(f"unknown {self.what} {quote(name_or_path)}{hint}; a file's path ends in .toml")
        file = f"{name_or_path}.toml"
        return (self.folder / file).read_text("utf-8"), file


def read_text(source: str) -> str:
    """The text of the file at the path `source`. Raises ScenarioError."""
    try:
        with Path(source).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)  # one more than allowed: load_toml() refuses it
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) > LARGEST_FILE:
            return "\n" * len(data)  # cut inside a character; the size is what is wrong
        raise ScenarioError(f"{source}: not UTF-8 text (at byte {error.start})") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ScenarioError(f"{source or quote(source)}: cannot be read: {reason(error)}") from None


def checksum_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a JSON file: tells whether it is the one that was written."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
