"""A good scenario, small variations of it, and how a bad one is refused."""

import pytest

from anonvma_rt.errors import UserError
from anonvma_rt.kernel.scenario import BoundScenario, Call, Scenario

GOOD = """\
name = "round-trip"
about = "half of an area goes out and comes back"
processes = ["main", "child"]
parameters.pages = { default = 4, min = 2, max = 64, multiple_of = 2, about = "pages of the area" }
parameters.extra = { default = false, about = "one more thread" }
require = [{ that = "pages != 62", otherwise = "pages must not be 62" }]
names.half = "pages // 2"
names.a = "1*GiB"
setup = [
    { do = "mmap", at = "a", pages = "pages" },
    { do = "touch", at = "a", pages = "pages", tag = 9 },
    { do = "mremap", from = "a", pages = "half", to = "2*GiB" },
]
[[thread]]
name = "mremap"
steps = [{ do = "mremap", from = "2*GiB", pages = "half", to = "a" }]
[[thread]]
name = "noise"
process = "child"
steps = [{ do = "read", at = "a", pages = 1, when = "extra" }]
[[after]]
do = "compare"
a = "a"
b = "a + half*PAGE"
pages = "half"
[expect]
"linux-3.2" = "stale-migration-entry"
moveto-tail = "none"
"""


def refused(text: str, **values: str | int | bool) -> str:
    """The one line with which a scenario text, or values for its parameters, are refused."""
    with pytest.raises(UserError) as caught:
        Scenario.from_text(text, source="x.toml").bind(values)
    message = str(caught.value)
    assert message.isprintable() and message.startswith("x.toml: ")
    return message.removeprefix("x.toml: ")


def edited(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def steps_of(program: BoundScenario) -> list[Call]:
    return [*program.setup, *(step for thread in program.threads for step in thread.calls), *program.after]
