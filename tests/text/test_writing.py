"""The one writer: whole or not there, only over regular files, and never through what somebody else has put there."""

import os
import socket
import stat

import pytest

from anonvma_rt.text import writing
from anonvma_rt.text.writing import try_to_write, write_whole

WRITERS = [lambda path: write_whole(path, "text"), try_to_write]


def a_link(path):
    path.with_name("target").write_text("kept")
    path.symlink_to(path.with_name("target"))


def a_dangling_link(path):
    path.symlink_to(path.with_name("nowhere"))


def a_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


def a_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null is
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (a_link, "a symbolic link"),
        (a_dangling_link, "a symbolic link"),
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a folder"),
        (a_socket, "a socket"),
        (a_device, "a device"),
    ],
)
def test_what_is_no_regular_file_stays(make, what, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = tmp_path / "out"
    make(path if make is not a_socket else path.relative_to(tmp_path))
    before = os.lstat(path)
    with pytest.raises(OSError) as raised:
        write(path)
    assert what in raised.value.strerror
    assert os.lstat(path) == before
    assert {entry.name for entry in tmp_path.iterdir()} <= {"out", "target"}
    if make is a_link:
        assert (tmp_path / "target").read_text() == "kept"


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "out"
    for content in ("one", b"two"):
        assert write_whole(path, content) == path
        assert path.read_text() in ("one", "two")
    assert path.read_text() == "two" and list(tmp_path.iterdir()) == [path]


def test_a_temporary_name_cannot_be_prepared(tmp_path, monkeypatch):
    """Whoever guesses it, and puts a link there that leads to a file of the victim's, gets nothing written."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    names = iter(["0" * 32])
    monkeypatch.setattr(writing.secrets, "token_hex", lambda _: next(names))
    (tmp_path / f".{'0' * 32}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "out", "text")
    assert victim.read_text() == "kept" and not (tmp_path / "out").exists()


def test_temporary_names_do_not_repeat_and_do_not_tell_the_process(tmp_path, monkeypatch):
    seen = []
    rename = os.rename
    monkeypatch.setattr(
        writing.os, "rename", lambda name, *more, **how: (seen.append(name), rename(name, *more, **how))
    )
    for _ in range(20):
        write_whole(tmp_path / "out", "text")
    assert len(set(seen)) == 20 and all(len(name) == 37 and "out" not in name for name in seen)


@pytest.mark.parametrize("failing", ["rename", "fsync"])
def test_a_failure_leaves_what_was_there(failing, tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_text("before")

    def fails(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, failing, fails)
    with pytest.raises(OSError):
        write_whole(path, "after")
    monkeypatch.undo()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "folder/", "x" * 300, "zero\0byte"])
def test_what_is_no_name_of_a_file_is_an_os_error(name, tmp_path):
    (tmp_path / "folder").mkdir()
    for write in WRITERS:
        with pytest.raises(OSError):
            write(f"{tmp_path}/{name}")
