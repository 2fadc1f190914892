"""What a lock costs that nobody else wants: modelled, with the points of taking and giving it back, beside a real
mutex of the host and beside a hand-over."""

from functools import partial
from time import process_time
from typing import Any

from anonvma_rt.engine.run.explorer import cores, handoff, mutex_pairs
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.bench.measure import Options, block_of, in_turns, ratio, said, sequential, sized, spread, stood

ABOUT = "taking and giving back a lock that nobody else wants, beside a real mutex"
PAIRS = 250  # of each of two tasks
CHECKED = 50
KINDS = {
    "mutex": [("lock", "a"), ("unlock", "a")],
    "mutex with a class": [("lock", "b"), ("unlock", "b")],
    "trylock": [("trylock", "a", "r"), ("unlock", "a")],
    "rwsem, read": [("read_lock", "a"), ("read_unlock", "a")],
    "rwsem, write": [("write_lock", "a"), ("write_unlock", "a")],
}
# The same number of steps without points: what the interpreter of litmus programs takes for itself.
EMPTY = [("get", "x", "r"), ("get", "x", "r")]


def program_of(pair: list[tuple[str, ...]]) -> Program:
    return Program([pair * PAIRS] * 2, classes={"b": 1} if pair[0][1] == "b" else {})


def run(options: Options) -> dict[str, Any]:
    # Two tasks that give the lock back before they take it for good must be seen to meet.
    stuck = Program([[("lock", "a"), ("lock", "b")], [("lock", "b"), ("lock", "a")]])
    with sequential(stuck) as explorer:
        stood(len(explorer.run(0, 1).failures) == 1, "locks: a lock that is never given back ends in a deadlock")
    explorers = {name: sequential(program_of(pair)) for name, pair in KINDS.items()} | {
        "empty": sequential(program_of(EMPTY))
    }
    try:
        for name, explorer in explorers.items():
            block = explorer.run(0, CHECKED)
            points = 2 if name == "empty" else 4 * PAIRS + 2
            stood(block.points == points * CHECKED, f"locks: {name}: an execution has {points} points")
            stood(not block.failures, f"locks: {name}: nothing goes wrong")
        size = {name: sized(partial(explorer.run, 0)) for name, explorer in explorers.items()}
        size["real"] = sized(mutex_pairs)
        calls: dict[str, Any] = {name: block_of(explorer, size[name]) for name, explorer in explorers.items()}
        calls["real"] = lambda: mutex_pairs(size["real"])
        calls["handoff"] = lambda: handoff(cores(1)[0], 1000)
        seconds = in_turns(options, "locks", calls, process_time)
    finally:
        for explorer in explorers.values():
            explorer.close()
    real = [took / size["real"] for took in seconds["real"]]
    empty = [took / size["empty"] for took in seconds["empty"]]
    rows = []
    for name in KINDS:
        whole = [took / size[name] for took in seconds[name]]
        pair = [(one - other) / (2 * PAIRS) for one, other in zip(whole, empty, strict=True)]
        rows.append(
            {
                "lock": name,
                "nanoseconds": spread(pair, 1e9),
                "real_mutexes": ratio(pair, real),
                "handoffs": ratio(pair, seconds["handoff"]),
            }
        )
    return {"rounds": options.rounds, "real_nanoseconds": spread(real, 1e9), "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        "A lock that nobody else wants, taken and given back, with its two points; median (min-max) of "
        f"{result['rounds']} rounds.",
        f"  a real pthread mutex of this host: {said(result['real_nanoseconds'], 1)} ns",
        "",
        f"  {'lock':20}{'ns':>20}{'real mutexes':>20}{'hand-overs':>26}",
    ]
    for row in result["results"]:
        lines.append(
            f"  {row['lock']:20}{said(row['nanoseconds'], 1):>20}{said(row['real_mutexes']):>20}"
            f"{said(row['handoffs'], 4):>26}"
        )
    return "\n".join(lines)
