"""`campaign`: many hunts over cores and machines, in a store that loses nothing.

anonvma_rt.stress is imported when an action runs: a checkout that is only built in place does not have it.
"""

import argparse
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import INTERRUPTED, complain, conclude, flush, progress_bar, say, write_file
from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.errors import UserError
from anonvma_rt.execution.folder import Folder
from anonvma_rt.lab.load import own_named

if TYPE_CHECKING:
    from anonvma_rt.stress.campaign.executors import Crew
    from anonvma_rt.stress.campaign.run import Progress
    from anonvma_rt.stress.campaign.store import Store, Survey
    from anonvma_rt.stress.report.report import Report

WATCH_SECONDS = 1.0


def _run(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.executors import crew_for
    from anonvma_rt.stress.campaign.file import read_campaign, text_of
    from anonvma_rt.stress.campaign.store import Store

    own = [own_named(name) for name in options.subject]
    plan = read_campaign(*text_of(options.file), tuple(options.algorithm), own)
    crew = crew_for(options.executor, options.jobs)
    with Store.create(options.store, plan) as store:
        return _work(store, crew, options)


def _resume(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.executors import crew_for
    from anonvma_rt.stress.campaign.store import Store

    crew = crew_for(options.executor, options.jobs)
    with Store.open(options.store, write=True) as store:
        return _work(store, crew, options)


def _work(store: "Store", crew: "Crew", options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.run import run_campaign
    from anonvma_rt.stress.campaign.store import Survey

    budgets = [cell.executions for cell in store.cells()]
    known = [budget for budget in budgets if budget is not None]
    done = Survey().look(store)
    with (
        _stopped_by_signals() as stop,
        progress_bar(
            total=sum(known) if len(known) == len(budgets) else None,
            initial=sum(cell.executions for cell in done),
            unit_scale=True,
            delay=0,
        ) as bar,
    ):
        violations, classes = sum(cell.violations for cell in done), 0

        def progress(now: "Progress") -> None:
            nonlocal violations, classes
            violations += now.violations
            classes += now.classes
            bar.set_description(f"{now.cell.scenario} {now.cell.algorithm}", refresh=False)
            bar.set_postfix(violations=violations, classes=classes, refresh=False)
            bar.update(now.executions)

        complete = run_campaign(store, crew, stop, progress, own=options.subject)
    code = _show(store, options)
    if complete:
        return code
    complain(f"interrupted; go on with: anonvma-rt campaign resume {store.where}")
    return INTERRUPTED


@contextmanager
def _stopped_by_signals() -> Iterator[StopToken]:
    """A token that the first ^C (or SIGTERM) sets, so that ranges under way are finished; a second one ends at once."""
    stop = StopToken()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.stopped:
            raise KeyboardInterrupt
        stop.stop()
        complain("finishing what is under way; once more to leave it")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.store import Store, Survey

    printed, survey = "", Survey()
    while True:
        with Store.open(options.store) as store:
            status = _status_of(store, survey)
        if not options.json and (line := _status_line(status)) != printed:
            say(line)
            flush()
            printed = line
        if status["complete"] or not options.watch:
            break
        time.sleep(WATCH_SECONDS)
    return conclude(options, lambda: status, None)


def _status_of(store: "Store", survey: "Survey") -> dict[str, Any]:
    cells = survey.look(store)
    runner = store.runner()
    return {
        "campaign": store.campaign.name,
        "cells": len(cells),
        "ended": sum(cell.ended is not None for cell in cells),
        "complete": all(cell.ended is not None for cell in cells),
        "ranges": sum(cell.ranges for cell in cells),
        "executions": sum(cell.executions for cell in cells),
        "violations": sum(cell.violations for cell in cells),
        "under_way": store.under_way() if runner is not None else 0,
        "runner": None if runner is None else {"host": runner[0], "pid": runner[1]},
    }


def _status_line(status: dict[str, Any]) -> str:
    runner = status["runner"]
    who = "complete"
    if not status["complete"]:
        who = "nobody runs it" if runner is None else f"run by process {runner['pid']} on {runner['host']}"
    return (
        f"{status['campaign']}: {status['ended']} of {status['cells']} cells ended, {status['ranges']} ranges, "
        f"{status['executions']} executions, {status['violations']} violations, {status['under_way']} ranges under "
        f"way; {who}"
    )


def _show(
    store: "Store", options: argparse.Namespace, files: Mapping[str, Callable[["Report"], str]] | None = None
) -> int:
    """Prints the report of a store, and writes it in other forms to the files that the options name."""
    from anonvma_rt.stress.report.report import make_report, text_report

    report = make_report(store)
    text = "" if options.json else text_report(report)
    document = report.as_dict() if options.json else {}
    written = [(name, getattr(options, name), form(report)) for name, form in (files or {}).items()]
    for name, out, content in written:
        write_file(out, content, f"--{name}")
    return conclude(options, lambda: document, lambda: text, as_expected=report.as_expected)


def _report(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.store import Store
    from anonvma_rt.stress.report.html import html_report
    from anonvma_rt.stress.report.junit import junit_report

    forms = {"html": html_report, "junit": junit_report}
    with Store.open(options.store) as store:
        return _show(store, options, {name: form for name, form in forms.items() if getattr(options, name) is not None})


def _reproducers(options: argparse.Namespace) -> int:
    from anonvma_rt.execution.reproducer import Reproducer
    from anonvma_rt.stress.campaign.store import Store
    from anonvma_rt.stress.campaign.totals import Done

    written: list[str] = []
    own = [own_named(name) for name in options.subject]
    with Store.open(options.store) as store:
        folder = Folder(Path(options.out))
        for cell in store.cells():
            for number, outcome in store.rows(cell.number):
                if not isinstance(outcome, Done) or outcome.reproducer is None:
                    continue
                where = f"{store.where}: range {number} of cell {cell.number}"
                reproducer = Reproducer.from_bytes(outcome.reproducer.encode(), where, own)
                path = str(Path(options.out) / f"{cell.number}-{reproducer.name()}")
                write_file(path, outcome.reproducer + "\n", "--out")
                written.append(path)
                if not options.all:
                    break
        folder.leave()
    return conclude(
        options,
        lambda: {"reproducers": written},
        lambda: "\n".join(written) or "No violation was found, so there is no reproducer.",
    )


def _installed(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def checked(options: argparse.Namespace) -> int:
        if find_spec("anonvma_rt.stress") is None:
            raise UserError(
                "campaigns need an installed anonvma_rt, and this checkout is only built in place: pip install -e ."
            )
        return run(options)

    return checked


STORE = opt.option("store", "DB", "the store")
OWN = opt.SUBJECT.but(
    help="a subject of your own that the campaign may use, or the files of a program (a.c+b.c): nothing in a file or a "
    "store can make the lab import or compile code; repeatable"
)
WORKERS = (
    OWN,
    opt.JOBS.but(default=None, help="worker processes (default: one for each core)"),
    opt.option("--executor", "E", "processes (default), dask://HOST:PORT, or mpi", default="processes"),
)
ACTIONS = {
    "run": opt.Verb(
        (
            opt.option("file", "FILE", "a TOML file, or nightly, strategies or patch"),
            opt.option("--store", "DB", "the SQLite file that keeps what was found", required=True),
            opt.several("--algorithm", "A", 'what algorithms = "asked" stands for; repeatable', default=[]),
            *WORKERS,
        ),
        _installed(_run),
        about="begin a campaign, or go on with it",
    ),
    "resume": opt.Verb((STORE, *WORKERS), _installed(_resume), about="go on with the campaign in a store"),
    "status": opt.Verb(
        (opt.flag("--watch", "say it again until the campaign is complete"), STORE),
        _installed(_status),
        about="how far a campaign is, also while it runs",
    ),
    "report": opt.Verb(
        (
            opt.option("--html", "OUT", "write the report as one HTML file"),
            opt.option("--junit", "OUT", "write it as JUnit XML, a test per cell"),
            STORE,
        ),
        _installed(_report),
        about="what a campaign found",
    ),
    "reproducers": opt.Verb(
        (
            opt.OUT.but(default=None, required=True, help="the folder for them"),
            opt.ALL.but(help="the first of every range, not only of every cell"),
            STORE,
            OWN,
        ),
        _installed(_reproducers),
        about="write the reproducers in a store as files",
    ),
}
VERBS = {"campaign": opt.Verb(actions=ACTIONS)}
