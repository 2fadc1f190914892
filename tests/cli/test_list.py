"""`list SCENARIO`: what a hunt may put in order, by names and numbers that a hunt then takes."""

import json
import shutil
from pathlib import Path

import pytest

from anonvma_rt import hunt
from anonvma_rt.cli import main
from anonvma_rt.execution.places import Known, places
from anonvma_rt.litmus.litmus import Litmus

PROGRAMS = Path(__file__).parents[1] / "programs" / "sources"
SHARED = Litmus.of(
    "shared",
    {
        "A": ["lock m", "store guarded 1", "unlock m", "store free 1", "store own 1"],
        "B": ["lock m", "store guarded 2", "unlock m", "load free f"],
    },
)
GUARDED = Litmus.of("guarded", {"A": ["lock m", "store x 1", "unlock m"], "B": ["lock m", "load x r", "unlock m"]})
MARKED = Litmus.of("marked", {"A": ["!store x 1", "store y 1"], "B": ["!load x r", "load y s"]})
NONE = Litmus.of("none", {"A": ["store x 1"], "B": ["store y 1"]})


def known(litmus):
    (one,) = places(litmus)
    return one, {place.name: place for place in one.places}


def test_what_may_be_put_in_order_is_said_and_what_is_left_out_with_its_lock():
    one, named = known(SHARED)
    assert not one.interesting and named.keys() == {"m", "guarded", "free"}
    assert named["free"] == Known("free", named["free"].place, False, False, [1, 1], None)
    assert named["m"].acquired and named["m"].under is None and named["guarded"].under == "m"
    # Whatever a hunt draws is among those that are left.
    drawn = {one.drawn for one in hunt(SHARED, strategy="surw", runs=200, keep=100).results[0].kept}
    assert drawn <= {"m", "free"}
    one, named = known(MARKED)
    assert one.interesting and [place.marked for place in (named["x"], named["y"])] == [True, False]
    assert known(NONE)[0].places == []


@pytest.mark.parametrize(
    ("litmus", "says"),
    [
        (SHARED, ["left out: touched under m alone, which decides the order", "SURW draws one of these"]),
        (GUARDED, ["left out: touched under m alone", "SURW draws one of these"]),
        (MARKED, ["(interesting)", "Of these SURW orders what is interesting"]),
        (NONE, ["nothing, so SURW has nothing to order"]),
    ],
    ids=lambda value: value.name if isinstance(value, Litmus) else "",
)
def test_it_is_said_in_lines(litmus, says, tmp_path, capsys):
    (tmp_path / "it.toml").write_text(litmus.text)
    assert main(["list", str(tmp_path / "it.toml")]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in says), said
    assert ("--strategy surw:place=" in said) == (litmus is not NONE)


def test_each_algorithm_of_a_scenario_has_its_own(capsys):
    words = ["list", "lkml-2011", "-p", "pages=4", "--algorithm", "unpatched", "--algorithm", "moveto-tail"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scenario"] == "lkml-2011"
    assert [one["algorithm"] for one in told["places"]] == ["unpatched", "moveto-tail"]
    for one in told["places"]:
        assert one["interesting"] and {place["under"] for place in one["places"]} > {None}
    assert main(words) == 0
    assert "--interesting" not in capsys.readouterr().out, "there a kernel's operations have names"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")
def test_a_program_s_names_and_numbers_are_what_a_hunt_takes(tmp_path, capsys):
    source = str(PROGRAMS / "order.c")
    assert main(["list", source, "-p", "P=2", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["places"]
    assert [place["name"] for place in one["places"]] == ["ptl_dst", "ptl_src"]
    short = ["hunt", source, "-p", "P=2", "--runs", "50", "--json", "--out", str(tmp_path)]
    for place in one["places"]:
        for how in (["--interesting", place["name"]], ["--strategy", f"surw:place={place['place']}"]):
            assert main([*short, *how]) == 1
            (found,) = json.loads(capsys.readouterr().out)["results"]
            assert found["first"]["drawn"] in (place["name"], None)
    # A thread that is seldom begun makes it begin anew.
    assert main(["list", str(PROGRAMS / "rare.c")]) == 0
    assert "steps" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-p", "pages=2"], ["--algorithm", "unpatched"], ["--races", "point"], ["--leaks"]])
def test_what_is_said_of_nothing_is_refused(words, capsys):
    assert main(["list", *words]) == 2
    assert "are about a SCENARIO: name one, or omit them" in capsys.readouterr().err
