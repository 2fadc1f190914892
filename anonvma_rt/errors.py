"""What goes wrong because of the user's input, and how it is said.

Bad input is a UserError whose text is one clear line: what is wrong, where, and what would be right. The command line
prints that line and exits with 2; whoever calls from Python catches one class.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

__all__ = [
    "AlgorithmError",
    "MoreToKnow",
    "ParameterError",
    "ScenarioError",
    "UserError",
    "among",
    "at_least",
    "between",
    "for_terminal",
    "nearest",
    "printable",
    "quote",
    "reason",
    "time_or_none",
]

LONGEST_QUOTE = 60  # characters of the user's own text that a message repeats
LONGEST_LINE = 1000  # characters of a message: a path or an argument may have a hundred thousand
MOST_CHOICES = 12  # choices that a message lists
LONGEST_TIME = 1e9  # seconds
MOST_COMPARED = 1000  # choices that are compared: a hostile file could define many thousand names


class UserError(Exception):
    """Bad input. `str(error)` is always one printable line of bounded length, whatever text was put into it.

    >>> str(UserError("two\\nlines"))
    'two\\\\nlines'
    """

    def __init__(self, message: str) -> None:
        super().__init__(_cut(printable(message)))


class ScenarioError(UserError):
    """A scenario that does not exist, cannot be read, or says something it cannot say."""


class MoreToKnow(ScenarioError):
    """Something came up in an execution that has to be known before the first one (protocols.Bound.with_more_known)."""


class ParameterError(UserError):
    """A scenario parameter that does not exist or has a value out of its range."""


class AlgorithmError(UserError):
    """An algorithm, or a field of one, that does not exist."""


def quote(text: str) -> str:
    """The user's text in double quotes for a message: cut to 60 characters, nothing unprintable.

    >>> quote("pages")
    '"pages"'
    """
    return '"' + printable(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...") + '"'


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest choice, or all of them when nothing is near.

    >>> nearest("unpached", ["unpatched", "moveto-tail"])
    ' (did you mean "unpatched"?)'
    >>> nearest("x", ["unpatched", "moveto-tail"])
    ' (choices: unpatched, moveto-tail)'
    """
    known = list(islice(choices, MOST_COMPARED))
    word = word[:LONGEST_QUOTE]
    near = get_close_matches(word, known, n=1)
    if not near:
        by_lower_case = {choice.lower(): choice for choice in reversed(known)}
        near = [by_lower_case[found] for found in get_close_matches(word.lower(), by_lower_case, n=1)]
    if near:
        return f" (did you mean {quote(near[0])}?)"
    if not known:
        return " (there are none)"
    more = ", ..." if len(known) > MOST_CHOICES else ""
    return f" (choices: {', '.join(known[:MOST_CHOICES])}{more})"


def printable(text: str) -> str:
    """Escapes what would break the line or the terminal: line ends, control characters, lone surrogates.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


_COLOUR = re.compile(r"(\x1b\[[0-9;]*m|[\n\t])")


def for_terminal(text: str) -> str:
    r"""The same for a text of several lines; colours and tabs stay, for the house puts none of them into a text of the
    user's.

    >>> for_terminal("a\x1b]0;title\x07\nb")
    'a\\x1b]0;title\\x07\nb'
    """
    if text.replace("\n", "").isprintable():
        return text
    parts = _COLOUR.split(text)
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))


def reason(error: Exception) -> str:
    """Why a file cannot be read or written, in the system's words where there are some."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _cut(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE - 305]} ... {line[-300:]}"


def at_least(option: str, value: int, least: int = 1) -> None:
    """Raises UserError for a smaller number."""
    if value < least:
        raise UserError(f"{option} must be at least {least}, not {value}")


def between(option: str, value: int, least: int, most: int, most_is: str = "") -> None:
    """Raises UserError for a number outside of these bounds. most_is: the upper one in words."""
    if not least <= value <= most:
        raise UserError(f"{option} must be from {least} to {most_is or most}, not {value}")


def time_or_none(option: str, seconds: float | None) -> None:
    """Raises UserError for what is no time that one can wait; None is no time at all."""
    if seconds is not None and not 0 < seconds <= LONGEST_TIME:
        raise UserError(f"{option} must be more than 0 and at most {LONGEST_TIME:g}, not {seconds:g}")


def among(what: str, word: str, choices: Iterable[str]) -> None:
    """Raises UserError for a word that is none of these."""
    if word not in choices:
        raise UserError(f"unknown {what} {quote(word)}{nearest(word, choices)}")
