"""Reading a campaign: TOML text to a Plan, which is a list of cells and the scenarios that they are about.

The file may come from anyone, so its product of cells is bounded before anything of it is made, every unknown key is an
error, and every scenario, parameter, algorithm and strategy is tried before the first execution.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import count, product
from math import prod
from pathlib import Path
from typing import Any

from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.execution.plan import LAST_INDEX
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.kernel.scenario_file import VIOLATION_KINDS
from anonvma_rt.lab.explorers import AUTO, HUNT_CARRIERS
from anonvma_rt.lab.load import load, names_of_all
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, make_strategy
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.own.subject import Embedded
from anonvma_rt.programs.subject import Native
from anonvma_rt.search.hunt import DEFAULT_RUNS
from anonvma_rt.stress.campaign.cell import LARGEST_RANGE, LONGEST_TIMEOUT, STOPS, Budget, Cell
from anonvma_rt.subjects.protocols import Bound, Described
from anonvma_rt.text.expected import read_expected
from anonvma_rt.text.files import read_text
from anonvma_rt.text.toml import as_table, check_keys, get_line, get_list, get_word, load_toml, shown

__all__ = ["CampaignError", "Plan", "read_campaign", "shipped", "text_of"]

Own = Embedded | Native

MOST_CELLS = 10_000
MOST_NAMES = 1000  # of one list, and groups of a file
DEFAULT_RANGE = 10_000
DEFAULT_TIMEOUT = 600.0
EXPECTATIONS = ("scenario", "anything", *VIOLATION_KINDS, "assertion")
_HEAD = ("campaign", "about")
_BUDGET = ("executions", "seconds", "stop", "range", "timeout", "carrier", "expect")
_AXES = ("scenarios", "parameters", "algorithms", "strategies", "seeds")
_SHIPPED = resources.files("anonvma_rt.stress.campaign") / "campaigns"


class CampaignError(UserError):
    """A campaign file that cannot be read, or says something it cannot say."""


@dataclass(frozen=True)
class Plan:
    """A campaign, read and checked. `asked`: the algorithms of the command line; texts: (source, text) by sha256."""

    name: str
    about: str
    source: str
    text: str
    asked: tuple[str, ...]
    cells: tuple[Cell, ...]
    texts: Mapping[str, tuple[str, str]]


def shipped() -> list[str]:
    """The names of the campaigns that come with the project.

    >>> "nightly" in shipped()
    True
    """
    return sorted(entry.name.removesuffix(".toml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".toml"))


def text_of(name_or_path: str) -> tuple[str, str]:
    """The text and the source of a shipped campaign by name, or of any by path: what contains a / or ends in .toml."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return read_text(name_or_path), name_or_path
    if name_or_path not in shipped():
        hint = nearest(name_or_path, shipped())
        raise CampaignError(f"unknown campaign {quote(name_or_path)}{hint}; a file's path ends in .toml")
    return (_SHIPPED / f"{name_or_path}.toml").read_text("utf-8"), f"{name_or_path}.toml"


def read_campaign(text: str, source: str, asked: tuple[str, ...] = (), own: Sequence[Own] = ()) -> Plan:
    """The plan of a campaign's text. asked: what `algorithms = "asked"` stands for. own: subjects of the user's own
    that the file may name. Raises UserError.

    >>> text = 'campaign = "c"\\n[[cells]]\\nscenarios = ["merge"]\\nalgorithms = ["unpatched"]\\nseeds = [0, 1]\\n'
    >>> [cell.seed for cell in read_campaign(text, "c.toml").cells]
    [0, 1]
    """
    top = load_toml(text, source)
    check_keys(top, (*_HEAD, *_BUDGET, "cells"), source)
    name = get_word(top, "campaign", source)
    tables = get_list(top, "cells", source)
    if not 0 < len(tables) <= MOST_NAMES:
        raise CampaignError(f"{source}: 1 to {MOST_NAMES} tables [[cells]] are needed, not {len(tables)}")
    usual = {key: top[key] for key in _BUDGET if key in top}
    folder = Path(source).parent
    groups = []
    for number, table in enumerate(tables, 1):
        where = f"{source}: cells {number}"
        groups.append(_Group(usual | as_table(table, where), where, folder, asked, own))
    total = sum(group.size for group in groups)
    if total > MOST_CELLS:
        few = shown(total) if total < 1 << 62 else "2**62 or more"
        raise CampaignError(f"{source}: {few} cells; the most is {MOST_CELLS}: make its lists shorter")
    cells: list[Cell] = []
    texts: dict[str, tuple[str, str]] = {}
    for group in groups:
        for scenario in group.scenarios:
            texts[scenario.sha256] = (scenario.source, scenario.text)
        cells += group.cells(len(cells))
    if asked and not any(group.takes_asked for group in groups):
        raise CampaignError(f'{source}: no group of cells has algorithms = "asked", so --algorithm changes nothing')
    return Plan(name, get_line(top, "about", source, " ").strip(), source, text, asked, tuple(cells), texts)


