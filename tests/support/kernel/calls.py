"""System calls as the tests of the simulated kernel write them. Addresses are counted in pages from BASE.

Page 0 begins a page table; FAR and FAR2 begin tables of their own.
"""

from anonvma_rt.kernel.scenario import Call

PAGE, TABLE = 4096, 512
BASE = 1 << 30
FAR, FAR2 = 8 * TABLE, 16 * TABLE
NONE = 2  # in the place of a right to write: nobody may access it


def at(page):
    return BASE + page * PAGE


def call(verb, *args, errno=0, process=0, fails=None):
    return Call(verb, process, args, errno, "test", fails)


def mmap(page, pages, writable=True, huge=False, stack=False, grows_down=False, noreserve=False, **how):
    """writable: or NONE, as for mprotect."""
    more = [int(flag) for flag in (writable, huge, stack, grows_down, noreserve)]
    return call("mmap", at(page), pages, *more, **how)


def mprotect(page, pages, writable, **how):
    return call("mprotect", at(page), pages, int(writable), **how)


def fork(child, **how):
    return call("fork", child, **how)


def exit_process(**how):
    return call("exit", **how)


def brk(page, pages, **how):
    return call("brk", at(page), pages, **how)


def exec_stack(page, shift, **how):
    return call("exec", at(page), shift, **how)


def split(page, **how):
    return call("split", at(page), **how)


def munmap(page, pages, **how):
    return call("munmap", at(page), pages, **how)


def touch(page, pages, tag=7, **how):
    return call("touch", at(page), pages, tag, **how)


def read(page, pages, **how):
    return call("read", at(page), pages, **how)


def mmap_file(page, pages, writable=True, **how):
    return call("mmap_file", at(page), pages, int(writable), **how)


def collapse(page, **how):
    return call("collapse", at(page), **how)


def deferred_split(**how):
    return call("deferred_split", **how)


def dontneed(page, pages, **how):
    return call("dontneed", at(page), pages, **how)


def free(page, pages, **how):
    return call("free", at(page), pages, **how)


def reclaim(page, **how):
    return call("reclaim", at(page), **how)


def pin(page, writable=True, fast=False, **how):
    return call("pin", at(page), int(writable), int(fast), **how)


def get(page, writable=False, fast=False, **how):
    return call("get", at(page), int(writable), int(fast), **how)


def unpin(page, **how):
    return call("unpin", at(page), **how)


def dma(page, tag=9, **how):
    return call("dma", at(page), tag, **how)


def compare(a, b, pages, **how):
    return call("compare", at(a), at(b), pages, **how)


def migrate(page, fail_copy=False, **how):
    return call("migrate", at(page), int(fail_copy), **how)


def mremap(page, pages, to=None, new_pages=None, maymove=True, fail_after=-1, dontunmap=False, **how):
    """fail_after: no page table can be had after so many; -1 for no such failure."""
    target = -1 if to is None else at(to)
    return call("mremap", at(page), pages, pages if new_pages is None else new_pages, target, int(maymove),
                int(dontunmap), fails=("table", fail_after) if fail_after >= 0 else None, **how)  # fmt: skip
