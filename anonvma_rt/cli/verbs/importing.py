"""`import`: a log of what real programs did to their memory, made into a scenario that can be hunted.

The scenario goes to stdout or to a file; what is not in it, and what was assumed, goes to stderr line by line.
"""

import argparse
import re
import sys
from pathlib import Path

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import complain, conclude, write_file
from anonvma_rt.errors import UserError, reason
from anonvma_rt.importing.importer import FORMATS, Imported, ImportOptions, NothingSaid, import_scenario
from anonvma_rt.importing.meaning import TOUCHES
from anonvma_rt.text.files import read_bounded

LARGEST_LOG = 64 << 20  # bytes

OPTIONS = (
    opt.option(
        "file", "FILE", "a log of `strace -f -e trace=%%memory,process`, or a program of syzkaller; - for stdin"
    ),
    opt.option("-o", "OUT", "where the scenario is written (default: to stdout)", dest="out"),
    opt.option("--format", "F", f"of {', '.join(FORMATS)} (default: what most lines look like)"),
    opt.option("--name", "NAME", "of the scenario (default: that of FILE)"),
    opt.flag(
        "--fold",
        "move areas close together: their order, what touches what, and where they lie within 2 MiB stays (default: "
        "addresses are kept, if all are below 2**39, or distances of 3 GiB and more are shorter)",
    ),
    opt.whole(
        "--race-from",
        "LINE",
        "what stands before this line of FILE is setup, and from it on each task is a thread (default: from where "
        "there is a second task, or an async call)",
    ),
    opt.option(
        "--tasks",
        "TASK[,TASK...]",
        "only these tasks race, as FILE calls them; what others do from then on is left out (default: all)",
        lambda text: tuple(one.strip() for one in text.split(",")),
        default="",
    ),
    opt.whole(
        "--threads",
        "N",
        "the last N calls race, each in a thread, and all before is setup (default where one task makes all calls: 2, "
        "or 1 with --migrate)",
    ),
    opt.flag(
        "--migrate",
        "add a thread that migrates a page which is there when the race begins; the parameter `page` says which",
    ),
    opt.option(
        "--touch",
        "WHAT",
        f"the pages of a new mapping that are touched, which no log of system calls shows: {', '.join(TOUCHES)} "
        f"(default {TOUCHES[0]})",
        default=TOUCHES[0],
    ),
    opt.flag(
        "--attached",
        "the log begins in the middle of a program (strace -p): memory that a call finds, and that nobody mapped, is "
        "taken for private anonymous memory",
    ),
)


def run(options: argparse.Namespace) -> int:
    how = ImportOptions(
        name=options.name or _name(options.file),
        format=options.format,
        fold=options.fold,
        race_from=options.race_from,
        tasks=tuple(one for one in options.tasks if one),
        threads=options.threads,
        migrate=options.migrate,
        touch=options.touch,
        attached=options.attached,
    )
    try:
        imported = import_scenario(_read(options.file), how)
    except NothingSaid as error:
        for note in error.notes:
            complain(note)
        raise
    if options.out:
        write_file(options.out, imported.text, "-o")
    code = conclude(
        options,
        lambda: {**imported.as_dict(), "file": options.out},
        (lambda: f"wrote {options.out}") if options.out else lambda: imported.text.rstrip("\n"),
    )
    _tell(imported)
    return code


def _read(file: str) -> str:
    if file == "-":
        try:
            data = sys.stdin.buffer.read(LARGEST_LOG + 1)
        except (OSError, AttributeError) as error:
            raise UserError(f"standard input cannot be read: {reason(error)}") from None
        if len(data) > LARGEST_LOG:
            raise UserError(f"standard input is larger than {LARGEST_LOG >> 20} MiB, which is the most for a log")
    else:
        data = read_bounded(file, LARGEST_LOG, "a log")
    return data.decode("utf-8", "replace")


def _name(file: str) -> str:
    """A name that a scenario may have, of the file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file).stem).strip("-._")[:40] or "imported"


def _tell(imported: Imported) -> None:
    for note in imported.notes:
        complain(note)
    complain(f"{imported.said} of {imported.calls} calls about memory are in the scenario")


VERBS = {"import": opt.Verb(OPTIONS, run)}
