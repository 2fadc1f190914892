"""`show` in a terminal and as a report: what is told is what happened, whatever the terminal, whatever the names."""

import json
import re
from xml.etree import ElementTree

import pytest
from show_tools import HANDFUL, VIOLATING, found, hostile, hostile_reproducer, sequential

from anonvma_rt.cli import main
from anonvma_rt.engine.run.records import OPS, Pending
from anonvma_rt.execution.reproducer import replay
from anonvma_rt.lab.load import load
from anonvma_rt.show.dmesg import dmesg
from anonvma_rt.show.html import html_page
from anonvma_rt.show.perfetto import perfetto_events, write_perfetto
from anonvma_rt.show.story import counterpart, story_of
from anonvma_rt.show.svg import svg_picture
from anonvma_rt.show.terminal import GLYPHS, Style, show_text, style_for
from anonvma_rt.subjects.history import Event
from anonvma_rt.subjects.locks import Wait, locks_of
from anonvma_rt.subjects.stacks import Stacks, demangled

PLAIN = Style(False, GLYPHS)


def every_form(one):
    """All forms of a reproducer; each must name the violation."""
    story = story_of(one, stacks=True)
    other = counterpart(one)
    beside = story_of(one, other) if other else None
    text = show_text(story, 100, PLAIN)
    page = html_page(story, beside)
    report = dmesg(story)
    trace = perfetto_events(story)
    assert story.kind == one.kind
    picture = svg_picture(story)
    ElementTree.fromstring(picture)
    for form in (text, page, report, picture):
        assert one.kind in form
    assert any(event["name"] == one.kind for event in trace)
    if beside is not None:
        assert beside.kind is None, "the right algorithm is right under this schedule, too"
        assert story.first_difference(beside) is not None
    return story, text, page, report


@pytest.mark.parametrize(("scenario", "algorithm"), HANDFUL)
def test_a_violation_renders_in_all_forms_and_the_right_algorithm_beside_it_is_right(scenario, algorithm):
    every_form(found(scenario, algorithm))


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "algorithm"), VIOLATING)
def test_every_violation_of_the_zoo_renders_in_all_forms(scenario, algorithm):
    every_form(found(scenario, algorithm))


# ---- the terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 50, 80, 110, 200])
@pytest.mark.parametrize(("scenario", "algorithm"), [("lkml-2011", "unpatched"), ("philosophers", "right-handed")])
def test_no_line_is_wider_than_the_terminal(scenario, algorithm, width):
    text = show_text(story_of(found(scenario, algorithm)), width, PLAIN)
    assert max(map(len, text.splitlines())) <= width


def test_colour_changes_nothing_but_colour():
    story = story_of(found("lkml-2011", "unpatched"))
    coloured = show_text(story, 110, Style(True, GLYPHS))
    assert "\x1b[1;31m" in coloured
    stripped = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()]
    assert stripped == show_text(story, 110, PLAIN).splitlines()


