"""The one writer: a file is whole or not there, and nothing but a regular file is ever replaced.

A file is written beside its place, under a name that nobody can guess or have put there before, brought to the disk,
and then renamed. A device, a FIFO or a symbolic link at its place is refused: to rename over it would destroy it, and
to follow it would write where nobody said so.
"""

import errno
import os
import secrets
import stat
from pathlib import Path

__all__ = ["cache_folder", "try_to_write", "write_whole"]

PROBE = b"\0" * 4096
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Replaces `path` by a regular file with this content, text as UTF-8. Raises OSError, also where something else is
    there than a regular file, and leaves what was there as it was."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    folder, name = _place(path)
    where = _open_folder(folder)
    try:
        _refuse(name, where)
        temporary = _write_new(data, where)
        try:
            os.rename(temporary, name, src_dir_fd=where, dst_dir_fd=where)
        except BaseException:
            os.unlink(temporary, dir_fd=where)
            raise
        os.fsync(where)
    finally:
        os.close(where)
    return Path(path)


def try_to_write(path: str | Path) -> None:
    """Whether write_whole() can: writes a small file beside `path` and removes it. Raises OSError."""
    folder, name = _place(path)
    where = _open_folder(folder)
    try:
        _refuse(name, where)
        os.unlink(_write_new(PROBE, where), dir_fd=where)
    finally:
        os.close(where)


def _place(path: str | Path) -> tuple[str, str]:
    folder, name = os.path.split(os.fspath(path))
    if name in ("", ".", ".."):
        raise OSError(errno.EISDIR, "it is not the name of a file")
    if "\0" in folder + name:
        raise OSError(errno.EINVAL, "there is a zero byte in its name")
    return folder or ".", name


def _open_folder(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _refuse(name: str, where: int) -> None:
    """Raises OSError where something is there that is no regular file."""
    try:
        mode = os.stat(name, dir_fd=where, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = next((kind for test, kind in _KINDS if test(mode)), "no regular file")
        raise OSError(errno.EINVAL, f"{what} is there, and only a regular file is replaced")


def _write_new(data: bytes, where: int) -> str:
    """A new file in the folder; its name. Nothing is left of it where that fails."""
    temporary = f".{secrets.token_hex(16)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=where)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        os.unlink(temporary, dir_fd=where)
        raise
    return temporary


def cache_folder() -> Path:
    """Where builds are kept: below XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "anonvma_rt" / "built"
