"""`campaign`: many hunts over cores and machines, in a store that loses nothing.

anonvma_rt.stress is imported when it is needed: other verbs have no use for it, and a checkout that is only built in
place does not have it.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from anonvma_rt.cli.verbs.common import AS_EXPECTED, INTERRUPTED, NOT_AS_EXPECTED, whole
from anonvma_rt.engine.run.explorer import StopToken
from anonvma_rt.errors import UserError
from anonvma_rt.own.subject import subject
from anonvma_rt.search.hunt import Folder

ABOUT = "many hunts over cores and machines, in a store that loses nothing"
WATCH_SECONDS = 1.0


def add(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)

    def action(name: str, about: str, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print one JSON object and nothing else on stdout",
        )
        added.set_defaults(do=do)
        return added

    run_ = action("run", "begin a campaign, or go on with it", _run)
    run_.add_argument("file", metavar="FILE", help="a TOML file, or nightly, strategies or patch")
    run_.add_argument("--store", required=True, metavar="DB", help="the SQLite file that keeps what was found")
    run_.add_argument(
        "--algorithm", action="append", default=[], metavar="A", help='what algorithms = "asked" stands for; repeatable'
    )
    resume = action("resume", "go on with the campaign in a store", _resume)
    status = action("status", "how far a campaign is, also while it runs", _status)
    status.add_argument("--watch", action="store_true", help="say it again until the campaign is complete")
    report = action("report", "what a campaign found", _report)
    report.add_argument("--html", metavar="OUT", help="write the report as one HTML file")
    report.add_argument("--junit", metavar="OUT", help="write it as JUnit XML, a test per cell")
    reproducers = action("reproducers", "write the reproducers in a store as files", _reproducers)
    reproducers.add_argument("--out", required=True, metavar="DIR", help="the folder for them")
    reproducers.add_argument("--all", action="store_true", help="the first of every range, not only of every cell")
    for one in (resume, status, report, reproducers):
        one.add_argument("store", metavar="DB", help="the store")
    for one in (run_, resume, reproducers):
        one.add_argument(
            "--subject",
            action="append",
            metavar="module:Class",
            default=[],
            help="a subject of your own that the campaign may use: nothing in a file or a store can make the lab "
            "import code; repeatable",
        )
    for one in (run_, resume):
        one.add_argument(
            "--jobs", type=whole("--jobs"), metavar="J", help="worker processes (default: one for each core)"
        )
        one.add_argument(
            "--executor", default="processes", metavar="E", help="processes (default), dask://HOST:PORT, or mpi"
        )


def run(options: argparse.Namespace) -> int:
    if find_spec("anonvma_rt.stress") is None:
        raise UserError(
            "campaigns need an installed anonvma_rt, and this checkout is only built in place: pip install -e ."
        )
    return int(options.do(options))


def _run(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.executors import crew_for
    from anonvma_rt.stress.campaign.file import read_campaign, text_of
    from anonvma_rt.stress.campaign.store import Store

    own = [subject(name) for name in options.subject]
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


def _work(store: Any, crew: Any, options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.run import Progress, run_campaign

    budgets = [cell.executions for cell in store.cells()]
    known = [budget for budget in budgets if budget is not None]
    done = store.progress()
    with (
        _stopped_by_signals() as stop,
        tqdm(
            total=sum(known) if len(known) == len(budgets) else None,
            initial=sum(executions for _, _, _, executions, _ in done),
            unit="exec",
            unit_scale=True,
            disable=None,
            file=sys.stderr,
            leave=False,
        ) as bar,
    ):
        violations, classes = sum(found for *_, found in done), 0

        def progress(now: Progress) -> None:
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
    print(f"anonvma-rt: interrupted; go on with: anonvma-rt campaign resume {store.where}", file=sys.stderr)
    return INTERRUPTED


@contextmanager
def _stopped_by_signals() -> Iterator[StopToken]:
    """A token that the first ^C (or SIGTERM) sets, so that ranges under way are finished; a second one ends at once."""
    stop = StopToken()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.stopped:
            raise KeyboardInterrupt
        stop.stop()
        print("anonvma-rt: finishing what is under way; once more to leave it", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.store import Store

    said = ""
    while True:
        with Store.open(options.store) as store:
            told = _told(store)
        if not options.json and (line := _status_line(told)) != said:
            print(line, flush=True)
            said = line
        if told["complete"] or not options.watch:
            break
        time.sleep(WATCH_SECONDS)
    if options.json:
        print(json.dumps(told))
    return AS_EXPECTED


def _told(store: Any) -> dict[str, Any]:
    cells = store.progress()
    runner = store.runner()
    return {
        "campaign": store.campaign.name,
        "cells": len(cells),
        "ended": sum(ended is not None for _, ended, *_ in cells),
        "complete": all(ended is not None for _, ended, *_ in cells),
        "ranges": sum(ranges for _, _, ranges, _, _ in cells),
        "executions": sum(executions for *_, executions, _ in cells),
        "violations": sum(found for *_, found in cells),
        "under_way": store.under_way() if runner is not None else 0,
        "runner": None if runner is None else {"host": runner[0], "pid": runner[1]},
    }


def _status_line(told: dict[str, Any]) -> str:
    runner = told["runner"]
    who = "complete"
    if not told["complete"]:
        who = "nobody runs it" if runner is None else f"run by process {runner['pid']} on {runner['host']}"
    return (
        f"{told['campaign']}: {told['ended']} of {told['cells']} cells ended, {told['ranges']} ranges, "
        f"{told['executions']} executions, {told['violations']} violations, {told['under_way']} ranges under way; {who}"
    )


def _show(store: Any, options: argparse.Namespace, files: Mapping[str, Callable[[Any], str]] | None = None) -> int:
    """Prints the report of a store, and writes it in other forms to the files that the options name."""
    from anonvma_rt.stress.report.report import make_report, text_report

    with store.readable("what was found"):
        report = make_report(store)
        text = json.dumps(report.as_dict()) if options.json else text_report(report)
        written = [(name, getattr(options, name), form(report)) for name, form in (files or {}).items()]
    for name, out, content in written:
        _write(Path(out), content, f"--{name}")
    print(text)
    return AS_EXPECTED if report.as_expected else NOT_AS_EXPECTED


def _report(options: argparse.Namespace) -> int:
    from anonvma_rt.stress.campaign.store import Store
    from anonvma_rt.stress.report.html import html_report
    from anonvma_rt.stress.report.junit import junit_report

    forms = {"html": html_report, "junit": junit_report}
    with Store.open(options.store) as store:
        return _show(store, options, {name: form for name, form in forms.items() if getattr(options, name) is not None})


def _write(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written: {error.strerror or error}") from None


def _reproducers(options: argparse.Namespace) -> int:
    from anonvma_rt.execution.reproducer import Reproducer
    from anonvma_rt.stress.campaign.store import Store

    written = []
    own = [subject(name) for name in options.subject]
    with Store.open(options.store) as store:
        folder = Folder(Path(options.out))
        for cell in store.cells():
            for number, _, payload in store.rows(cell.number):
                if payload.get("reproducer") is None:
                    continue
                where = f"{store.where}: range {number} of cell {cell.number}"
                with store.readable(where):
                    content = payload["reproducer"].encode()
                reproducer = Reproducer.from_bytes(content, where, own)
                path = folder.path / f"{cell.number}-{reproducer.name()}"
                _write(path, payload["reproducer"] + "\n", "--out")
                written.append(str(path))
                if not options.all:
                    break
        folder.leave()
    if options.json:
        print(json.dumps({"reproducers": written}))
    else:
        print("\n".join(written) if written else "No violation was found, so there is no reproducer.")
    return AS_EXPECTED
