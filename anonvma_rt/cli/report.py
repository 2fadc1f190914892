"""The results of the verbs in plain text, as the command line prints them."""

from collections.abc import Iterable, Mapping
from shlex import quote as quoted
from typing import Any

from anonvma_rt.auditing.audit import AuditResult
from anonvma_rt.errors import printable
from anonvma_rt.execution.budget import Budget
from anonvma_rt.execution.reproducer import Replayed, Reproducer
from anonvma_rt.execution.results import First
from anonvma_rt.kernel.scenario_file import USUAL_OPERATIONS
from anonvma_rt.search.hunt_result import Hunted, HuntResult
from anonvma_rt.search.second_carrier import Confirmed
from anonvma_rt.search.verify import Verdict, Verification
from anonvma_rt.show.text import history, how_to_replay, sentences
from anonvma_rt.shrinking.shrink import Shrunk, Size
from anonvma_rt.storming.storm_result import Stormed, StormResult
from anonvma_rt.subjects.protocols import SC
from anonvma_rt.text.expected import expected_text
from anonvma_rt.text.parameters import spelled

__all__ = ["audit_report", "hunt_report", "replay_report", "shrink_report", "storm_report", "verify_report"]


def hunt_report(result: HuntResult, width: int, table: bool = True) -> str:
    """The comparison of the algorithms; with `table`, the interleaving of the first violation found."""
    how = (
        f"strategy {result.strategy}{_ordered(result.interesting)}, seed {result.seed}, executions from {result.start}"
    )
    carriers = list(dict.fromkeys(one.carrier for one in result.results))
    lines = [
        *_heading(result, f"{how}, on {' and '.join(carriers)}" if carriers else how),
        *dict.fromkeys(f"on {one.carrier}: {one.because}" for one in result.results if one.because),
        "",
        f"  {'algorithm':26}{'executions':>11}  {'violations':32}{'P <= (95 %)':>12}  {'exec/s':>9}  expected",
    ]
    lines += [_row(one) for one in result.results]
    lines.append("")
    numbers = [line for one in result.results for line in (*_ending(one, result.budget), *_numbers(one))]
    numbers += [f"  {line}" for line in dict.fromkeys(line for one in result.results for line in one.warnings)]
    lines += [*numbers, ""] if numbers else []
    shown = next((one for one in result.results if one.first is not None), None)
    if shown is None or shown.first is None:
        lines.append(f"No violation in {sum(one.executions for one in result.results)} executions.")
        return "\n".join(lines)
    lines.append(f"The first violation of {shown.algorithm}, execution {shown.first.index}: {shown.first.kind}")
    if shown.trace is not None:
        lines += ["", history(shown.trace, width) if table else sentences(shown.trace.cause(), width), ""]
    if shown.first.drawn is not None:
        again = f"--strategy surw:place={shown.first.place}"
        lines.append(f"Put in order there: {shown.first.drawn} (in every execution: {again})")
    if shown.first.reproducer:
        path = shown.first.reproducer
        lines.append(how_to_replay(path, result.needs, shown.algorithm))
        lines.append(how_to_replay(path, result.needs, shown.algorithm, "Look at it", "show"))
    others = [line for one in result.results for line in _also_kept(one, shown.first)]
    return "\n".join([*lines, *(["", "Also kept:", *others] if others else [])])


def _also_kept(one: Hunted, told: First) -> list[str]:
    """A line for each kind of which more was kept than the violation that has been told."""
    lines = []
    for kind in dict.fromkeys(found.kind for found in one.kept):
        kept = [found for found in one.kept if found.kind == kind and found is not told]
        if kept:
            where = f": {kept[0].reproducer}" if kept[0].reproducer else ""
            more = f" (and {len(kept) - 1} more)" if len(kept) > 1 else ""
            lines.append(f"  {one.algorithm}: {kind}, execution {kept[0].index}{where}{more}")
    return lines


