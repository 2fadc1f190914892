"""A machine with one process."""

import pytest

from anonvma_rt.kernel.machine import Machine


@pytest.fixture
def machine():
    return Machine("moveto-tail")


@pytest.fixture
def process(machine):
    return machine.process()
