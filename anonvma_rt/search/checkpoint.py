"""The file from which an exhaustive search goes on: what it has found and what is left, for each algorithm.

A search that came to its end stays in the file with its figures, so a command that is given again says the same at
once. The file is replaced as a whole, and it belongs to one question: another scenario, other parameters or bounds
are refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.errors import UserError, quote, reason
from anonvma_rt.text.files import checksum_of
from anonvma_rt.text.writing import write_whole

__all__ = ["Checkpoint"]

FORMAT = "anonvma-rt checkpoint"
VERSION = 1
LARGEST_FILE = 1 << 30


class Checkpoint:
    """The file at `path`; made when it is first saved. `question` says what is searched.

    Raises UserError for a file that cannot be read or written, is damaged, or belongs to another search.
    """

    def __init__(self, path: str | Path, question: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.question = dict(question)
        self.searches: dict[str, dict[str, Any]] = {}
        try:
            there = self.path.exists()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
            raise UserError(f"--checkpoint {quote(str(path))}: cannot be read: {reason(error)}") from None
        if there:
            self._read()
        else:
            self.save()

    def save(self) -> None:
        body = {
            "format": FORMAT,
            "version": VERSION,
            "written_by": f"anonvma_rt {__version__}",
            "question": self.question,
            "searches": self.searches,
        }
        try:
            write_whole(self.path, json.dumps(body | {"sha256": checksum_of(body)}) + "\n")
        except OSError as error:
            raise UserError(f"--checkpoint {quote(str(self.path))}: cannot be written: {reason(error)}") from None

    def _read(self) -> None:
        where = f"--checkpoint {quote(str(self.path))}"
        try:
            with self.path.open("rb") as file:
                data = file.read(LARGEST_FILE)
            body = json.loads(data)
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {reason(error)}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not a checkpoint, or a damaged one ({error})") from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise UserError(f'{where}: not a checkpoint: "format" must be {quote(FORMAT)}')
        checksum = body.pop("sha256", None)
        if body.get("version") != VERSION or body.get("written_by") != f"anonvma_rt {__version__}":
            raise UserError(
                f"{where}: written by {quote(str(body.get('written_by')))}; this anonvma_rt {__version__} may make "
                "other steps: finish it there, or begin anew with another file"
            )
        if checksum != checksum_of(body) or not isinstance(body.get("searches"), dict):
            raise UserError(f"{where}: the checkpoint was edited or damaged (its sha256 is another)")
        for key, value in self.question.items():
            if body["question"].get(key) != value:
                raise UserError(
                    f"{where}: belongs to another search: its {key} is {quote(str(body['question'].get(key)))}, not "
                    f"{quote(str(value))}; begin anew with another file"
                )
        self.searches = body["searches"]
