"""`list`: scenarios, litmus tests, algorithms, strategies, carriers, profiles and what a step may say, a line each, or
one of these; or of one scenario or program, what a hunt's SURW may put in order.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from anonvma_rt.cli import options as opt
from anonvma_rt.cli.ending import conclude
from anonvma_rt.errors import UserError
from anonvma_rt.execution.places import Places, places
from anonvma_rt.kernel.algorithm import ALIASES, BEHAVIOUR, CHOICES, PRESETS, Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.kernel.scenario_file import OPERATIONS, STEP_KEYS, Key
from anonvma_rt.kernel.scenario_file import VERBS as CALLS
from anonvma_rt.lab.explorers import HUNT_CARRIERS
from anonvma_rt.lab.strategies import STRATEGIES
from anonvma_rt.linux import table
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.storming.delays import DELAYS
from anonvma_rt.subjects.protocols import Described

# What is listed; `algorithms` is asked for together with what they are made of.
HEADINGS = (
    "scenarios", "litmus", "algorithms", "releases", "unknown", "fields", "strategies", "interesting", "verbs", "keys",
    "carriers", "profiles",
)  # fmt: skip
TOGETHER = {"algorithms": ("algorithms", "releases", "unknown", "fields")}
_scenario: Callable[[Any], Any] = opt.SCENARIO.read or str


def _what(names: Sequence[str]) -> Any:
    """A heading, or a scenario."""
    return names[0] if len(names) == 1 and names[0] in HEADINGS else _scenario(names)


OPTIONS = (
    replace(opt.SCENARIO, read=_what).but(
        help="whatever a hunt takes: what its tasks share and SURW may put in order; or one of the headings, as "
        "`algorithms`, which has the releases of Linux and what their rows do not know (default: all that is built in)"
    ),
    *opt.PROGRAM,
    opt.PARAMETER,
    opt.ALGORITHM.but(help="with SCENARIO, as for hunt; may be repeated"),
)


def run(options: argparse.Namespace) -> int:
    asked = options.scenario
    if asked is not None and not isinstance(asked, str):
        return _places(options, opt.the_scenario(options))
    if options.parameter or any(getattr(options, name) is not None for name in ("algorithm", *opt.OF_PROGRAMS)):
        raise UserError("-p, --algorithm and what is said of a program are about a SCENARIO: name one, or omit them")
    scenarios = [Scenario.load(name) for name in Scenario.builtin_names()]
    usual = PRESETS["unpatched"]
    aliases = {preset: [a for a, p in ALIASES.items() if p == preset] for preset in PRESETS}
    tests = [Litmus.load(name) for name in Litmus.builtin_names()]
    listing: dict[str, list[dict[str, Any]]] = {
        "scenarios": [
            {
                **_description(s),
                "zoo": s.zoo,
                "commit": s.commit,
                "year": s.year,
                "symptom": s.symptom,
            }
            for s in scenarios
        ],
        "litmus": [_description(test) for test in tests],
        "algorithms": [
            {"name": a.name, "about": a.about, "kernel": a.kernel, "aliases": aliases[a.name]} for a in PRESETS.values()
        ],
        "releases": [_release(release) for release in table.ROWS],
        "unknown": [{"name": one.span, "about": one.about} for one in table.UNKNOWN],
        "fields": [
            {"name": name, "about": " or ".join(CHOICES.get(name, ("false", "true"))), "default": getattr(usual, name)}
            for name in BEHAVIOUR
        ],
        "strategies": [{"name": name, "about": about} for name, (_, about) in STRATEGIES.items()],
        "interesting": [{"name": name, "about": about} for name, about in OPERATIONS.items()],
        "verbs": [{"name": verb, "about": ", ".join(map(_key, keys)) or "no keys"} for verb, keys in CALLS.items()],
        "keys": [{"name": name, "about": about} for name, about in STEP_KEYS.items()],
        "carriers": [{"name": name, "about": about} for name, about in HUNT_CARRIERS.items()],
        "profiles": [{"name": name, "about": known.about} for name, known in DELAYS.items()],
    }
    if asked is not None:
        listing = {heading: listing[heading] for heading in TOGETHER.get(asked, (asked,))}
    return conclude(options, lambda: listing, lambda: "\n".join(_lines(listing)))


def _release(release: str) -> dict[str, Any]:
    """A row: what it changed, and all its choices."""
    made = Algorithm.parse(f"linux-{release}")
    changes = [one for one in table.CHANGES if release == one.release or release in one.stable]
    said = ", ".join(f"{one.field}={str(one.value).lower()} ({one.commit})" for one in changes)
    return {
        "name": f"linux-{release}",
        "about": said or ("no change" if release != table.ROWS[0] else "the oldest"),
        "aliases": [made.name] if made.name != f"linux-{release}" else [],
        "released": table.RELEASES.get(release, ""),
        "changes": [asdict(one) for one in changes],
        "choices": {name: value for name, value in made.as_dict().items() if name != "name"},
        "unknown": [one.about for one in table.unknown_of(release)],
    }


def _lines(listing: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for heading, entries in listing.items():
        yield f"{heading}:"
        for entry in entries:
            known_as = f" [{', '.join(entry['aliases'])}]" if entry.get("aliases") else ""
            if "default" in entry:
                known_as = f" [{str(entry['default']).lower()} in unpatched]"
            yield f"  {entry['name']:27}{entry['about']}{known_as}"
            if entry.get("zoo"):
                yield f"    {entry['zoo']}: {entry['commit']} ({entry['year']}): {entry['symptom']}"
            for name, parameter in entry.get("parameters", {}).items():
                assignment = f"-p {name}={str(parameter['default']).lower()}"
                yield f"    {assignment:22}{parameter['about']}"


def _key(key: Key) -> str:
    """A key of a verb with its kind, or where it may be left out with what it is then."""
    if key.default is None:
        return f"{key.name} ({key.kind})"
    usual = key.default
    if key.kind in ("switch", "rights", "order"):
        usual = "true" if key.default else "false"
    return f"{key.name} ({key.kind}, optional)" if usual == -1 else f"{key.name} ({key.kind}, default {usual})"


def _description(described: Described) -> dict[str, Any]:
    return {
        "name": described.name,
        "about": described.about,
        "parameters": {p.name: {"default": p.default, "about": p.about} for p in described.parameters.values()},
        "expect": {name: described.expected(name) for name in described.algorithms()},
    }


def _places(options: argparse.Namespace, described: Described) -> int:
    found = places(described, options.parameter, options.algorithm)
    return conclude(
        options,
        lambda: {"scenario": described.name, "places": [one.as_dict() for one in found]},
        lambda: "\n".join(line for one in found for line in _lines_of(one, described)),
    )


def _lines_of(one: Places, described: Described) -> Iterator[str]:
    yield f"{described.name} under {one.algorithm}: what several tasks touch and one writes"
    width = max((len(known.name) for known in one.places), default=0)
    for known in one.places:
        how = f"--strategy surw:place={known.place}"
        if known.under is not None:
            how = f"left out: touched under {known.under} alone, which decides the order"
        yield f"  {known.name:{width}}  {how}{' (interesting)' if known.marked else ''}"
    if not one.places:
        yield "  nothing, so SURW has nothing to order"
    elif one.interesting:
        yield "Of these SURW orders what is interesting; a place in its stead where the strategy names it."
    elif all(known.under is not None for known in one.places):
        yield "SURW has nothing to order."
    else:
        yield "SURW draws one of these in each execution, or orders what the strategy names."
    if one.places and not isinstance(described, Scenario):
        yield "By name: --interesting NAME,..."


VERBS = {"list": opt.Verb(OPTIONS, run)}
