"""An execution in plain text: why it went wrong, who did what, and the command that makes it come again."""

import re
from textwrap import fill

from anonvma_rt.subjects.history import Trace

__all__ = ["history", "how_to_replay", "sentences"]


def history(trace: Trace, width: int) -> str:
    """Why an execution went wrong, in a sentence, and the interleaving with a column per task."""
    return "\n".join([sentences(trace.cause(), width), "", trace.table(width)])


def sentences(text: str | None, width: int) -> str:
    """Indented, and filled; lines behind the first stay as they are: they are a table."""
    first, *more = (text or "").split("\n")
    lines = [fill(first, max(40, width), initial_indent="  ", subsequent_indent="  "), *(f"  {line}" for line in more)]
    return "\n".join(lines if not more else [lines[0], "", *lines[1:]])


def how_to_replay(path: str, needs: str, algorithm: str, what: str = "Replay it", verb: str = "replay") -> str:
    """The command for a reproducer, with what it needs of the user's own code (protocols.Described)."""
    rule = re.search(r"rule=([\w.:]+)", algorithm)
    return f"{what}: anonvma-rt {verb} {path}{needs}{f' --rule {rule[1]}' if rule else ''}"
