"""`audit`: are all accesses that tasks share ordered by what they announce?"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from anonvma_rt.auditing import overlay
from anonvma_rt.auditing.audit import DEFAULT_RUNS, AuditResult, audit
from anonvma_rt.auditing.build import AUDIT_FLAGS, Builder, subjects
from anonvma_rt.auditing.grounds import Clean, distinct_rows, table_text
from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import collect, conclude_results, progress_bar, show_progress, write_file
from anonvma_rt.cli.report import audit_report
from anonvma_rt.errors import UserError
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import least_values
from anonvma_rt.subjects.protocols import Described
from anonvma_rt.text.parameters import spelled

OPTIONS = (
    opt.SCENARIO,
    opt.PARAMETER,
    opt.ALGORITHM,
    opt.ALL.but(help="every built-in scenario and litmus test under all that it names, at its smallest size"),
    opt.STRATEGY,
    opt.SEED,
    opt.whole("--runs", "N", "executions of each algorithm (default %(default)s)", default=DEFAULT_RUNS),
    opt.JOBS,
    opt.option("--table", "FILE", "with --all: write there what was clean, which is what a proof says of its grounds"),
)


def run(options: argparse.Namespace) -> int:
    scenarios = opt.choose_scenarios(options, "audits", kernels_only=bool(options.algorithm))
    if options.all and options.parameter:
        raise UserError("--all takes the smallest sizes: omit -p")
    if options.table is not None and not (options.all and options.algorithm is None):
        raise UserError("--table is of all that is built in: --all, and no --algorithm")
    if not overlay.active():
        return _again(options.words)
    with progress_bar() as bar:
        audits = [
            partial(
                audit,
                described,
                least_values(described) if options.all else options.parameter,
                options.algorithm or (all_of(described) if options.all else None),
                strategy=options.strategy,
                seed=options.seed,
                runs=options.runs,
                jobs=options.jobs,
                progress=show_progress(bar),
            )
            for described in scenarios
        ]
        found, interrupted = collect(audits)
    if options.table is not None and not interrupted:
        write_file(options.table, _table(scenarios, found), "--table")
    return conclude_results(
        options,
        found,
        lambda result: audit_report(result, short=options.all),
        together="audits" if options.all else None,
        interrupted=interrupted,
    )


def all_of(described: Described) -> list[str]:
    """What it names, and of a scenario the rows of releases, which verify takes as well."""
    named = described.algorithms()
    rows = dict.fromkeys(distinct_rows().values()) if isinstance(described, Scenario) else {}
    return [*named, *(name for name in rows if name not in named)]


def _table(scenarios: Sequence[Described], found: Sequence[AuditResult]) -> str:
    clean = [
        Clean(described.name, described.sha256, spelled(result.parameters), names)
        for described, result in zip(scenarios, found, strict=True)
        if (names := [one.algorithm for one in result.results if one.executions and one.as_expected])
    ]
    return table_text(time.strftime("%Y.%m"), clean)


def _again(words: list[str]) -> int:
    """The same command in a process whose subjects tell what they do; they are built where they are not there yet."""
    builder = Builder(AUDIT_FLAGS, lambda line: print(f"anonvma-rt: {line}", file=sys.stderr, flush=True))
    environment = os.environ | {overlay.VARIABLE: str(builder.plan(subjects()))}
    command = [sys.executable, "-m", "anonvma_rt", *words]
    with subprocess.Popen(command, env=environment) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                # The child has it, too, and says what it found.
                continue


VERBS = {"audit": opt.Verb(OPTIONS, run)}
