"""What a point costs at which no other task takes over: the price that every operation of a subject pays."""

from functools import partial
from time import process_time
from typing import Any

from anonvma_rt.lab.load import load
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.bench.measure import Options, Turns, explorer_of, less, ratio, require, sequential, shown, spread

LENGTH = 500  # operations of each of two tasks
AIM = 8.0  # nanoseconds
CHECKED = 50


def run(options: Options) -> dict[str, Any]:
    """`point`: of an execution of loads, less one of the same reads without points. `scheduler`: what the scheduler
    adds to the bodies alone, per point."""
    with_points = Program([[("load", "x", "r")] * LENGTH] * 2)
    without = Program([[("get", "x", "r")] * LENGTH] * 2)
    program = load("order").bind({"pages": 32})
    order = program.make_subject(program.choose("unpatched"))
    with sequential(with_points) as loads, sequential(without) as reads, sequential(order) as pages:
        points = []
        for explorer in (loads, reads, pages):
            block = explorer.run(0, CHECKED)
            require(block.switches == CHECKED, "points: the tasks run one after the other, with one switch")
            points.append(block.points // CHECKED)
        require(points == [2 * LENGTH + 2, 2, 322], f"points: an execution has 1002, 2 and 322 points, not {points}")
        with explorer_of(program, program.choose("unpatched"), "sticky", "fibers") as checked:
            require(len(checked.run(0, 400).failures) > 0, "points: ORDER, unpatched: some executions are wrong")
        turns = Turns(options, "points", process_time)
        turns.add("loads", partial(loads.run, 0))
        turns.add("reads", partial(reads.run, 0))
        turns.add("order", partial(pages.run, 0))
        turns.add("floor", pages.floor)
        # Its own clock is that on the wall: a hand-over is mostly waiting.
        turns.add_handoff()
        seconds = turns.measure()
    point = less(seconds["loads"], seconds["reads"], 2 * LENGTH)
    added = less(seconds["order"], seconds["floor"], points[2])
    return {
        "rounds": options.rounds,
        "point_nanoseconds": spread(point, 1e9),
        "step_nanoseconds": spread([one / (2 * LENGTH) for one in seconds["loads"]], 1e9),
        "scheduler_nanoseconds": spread(added, 1e9),
        "order_floors": ratio(seconds["order"], seconds["floor"]),
        "point_handoffs": ratio(point, seconds["handoff"]),
        "aim_nanoseconds": AIM,
    }


def text(result: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"A point at which no other task takes over; median (min-max) of {result['rounds']} rounds.",
            "",
            f"  a load with a point, less a read without one    {shown(result['point_nanoseconds'])} ns   aim: at most "
            f"{result['aim_nanoseconds']:.0f} ns",
            f"  the whole step, with what a litmus program adds {shown(result['step_nanoseconds'])} ns",
            f"  what the scheduler adds to ORDER, per point     {shown(result['scheduler_nanoseconds'])} ns",
            f"  ORDER of 32 pages, one task after the other     {shown(result['order_floors'])} floors",
            f"  a point in hand-overs                           {shown(result['point_handoffs'], 4)}",
        ]
    )
