"""Where reproducers go. The place is tried before the work, because afterwards is too late to learn that it is full."""

from pathlib import Path
from typing import NamedTuple

from anonvma_rt.errors import ParameterError, quote, reason
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.text.writing import try_to_write

__all__ = ["Folder", "Saved", "save"]


class Saved(NamedTuple):
    """path: of the file, None if there is none; why_not: what went wrong, if it should be there."""

    path: str | None = None
    why_not: str | None = None


class Folder:
    """A folder for reproducers, made if it is not there; without a path nothing is saved. Use as a context manager, or
    call leave(). Raises ParameterError where nothing can be written."""

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.made = False
        if self.path is not None:
            try:
                self.made = not self.path.exists()
                self.path.mkdir(parents=True, exist_ok=True)
                try_to_write(self.path / "anonvma-rt")
            except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
                raise ParameterError(
                    f"--out {quote(str(path))}: reproducers cannot be written there: {reason(error)}"
                ) from None

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()

    def keep(self, reproducer: Reproducer, name: str | None = None) -> Saved:
        """Saves a reproducer, under its own name or another."""
        name = name or reproducer.name()
        return Saved() if self.path is None else save(reproducer, self.path / name, name)

    def leave(self) -> None:
        """Removes the folder again if it was made for nothing."""
        if self.path is not None and self.made:
            try:
                self.path.rmdir()
            except OSError:
                return


def save(reproducer: Reproducer, path: Path, called: str) -> Saved:
    """Writes one file; `called` is its name in the message where that fails."""
    try:
        return Saved(str(reproducer.save(path)))
    except OSError as error:
        return Saved(None, f"{called} could not be saved: {reason(error)}")
