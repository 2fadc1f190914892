"""A Machine's addresses in pages, its mappings, and how it refuses."""

import errno

import pytest

from anonvma_rt.text.expression import PAGE

BASE, FAR, HUGE = 1 << 30, 1 << 32, 1 << 33
TOP = (1 << 39) - (1 << 21)


def at(page):
    return BASE + page * PAGE


def refused(expected, call, *args, **how):
    """The text of the refusal, after its errno and its form have been looked at."""
    with pytest.raises(OSError) as caught:
        call(*args, **how)
    assert errno.errorcode[caught.value.errno] == errno.errorcode[expected]
    text = caught.value.strerror
    assert text and "\n" not in text and not text.endswith("."), text
    return text


def ranges(process):
    return [((vma.start - BASE) // PAGE, (vma.end - BASE) // PAGE, vma.writable) for vma in process.maps()]
