"""What a campaign costs over bare hunts of the same ranges, and what a second worker gains.

lkml-2011 under the patched algorithm in ranges of about a second. Workers are started before the clock is.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.bench.measure import Options, in_turns, ratio, require, shown
from anonvma_rt.stress.campaign.executors import Crew, ProcessWorkers
from anonvma_rt.stress.campaign.file import read_campaign
from anonvma_rt.stress.campaign.run import run_campaign
from anonvma_rt.stress.campaign.store import Store

SCENARIO, ALGORITHM, STRATEGY = "lkml-2011", "moveto-tail", "pct"
RANGES, SECONDS = 6, 1.0
MOST_OVER_BARE, LEAST_GAIN = 1.05, 1.8  # the second on two idle cores


def run(options: Options) -> dict[str, Any]:
    tried = hunt(SCENARIO, None, [ALGORITHM], STRATEGY, runs=50_000, classes=0).results[0]
    runs = max(100, int(tried.executions_per_second * SECONDS))
    hashes: set[str] = set()

    def campaign(workers: int) -> float:
        seconds, ranges_sha256 = _campaign(runs, workers)
        hashes.add(ranges_sha256)
        require(len(hashes) == 1, "campaign: any number of workers makes the same executions")
        return seconds

    calls: dict[str, Callable[[], object]] = {
        "bare": partial(_bare, runs),
        "one": partial(campaign, 1),
        "two": partial(campaign, 2),
    }
    seconds = in_turns(options, "campaign", calls)
    return {
        "rounds": options.rounds,
        "cores": len(set(cores(64))),
        "executions_per_range": runs,
        "ranges": RANGES,
        "campaign_over_bare": ratio(seconds["one"], seconds["bare"]) | {"aim": MOST_OVER_BARE},
        "two_over_one": ratio(seconds["one"], seconds["two"]) | {"aim": LEAST_GAIN},
    }


def _bare(runs: int) -> None:
    for number in range(RANGES):
        hunt(SCENARIO, None, [ALGORITHM], STRATEGY, start=number * runs, runs=runs, classes=0)


class _Kept(Crew):
    """Leaves the executor alone at the end: its workers end outside of what is measured."""

    def end(self, kill: bool) -> None:
        return None


def _campaign(runs: int, workers: int) -> tuple[float, str]:
    """Seconds for the ranges of one cell, with workers that are there already, and the hash of the cell."""
    text = (
        f'campaign = "bench"\nexecutions = {RANGES * runs}\nrange = {runs}\n[[cells]]\nscenarios = ["{SCENARIO}"]\n'
        f'algorithms = ["{ALGORITHM}"]\nstrategies = ["{STRATEGY}"]\n'
    )
    with ProcessWorkers(workers) as crew, TemporaryDirectory() as folder:
        for future in [crew.submit(hunt, SCENARIO, None, [ALGORITHM], runs=1000) for _ in range(2 * workers)]:
            future.result()
        with Store.create(str(Path(folder, "bench.db")), read_campaign(text, "bench.toml")) as store:
            started = perf_counter()
            run_campaign(store, _Kept(lambda: crew, lambda _: 2 * workers))
            return perf_counter() - started, store.totals(store.cells()[0]).ranges_sha256


def text(result: dict[str, Any]) -> str:
    over, gain = result["campaign_over_bare"], result["two_over_one"]
    return (
        f"Campaigns, lkml-2011, {result['ranges']} ranges of {result['executions_per_range']} executions, "
        f"{result['cores']} cores; median (min-max) of {result['rounds']} rounds.\n\n"
        f"  one worker takes {shown(over)} times the time of bare hunts   aim: at most {over['aim']}\n"
        f"  two workers are {shown(gain)} times as fast as one   aim: at least {gain['aim']} on two idle cores"
    )
