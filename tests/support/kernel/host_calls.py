"""The host's kernel as a judge: sequences of system calls at fixed addresses, made in a child process for real.

A call is a list: ["mmap", address, pages, rights, perhaps noreserve], ["munmap", address, pages], ["dontneed", address,
pages], ["mprotect", address, pages, rights], with rights True to write, False to read or NONE, ["write", address,
pages, tag], ["mremap", address, old, new, to or None, maymove, dontunmap], ["read", address, pages], ["move_pages",
address, pages], ["uffd_move", address, pages, to], or ["fork", 0, 0]: the rest happens in the child, while the parent
stays as it is. The result of one is an address, 0 or a negative errno; of move_pages it is what the status of each
page says.

`Host` is the tests' side; run as a script this file is the process that makes the calls, with nothing but the standard
library, so that its address space holds little else.
"""

import ctypes
import fcntl
import json
import mmap
import os
import re
import struct
import subprocess
import sys

PAGE = 4096
# Machine's address space has 2**39 bytes, and what merges is decided by vm_pgoff = address / PAGE: the window is where
# both have the same addresses and a process has nothing, with 39 bits as well as with 48.
BASE = 1 << 36
ROOM = 256  # pages between the guards; sequences use the middle of them
GUARD = 16
FIRST = BASE + ROOM // 2 * PAGE
PROT_READ, PROT_WRITE = 1, 2
NONE = "none"
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED_NOREPLACE = 2, 0x10, 0x20, 0x4000, 0x100000
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
PR_SET_THP_DISABLE = 41
MPOL_MF_MOVE = 2
# Numbers of calls, on machines where they are known here; and UFFDIO_API, _REGISTER, _UNREGISTER, _MOVE.
NUMBERS = {"x86_64": {"move_pages": 279, "userfaultfd": 323}, "aarch64": {"move_pages": 239, "userfaultfd": 282}}
UFFD_API, UFFD_REGISTER, UFFD_UNREGISTER, UFFD_MOVE = 0xC018AA3F, 0xC020AA00, 0x8010AA01, 0xC028AA05
UFFD_VERSION, UFFD_FEATURE_MOVE, UFFD_MISSING, UFFD_USER_MODE_ONLY = 0xAA, 1 << 16, 1, 1


def release():
    """The version of the running kernel as (major, minor, patch); zeros where it is not Linux."""
    if sys.platform != "linux":
        return 0, 0, 0
    numbers = [int(number) for number in re.findall(r"\d+", os.uname().release.split("-")[0])]
    return tuple([*numbers, 0, 0, 0][:3])


