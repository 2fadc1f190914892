"""The verbs of a reproducer: `replay` makes its execution come again, `shrink` makes it small, `show` prints it.

`step`, which goes through it, has a file of its own.
"""

import argparse
from functools import partial
from pathlib import Path

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import collect, conclude, progress_bar, width, write_file
from anonvma_rt.cli.report import replay_report, shrink_report
from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import replay
from anonvma_rt.shrinking.shrink import DEFAULT_BUDGET, shrink, smaller_name

FULL = opt.flag("--full", "every point in the table, not only what matters")


def _replay(options: argparse.Namespace) -> int:
    reproducer = opt.load_reproducer(options)
    replayed = replay(reproducer, options.times, options.until)

    def text() -> str:
        report = replay_report(reproducer, replayed, width(), full=options.full)
        if options.until is None:
            return report
        return f"{report}\n{replayed.program.state(replayed.explorer, replayed.trace)}"

    fields = ("times", "reproduced", "kind", "steps", "switches", "same_trace")
    try:
        return conclude(
            options,
            lambda: {name: getattr(replayed, name) for name in fields},
            text,
            as_expected=replayed.reproduced == replayed.times,
        )
    finally:
        replayed.explorer.close()


def _shrink(options: argparse.Namespace) -> int:
    with progress_bar() as bar:
        call = partial(
            shrink,
            options.file,
            options.out or smaller_name(options.file),
            options.keep,
            options.budget,
            progress=bar.update,
            own=opt.own_code(options),
        )
        (result,), interrupted = collect([call])
    return conclude(
        options,
        result.as_dict,
        lambda: shrink_report(result, width()),
        as_expected=result.confirmed == result.replays,
        interrupted=interrupted,
        complaints=[result.unsaved],
    )


def _show(options: argparse.Namespace) -> int:
    from anonvma_rt.show.dmesg import dmesg
    from anonvma_rt.show.html import html_page
    from anonvma_rt.show.perfetto import write_perfetto
    from anonvma_rt.show.story import counterpart, story_of
    from anonvma_rt.show.svg import svg_picture
    from anonvma_rt.show.terminal import show_text, style_for

    reproducer = opt.load_reproducer(options)
    if options.algorithm and not options.html:
        raise UserError("--algorithm is what a page sets beside the execution: it needs --html OUT")
    files = [path for path in (options.html, options.perfetto, options.svg) if path]
    if options.dmesg and files:
        raise UserError("--dmesg prints a report: use it without --html, --perfetto and --svg")
    story = story_of(reproducer, stacks=options.dmesg)
    if options.html:
        other = counterpart(reproducer, options.algorithm)
        write_file(options.html, html_page(story, story_of(reproducer, other) if other else None))
    if options.perfetto:
        write_perfetto(story, Path(options.perfetto))
    if options.svg:
        write_file(options.svg, svg_picture(story))

    def text() -> str:
        if options.dmesg:
            return dmesg(story)
        if files:
            return "\n".join(f"wrote {path}" for path in files)
        return show_text(story, width(), style_for(), options.full)

    def document() -> object:
        rows = list(story.trace.texts(options.full))
        places = [story.trace.source(event) for event, _ in rows]
        return {
            "scenario": story.scenario,
            "algorithm": story.algorithm,
            "kind": story.kind,
            "cause": story.why,
            "steps": story.end,
            "switches": story.schedule.switches,
            "rows": [[event.step, story.trace.task(event.task), text.strip()] for event, text in rows],
            "places": [[one.file, one.line, one.text] if one else None for one in places] if any(places) else None,
            "html": options.html,
            "perfetto": options.perfetto,
            "svg": options.svg,
        }

    return conclude(options, document, text)


VERBS = {
    "replay": opt.Verb(
        (
            *opt.FILE,
            opt.whole("--times", "N", "how often (default 1)", default=1),
            opt.whole("--until", "STEP", "stop before that step and print the state"),
            FULL,
        ),
        _replay,
    ),
    "shrink": opt.Verb(
        (
            *opt.FILE,
            opt.option(
                "-o", "FILE", "where the smaller one is saved (default: beside it, -min in its name)", dest="out"
            ),
            opt.several("--keep", "NAME", "a parameter that stays as it is; may be repeated", default=[]),
            opt.whole(
                "--budget",
                "N",
                "executions that one search may make; there are a few searches per parameter (default %(default)s)",
                default=DEFAULT_BUDGET,
            ),
        ),
        _shrink,
    ),
    "show": opt.Verb(
        (
            *opt.FILE,
            FULL,
            opt.option("--html", "OUT", "write a page with a timeline and the state at each step"),
            opt.option("--perfetto", "OUT", "write a trace for ui.perfetto.dev (.gz: compressed)"),
            opt.option("--svg", "OUT", "write one picture, for a talk or a mail"),
            opt.flag("--dmesg", "the violation as a kernel log would have it, with stacks"),
            opt.option("--algorithm", "A", "the one that the page sets beside it (default: the scenario's right one)"),
        ),
        _show,
    ),
}
