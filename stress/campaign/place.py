"""Where a store is, and whether whoever runs it still lives."""

import socket
import time
from contextlib import closing
from pathlib import Path

from anonvma_rt.errors import UserError

__all__ = ["StoreError", "began", "lives", "path_of"]

SILENCE = 120.0  # seconds without a heartbeat after which a runner of another host counts as dead


class StoreError(UserError):
    """A store that cannot be opened, read or written; what was in it is still there."""


def path_of(where: str) -> Path:
    """The file that a path or an URL names: results.db, file:///tmp/results.db, sqlite:///results.db."""
    scheme, colon, rest = where.partition(":")
    if colon and scheme in ("file", "sqlite"):
        if rest.startswith("//"):
            rest = rest.removeprefix("///") if scheme == "sqlite" else rest.removeprefix("//")
        if "?" in rest or "#" in rest:
            raise StoreError(f"{where}: options in the URL of a store are not supported")
        where = rest
    elif colon and rest.startswith("//"):
        raise StoreError(f"{where}: a store is a file on this machine: a path, file:///PATH or sqlite:///PATH")
    if not where or "\0" in where:
        raise StoreError(f"{where or 'the empty name'}: is no name of a file")
    path = Path(where)
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise StoreError(f"{where}: is not a file")
    if not path.parent.is_dir():
        raise StoreError(f"{where}: the folder {path.parent} does not exist")
    return path


def began(pid: int) -> int:
    """When a process of this host began, in ticks since it booted; 0 if there is none. A pid may come again."""
    try:
        with closing(open(f"/proc/{pid}/stat", encoding="ascii", errors="replace")) as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def lives(host: str, pid: int, since: int, heartbeat: float) -> bool:
    """Whether a runner is still there, as far as that can be known from here."""
    if host == socket.gethostname():
        return since != 0 and began(pid) == since
    return time.time() - heartbeat < SILENCE