def audit_report(result: AuditResult, short: bool = False) -> str:
    """Each pair of accesses that nothing orders. short: one line where there is none."""
    done = sum(one.executions for one in result.results)
    pairs = sum(len(one.pairs) for one in result.results)
    how = f"strategy {result.strategy}, seed {result.seed}"
    if short and not pairs:
        return f"{result.scenario:26}{len(result.results):>4} algorithms {done:>9} executions  no report"
    lines = [*_heading(result, how), ""]
    for one in result.results:
        lines.append(f"{one.algorithm}: {_number(len(one.pairs), 'report')} in {one.executions} executions")
        for pair in one.pairs:
            lines += ["", f"  {pair.what}", f"    {pair.first}", f"    {pair.second}"]
            lines.append(f"    {pair.count} times; first in execution {pair.execution}: {_short(pair.schedule)}")
        if one.unkept:
            lines.append(f"  and {one.unkept} more, for which there was no place")
    lines.append("")
    if pairs:
        lines.append("No announcement orders the two accesses of a pair: a point before each, on one object, would.")
    return "\n".join(lines).rstrip("\n")


def _short(schedule: str) -> str:
    return schedule if len(schedule) <= 100 else f"{schedule[:97]}..."


def _number(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def _heading(result: Any, how: str) -> list[str]:
    """What was explored and how, and where allocations failed how many did."""
    parameters = spelled(result.parameters) or "no parameters"
    if getattr(result, "memory", SC) != SC:
        how += f", under {result.memory.upper()}"
    lines = [f"{result.scenario} ({parameters}), {how}" + (", INTERRUPTED" if result.interrupted else "")]
    if getattr(result, "fail_alloc", None):
        counts = ", ".join(f"{one.failed_allocations} of {one.algorithm}" for one in result.results)
        lines.append(f"allocations fail at rate {result.fail_alloc}: {counts}")
    return lines


def _ordered(interesting: Iterable[str]) -> str:
    """The operations that were named as interesting; nothing for the usual ones."""
    names = ", ".join(interesting)
    return f" (interesting: {names})" if names and names != ", ".join(USUAL_OPERATIONS) else ""


def _kinds(violations: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in violations.items())


def _verdict(one: Hunted | Verdict | Stormed) -> str:
    if one.as_expected:
        return "as expected"
    if isinstance(one, Hunted) and one.short_of is not None:
        return "NOT REACHED"
    return f"NOT AS EXPECTED: {expected_text(one.expected)}" if one.expected else "VIOLATED (no expectation stated)"


def _row(one: Hunted) -> str:
    return (
        f"  {one.algorithm:26} {one.executions:>10}  {_kinds(one.violations) or 'none':32}{one.upper_bound_95:>12.2e}  "
        f"{one.executions_per_second:>9.0f}  {_verdict(one)}"
    )


def _ending(one: Hunted, budget: Budget) -> list[str]:
    """What a time and a confidence have come to."""
    lines = []
    if one.ended == "seconds":
        again = f"--algorithm {quoted(one.algorithm)} --runs {one.executions}"
        lines.append(f"{budget.seconds:g} s were over after {one.executions} executions; the same ones again: {again}")
    if one.ended == "confidence":
        lines.append(f"no violation in {one.executions} executions: the probability is at most {budget.confidence:g}")
    elif one.short_of is not None:
        lines.append(
            f"a probability of at most {budget.confidence:g} was NOT reached: that takes {one.short_of} executions "
            "without a violation"
        )
    return [f"  {one.algorithm}: {line}" for line in lines]


def _numbers(one: Hunted) -> list[str]:
    """What the executions say about those that were not made, and what a second carrier said of the violations."""
    lines = []
    seen, proved = one.classes, one.pct_guarantee
    if seen is not None and seen.observed:
        some = f" in the first {seen.observed} executions" if seen.observed < one.executions else ""
        each = f"{seen.executions_per_class:.3g} executions per class"
        lines.append(
            f"saw {seen.distinct} classes of interleavings{some}, {each}; unseen ones have at most "
            f"{100 * seen.unseen_upper_95:.2g} % of the probability"
        )
    if proved is not None:
        lines.append(
            f"pct finds a bug of depth {proved.depth} in the first {proved.steps} of at most {proved.longest} steps "
            f"with probability >= {proved.probability:.1e}"
        )
    if one.not_reproducible is not None:
        lines.append(f"NOT REPRODUCIBLE: {one.not_reproducible}")
    elif one.confirmed is not None:
        lines += _confirmed(one, one.confirmed)
    return [f"  {one.algorithm}: {line}" for line in lines]


def _confirmed(one: Hunted, confirmed: Confirmed) -> list[str]:
    found, tried = sum(one.violations.values()), confirmed.tried
    if confirmed.why_not is not None:
        return [f"seen on {one.carrier}, and not confirmed on {confirmed.on}: {confirmed.why_not}"]
    lines = [f"{confirmed.confirmed} of {tried} violations confirmed on {confirmed.on}"] if found else []
    if tried < found:
        lines[0] += f"; {found} were found on {one.carrier}"
    lines += [
        f"THE LAB IS WRONG: execution {d.index} is {d.found} on fibers and {d.other} on {confirmed.on}"
        + (", after the same choices" if d.same_choices else ", after other choices")
        for d in confirmed.disagreements
    ]
    return lines


def _searched(result: Verification) -> str:
    if result.iterate:
        return f"every schedule with 0, 1, 2, ... {'preemptions' if result.delays is None else 'delays'}"
    return "every class of interleavings" if result.preemptions is result.delays is None else "every schedule"


def verify_report(result: Verification, width: int, table: bool = True) -> str:
    """The verdict on each algorithm; with `table`, the interleaving of the first counterexample."""
    lines = [*_heading(result, _searched(result)), ""]
    for one in result.results:
        kinds = one.not_reproducible or _kinds(one.violating_classes)
        blocked = f", {one.sleep_blocked} sleep-blocked" if one.sleep_blocked else ""
        unexpected = "" if one.as_expected else f"; {_verdict(one) if one.expected else 'no expectation stated'}"
        lines.append(f"  {one.algorithm:25} {one.verdict}{': ' + kinds if kinds else ''}{blocked}{unexpected}")
        if one.rests_on:
            lines.append(f"  {'':25} {one.rests_on}")
        if one.left_in:
            lines.append(f"  {'':25} the same command goes on with --checkpoint {printable(one.left_in)}")
        if one.verdict.startswith("VERIFIED"):
            lines.append(f"  {'':25} {one.announcements}")
        lines += [f"  {'':25} {said}" for said in (one.doubt, one.remark) if said]
    lines.append("")
    shown = next((one for one in result.results if one.trace is not None), None) if table else None
    if shown is not None and shown.trace is not None and shown.first is not None:
        lines += [f"A counterexample for {shown.algorithm}:", "", history(shown.trace, width), ""]
        if shown.first.reproducer:
            lines.append(how_to_replay(shown.first.reproducer, result.needs, shown.algorithm))
    return "\n".join(lines).rstrip()


def replay_report(reproducer: Reproducer, replayed: Replayed, width: int, full: bool) -> str:
    """How often it came again, why it happened, and the table."""
    lines = [
        f"{reproducer.scenario.name} under {reproducer.under(reproducer.algorithm.name)}, found by "
        f"{printable(reproducer.strategy)}{_ordered(reproducer.interesting)} with seed "
        f"{reproducer.seed} at execution {reproducer.index}" + _shrunk_from(reproducer),
        f"{replayed.kind or 'no violation'}: reproduced {replayed.reproduced} of {replayed.times} times, "
        f"{replayed.steps} steps, {replayed.switches} switches"
        + ("" if replayed.same_trace else "; the recorded events differ from those of the file"),
    ]
    why = replayed.trace.cause()
    if replayed.differs:
        lines.append(f"NOT REPRODUCIBLE: the same schedule does not make the same execution: {replayed.differs}")
    elif why:
        lines += ["", sentences(why, width)]
    return "\n".join([*lines, "", replayed.trace.table(width, full)])


def _shrunk_from(reproducer: Reproducer) -> str:
    was = reproducer.shrunk_from
    return f", shrunk from {was['steps']} steps and {was['switches']} switches" if was is not None else ""


def shrink_report(result: Shrunk, width: int) -> str:
    """What the execution was and what became of it, why it fails, and the table of what is left."""
    lines = [
        f"{result.scenario} under {result.algorithm}: {result.kind}" + (", INTERRUPTED" if result.interrupted else ""),
        "",
        f"  {'':8}{'switches':>9}{'steps':>9}   parameters",
        _size("before", result.before),
        _size("after", result.after),
        "",
        "With these parameters and fewer switches it does not happen: all such executions were tried."
        if result.fewest
        else "It may happen with fewer switches: not all such executions were tried.",
        f"{result.executions} executions were made. Replayed on threads, it came again {result.confirmed} of "
        f"{result.replays} times.",
        "",
        sentences(result.cause, width),
        "",
        result.trace.table(width),
    ]
    if result.reproducer:
        lines += ["", how_to_replay(str(result.reproducer), result.needs, result.algorithm)]
    return "\n".join(lines)


def _size(name: str, size: Size) -> str:
    return f"  {name:8}{size.switches:>9}{size.steps:>9}   {spelled(size.parameters) or 'none'}"


def storm_report(result: StormResult, width: int) -> str:
    """Rates by algorithm and profile, what became of the hits, and the interleaving of the first confirmed one."""
    recording = "" if result.recording else ", nothing recorded"
    lines = _heading(result, f"{result.tasks} tasks at once, seed {result.seed}{recording}")
    for one in result.results:
        lines += ["", *_storm_of_one(one, result.recording)]
    shown = next((one for one in result.results if one.trace is not None), None)
    if shown is not None and shown.trace is not None:
        found = shown.found[0]
        lines += ["", f"The first confirmed violation of {shown.algorithm}, under {found.profile}: {found.kind}", ""]
        lines.append(history(shown.trace, width))
    saved = [
        how_to_replay(found.reproducer, result.needs, one.algorithm)
        for one in result.results
        for found in one.found
        if found.reproducer
    ]
    lines += ["", *saved] if saved else []
    return "\n".join(lines)


def _storm_of_one(one: Stormed, recording: bool) -> list[str]:
    rate = one.executions / one.seconds if one.seconds else 0.0
    found = ", ".join(f"{n} {kind} ({n / one.seconds:.1f}/s)" for kind, n in one.violations.items())
    lines = [
        f"{one.algorithm}: {one.executions} executions, {rate:.0f}/s; "
        + (found or "no violation seen, which is no evidence: a storm proves nothing")
        + f"; {_verdict(one)}",
        f"  {'profile':22}{'executions':>11}{'exec/s':>9}{'violations':>12}{'per second':>12}   per execution (95 %)",
    ]
    for r in one.rates:
        if r.executions == 0:
            continue
        low, high = r.interval_95
        lines.append(
            f"  {r.profile:22}{r.executions:>11}{r.executions / max(r.seconds, 1e-9):>9.0f}{r.hits:>12}"
            f"{r.hits / max(r.seconds, 1e-9):>12.1f}   "
            + (f"{r.hits / r.executions:.2e} ({low:.1e} to {high:.1e})" if r.hits else f"unknown, up to {high:.1e}")
        )
    if one.hits and recording:
        lost = "".join(f", {n} {why}" for why, n in one.unconfirmed.items())
        share = f" ({100 * one.confirmed / one.recorded:.0f} %)" if one.recorded else ""
        lines.append(
            f"  recorded {one.recorded}: {one.confirmed} confirmed by a deterministic replay{share}"
            + (f", {one.repaired} of them after a repair of the order" if one.repaired else "")
            + lost
            + (f"; {one.not_recorded} without a log" if one.not_recorded else "")
        )
    return lines
