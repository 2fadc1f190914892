"""Does one anon_vma_moveto_tail() scale better than the root's lock around every extent, as the mail of 2011 says?

    python -m anonvma_rt.stress.scaling.experiment                        the usual points, about two minutes
    python -m anonvma_rt.stress.scaling.experiment --all                  every combination of all factors
    python -m anonvma_rt.stress.scaling.experiment --json F --svg F       as data, and as two pictures

Processes forked from one root move their pages to and fro at once (carrier `parallel`), with walkers beside them. The
four strategies are interleaved, medians are of several repeats, and how often the root's lock was taken must be the
model's number exactly: an instrument that counts wrong measures nothing.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from anonvma_rt.engine.parallel.storm import Storm
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.stress.bench.measure import Options, Untrue
from anonvma_rt.stress.scaling.plot import Curve, Panel, page
from anonvma_rt.stress.scaling.subject import Scaling

STRATEGIES = ("unpatched", "moveto-tail", "rmap-locks", "interval-tree")
SHARERS, PAGES, WALKERS, DEPTHS = (1, 2, 4, 8, 16), (1, 16, 64, 512, 4096, 65536), (0, 1, 4), (1, 8)
LATENCY_LIMIT = 64  # pages of one extent
PAGES_AT_ONCE = 1 << 20  # that the movers of one execution move together
MOST_ROUNDS = (
    256  # of one mover: memory is not reused within an execution, and every move takes a vma and its page tables
)
MOST_WALKS = 100_000


@dataclass(frozen=True)
class Point:
    """One combination of factors. apart: every mover has a root of its own, the control in which nothing is shared."""

    sharers: int = 4
    pages: int = 4096
    walkers: int = 1
    merging: bool = True
    depth: int = 1
    apart: bool = False

    @property
    def rounds(self) -> int:
        return max(1, min(MOST_ROUNDS, PAGES_AT_ONCE // (2 * self.pages * self.sharers)))


@dataclass
class Measured:
    """One strategy at one point. pages_per_second: all movers together, median, least and most of the repeats.
    acquisitions of the root's lock per execution by the movers, and the model's number; wait_ns, hold_ns: per
    acquisition; hold_p99_ns: 99 % of the holds were below, rounded up to a power of two; walk_p50_ns, walk_p99_ns:
    medians over the repeats, None without walkers."""

    strategy: str
    point: Point
    pages_per_second: tuple[float, float, float]
    acquisitions: int
    model: int
    wait_ns: float
    hold_ns: float
    hold_p99_ns: int
    walk_p50_ns: float | None
    walk_p99_ns: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"pages_per_second": list(self.pages_per_second)}


def extents(pages: int) -> int:
    """Into how many extents a move is cut whose both places begin a page table.

    >>> extents(64), extents(65), extents(4096)
    (1, 2, 64)
    """
    return ceil(pages / LATENCY_LIMIT)


def acquisitions(algorithm: Algorithm, point: Point) -> int:
    """How often the movers of one execution take the root's lock: the table of strategies, and what none can spare.

    A fresh destination is cloned (1) and the source's chain unlinked (1), on both ways. If the way home merges, the
    source is split before it is unmapped, which clones, too (1), and the merge itself clones nothing. In a tree every
    change of a range is under the lock: the split and the merge.
    """
    bookkeeping = 4 + (2 if algorithm.tree and point.merging else 0)
    there = back = 0
    if algorithm.ordering == "rmap-locks":
        there = back = extents(point.pages)
    elif algorithm.ordering == "need-rmap-locks":
        back = extents(point.pages) if point.merging else 0
    elif algorithm.ordering in ("tail", "tail-after-merge"):
        back = 1 if point.merging else 0
    return point.sharers * point.rounds * (bookkeeping + there + back)


def subject(strategy: str, point: Point, walks: int = MOST_WALKS) -> Scaling:
    return Scaling(
        Algorithm.parse(strategy).as_dict(),
        movers=point.sharers,
        pages=point.pages,
        rounds=point.rounds,
        walkers=point.walkers,
        walks=walks,
        merging=point.merging,
        depth=point.depth,
        apart=point.apart,
    )


class Bench:
    """One strategy at one point, built once and run as often as one likes, with all tasks at once."""

    def __init__(self, strategy: str, point: Point) -> None:
        self.strategy, self.point = strategy, point
        self.subject = subject(strategy, point)
        self.explorer = Explorer(self.subject, Sticky())
        self.storm = Storm(self.explorer)
        self.rates: list[float] = []
        self.rows: list[dict[str, Any]] = []
        self.latencies: list[tuple[int, int]] = []
        self.runs = 0

    def run(self) -> None:
        """One execution. Raises Untrue where the kernel did not do what it was asked for."""
        self.subject.reset()
        block = self.storm.run(self.runs, 1)
        self.runs += 1
        measured = self.subject.measured()
        if block.failures or block.halt or any(row["error"] for row in measured):
            raise Untrue(f"{self.strategy} at {self.point}: {block.failures or block.halt or measured}")
        movers = measured[: self.point.sharers]
        moved = 2 * self.point.rounds * self.point.sharers * self.point.pages
        # Of all movers together: on few cores some have ended before others begin.
        took = max(row["ended"] for row in movers) - min(row["began"] for row in movers)
        self.rates.append(moved / (took / 1e9))
        self.rows.append(sums(movers))
        walks = sorted(self.subject.latencies())
        if walks:
            self.latencies.append((walks[len(walks) // 2], walks[len(walks) * 99 // 100]))

    def forget(self) -> None:
        self.rates, self.rows, self.latencies = [], [], []

    def result(self) -> Measured:
        taken = {row["acquisitions"] for row in self.rows}
        model = acquisitions(Algorithm.parse(self.strategy), self.point)
        if taken != {model}:
            raise Untrue(f"{self.strategy} at {self.point}: the root's lock was taken {taken} times, not {model}")
        total = sums(self.rows)
        p50, p99 = zip(*self.latencies, strict=True) if self.latencies else ([None], [None])
        return Measured(
            strategy=self.strategy,
            point=self.point,
            pages_per_second=(median(self.rates), min(self.rates), max(self.rates)),
            acquisitions=taken.pop(),
            model=model,
            wait_ns=total["waited"] / total["acquisitions"],
            hold_ns=total["held"] / total["acquisitions"],
            hold_p99_ns=1 << quantile_bucket(total["holds"], 0.99),
            walk_p50_ns=median(p50) if self.latencies else None,
            walk_p99_ns=median(p99) if self.latencies else None,
        )

    def close(self) -> None:
        self.storm.close()
        self.explorer.close()


def sums(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of numbers, and of lists element by element, by key."""
    total: dict[str, Any] = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, list):
                total[key] = [a + b for a, b in zip(total.get(key, [0] * len(value)), value, strict=True)]
            else:
                total[key] = total.get(key, 0) + value
    return total