class _Group:
    """One [[cells]] table: the product of its lists.

    expect: what the scenarios say themselves ("scenario"), whatever comes ("anything"), or the same of all: "none", a
    kind of violation, or several of which any may come.
    """

    def __init__(
        self, table: dict[str, Any], where: str, folder: Path, asked: tuple[str, ...], own: Sequence[Own]
    ) -> None:
        check_keys(table, (*_AXES, *_BUDGET), where)
        self.where = where
        self.scenarios = list(_scenarios(table, where, folder, own))
        self.parameters = _parameters(table, where)
        self.takes_asked = table.get("algorithms") == "asked"
        self.algorithms = {s.name: _algorithms(table, where, s, asked) for s in self.scenarios}
        self.strategies = _strategies(table, where)
        self.seeds = _seeds(table, where)
        self.budget = _budget(table, where)
        self.expect = table.get("expect", "scenario")
        if self.expect not in ("scenario", "anything"):
            known = EXPECTATIONS if isinstance(self.expect, str) else EXPECTATIONS[2:]
            self.expect = read_expected(self.expect, known, f"{where}: expect", CampaignError)

    @property
    def size(self) -> int:
        each = prod(len(values) for values in self.parameters.values()) * len(self.strategies) * len(self.seeds)
        return each * sum(len(algorithms) for algorithms in self.algorithms.values())

    def cells(self, first: int) -> Iterator[Cell]:
        """first: the number of the first one."""
        numbers = count(first)
        for scenario in self.scenarios:
            for values in product(*self.parameters.values()):
                bound, algorithms = self._bind(scenario, dict(zip(self.parameters, values, strict=True)))
                for algorithm, strategy, seed in product(algorithms, self.strategies, self.seeds):
                    yield Cell(
                        number=next(numbers),
                        scenario=scenario.name,
                        sha256=scenario.sha256,
                        parameters=dict(bound.parameters),
                        algorithm=algorithm,
                        strategy=strategy or scenario.strategy or DEFAULT_STRATEGY,
                        seed=seed,
                        expected=bound.expected(algorithm) if self.expect == "scenario" else self.expect,
                        judged=self.expect != "anything",
                        **self.budget,
                    )

    def _bind(self, scenario: Described, values: dict[str, Any]) -> tuple[Bound, list[str]]:
        try:
            bound = scenario.bind(values)
            return bound, [bound.choose(algorithm).name for algorithm in self.algorithms[scenario.name]]
        except UserError as error:
            raise CampaignError(f"{self.where}: {error}") from None


def _scenarios(table: dict[str, Any], where: str, folder: Path, own: Sequence[Own]) -> Iterator[Described]:
    sets = {"all": names_of_all, "zoo": Scenario.builtin_names, "litmus": Litmus.builtin_names}
    given = table.get("scenarios")
    if isinstance(given, str) and given in sets:
        names = sets[given]()
    else:
        names = _names(table, "scenarios", where, f"a list of names, or one of {', '.join(map(quote, sets))}")
    for name in dict.fromkeys(names):
        is_path = "/" in name or name.endswith(".toml")
        try:
            yield load(str(folder / name) if is_path else name, own)
        except UserError as error:
            raise CampaignError(f"{where}: {error}") from None


def _parameters(table: dict[str, Any], where: str) -> dict[str, list[Any]]:
    given = as_table(table.get("parameters", {}), f"{where}: parameters")
    values = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    for name, choices in values.items():
        if not 0 < len(choices) <= MOST_NAMES:
            raise CampaignError(f"{where}: parameters: {quote(name)}: 1 to {MOST_NAMES} values, not {len(choices)}")
        for value in choices:
            if not isinstance(value, int | str):
                right = "an integer, true, false or an expression in quotes"
                raise CampaignError(f"{where}: parameters: {quote(name)}: must be {right}, not {shown(value)}")
    return values


