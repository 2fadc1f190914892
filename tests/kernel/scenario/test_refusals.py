"""Why the simulated kernel refused a call, in words."""

import errno

import pytest

from anonvma_rt.kernel.scenario import Call, explain_refusal


def mremap(source: int, pages: int, new_pages: int, to: int, maymove: int = 1, fails: int | None = None) -> Call:
    where = "x.toml: setup step 3 (mremap)"
    failing = None if fails is None else ("table", fails)
    return Call("mremap", 0, (source, pages, new_pages, to, maymove, 0), 0, where, failing)


@pytest.mark.parametrize(
    ("step", "number", "message"),
    [
        (mremap(4096, 4, 4, 8192), errno.EINVAL, "EINVAL: source [0x1000,0x5000) and destination [0x2000,0x6000) over"),
        (mremap(4097, 4, 4, 1 << 20), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        (mremap(4096, 4, 4, 4097), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        (mremap(4096, 4, 0, -1), errno.EINVAL, "EINVAL: the new length is 0 pages"),
        (mremap(4096, 0, 4, -1), errno.EINVAL, "EINVAL: the length is 0 pages"),
        (mremap(4096, 1, 1, 1 << 20, 0), errno.EINVAL, "EINVAL: a destination (to) needs maymove = true, as MREMAP_FI"),
        (mremap(4096, 4, 4, (1 << 39) - 4096), errno.EINVAL, "EINVAL: [0x7ffffff000,0x8000003000) ends above the addr"),
        (mremap(4096, 4, 4, 1 << 20), errno.EINVAL, "EINVAL: Invalid argument"),
        (mremap(4096, 4, 4, 1 << 20), errno.EFAULT, "EFAULT: the range [0x1000,0x5000) is not inside one mapping"),
        (mremap(4096, 4, 4, 1 << 20, 1, 2), errno.ENOMEM, "ENOMEM: allocation of table failed after 2 (fail_after)"),
        (mremap(4096, 4, 8, -1, 0), errno.ENOMEM, "ENOMEM: the mapping cannot grow where it is, and maymove is false"),
        (mremap(4096, 4, 4, 1 << 20), errno.ENOMEM, "ENOMEM: Cannot allocate memory"),
        (mremap(4096, 4, 4, 1 << 20), -errno.EFAULT, "EFAULT: the range [0x1000,0x5000) is not inside one mapping"),
        (mremap(4096, 4, 4, 1 << 20), 4095, "errno 4095: Unknown error 4095"),
        (mremap(4096, 4, 4, 1 << 20)._replace(errno=errno.ENOMEM), 0, "ENOMEM is expected, but the step succeeded"),
        (
            mremap(1, 4, 4, 8)._replace(errno=(0, errno.EFAULT)),
            errno.EINVAL,
            "success or EFAULT is expected, but EINVA",
        ),
        (mremap(1, 4, 4, 8)._replace(errno=errno.ENOMEM), errno.EINVAL, "ENOMEM is expected, but EINVAL: address 0x1 "),
    ],
)
def test_a_refused_mremap_is_explained(step: Call, number: int, message: str) -> None:
    assert explain_refusal(step, number).startswith(f"x.toml: setup step 3 (mremap): {message}")


@pytest.mark.parametrize(
    ("verb", "args", "number", "message"),
    [
        ("mmap", (4097, 1), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        ("mmap", (4096, 0), errno.EINVAL, "EINVAL: the length is 0 pages"),
        ("mmap", (0, 1 << 26), errno.EINVAL, "EINVAL: Invalid argument"),
        ("mmap", (1 << 38, 1 << 26), errno.ENOMEM, "ENOMEM: Cannot allocate memory"),
        ("mmap", ((1 << 38) + 4096, 1 << 26), errno.ENOMEM, "ENOMEM: [0x4000001000,0x8000001000) ends above the addre"),
        ("munmap", (1, 1), errno.EINVAL, "EINVAL: address 0x1 is not page-aligned"),
        ("touch", (4096, 2, 1), errno.EFAULT, "EFAULT: [0x1000,0x3000) is not all mapped"),
        ("read", (4096, 2), errno.EFAULT, "EFAULT: [0x1000,0x3000) is not all mapped"),
        ("read", (4096, 2), errno.EAGAIN, "EAGAIN: Resource temporarily unavailable"),
        ("migrate", (4096, 0), errno.ENOENT, "ENOENT: no page is mapped at 0x1000"),
        ("migrate", (4098, 0), errno.EINVAL, "EINVAL: address 0x1002 is not page-aligned"),
        ("compare", (4096, 8192, 1), errno.EFAULT, "EFAULT: [0x1000,0x2000) or [0x2000,0x3000) is not all mapped"),
        ("compare", (4096, 3, 1), errno.EINVAL, "EINVAL: address 0x3 is not page-aligned"),
        ("compare", (4096, 8192, 1), errno.EIO, "EIO: Input/output error"),
    ],
)
def test_any_refused_step_is_explained(verb: str, args: tuple[int, ...], number: int, message: str) -> None:
    assert explain_refusal(Call(verb, 0, args, 0, "here"), number).startswith(f"here: {message}")
