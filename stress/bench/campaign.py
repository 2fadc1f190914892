"""What a campaign costs over a bare hunt, and what a second worker gains.

python -m anonvma_rt.stress.bench.campaign [--seconds 1] [--rounds 5] [--json]. lkml-2011 under the patched algorithm in
ranges that take about --seconds. A round is: bare hunts of the ranges one after the other, the campaign with one
worker, the campaign with two; medians of the ratios of each round. Workers are started before the clock is. The aims
are at most 5 % for ranges of a second, and at least 1.8 with two workers on two idle cores.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from anonvma_rt.hunt import hunt
from anonvma_rt.stress.campaign import run_campaign
from anonvma_rt.stress.campaign_file import read_campaign
from anonvma_rt.stress.executors import Crew, ProcessWorkers
from anonvma_rt.stress.store import Store

RANGES = 8
SCENARIO, ALGORITHM = "lkml-2011", "moveto-tail"


def runs_per_range(seconds: float) -> int:
    """How many executions take about so long here."""
    found = hunt(SCENARIO, None, [ALGORITHM], runs=50_000).results[0]
    return max(100, int(found.executions_per_second * seconds))


def bare(runs: int) -> float:
    started = perf_counter()
    for number in range(RANGES):
        hunt(SCENARIO, None, [ALGORITHM], start=number * runs, runs=runs)
    return perf_counter() - started


def campaign(runs: int, workers: int, folder: Path) -> float:
    """Seconds for the ranges of one cell, with workers that are there already."""
    text = (
        f'campaign = "bench"\nexecutions = {RANGES * runs}\nrange = {runs}\n'
        f'[[cells]]\nscenarios = ["{SCENARIO}"]\nalgorithms = ["{ALGORITHM}"]\n'
    )
    crew = ProcessWorkers(workers)
    for future in [crew.submit(hunt, SCENARIO, None, [ALGORITHM], runs=1000) for _ in range(2 * workers)]:
        future.result()
    with Store.create(str(folder / "bench.db"), read_campaign(text, "bench.toml")) as store:
        started = perf_counter()
        run_campaign(store, _Measured(lambda: crew, lambda _: 2 * workers))
        seconds = perf_counter() - started
    crew.shutdown()
    return seconds


class _Measured(Crew):
    """Leaves the executor alone at the end: its workers end outside of what is measured."""

    def end(self, kill: bool) -> None:
        return None


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    runs = runs_per_range(seconds)
    overheads, gains = [], []
    for _ in range(rounds):
        with TemporaryDirectory() as one, TemporaryDirectory() as two:
            alone = bare(runs)
            single = campaign(runs, 1, Path(one))
            double = campaign(runs, 2, Path(two))
        overheads.append(single / alone - 1)
        gains.append(single / double)
    return {
        "executions_per_range": runs,
        "ranges": RANGES,
        "rounds": rounds,
        "overhead": median(overheads),
        "overheads": overheads,
        "two_workers": median(gains),
        "gains": gains,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, metavar="T", help="per range, default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    found = measure(options.seconds, options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    low, high = min(found["overheads"]), max(found["overheads"])
    print(f"ranges of {found['executions_per_range']} executions, about {options.seconds:g} s each")
    print(f"overhead over bare hunts: {100 * found['overhead']:.1f} % ({100 * low:.1f} to {100 * high:.1f}); aim 5 %")
    low, high = min(found["gains"]), max(found["gains"])
    print(
        f"two workers beside one: {found['two_workers']:.2f} times ({low:.2f} to {high:.2f}); aim 1.8 on two idle cores"
    )


if __name__ == "__main__":
    main()