def _algorithms(table: dict[str, Any], where: str, scenario: Described, asked: tuple[str, ...]) -> list[str]:
    given = table.get("algorithms", "expected")
    if given == "expected":
        return scenario.algorithms() or scenario.usual_algorithms()
    if given == "usual":
        return scenario.usual_algorithms()
    if given == "asked":
        if not asked:
            raise CampaignError(f"{where}: this campaign asks about an algorithm: name it with --algorithm")
        return list(asked)
    return _names(table, "algorithms", where, 'a list of names, or "expected", "usual" or "asked"')


def _strategies(table: dict[str, Any], where: str) -> list[str | None]:
    if "strategies" not in table:
        return [None]
    strategies = _names(table, "strategies", where, "a list of names")
    for strategy in strategies:
        try:
            make_strategy(strategy)
        except UserError as error:
            raise CampaignError(f"{where}: strategies: {error}") from None
    return list(strategies)


def _seeds(table: dict[str, Any], where: str) -> range | list[int]:
    given = table.get("seeds", [0])
    right = f"a list of seeds, or {{ from = 0, count = 20 }} of at most {MOST_CELLS}"
    if isinstance(given, dict):
        check_keys(given, ("from", "count"), f"{where}: seeds")
        first = _whole(given.get("from", 0), f"{where}: seeds: from", 0, LAST_INDEX - 1 - MOST_CELLS)
        return range(first, first + _whole(given.get("count"), f"{where}: seeds: count", 1, MOST_CELLS))
    if not isinstance(given, list) or not 0 < len(given) <= MOST_CELLS:
        raise CampaignError(f"{where}: seeds: must be {right}, not {shown(given)}")
    return [_whole(seed, f"{where}: seeds", 0, LAST_INDEX - 1) for seed in given]


def _budget(table: dict[str, Any], where: str) -> Budget:
    stop, bound = table.get("stop", "all"), None
    if isinstance(stop, dict):
        check_keys(stop, ("upper_bound",), f"{where}: stop")
        bound = _number(stop.get("upper_bound"), f"{where}: stop: upper_bound", 1e-12, 1.0)
        stop = "bound"
    elif stop not in ("all", "first"):
        right = '"all", "first" or { upper_bound = 1e-4 }'
        raise CampaignError(f"{where}: stop: must be {right}, not {shown(stop)}")
    assert stop in STOPS
    seconds = executions = None
    if "seconds" in table:
        seconds = _number(table["seconds"], f"{where}: seconds", 1e-3, 1e9)
    if "executions" in table:
        executions = _whole(table["executions"], f"{where}: executions", 1, LAST_INDEX)
    elif stop == "bound" and seconds is None:
        raise CampaignError(f"{where}: stop: a bound may never be reached: give executions or seconds as well")
    elif seconds is None:
        executions = DEFAULT_RUNS
    carrier = table.get("carrier", AUTO)
    if not isinstance(carrier, str) or carrier not in HUNT_CARRIERS:
        hint = nearest(carrier, HUNT_CARRIERS) if isinstance(carrier, str) else ""
        raise CampaignError(f"{where}: carrier: unknown carrier {shown(carrier)}{hint}")
    return {
        "executions": executions,
        "seconds": seconds,
        "range_size": _whole(table.get("range", DEFAULT_RANGE), f"{where}: range", 1, LARGEST_RANGE),
        "timeout": _number(table.get("timeout", DEFAULT_TIMEOUT), f"{where}: timeout", 1e-2, LONGEST_TIMEOUT),
        "stop": stop,
        "bound": bound,
        "carrier": carrier,
    }


def _names(table: dict[str, Any], key: str, where: str, right: str) -> list[str]:
    given = table.get(key)
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        what = f'the key "{key}" is missing' if key not in table else f"must be {right}, not {shown(given)}"
        raise CampaignError(f"{where}: {key}: {what}")
    if not 0 < len(given) <= MOST_NAMES:
        raise CampaignError(f"{where}: {key}: 1 to {MOST_NAMES} names, not {len(given)}")
    return given


def _whole(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        most = str(high) if high < 1 << 62 else "2**64 - 1"
        raise CampaignError(f"{where}: must be a whole number from {low} to {most}, not {shown(value)}")
    return value


def _number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise CampaignError(f"{where}: must be a number from {low:g} to {high:g}, not {shown(value)}")
    return float(value)
