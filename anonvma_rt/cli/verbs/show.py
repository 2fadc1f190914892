"""`show`: an execution of a reproducer to look at, in the terminal, as a page, as a Perfetto trace, as a report."""

import argparse
import json
from pathlib import Path

from anonvma_rt.cli.verbs.common import AS_EXPECTED, about_file, read_file, width
from anonvma_rt.errors import UserError
from anonvma_rt.show.dmesg import dmesg
from anonvma_rt.show.html import html_page
from anonvma_rt.show.perfetto import write_perfetto
from anonvma_rt.show.story import Story, counterpart, told
from anonvma_rt.show.svg import svg_picture
from anonvma_rt.show.terminal import show_text, style_for

ABOUT = "look at the execution of a reproducer: as text, page, picture, Perfetto trace or report"


def add(parser: argparse.ArgumentParser) -> None:
    about_file(parser)
    parser.add_argument("--full", action="store_true", help="every point in the table, not only what matters")
    parser.add_argument("--html", metavar="OUT", help="write a page with a timeline and the state at each step")
    parser.add_argument("--perfetto", metavar="OUT", help="write a trace for ui.perfetto.dev (.gz: compressed)")
    parser.add_argument("--svg", metavar="OUT", help="write one picture, for a talk or a mail")
    parser.add_argument("--dmesg", action="store_true", help="the violation as a kernel log would have it, with stacks")
    parser.add_argument(
        "--algorithm", metavar="A", help="the one that the page sets beside it (default: the scenario's right one)"
    )


def run(options: argparse.Namespace) -> int:
    reproducer = read_file(options)
    if options.algorithm and not options.html:
        raise UserError("--algorithm is what a page sets beside the execution: it needs --html OUT")
    files = [path for path in (options.html, options.perfetto, options.svg) if path]
    if options.dmesg and files:
        raise UserError("--dmesg prints a report: use it without --html, --perfetto and --svg")
    story = told(reproducer, stacks=options.dmesg)
    if options.html:
        other = counterpart(reproducer, options.algorithm)
        page = html_page(story, told(reproducer, other) if other else None)
        _write(options.html, page)
    if options.perfetto:
        write_perfetto(story, Path(options.perfetto))
    if options.svg:
        _write(options.svg, svg_picture(story))
    if options.json:
        print(json.dumps(_as_json(story, options)))
    elif options.dmesg:
        print(dmesg(story))
    elif files:
        print("\n".join(f"wrote {path}" for path in files))
    else:
        print(show_text(story, width(), style_for(), options.full))
    return AS_EXPECTED


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def _as_json(story: Story, options: argparse.Namespace) -> dict[str, object]:
    return {
        "scenario": story.scenario,
        "algorithm": story.algorithm,
        "kind": story.kind,
        "cause": story.why,
        "steps": story.end,
        "switches": max(0, len(story.segments) - 1),
        "rows": [[step, story.trace.task(task), text.strip()] for step, task, text in story.trace.rows(options.full)],
        "html": options.html,
        "perfetto": options.perfetto,
        "svg": options.svg,
    }
