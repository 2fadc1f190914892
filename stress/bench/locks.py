"""What a lock costs that nobody else wants: modelled, with the points of taking and giving it back, beside a real
mutex of the host and beside a hand-over."""

from functools import partial
from time import process_time
from typing import Any

from anonvma_rt.engine.run.carrier import mutex_pairs
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.bench.measure import Options, Turns, less, ratio, require, sequential, shown, spread

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
        require(len(explorer.run(0, 1).failures) == 1, "locks: a lock that is never given back ends in a deadlock")
    explorers = {name: sequential(program_of(pair)) for name, pair in KINDS.items()} | {
        "empty": sequential(program_of(EMPTY))
    }
    try:
        for name, explorer in explorers.items():
            block = explorer.run(0, CHECKED)
            points = 2 if name == "empty" else 4 * PAIRS + 2
            require(block.points == points * CHECKED, f"locks: {name}: an execution has {points} points")
            require(not block.failures, f"locks: {name}: nothing goes wrong")
        turns = Turns(options, "locks", process_time)
        for name, explorer in explorers.items():
            turns.add(name, partial(explorer.run, 0))
        turns.add("real", mutex_pairs)
        turns.add_handoff()
        seconds = turns.measure()
    finally:
        for explorer in explorers.values():
            explorer.close()
    rows = []
    for name in KINDS:
        pair = less(seconds[name], seconds["empty"], 2 * PAIRS)
        rows.append(
            {
                "lock": name,
                "nanoseconds": spread(pair, 1e9),
                "real_mutexes": ratio(pair, seconds["real"]),
                "handoffs": ratio(pair, seconds["handoff"]),
            }
        )
    return {"rounds": options.rounds, "real_nanoseconds": spread(seconds["real"], 1e9), "results": rows}


def text(result: dict[str, Any]) -> str:
    lines = [
        "A lock that nobody else wants, taken and given back, with its two points; median (min-max) of "
        f"{result['rounds']} rounds.",
        f"  a real pthread mutex of this host: {shown(result['real_nanoseconds'], 1)} ns",
        "",
        f"  {'lock':20}{'ns':>20}{'real mutexes':>20}{'hand-overs':>26}",
    ]
    for row in result["results"]:
        lines.append(
            f"  {row['lock']:20}{shown(row['nanoseconds'], 1):>20}{shown(row['real_mutexes']):>20}"
            f"{shown(row['handoffs'], 4):>26}"
        )
    return "\n".join(lines)
