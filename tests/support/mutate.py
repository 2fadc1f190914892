"""Files made wrong at random: by bytes, and by values, for checksums that are right again. All comes from the rng."""

import copy

TOKENS = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b'"', b"'", b"\\", b"\n", b"[", b"]", b"{", b"}", b"=", b".", b"#", b"-1",
    b"1e999",
    b"0x-5", b"18446744073709551616", b"9" * 400, b"\x1b]0;x\x07", b"[[", b"'''", b"true", b"null", b"NaN", b"inf",
    b"{}" * 40, b"[" * 60, b"a.b.c.d.e", b"repeat = 9999999", b"{i}", b"1979-05-27", b"//0", b"%0", b"PAGE",
]  # fmt: skip


def deep(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


VALUES = [
    None, True, False, 0, 1, -1, 2, 63, 64, 1 << 31, (1 << 31) + 1, 1 << 62, 1 << 63, (1 << 64) - 1, 1 << 64,
    -(1 << 70),
    10**300, 1.5, -0.0, 1e300, float("inf"), float("nan"), "", "x", "0x-5", "0x1 1x1", "\x1b]0;x\x07", "two\nlines",
    "\ud800", "\u0660x1", "a" * 400, "zz" * 32, "00" * 32, "<script>", "../../x", [], {}, [[]], [0] * 100, [None],
    {"a": 1}, {"": {}}, deep(9), deep(40), deep(150), ["0", 1, -1], [["x", 0, "y", []]],
]  # fmt: skip


def of_bytes(rng, data):
    """The data with one to four mistakes."""
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 8, 60, 1000))
        match rng.randrange(6):
            case 0:
                data = data[:at] + bytes(rng.randrange(256) for _ in range(min(size, 8))) + data[at + min(size, 8) :]
            case 1:
                data = data[:at] + data[at + size :]
            case 2:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 3:
                data = data[:at] + data[at : at + size] * 2 + data[at + size :]
            case 4:
                other = rng.randrange(len(data) + 1)
                data = data[:at] + data[other : other + size] + data[at + size :]
            case 5 if rng.random() < 0.3:
                data = data[:at]
    return data


def places(value, path=()):
    """The paths of everything in a value, of the first few of long lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def of_values(rng, body):
    """A copy of the body with one or two other values, missing or further ones."""
    body = copy.deepcopy(body)
    for _ in range(rng.randint(1, 2)):
        every = list(places(body))
        if not every:
            return body
        *path, last = rng.choice(every)
        at = body
        for key in path:
            at = at[key]
        match rng.randrange(6):
            case 0:
                del at[last]
            case 1 if isinstance(at, dict):
                at["more"] = rng.choice(VALUES)
            case 2 if isinstance(at, list):
                at.insert(last, rng.choice(VALUES))
            case 3 if isinstance(at[last], int) and not isinstance(at[last], bool):
                at[last] += rng.choice((-1, 1, 2, -100, 1 << 20))
            case 4 if isinstance(at[last], str):
                at[last] = of_bytes(rng, at[last].encode("utf-8", "replace")).decode("utf-8", "replace")
            case _:
                at[last] = copy.deepcopy(rng.choice(VALUES))
    return body