def quantile_bucket(counts: Sequence[int], share: float) -> int:
    """The first bucket up to which `share` of all counts lie.

    >>> quantile_bucket([0, 98, 1, 1], 0.99)
    2
    """
    wanted, seen = share * sum(counts), 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return bucket
    return len(counts) - 1


def usual_points() -> list[Point]:
    """Sharers against pages, and every other factor at the point in the middle; the controls are among them."""
    middle = Point()
    points = [replace(middle, sharers=sharers, pages=pages) for sharers, pages in product(SHARERS, PAGES[:-1])]
    points += [replace(middle, walkers=walkers) for walkers in WALKERS]
    points += [replace(middle, merging=False), replace(middle, depth=8), replace(middle, pages=PAGES[-1])]
    points += [replace(middle, apart=True), replace(middle, apart=True, walkers=0)]
    return list(dict.fromkeys(points))


def all_points() -> list[Point]:
    grid = product(SHARERS, PAGES, WALKERS, (True, False), DEPTHS)
    return [Point(s, n, w, m, d) for s, n, w, m, d in grid] + [Point(sharers=s, apart=True) for s in SHARERS]


def measure(points: Sequence[Point], repeats: int) -> Iterator[Measured]:
    """Point by point; the strategies in turn within each repeat, so that a busy host slows all of them down. What a
    first execution measures is how memory is paged in, and does not count."""
    for point in points:
        benches = [Bench(strategy, point) for strategy in STRATEGIES]
        try:
            for repeat in range(repeats + 1):
                for bench in benches:
                    bench.run()
                    if repeat == 0:
                        bench.forget()
            yield from [bench.result() for bench in benches]
        finally:
            for bench in benches:
                bench.close()


def ratios(results: Sequence[Measured]) -> dict[Point, float]:
    """How many times the pages of rmap-locks moveto-tail moves per second, at each point: the best repeat of each,
    because whatever else the host does only slows down."""
    rates = {(one.strategy, one.point): one.pages_per_second[2] for one in results}
    return {p: rates["moveto-tail", p] / rates["rmap-locks", p] for s, p in rates if s == "moveto-tail"}