def test_colour_only_for_a_terminal_that_wants_it(monkeypatch):
    class Terminal:
        encoding = "utf-8"

        def isatty(self):
            return True

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert style_for(Terminal()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not style_for(Terminal()).colour
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not style_for(Terminal()).colour
    with open("/dev/null", encoding="ascii") as file:
        assert style_for(file) == Style(False, ("|", "'", ":", "<", "-"))


def test_the_story_of_2011_shows_lists_entries_locks_and_the_missed_pte():
    text = show_text(story_of(found("lkml-2011", "unpatched")), 120, PLAIN)
    assert "list of anon_vma 1: A B" in text
    assert "STALE migration entry of page 9 (the missed one)" in text
    assert re.search(r"puts it at A\+8 ◀", text)
    assert re.search(r"locks: .*\d anon_vma 1", text)
    # While mremap moved the entry, the walker held the lock of the anon_vma and mremap the mmap_sem.
    number = dict((name, digit) for digit, name in re.findall(r"(\w) (mmap_sem of process 0|anon_vma 1)", text))
    assert set(number) == {"mmap_sem of process 0", "anon_vma 1"}
    (moved,) = (line for line in text.splitlines() if "puts it at A+8" in line)
    assert moved.count("│") >= 4


def test_show_is_a_verb_and_says_as_json_what_it_shows(tmp_path, capsys):
    path = str(found("lkml-2011", "unpatched").save(tmp_path / "one.json"))
    assert main(["show", path]) == 0
    assert "for ever" in capsys.readouterr().out
    assert main(["show", path, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "stale-migration-entry" and said["rows"]
    assert said["steps"] == found("lkml-2011", "unpatched").steps


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--algorithm", "moveto-tail"], "needs --html OUT"),
        (["--html", "/no/such/folder/a.html"], "/no/such/folder/a.html: cannot be written"),
        (["--perfetto", "/no/such/folder/a.json"], "/no/such/folder/a.json: cannot be written"),
        (["--html", "a.html", "--dmesg"], "--dmesg prints a report"),
        (["--html", "a.html", "--algorithm", "moveto-tale"], 'did you mean "moveto-tail"?'),
    ],
)
def test_bad_input_is_one_line(options, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(found("lkml-2011", "unpatched").save(tmp_path / "one.json"))
    assert main(["show", path, *options]) == 2
    told_to = capsys.readouterr()
    assert says in told_to.err and told_to.err.count("\n") == 1 and told_to.out == ""


def test_an_execution_that_is_too_long_for_a_page_is_refused():
    with pytest.raises(Exception, match="too many for a page"):
        html_page(story_of(sequential(16_384), scenes=False))


# ---- locks -----------------------------------------------------------------------------------------------------------


def point(step, task, what):
    return Event(step, task, what, False, 64, 0, 0)


def test_readers_share_and_a_failed_try_takes_nothing():
    events = [
        point(1, 0, "read-lock"),
        point(2, 1, "read-lock"),
        point(3, 2, "trylock"),
        point(4, 2, "read-trylock"),
        point(5, 0, "read-unlock"),
        point(6, 1, "read-unlock"),
        point(7, 2, "read-unlock"),
        point(8, 2, "trylock"),
        point(9, 0, "trylock"),
    ]
    found_locks = locks_of(events, [None, None, None], 9)
    holds = [(h.task, h.first, h.last, h.shared, h.given_back) for h in found_locks.holds]
    assert holds == [(0, 1, 5, True, True), (1, 2, 6, True, True), (2, 4, 7, True, True), (2, 8, 9, False, False)]
    assert found_locks.waits == [] and found_locks.flows == []


def test_who_waits_for_ever_is_told_from_what_it_stands_at():
    story = story_of(found("philosophers", "right-handed"))
    waits = story.locks.waits
    assert len(waits) == 3 and not any(one.ended for one in waits)
    assert {story.trace.lock(one.lock) for one in waits} == {"fork0", "fork1", "fork2"}
    assert locks_of([], [Pending("lock", 64, False)], 1).waits == [Wait(0, 64, 1, 1, False)]


@pytest.mark.parametrize(("scenario", "algorithm"), HANDFUL)
def test_no_two_tasks_hold_a_lock_that_one_of_them_has_alone(scenario, algorithm):
    story = story_of(found(scenario, algorithm))
    holds = story.locks.holds
    for i, one in enumerate(holds):
        for two in holds[i + 1 :]:
            if one.lock == two.lock and not (one.shared and two.shared):
                assert one.last <= two.first or two.last <= one.first
    for flow in story.locks.flows:
        assert flow.from_step < flow.to_step and flow.from_task != flow.to_task


# ---- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(Stacks().why_not is not None, reason=f"{Stacks().why_not}")
def test_the_report_has_both_stacks_as_they_were():
    text = dmesg(story_of(found("lkml-2011", "unpatched"), stacks=True))
    assert "BUG: anonvma_rt: stale-migration-entry in remove_migration_pte / move_ptes" in text
    for function, file in [
        ("remove_migration_pte", "mm/migrate.pyx"),
        ("move_to_new_page", "mm/migrate.pyx"),
        ("move_ptes", "mm/mremap.pyx"),
        ("move_vma", "mm/mremap.pyx"),
    ]:
        assert re.search(rf"  {function} at cython_src/anonvma_rt/{file}:\d+", text), function
    assert "3 locks held by mremap/0:" in text and "#0: mmap_sem of process 0, since step" in text
    assert all(line.startswith("[    0.000") for line in text.splitlines())


@pytest.mark.skipif(Stacks().why_not is not None, reason=f"{Stacks().why_not}")
def test_a_frame_stands_inside_the_function_that_it_names(request):
    sources = request.config.rootpath / "cython_src"
    story = story_of(found("lkml-2011", "unpatched"), stacks=True)
    stacks = Stacks()
    stacks.resolve(story.stacks)
    frames = {frame for stack in story.stacks for frame in stacks.of(stack)}
    assert len(frames) > 20
    for frame in frames:
        lines = (sources / frame.file).read_text().splitlines()
        heads = [line for line in lines[: frame.line] if re.match(r"(    )?cdef [^=]*\(", line)]
        name = frame.function.split(".")[-1]
        assert re.search(rf"\b{name}\(", heads[-1]), (frame, heads[-1])


def test_without_addr2line_the_report_says_so_and_what_the_tasks_did(monkeypatch):
    monkeypatch.setattr("anonvma_rt.subjects.stacks.shutil.which", lambda name: None)
    text = dmesg(story_of(found("lkml-2011", "unpatched"), stacks=True))
    assert "no call stack: addr2line is not there" in text and "in: looks at B+0" in text


def test_names_of_compiled_functions_are_read_back():
    assert demangled("__pyx_f_10anonvma_rt_2mm_6kernel_6Kernel_run") == ("anonvma_rt/mm/kernel", "Kernel.run")
    assert demangled("rt_protect") is None


def test_the_cause_of_a_deadlock_names_what_each_task_waits_for():
    why = story_of(found("philosophers", "right-handed")).why
    assert all(f'is at "lock fork{i}"' in why for i in range(3))


# ---- the picture -----------------------------------------------------------------------------------------------------


def test_the_picture_numbers_what_explains_the_violation(tmp_path, capsys):
    path = str(found("lkml-2011", "unpatched").save(tmp_path / "one.json"))
    assert main(["show", path, "--svg", str(tmp_path / "one.svg")]) == 0
    assert f"wrote {tmp_path / 'one.svg'}" in capsys.readouterr().out
    picture = (tmp_path / "one.svg").read_text()
    marks = re.findall(r">(\d+)\. step (\d+), (\w+): ([^<]*)<", picture)
    assert [int(number) for number, *_ in marks] == list(range(1, len(marks) + 1))
    said = [text for *_, text in marks]
    assert "puts a migration entry at B+0" in said and "puts it at A+8" in said and said[-1] == "looks at B+0: none"
    # What made the assertion fail is in the middle of a litmus test, not at its end.
    picture = svg_picture(story_of(found("order", "unpatched")))
    names = {name for text in re.findall(r"\d+\. step[^<]*: ([^<]*)<", picture) for name in text.split()}
    why = story_of(found("order", "unpatched")).why
    assert set(re.findall(r"at_\w+", why)) <= names


# ---- names that want to be more than names ---------------------------------------------------------------------------


CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def test_hostile_names_are_inert_in_every_form(tmp_path):
    story = hostile(story_of(found("lkml-2011", "unpatched"), stacks=True))
    page = html_page(story, story)
    forms = [
        show_text(story, 100, PLAIN),
        show_text(story, 100, PLAIN, full=True),
        dmesg(story),
        page,
        svg_picture(story),
    ]
    write_perfetto(story, tmp_path / "trace.json")
    for form in [*forms, (tmp_path / "trace.json").read_text()]:
        assert "alert(2)" in form
        assert not CONTROL.search(form)
    # The page's only elements of that kind are its own, and what looked like a mark of the template was left alone.
    assert page.count("<script") == 2 and page.count("</script") == 2 and "<img" not in page
    assert "@data@" in page
    ElementTree.fromstring(svg_picture(story))


def test_a_hostile_reproducer_is_inert_whatever_is_printed(tmp_path, capsys):
    path = str(hostile_reproducer(tmp_path / "hostile.json"))
    for verb in (["show"], ["show", "--dmesg"], ["show", "--full"], ["show", "--json"], ["replay"]):
        assert main([verb[0], path, *verb[1:]]) == 0
        assert not CONTROL.search(capsys.readouterr().out)


def test_every_operation_of_the_engine_is_one_that_locks_know_or_may_ignore():
    known = {"lock", "read-lock", "trylock", "read-trylock", "unlock", "read-unlock", "downgrade", "wait"}
    assert set(OPS) == known | {"start", "await", "take", "load", "store", "atomic", "note", "fence"}


def test_the_right_algorithm_is_the_one_usually_compared():
    assert counterpart(found("lkml-2011", "unpatched")).name == "moveto-tail"
    assert counterpart(found("order", "unpatched")).name == "patched"
    assert counterpart(found("lkml-2011", "unpatched"), "rmap-locks").name == "rmap-locks"
    assert load("order").expected("patched") == "none"


def test_a_told_execution_is_the_replayed_one():
    one = found("merge", "unpatched")
    assert story_of(one).trace.events == replay(one).trace.events


def test_a_kernel_that_has_no_list_at_first_is_not_taken_for_a_subject_of_a_few_values():
    story = story_of(found("fault-during-fork", "modern,vma_locks=racy"))
    assert not any(str(key).startswith("list:") for key in story.scenes.first)
    assert "at the beginning" in show_text(story, 110, Style(False, GLYPHS))