class Host:
    """A child process that makes calls. `reason`: why this host cannot be a judge, or None; `moves`: whether it has
    move_pages and UFFDIO_MOVE. script: the file that is run for it, with its arguments."""

    def __init__(self, *script):
        self.child, self.reason, self.moves = None, None, False
        if sys.platform != "linux":
            self.reason = "the host is not Linux"
        elif mmap.PAGESIZE != PAGE:
            self.reason = f"the host's pages have {mmap.PAGESIZE} bytes and not {PAGE}"
        elif release() < (5, 7):
            self.reason = "the host is older than MREMAP_DONTUNMAP (Linux 5.7)"
        else:
            self.child = subprocess.Popen(
                [sys.executable, "-I", "-S", *(script or [__file__])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.reason, self.moves = json.loads(self.child.stdout.readline())

    def run(self, sequences):
        """For each sequence its steps, as [result, vmas] with vmas as [start, end, rights], and the contents of the
        mapped pages at the end, as {address: tag}. A sequence ends early with None for a step, where watching the
        window merged what the calls themselves had left apart."""
        for sequence in sequences:
            self.child.stdin.write(json.dumps(sequence) + "\n")
            self.child.stdin.flush()
            answer = self.child.stdout.readline()
            assert answer, f"the child of the judge died of {sequence}"
            steps, contents, *more = json.loads(answer)
            yield steps, dict(contents), *more

    def close(self):
        if self.child is not None:
            self.child.stdin.close()
            self.child.stdout.close()
            self.child.wait(10)


# ---- the child -------------------------------------------------------------------------------------------------------


class Window:
    """The reserved part of this process's address space, and the calls in it."""

    base, room, guard = BASE, ROOM, GUARD  # in bytes, and in pages

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        word, pointer = ctypes.c_size_t, ctypes.c_void_p
        for name, arguments in {
            "mmap": (pointer, word, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
            "munmap": (pointer, word),
            "mprotect": (pointer, word, ctypes.c_int),
            "madvise": (pointer, word, ctypes.c_int),
            "mremap": (pointer, word, word, ctypes.c_int, pointer),
            "pread": (ctypes.c_int, pointer, word, ctypes.c_long),
            "pwrite": (ctypes.c_int, pointer, word, ctypes.c_long),
        }.items():
            function = getattr(self.libc, name)
            function.argtypes, function.restype = arguments, ctypes.c_ssize_t
        self.libc.syscall.restype = ctypes.c_long
        self.numbers = NUMBERS.get(os.uname().machine, {})
        self.maps_fd, self.uffd = self.open_maps(), self.open_uffd()
        # Accesses go through the kernel's copies to and from user memory, which fault as the CPU does and say EFAULT.
        self.tag_fd = os.memfd_create("tag")

    @staticmethod
    def open_maps():
        return os.open("/proc/self/maps", os.O_RDONLY)

    def open_uffd(self):
        """A descriptor for UFFDIO_MOVE, or -1. It belongs to the process that opened it, too."""
        flags = os.O_CLOEXEC | os.O_NONBLOCK | UFFD_USER_MODE_ONLY
        fd = self.libc.syscall(self.numbers["userfaultfd"], flags) if self.numbers else -1
        try:
            if fd >= 0:
                fcntl.ioctl(fd, UFFD_API, bytearray(struct.pack("=QQQ", UFFD_VERSION, UFFD_FEATURE_MOVE, 0)))
        except OSError:
            return -1
        return fd

    def move_pages(self, address, pages):
        """The statuses. All pages are asked to where they are, to the first node, so that none moves."""
        places = (ctypes.c_void_p * pages)(*(address + page * PAGE for page in range(pages)))
        nodes, status = (ctypes.c_int * pages)(), (ctypes.c_int * pages)(*([1] * pages))
        number = ctypes.c_ulong(pages)
        result = self.libc.syscall(self.numbers["move_pages"], 0, number, places, nodes, status, MPOL_MF_MOVE)
        return list(status) if result >= 0 else -ctypes.get_errno()

    def uffd_move(self, source, to, pages):
        """Moves pages; the window is watched for as long as that takes. All of it, because who is watched shares no
        anon_vma with a neighbour who is not."""
        vmas = self.vmas()
        if vmas:
            watched = [vmas[0][0], vmas[-1][1] - vmas[0][0]]
            fcntl.ioctl(self.uffd, UFFD_REGISTER, bytearray(struct.pack("=QQQQ", *watched, UFFD_MISSING, 0)))
        try:
            fcntl.ioctl(self.uffd, UFFD_MOVE, bytearray(struct.pack("=QQQQq", to, source, pages * PAGE, 0, 0)))
            return 0
        except OSError as refusal:
            return -refusal.errno
        finally:
            if vmas:
                fcntl.ioctl(self.uffd, UFFD_UNREGISTER, bytearray(struct.pack("=QQ", *watched)))

    def reserve(self):
        """Why there is no window here, or None."""
        self.libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        first, whole = self.base - self.guard * PAGE, (self.room + 2 * self.guard) * PAGE
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        if self.libc.mmap(first, whole, 0, flags, -1, 0) != first:
            return f"no address space can be reserved at {self.base:#x}"
        self.reset()
        return None if self.vmas() == [] else "the window is not empty"

    def reset(self):
        self.libc.munmap(self.base, self.room * PAGE)

    def vmas(self):
        """The vmas between the guards, which stand at the beginning of maps."""
        text, found = b"", []
        os.lseek(self.maps_fd, 0, os.SEEK_SET)
        while True:
            piece = os.read(self.maps_fd, 4096)
            text += piece
            *lines, rest = text.split(b"\n")
            for line in lines:
                where, rights = line.split(b" ", 2)[:2]
                start, end = (int(number, 16) for number in where.split(b"-"))
                if start >= self.base + self.room * PAGE:
                    return found
                if start >= self.base:
                    found.append([start, end, {b"rw-p": True, b"r--p": False, b"---p": NONE}[rights]])
            text = rest
            if not piece:
                return found

    def call(self, verb, address, pages, *rest):
        length = pages * PAGE
        if verb == "mmap":
            how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE * any(rest[1:])
            result = self.libc.mmap(address, length, prot(rest[0]), how, -1, 0)
        elif verb == "munmap":
            result = self.libc.munmap(address, length)
        elif verb == "dontneed":
            result = self.libc.madvise(address, length, mmap.MADV_DONTNEED)
        elif verb == "mprotect":
            result = self.libc.mprotect(address, length, prot(rest[0]))
        elif verb == "mremap":
            new, to, maymove, dontunmap = rest
            how = MREMAP_MAYMOVE * maymove | MREMAP_FIXED * (to is not None) | MREMAP_DONTUNMAP * dontunmap
            result = self.libc.mremap(address, length, new * PAGE, how, to or 0)
        elif verb == "move_pages":
            return self.move_pages(address, pages)
        elif verb == "uffd_move":
            return self.uffd_move(address, rest[0], pages)
        elif verb == "read":
            return self.look(address, pages)
        else:
            return self.write(address, pages, rest[0])
        return -ctypes.get_errno() if result == -1 else result

    def write(self, address, pages, tag):
        os.pwrite(self.tag_fd, struct.pack("=Q", tag), 0)
        for page in range(pages):
            if self.libc.pread(self.tag_fd, address + page * PAGE, 8, 0) < 0:
                return -ctypes.get_errno()
        return 0

    def look(self, address, pages):
        for page in range(pages):
            if self.libc.pwrite(self.tag_fd, address + page * PAGE, 8, 8) < 0:
                return -ctypes.get_errno()
        return 0

    def read(self, address):
        assert self.libc.pwrite(self.tag_fd, address, 8, 8) == 8
        return struct.unpack("=Q", os.pread(self.tag_fd, 8, 8))[0]

    def run(self, calls):
        """Makes the calls and prints what came of them; after a fork the child does, and the parent waits for it."""
        steps = []
        for call in calls:
            if call[0] == "fork":
                child = os.fork()
                if child:
                    os.waitpid(child, 0)
                    return
                # An open maps belongs to the process that opened it.
                self.maps_fd, self.uffd = self.open_maps(), self.open_uffd()
                steps.append([0, self.vmas()])
            else:
                before = self.vmas() if call[0] == "uffd_move" else None
                steps.append([self.call(*call), self.vmas()])
                if before not in (None, steps[-1][1]):
                    # No call of the subject's did that: who begins or ceases to be watched is merged once more.
                    steps[-1] = None
                    break
        more = self.seen()
        open_ones = [(start, end) for start, end, rights in self.vmas() if rights != NONE]
        contents = [[page, self.read(page)] for start, end in open_ones for page in range(start, end, PAGE)]
        print(json.dumps([steps, contents, *more]), flush=True)

    def seen(self):
        """What else there is to tell, before the contents are looked at."""
        return []


def prot(rights):
    return 0 if rights == NONE else PROT_READ | PROT_WRITE * rights


def serve(window):
    """Makes the sequences that come in, one a line."""
    print(json.dumps([window.reserve(), window.uffd >= 0]), flush=True)
    for line in sys.stdin:
        process = os.getpid()
        window.run(json.loads(line))
        if os.getpid() != process:
            os._exit(0)
        window.reset()


if __name__ == "__main__":
    serve(Window())
