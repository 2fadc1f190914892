"""The verbs of the command line by name, and what `--help` says of each.

The module of a verb, which has it in its VERBS, is imported when the verb is used and not before.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anonvma_rt.cli.options import Verb

__all__ = ["VERBS", "load_verb"]

# Name: (module, what it does)
VERBS = {
    "list": ("list", "list what is built in, or what a hunt of SCENARIO may put in order"),
    "import": ("importing", "make a scenario of a log of strace, or of a program of syzkaller"),
    "hunt": ("hunt", "look for executions in which an algorithm goes wrong"),
    "verify": ("verify", "visit every class of interleavings once: a proof, or a counterexample"),
    "audit": ("audit", "is all announced that tasks share? every access is told, and compared"),
    "replay": ("reproducer", "make the execution of a reproducer come again"),
    "storm": ("hunt", "let all tasks run at once under seeded chaos: rates, and hits turned into replays"),
    "shrink": ("reproducer", "make a failing execution minimal: few switches, small parameters"),
    "show": (
        "reproducer", "look at the execution of a reproducer: as text, page, picture, Perfetto trace or report"
    ),
    "step": (
        "step", "go through the execution of a reproducer step by step, back too, and try another schedule by hand"
    ),
    "campaign": ("campaign", "many hunts over cores and machines, in a store that loses nothing"),
    "bench": ("bench", "what executions, points, locks and lists cost here, as ratios from one interleaved run"),
    "kernel": ("bench", "the program of 2011 on this host's own kernel; needs root and a C compiler"),
}  # fmt: skip


def load_verb(name: str) -> "Verb":
    verb: Verb = import_module(f"anonvma_rt.cli.verbs.{VERBS[name][0]}").VERBS[name]
    return verb
