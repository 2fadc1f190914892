"""What a file may cost: each limit is one line, said before the cost is paid."""

import time

import pytest

from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.litmus import lines as litmus_lines
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.text.toml import load_toml

HEAD = 'litmus = "x"\nabout = "x"\nparameters.k = { default = 0 }\n'
THREAD = '[[thread]]\nname = "A"\nsteps = ["store x 1", "load x a"]\n'


def variants(number, repeat):
    tables = "".join(f"v{i} = {{ k = {i} }}\n" for i in range(number))
    steps = f'[{{ repeat = {repeat}, as = "i", steps = ["store x{{k}} 1"] }}]'
    return f'{HEAD}[variants]\n{tables}[[thread]]\nname = "A"\nsteps = {steps}\n'


def outcomes(number):
    lines = ",\n".join(f'"x == {i} and a != {i}"' for i in range(number))
    return f"{HEAD}forbidden = [{lines}]\n{THREAD}"


def touching(pages, times=1):
    steps = ", ".join(f'{{ do = "touch", at = 4096, pages = {pages} }}' for _ in range(times))
    return (
        f'name = "x"\nabout = "x"\n[[setup]]\ndo = "mmap"\nat = 4096\npages = {pages}\n'
        f'[[thread]]\nname = "t"\nsteps = [{steps}]\n'
    )


def headers(number):
    return "\n".join("[" + ".".join(["a"] * 31) + f".k{i}]" for i in range(number))


COSTLY = {
    "1 000 variants": (lambda: Litmus.from_text(variants(1000, 4900)), "there are 1000 (at most 64 are right)"),
    "long variants": (lambda: Litmus.from_text(variants(60, 4900)).bind({}), "in all variants together"),
    "4 000 forbidden lines": (lambda: Litmus.from_text(outcomes(4000)).bind({}), "more than 256 outcomes"),
    "table headers": (lambda: load_toml(headers(14_000), "x.toml"), "more than 20000 dots in all"),
    "touched pages": (lambda: Scenario.from_text(touching(1 << 24), "x.toml").bind({}), "pages are touched and read"),
    "touched pages, in pieces": (
        lambda: Scenario.from_text(touching(1 << 20, 12), "x.toml").bind({}), "pages are touched and read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_what_costs_too_much_is_refused_in_time(name):
    make, says = COSTLY[name]
    began = time.process_time()
    with pytest.raises(ScenarioError, match=says.replace("(", r"\(").replace(")", r"\)")):
        make()
    assert time.process_time() - began < 8


def test_what_just_fits_is_taken():
    assert len(Litmus.from_text(variants(64, 10)).bind({}).codes) == 64
    assert len(Litmus.from_text(outcomes(256)).bind({}).codes["sc"].forbidden) == litmus_lines.MOST_OUTCOMES
    assert Scenario.from_text(touching(1 << 23), "x.toml").bind({}).threads
    assert load_toml(headers(600), "x.toml")


def test_every_scenario_that_ships_may_be_as_large_as_it_says():
    for name in Scenario.builtin_names():
        scenario = Scenario.load(name)
        largest = {
            p.name: p.maximum - p.maximum % p.multiple_of
            for p in scenario.parameters.values()
            if not isinstance(p.default, bool)
        }
        try:
            scenario.bind(largest)
        except UserError as error:  # not all parameters may be large at once
            assert "touched" not in str(error)
