"""HTML that is made here, and everything else escaped: a value gets into a page in no other way.

>>> markup("<b>{}</b> in {:,}", "<script>", 1000)
'<b>&lt;script&gt;</b> in 1,000'
>>> markup("<p>{}</p>", markup("<i>{}</i>", "a & b"))
'<p><i>a &amp; b</i></p>'
"""

from collections.abc import Iterable
from html import escape

from anonvma_rt.errors import for_terminal

__all__ = ["Markup", "joined", "markup"]


class Markup(str):
    """Text that is HTML already. Made by markup() and joined(), and of nothing but what stands in the code."""

    __slots__ = ()


class _Escaped:
    """A value as a template takes it; a format is of the value."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __format__(self, how: str) -> str:
        if isinstance(self.value, Markup):
            return str(self.value)
        return escape(for_terminal(format(self.value, how)), quote=True)


def markup(template: str, *values: object) -> Markup:
    """The template, which stands in the code, with these values for its braces."""
    return Markup(template.format(*map(_Escaped, values)))


def joined(parts: Iterable[Markup], between: str = "") -> Markup:
    """Raises TypeError where a part is not known to be HTML."""
    parts = list(parts)
    for part in parts:
        if not isinstance(part, Markup):
            raise TypeError(f"{part!r} is no Markup")
    return Markup(between.join(parts))
