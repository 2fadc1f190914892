"""What a point costs at which no other task takes over: the price that every operation of a subject pays."""

from functools import partial
from time import process_time
from typing import Any

from anonvma_rt.engine.run.explorer import cores, handoff
from anonvma_rt.lab.lab import load
from anonvma_rt.litmus.program import Program
from anonvma_rt.stress.bench.measure import (
    Options,
    explorer_of,
    in_turns,
    ratio,
    said,
    sequential,
    sized,
    spread,
    stood,
)

ABOUT = "a point without a switch, in nanoseconds"
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
    cpu = cores(1)[0]
    with sequential(with_points) as loads, sequential(without) as reads, sequential(order) as pages:
        points = []
        for explorer in (loads, reads, pages):
            block = explorer.run(0, CHECKED)
            stood(block.switches == CHECKED, "points: the tasks run one after the other, with one switch")
            points.append(block.points // CHECKED)
        stood(points == [2 * LENGTH + 2, 2, 322], f"points: an execution has 1002, 2 and 322 points, not {points}")
        with explorer_of(program, program.choose("unpatched"), "sticky", "fibers") as checked:
            stood(len(checked.run(0, 400).failures) > 0, "points: ORDER, unpatched: some executions are wrong")
        calls: dict[str, Any] = {}
        size: dict[str, int] = {}
        for name, call in {
            "loads": partial(loads.run, 0), "reads": partial(reads.run, 0), "order": partial(pages.run, 0),
            "floor": pages.floor,
        }.items():  # fmt: skip
            size[name] = sized(call)
            calls[name] = partial(call, size[name])
        # Its own clock is that on the wall: a hand-over is mostly waiting.
        calls["handoff"] = lambda: handoff(cpu, 1000)
        seconds = in_turns(options, "points", calls, process_time)
    each = {name: [took / size[name] for took in seconds[name]] for name in size}
    point = [(a - b) / (2 * LENGTH) for a, b in zip(each["loads"], each["reads"], strict=True)]
    added = [(a - b) / points[2] for a, b in zip(each["order"], each["floor"], strict=True)]
    return {
        "rounds": options.rounds,
        "point_nanoseconds": spread(point, 1e9),
        "step_nanoseconds": spread([one / (2 * LENGTH) for one in each["loads"]], 1e9),
        "scheduler_nanoseconds": spread(added, 1e9),
        "order_floors": ratio(each["order"], each["floor"]),
        "point_handoffs": ratio(point, seconds["handoff"]),
        "aim_nanoseconds": AIM,
    }


def text(result: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"A point at which no other task takes over; median (min-max) of {result['rounds']} rounds.",
            "",
            f"  a load with a point, less a read without one    {said(result['point_nanoseconds'])} ns   aim: at most "
            f"{result['aim_nanoseconds']:.0f} ns",
            f"  the whole step, with what a litmus program adds {said(result['step_nanoseconds'])} ns",
            f"  what the scheduler adds to ORDER, per point     {said(result['scheduler_nanoseconds'])} ns",
            f"  ORDER of 32 pages, one task after the other     {said(result['order_floors'])} floors",
            f"  a point in hand-overs                           {said(result['point_handoffs'], 4)}",
        ]
    )
