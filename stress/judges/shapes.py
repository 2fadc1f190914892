"""Small programs by which memory models differ, as steps of the litmus language, in families by their usual names.

Protocols of mutual exclusion look once and do not wait: how often a loop goes round is no question to a memory model.
"""

from collections.abc import Iterator

__all__ = ["programs"]

Step = tuple[str | int, ...]
Threads = list[list[Step]]


def ring(n: int, first: str, second: str) -> Threads:
    """Each of n threads does `first` to its own variable and `second` to the next one's."""
    threads = []
    for i in range(n):
        steps = ((first, f"x{i}"), (second, f"x{(i + 1) % n}"))
        threads.append([access(verb, name, place + 1) for place, (verb, name) in enumerate(steps)])
    return threads


def access(verb: str, name: str, number: int) -> Step:
    return (verb, name, number if verb == "store" else f"r{number}")


def fenced(threads: Threads) -> Threads:
    """With a fence between any two steps."""
    return [[one for at, step in enumerate(steps) for one in ([("mb",), step] if at else [step])] for steps in threads]


def chain(n: int) -> Threads:
    """A message through n threads: each looks for it and passes it on; the last one looks at what came with it."""
    between: Threads = [[("load", f"y{i}", "r"), ("store", f"y{i + 1}", 1)] for i in range(n - 2)]
    return [
        [("store", "x", 1), ("store", "y0", 1)],
        *between,
        [("load", f"y{n - 2}", "r"), ("load", "x", "s")],
    ]


def iriw(readers: int) -> Threads:
    """Readers of independent writes, by turns in one order and the other."""
    looks: Threads = [[("load", a, "r"), ("load", b, "s")] for a, b in ["xy", "yx"] * readers][:readers]
    return [[("store", "x", 1)], [("store", "y", 1)], *looks]


def peterson(n: int) -> Threads:
    """The way in, and a section that must be of one thread at a time."""
    return [
        [
            ("store", f"flag{i}", 1), ("store", "turn", (i + 1) % n),
            *(("load", f"flag{j}", f"r{j}") for j in range(n) if j != i),
            ("load", "turn", "t"), ("store", "inside", i + 1), ("load", "inside", "c"),
        ]
        for i in range(n)
    ]  # fmt: skip


def dekker(rounds: int) -> Threads:
    return [
        [step for _ in range(rounds) for step in (("store", own, 1), ("load", other, "r"), ("store", own, 0))]
        for own, other in ("xy", "yx")
    ]


def lamport(n: int) -> Threads:
    """The way in of the fast algorithm, for whoever finds it free."""
    return [
        [("store", f"b{i}", 1), ("store", "x", i + 1), ("load", "y", "r"), ("store", "y", i + 1), ("load", "x", "s")]
        for i in range(n)
    ]


def ticket(n: int) -> Threads:
    return [
        [("store", f"want{i}", 1), ("add", "next", 1), ("load", "next", "r"), ("load", "serving", "s"),
         ("add", "serving", 1)]
        for i in range(n)
    ]  # fmt: skip


def flags_and_cas(n: int) -> Threads:
    """Each takes what only it can: the compare-exchange never fails."""
    return [
        [("store", "x", i + 1), ("cas", f"lock{i}", 0, 1, "r"), ("load", f"lock{(i + 1) % n}", "s"), ("load", "x", "t")]
        for i in range(n)
    ]


def message_under_cas(n: int) -> Threads:
    """What was written before a compare-exchange, for n that look."""
    return [
        [("store", "x", 1), ("store", "y", 1), ("cas", "flag", 0, 1, "r"), ("store", "z", 1)],
        *([("load", "z", "q"), ("load", "y", "r"), ("load", "x", "s")] for _ in range(n)),
    ]


def coherence(n: int) -> Threads:
    """All write one variable and look at it twice."""
    return [[("store", "x", i + 1), ("load", "x", "r"), ("load", "x", "s")] for i in range(n)]


def own_first(n: int) -> Threads:
    """Store buffering in which each sees its own store before anybody else does."""
    return [
        [("store", f"x{i}", 1), ("load", f"x{i}", "q"), ("load", f"x{(i + 1) % n}", "r")] for i in range(n)
    ]  # fmt: skip


def exchange_lock(n: int) -> Threads:
    """A lock that an exchange takes and a store gives back; whoever finds it taken goes on all the same."""
    return [
        [("exchange", "lock", 1, "r"), ("store", "x", i + 1), ("load", "x", "s"), ("store", "lock", 0)]
        for i in range(n)
    ]


def reset(n: int) -> Threads:
    """A counter that one sets by a store while the others count."""
    return [
        [("store", "x", 5), ("load", "y", "r")],
        *([("fetch_add", "x", 1, "r"), ("store", "y", i + 1)] for i in range(n)),
    ]


def around(n: int) -> Threads:
    """All store to one variable before and after they exchange it."""
    return [[("store", "x", i + 1), ("exchange", "x", 10 + i, "r"), ("store", "x", 20 + i)] for i in range(n)]


def exchange_buffering(n: int) -> Threads:
    """Store buffering with locked stores."""
    return [[("exchange", f"x{i}", 1, "q"), ("load", f"x{(i + 1) % n}", "r")] for i in range(n)]


def programs() -> Iterator[tuple[str, str, Threads]]:
    """(family, name, threads)."""
    for n in (2, 3, 4):
        yield "SB", f"SB({n})", ring(n, "store", "load")
        yield "SB", f"SB({n}) fenced", fenced(ring(n, "store", "load"))
        yield "SB", f"SB({n}) own first", own_first(n)
        yield "LB", f"LB({n})", ring(n, "load", "store")
        yield "2+2W", f"2+2W({n})", ring(n, "store", "store")
        yield "2+2W", f"2+2W({n}) fenced", fenced(ring(n, "store", "store"))
        yield "MP", f"MP({n})", chain(n)
        yield "MP", f"MP({n}) fenced", fenced(chain(n))
        yield "IRIW", f"IRIW({n})", iriw(n)
    for n in (2, 3):
        yield "coherence", f"coherence({n})", coherence(n)
        yield "Dekker", f"Dekker({n - 1})", dekker(n - 1)
        yield "Dekker", f"Dekker({n - 1}) fenced", fenced(dekker(n - 1))
        yield "CAS", f"CAS({n})", flags_and_cas(n)
        yield "CAS", f"message under CAS({n - 1})", message_under_cas(n - 1)
        yield "ticket", f"ticket({n})", ticket(n)
        yield "exchange", f"exchange lock({n})", exchange_lock(n)
        yield "exchange", f"reset({n})", reset(n)
        yield "exchange", f"around an exchange({n})", around(n)
        yield "exchange", f"SB({n}) by exchange", exchange_buffering(n)
    yield "Peterson", "Peterson", peterson(2)
    yield "Peterson", "Peterson fenced", fenced(peterson(2))
    yield "Lamport", "Lamport fast(2)", lamport(2)
    yield "Lamport", "Lamport fast(2) fenced", fenced(lamport(2))
