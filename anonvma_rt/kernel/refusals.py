"""Why the kernel refused a call, in words: the errno of mremap alone says EINVAL for eight different reasons.

The simulated kernel only returns the errno, as the real one does; the words are worked out afterwards from the call's
own arguments, by the tests that sys_mremap() (mm/mremap.c) and its like make, in their order.
"""

from errno import EFAULT, EINVAL, ENOMEM

__all__ = ["reason_of"]

PAGE = 4096
TASK_SIZE = 1 << 39  # bytes of address space of a simulated process


def reason_of(verb: str, args: tuple[int, ...], errno: int, fails: tuple[str, int] | None = None) -> str | None:
    """The reason in words, for a step of scenario.Step's form; None if the arguments do not tell. fails: which
    allocations were to fail during the step.

    >>> reason_of("mmap", (0, 0), EINVAL)
    'the length is 0 pages'
    """
    if errno == ENOMEM and fails is not None:
        return f"allocation of {fails[0]} failed after {fails[1]} (fail_after)"
    if verb == "mremap":
        return _mremap(args, errno)
    if verb == "compare":
        a, b, pages = args
        unaligned = _unaligned(a) or _unaligned(b)
        if errno == EINVAL:
            return unaligned
        return f"{_range(a, pages)} or {_range(b, pages)} is not all mapped" if errno == EFAULT else None
    if verb == "migrate":
        if errno == EINVAL and _unaligned(args[0]):
            return _unaligned(args[0])
        return f"no page is mapped at {args[0]:#x}"
    if len(args) < 2:
        return None
    at, pages = args[:2]
    if errno == EINVAL:
        return _unaligned(max(at, 0)) or ("the length is 0 pages" if pages == 0 else _outside(at, pages))
    if errno == ENOMEM and verb == "mmap":
        return _outside(at, pages) if at >= 0 else f"no gap of {pages} pages is free"
    if errno == EFAULT:
        return f"{_range(at, pages)} is not all mapped"
    return None


def _mremap(args: tuple[int, ...], errno: int) -> str | None:
    source, pages, new_pages, to, maymove, *_ = args
    if errno == EINVAL:
        if _unaligned(source):
            return _unaligned(source)
        if new_pages == 0:
            return "the new length is 0 pages"
        if to >= 0:
            if not maymove:
                return "a destination (to) needs maymove = true, as MREMAP_FIXED needs MREMAP_MAYMOVE"
            if _unaligned(to) or _outside(to, new_pages):
                return _unaligned(to) or _outside(to, new_pages)
            # mremap_to() compares the source's old with the destination's new length
            if to < source + pages * PAGE and source < to + new_pages * PAGE:
                return f"source {_range(source, pages)} and destination {_range(to, new_pages)} overlap"
        return "the length is 0 pages" if pages == 0 else None
    if errno == EFAULT:
        return f"the range {_range(source, pages)} is not inside one mapping"
    if errno == ENOMEM and to < 0 and not maymove and new_pages > pages:
        return "the mapping cannot grow where it is, and maymove is false"
    return None


def _unaligned(address: int) -> str | None:
    return f"address {address:#x} is not page-aligned" if address % PAGE else None


def _outside(at: int, pages: int) -> str | None:
    return f"{_range(at, pages)} ends above the address space of 2**39 bytes" if at + pages * PAGE > TASK_SIZE else None


def _range(at: int, pages: int) -> str:
    return f"[{at:#x},{at + pages * PAGE:#x})"