def crossover(results: Sequence[Measured], sharers: int) -> int | None:
    """The fewest pages from which on moveto-tail is never slower than rmap-locks, at so many sharers; None: never."""
    found = None
    curve = {p.pages: r for p, r in ratios(results).items() if p == replace(Point(), sharers=sharers, pages=p.pages)}
    for pages in sorted(curve, reverse=True):
        if curve[pages] < 1:
            break
        found = pages
    return found


def table(results: Sequence[Measured]) -> str:
    lines = [
        "| sharers | pages | walkers | way home | depth | roots | strategy | M pages/s (least-most) "
        "| acquisitions | model | wait, us | hold, us | walk p50, us | walk p99, us |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        p, rate = one.point, [value / 1e6 for value in one.pages_per_second]
        walk = ["" if ns is None else f"{ns / 1e3:.1f}" for ns in (one.walk_p50_ns, one.walk_p99_ns)]
        lines.append(
            f"| {p.sharers} | {p.pages} | {p.walkers} | {'merges' if p.merging else 'fresh'} | {p.depth} "
            f"| {'apart' if p.apart else 'shared'} | {one.strategy} | {rate[0]:.2f} ({rate[1]:.2f}-{rate[2]:.2f}) "
            f"| {one.acquisitions} | {one.model} | {one.wait_ns / 1e3:.2f} | {one.hold_ns / 1e3:.2f} "
            f"| {walk[0]} | {walk[1]} |"
        )
    return "\n".join(lines)


def picture(results: Sequence[Measured]) -> str:
    """Pages per second over sharers, and the ratio of the two strategies over pages, as an SVG text."""
    middle = Point()
    over_sharers = [
        Curve(s, [(one.point.sharers, one.pages_per_second[2] / 1e6) for one in results
                  if one.strategy == s and one.point == replace(middle, sharers=one.point.sharers)])
        for s in STRATEGIES
    ]  # fmt: skip
    known = ratios(results)
    over_pages = [
        Curve(f"{sharers} sharers", [(p.pages, r) for p, r in known.items()
                                     if p == replace(middle, sharers=sharers, pages=p.pages)])
        for sharers in SHARERS
    ]  # fmt: skip
    return page(
        "mremap of processes that share an anon_vma root",
        [
            Panel("4 096 pages, one walker", "sharers", "million pages per second", over_sharers),
            Panel("moveto-tail against rmap-locks", "pages per mremap", "times as many pages", over_pages, level=1.0),
        ],
    )


def run(options: Options) -> dict[str, Any]:
    """The usual points; options.rounds: executions of each strategy."""
    results: list[Measured] = []
    points = usual_points()
    for one in measure(points, options.rounds):
        results.append(one)
        options.tell(f"scaling {len(results)}/{len(points) * len(STRATEGIES)}")
    return {
        "results": [one.as_dict() for one in results],
        "crossover": {str(sharers): crossover(results, sharers) for sharers in SHARERS},
        "table": table(results),
    }


def text(result: Mapping[str, Any]) -> str:
    lines = [
        f"at {sharers} sharers moveto-tail is ahead from {'no' if pages is None else pages} pages on"
        for sharers, pages in result["crossover"].items()
    ]
    return "\n".join([result["table"], "", *lines])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m anonvma_rt.stress.scaling.experiment", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--all", action="store_true", help="every combination of all factors")
    parser.add_argument("--repeats", type=int, default=5, help="executions of each strategy (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="the results as data")
    parser.add_argument("--svg", metavar="FILE", help="two plots")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    points = all_points() if options.all else usual_points()
    results: list[Measured] = []
    try:
        for one in measure(points, options.repeats):
            results.append(one)
            print(f"\r{len(results)} of {len(points) * len(STRATEGIES)}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\ninterrupted: what was measured follows", file=sys.stderr)
        results = results[: len(results) - len(results) % len(STRATEGIES)]
    print(file=sys.stderr)
    print(table(results))
    for sharers in SHARERS:
        print(f"crossover at {sharers} sharers: {crossover(results, sharers)} pages")
    if options.json:
        Path(options.json).write_text(json.dumps([one.as_dict() for one in results], indent=1) + "\n")
    if options.svg:
        Path(options.svg).write_text(picture(results))
    return 0
