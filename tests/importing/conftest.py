"""Small logs that the tests share; all of them are made up."""

import pytest

RW, ANON = "PROT_READ|PROT_WRITE", "MAP_PRIVATE|MAP_ANONYMOUS"
# A part of an area moves out and back, and another thread watches over its rights: the race of 2011.
ROUND_TRIP = f"""\
execve("./a.out", ["./a.out"], 0x7ffc00000000 /* 3 vars */) = 0
mmap(NULL, 32768, {RW}, {ANON}, -1, 0) = 0x7f10cffcb000
mmap(NULL, 16384, {RW}, {ANON}, -1, 0) = 0x7f10cedd8000
clone3({{flags=CLONE_VM|CLONE_FS|CLONE_THREAD, stack=0x7f10cf5e1000}}strace: Process 42 attached
 => {{parent_tid=[42]}}, 88) = 42
[pid    42] mremap(0x7f10cffcf000, 16384, 16384, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7f10cedd8000 <unfinished ...>
[pid    41] mprotect(0x7f10cffcb000, 4096, PROT_READ <unfinished ...>
[pid    42] <... mremap resumed>)       = 0x7f10cedd8000
[pid    41] <... mprotect resumed>)     = 0
[pid    42] mremap(0x7f10cedd8000, 16384, 16384, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7f10cffcf000) = 0x7f10cffcf000
[pid    42] exit(0)                     = ?
[pid    42] +++ exited with 0 +++
exit_group(0)                           = ?
+++ exited with 0 +++
"""

PROGRAM = """\
# {Threaded:true Repeat:true}
mmap(&(0x7f0000000000/0x8000)=nil, 0x8000, 0x3, 0x32, 0xffffffffffffffff, 0x0)
r0 = openat(0xffffffffffffff9c, &(0x7f0000000040)='./file0\\x00', 0x42, 0x1ff)
mremap(&(0x7f0000004000/0x4000)=nil, 0x4000, 0x4000, 0x3, &(0x7f0000100000/0x4000)=nil)
mremap(&(0x7f0000100000/0x4000)=nil, 0x4000, 0x4000, 0x3, &(0x7f0000004000/0x4000)=nil) (async)
madvise(&(0x7f0000000000/0x4000)=nil, 0x4000, 0x8) (async, rerun: 32)
munmap(&(0x7f0000000000/0x1000)=nil, 0x1000)
"""


@pytest.fixture
def round_trip():
    return ROUND_TRIP


@pytest.fixture
def program():
    return PROGRAM
