"""pytest plugin: a scenario, a litmus test or a subject of your own as a test. It comes with anonvma_rt.

    @pytest.mark.anonvma(subject(Stack), algorithm="tagged")
    def test_the_stack_loses_nothing():
        pass

    def test_my_patch(anonvma):
        anonvma.check("merge", algorithm="unpatched,rule=mypatch:Mine")

A counterexample fails the test, shows its interleaving with a column per task and the command that makes it come again,
and stays in a folder (`--anonvma-dir`, by default .anonvma_rt) which the next run tries first. This file is a module of
its own, and imports nothing of anonvma_rt before a test needs it: pytest loads it in every project, built or not.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from anonvma_rt import HuntResult, Reproducer
    from anonvma_rt.execution.reproducer import Replayed
    from anonvma_rt.search.hunt_result import Hunted
    from anonvma_rt.subjects.history import Trace
    from anonvma_rt.subjects.protocols import Bound, Choice, Described
    from anonvma_rt.text.expected import Expected

__all__ = ["Anonvma"]

FOLDER = ".anonvma_rt"
USUAL_RUNS = 2000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("anonvma_rt", "race laboratory (anonvma_rt)")
    group.addoption("--anonvma-seed", type=int, default=0, metavar="N", help="seed of the hunts (default 0)")
    group.addoption(
        "--anonvma-runs",
        type=int,
        metavar="N",
        help=f"executions of a hunt (default {USUAL_RUNS}, or what the test says)",
    )
    group.addoption(
        "--anonvma-replay", metavar="FILE", help="no hunt: make the execution of this reproducer come again instead"
    )
    group.addoption(
        "--anonvma-dir", metavar="DIR", help=f"where counterexamples are kept and tried first (default {FOLDER})"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "anonvma(scenario, parameters=None, algorithm=None, strategy=None, runs=None, expect=None): hunts before the "
        "test runs, and fails it where the result is not as expected (anonvma_rt)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    marker = item.get_closest_marker("anonvma")
    if marker is not None:
        # Of the test's fixture if it has one, so that it can look at the result.
        checker = getattr(item, "funcargs", {}).get("anonvma") or Anonvma(item)
        checker.check(*marker.args, **marker.kwargs)


@pytest.fixture
def anonvma(request: pytest.FixtureRequest) -> "Anonvma":
    """Hunts for the test: `check(scenario, ...)`; `results` are those of the checks so far."""
    return Anonvma(request.node)


class Anonvma:
    """What the fixture `anonvma` is. results: the HuntResult of each hunt that check() made."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.results: list[HuntResult] = []
        option = item.config.getoption
        self.seed, self.runs = option("--anonvma-seed"), option("--anonvma-runs")
        self.replay_only = option("--anonvma-replay")
        folder = Path(option("--anonvma-dir") or FOLDER)
        name = re.sub(r"[^\w.-]+", "-", item.nodeid).strip("-")
        self.folder = (folder if folder.is_absolute() else item.config.rootpath / folder) / name

    def check(
        self,
        scenario: "Described | str",
        parameters: Mapping[str, str | int | bool] | None = None,
        algorithm: "Choice | str | Sequence[Choice | str] | None" = None,
        strategy: Any = None,
        runs: int | None = None,
        expect: "Expected | None" = None,
    ) -> "HuntResult | None":
        """Hunts `scenario` and fails the test where the result is not as expected; returns the HuntResult (None where
        --anonvma-replay takes its place).

        scenario: a name, a path, a Scenario, a Litmus, a subject(). algorithm: one, or a list; None for the usual ones.
        strategy: as for hunt(). runs: executions, unless --anonvma-runs says another number. expect: "none", the kind
        of violation that the hunt must find, or several of which it must find one; None for what the scenario says,
        "none" where it says nothing.
        Counterexamples that an earlier run left are tried first.
        """
        __tracebackhide__ = True
        from anonvma_rt import UserError, hunt
        from anonvma_rt.lab.load import bind
        from anonvma_rt.text.expected import read_expected

        try:
            program = bind(scenario, parameters)
            given = algorithm if isinstance(algorithm, (list, tuple)) else [algorithm]
            chosen = [program.choose(one) for one in (program.usual() if algorithm is None else given)]
            if expect is not None and chosen:
                read_expected(expect, program.make_subject(chosen[0]).kinds().values(), "expect", UserError)
            wanted = {one.name: expect or program.expected(one.name) or "none" for one in chosen}
            if self.replay_only:
                self._replay_only(program, chosen)
                return None
            self._try_known(program, chosen, wanted)
            count = self.runs or runs or USUAL_RUNS
            result = hunt(program.scenario, parameters, chosen, strategy, seed=self.seed, runs=count)
            self.results.append(result)
            for one in result.results:
                self._judge(one, wanted[one.algorithm], result)
        except UserError as error:
            pytest.fail(f"anonvma_rt: {error}", pytrace=False)
        return result

    def _judge(self, one: "Hunted", wanted: "Expected", result: "HuntResult") -> None:
        __tracebackhide__ = True
        from anonvma_rt.text.expected import as_expected, expected_text, still_expected

        if as_expected(wanted, one.violations):
            return
        wrong = next((each for each in one.kept if not still_expected(wanted, [each.kind])), None)
        if wrong is None:
            found = ", ".join(one.violations) or "none"
            pytest.fail(
                f"{result.scenario} under {one.algorithm}: {expected_text(wanted)} was expected, and {found} was found "
                f"in {one.executions} executions (strategy {result.strategy}, seed {result.seed})",
                pytrace=False,
            )
        from anonvma_rt.execution.folder import Folder

        kept = next((each for each in one.reproducers if each.index == wrong.index), None)
        saved = None if kept is None else Folder(self.folder).keep(kept)
        if kept is None or saved is None or saved.path is None:
            why = saved.why_not if saved else one.not_reproducible or "it did not come again"
            pytest.fail(f"{result.scenario} under {one.algorithm}: {wrong.kind}; {why}", pytrace=False)
        where = f"execution {wrong.index} of strategy {result.strategy} with seed {result.seed}"
        trace = one.trace if kept is one.reproducers[0] and one.trace is not None else _replayed(kept).trace
        self._fail(saved.path, kept, trace, where)

    def _try_known(self, program: "Bound", chosen: "Sequence[Choice]", wanted: "Mapping[str, Expected]") -> None:
        """Counterexamples of this test that are still there; those that are over, or of other code, are left alone."""
        __tracebackhide__ = True
        from anonvma_rt.execution.reproducer import ReproducerError
        from anonvma_rt.text.expected import still_expected

        for path in sorted(self.folder.glob("*.json")):
            try:
                known = _load(path, program, chosen)
                if not _is_of(known, program, chosen) or known.parameters != program.parameters:
                    continue
                replayed = _replayed(known)
            except ReproducerError:
                continue
            if replayed.reproduced and not still_expected(wanted[known.algorithm.name], [known.kind]):
                self._fail(path, known, replayed.trace, "known from an earlier run")

    def _replay_only(self, program: "Bound", chosen: "Sequence[Choice]") -> None:
        __tracebackhide__ = True
        from anonvma_rt import UserError

        try:
            known = _load(self.replay_only, program, chosen)
        except UserError as error:
            if "needs code of your own" in str(error):
                pytest.skip(f"--anonvma-replay: {error}")
            raise
        if not _is_of(known, program, chosen):
            pytest.skip(f"{self.replay_only} is of {known.scenario.name} under {known.algorithm.name}")
        replayed = _replayed(known)
        if replayed.kind is not None:
            where = f"reproduced {replayed.reproduced} of {replayed.times} times"
            self._fail(self.replay_only, known, replayed.trace, where)

    def _fail(self, path: str | Path, of: "Reproducer", trace: "Trace", where: str) -> NoReturn:
        """Ends the test with the history of a violation."""
        __tracebackhide__ = True
        from anonvma_rt.show.text import history

        path = Path(path)
        if path.is_relative_to(self.item.config.invocation_params.dir):
            path = path.relative_to(self.item.config.invocation_params.dir)
        lines = [
            f"{of.scenario.name} under {of.algorithm.name}: {trace.kind} ({where})",
            "",
            history(trace, 110),
            "",
            f'Reproduce it: pytest "{self.item.nodeid}" --anonvma-replay {path}',
        ]
        pytest.fail("\n".join(lines), pytrace=False)


def _is_of(known: "Reproducer", program: "Bound", chosen: "Sequence[Choice]") -> bool:
    return known.scenario.sha256 == program.scenario.sha256 and known.algorithm in chosen


def _load(path: str | Path, program: "Bound", chosen: "Sequence[Choice]") -> "Reproducer":
    """A file, which may name the code that this test itself brings."""
    from anonvma_rt import Reproducer

    rules = [getattr(one, "rule", None) for one in chosen]
    return Reproducer.load(path, [program.scenario, *(rule for rule in rules if rule is not None)])


def _replayed(reproducer: "Reproducer") -> "Replayed":
    from anonvma_rt import replay

    replayed = replay(reproducer)
    replayed.explorer.close()
    return replayed
