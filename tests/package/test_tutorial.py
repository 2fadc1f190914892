"""The tutorial: every command in it works, in the order in which it stands there, and does what the text says."""

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from show_tools import found

from anonvma_rt.show.story import story_of
from anonvma_rt.show.svg import svg_picture

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


@pytest.fixture(scope="module")
def tutorial(pytestconfig):
    return (pytestconfig.rootpath / "docs" / "tutorial.md").read_text()


@pytest.fixture(scope="module")
def outputs(tutorial, pytestconfig, tmp_path_factory):
    """What each block printed. They share a folder, as they do for whoever follows the lessons."""
    where = tmp_path_factory.mktemp("tutorial")
    environment = {**os.environ, "PYTHONPATH": str(pytestconfig.rootpath), "NO_COLOR": "1"}
    shim = f'set -euo pipefail; anonvma-rt() {{ "{sys.executable}" -m anonvma_rt "$@"; }}\n'
    said = {}
    for block in BLOCK.findall(tutorial):
        done = subprocess.run(
            ["bash", "-c", shim + block], cwd=where, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert done.stderr == ""
        said[block] = done.stdout
    return said


def said_of(outputs, *words):
    """The output of the one block that has all these words."""
    (text,) = [text for block, text in outputs.items() if all(word in block for word in words)]
    return text


def test_there_are_five_lessons_each_with_an_exercise_and_its_solution(tutorial):
    lessons = re.split(r"^## ", tutorial, flags=re.M)[1:]
    assert [lesson[0] for lesson in lessons] == list("12345")
    for lesson in lessons:
        assert "**Exercise.**" in lesson and "**Solution.**" in lesson and BLOCK.search(lesson)


def test_every_command_works(outputs):
    assert len(outputs) >= 12


def violations(text, algorithm):
    (count,) = re.findall(rf"^  {algorithm} +\d+  (\d+) stale", text, re.M)
    return int(count)


def test_lesson_1_fewer_pages_make_it_more_frequent_and_surw_finds_it_most_often(outputs):
    usual = violations(said_of(outputs, "hunt --out found"), "unpatched")
    blocks = re.split(r"(?=^lkml-2011 \()", said_of(outputs, "--strategy sticky"), flags=re.M)[1:]
    small, sticky, surw = (violations(block, "unpatched") for block in blocks)
    assert small > usual
    assert surw > max(usual, sticky)


def test_lesson_2_the_report_says_what_the_solution_says(outputs):
    text = said_of(outputs, "--dmesg")
    moved = text[text.index("held by mremap") :]
    assert [name in moved for name in ("mmap_sem", "ptl 0x40000000", "ptl 0x40800000")] == [True] * 3
    looked = text[text.index("held by migrate") : text.index("write to pte")]
    assert [name in looked for name in ("page 9", "page 34", "anon_vma 1", "ptl")] == [True] * 4


def test_lessons_4_and_5_end_as_they_say(outputs):
    assert "deadlock: reproduced 1 of 1 times" in said_of(outputs, "by-hand.json")
    proof = said_of(outputs, "verify walk.toml")
    assert proof.count("VERIFIED") == 2 and proof.count("VIOLATED") == 2
    seats = said_of(outputs, "seats=4")
    assert re.search(r"right-handed +VIOLATED .*: 1 deadlock", seats)
    assert re.search(r"one-left-handed +VERIFIED under SC \(complete", seats)


def test_the_picture_in_the_docs_was_made_by_the_tool(pytestconfig):
    """Of the same violation; to make it anew: anonvma-rt show FILE --svg docs/lkml-2011.svg."""
    picture = ElementTree.parse(pytestconfig.rootpath / "docs" / "lkml-2011.svg").getroot()
    made = ElementTree.fromstring(svg_picture(story_of(found("lkml-2011", "unpatched"))))
    assert [part.text for part in picture[:2]] == [part.text for part in made[:2]]
    assert "docs/lkml-2011.svg" in (pytestconfig.rootpath / "README.md").read_text()
