"""Failing executions to shrink, and what is true of every result."""

from first_found import first_found

from anonvma_rt import replay


def failing(folder, scenario, parameters=None, algorithm="unpatched", strategy="sticky", seed=0):
    """The file of the first failing execution of a hunt."""
    return first_found(folder, scenario, parameters, algorithm, strategy, seed)


def assert_smaller(result):
    """What is true of every result."""
    before, after = result.before, result.after
    assert after.switches <= before.switches
    for name, value in after.parameters.items():
        assert value == before.parameters[name] or isinstance(value, bool) or value < before.parameters[name]
    if after.parameters == before.parameters:
        assert (after.switches, after.steps) <= (before.switches, before.steps)
    assert result.minimal.kind == result.kind
    assert (result.minimal.steps, result.minimal.switches) == (after.steps, after.switches)
    again = replay(result.minimal, times=100)
    again.explorer.close()
    assert (again.reproduced, again.kind, again.same_trace) == (100, result.kind, True)
    assert result.confirmed == result.replays == 10
