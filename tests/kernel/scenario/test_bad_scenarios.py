"""A bad scenario ends in one line that tells what is right, whatever is wrong with it."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenario_tools import GOOD, edited, refused, steps_of

from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.kernel.scenario import Scenario


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lkml-2012", 'unknown scenario "lkml-2012" (did you mean "lkml-2011"?); a file\'s path ends in .toml'),
        ("", f'unknown scenario "" (choices: {", ".join(Scenario.builtin_names())[:60]}'),
        ("no/such.toml", "no/such.toml: cannot be read: No such file or directory"),
        ("such.toml", "such.toml: cannot be read: No such file or directory"),
        ("./", "./: cannot be read: Is a directory"),
        ("a\0/b", "a\\x00/b: cannot be read: embedded null byte"),
        ("a\n/b", "a\\n/b: cannot be read: No such file or directory"),
    ],
)
def test_a_scenario_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(name)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \xff", "not UTF-8 text (at byte 7)"),
        (b"#" * 80 + b"\n" + b"\n" * (1 << 20), "larger than 1 MiB, which is the most for a scenario"),
        ("\u00e9".encode() * (1 << 20), "larger than 1 MiB, which is the most for a scenario"),
        (b"", "thread: there are 0 threads (1 to 64 are right)"),
        (b"name = ", "line 1, at the end: Invalid value"),
        (b"\nname = 'x' y\n", "line 2, column 12: Expected newline or end of document after a statement"),
        (b"a = 1\na = 2\n", "line 2, column 6: Cannot overwrite a value"),
        (b"a = " + b"[" * 4000, "values are nested too deeply"),
        (b"a = [\n" * 1 + b"[\n" * 20000, "values are nested too deeply"),
        (b"a = " + b"{a=" * 1300, "values are nested too deeply"),
        (b"a = " + b"1" * 4200, "line 1: longer than 4096 characters"),
        (b"a" + b".a" * 33 + b" = 1", "line 1: more than 32 dots (no key is nested so deeply)"),
        (b"a" + b".a" * 32 + b" = 1", 'unknown key "a" (choices: name, about, zoo, commit, '),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(str(path))
    assert str(caught.value).startswith(f"{path}: {message}") and str(caught.value).isprintable()


MMAP = '{ do = "mmap", at = "a", pages = "pages" }'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # unknown keys, everywhere
        ("require", "requires", 'unknown key "requires" (did you mean "require"?)'),
        ("multiple_of", "multipleof", 'parameters.pages: unknown key "multipleof" (did you mean "multiple_of"?)'),
        ("otherwise", "otherwize", 'require 1: unknown key "otherwize" (did you mean "otherwise"?)'),
        ("from", "frm", 'setup step 3 (mremap): unknown key "frm" (did you mean "from"?)'),
        ('process = "child"\n', 'proces = "child"\n', 'thread 2: unknown key "proces" (did you mean "process"?)'),
        ('b = "a + half', 'c = "a + half', 'after step 1 (compare): unknown key "c" (choices: a, b, pages, do, '),
        (MMAP, '{ do = "mmap", at = 0, pages = 1, tag = 1 }', 'setup step 1 (mmap): unknown key "tag" (choices: at, '),
        # names of all kinds
        ('"mmap"', '"map"', 'setup step 1: unknown verb "map" (did you mean "mmap"?)'),
        ('process = "child"', 'process = "chidl"', 'thread 2: unknown process "chidl" (did you mean "child"?)'),
        ("tag = 9", 'process = "x"', 'setup step 2 (touch): unknown process "x" (choices: main, child)'),
        ("tag = 9", 'errno = "ENOMEN"', 'setup step 2 (touch): unknown errno "ENOMEN" (did you mean "ENOMEM"?)'),
        ("tag = 9", 'errno = "?"', 'setup step 2 (touch): unknown errno "?" (choices: EINVAL, EFAULT, ENOMEM, '),
        ('"linux-3.2"', "unpached", 'expect: unknown algorithm "unpached" (did you mean "unpatched"?)'),
        ("linux-3.2", "peeking,x=1", 'expect: algorithm "peeking,x=1": unknown field "x" (choices: ordering, '),
        ('"linux-3.2"', "linux-3.2", 'expect.linux-3: is a table (a name with a dot needs quotes: "linux-3.2")'),
        ("moveto-tail", "unpatched", 'expect.unpatched: the same algorithm is there twice (once as "unpatched")'),
        ('"none"', '"no"', 'expect.moveto-tail: unknown violation kind "no" (did you mean "none"?)'),
        ('"none"', '"stale"', 'expect.moveto-tail: unknown violation kind "stale" (choices: none, stale-migration-ent'),
        ('"noise"', '"mremap"', 'thread 2: there are two threads of the name "mremap" (names must differ)'),
        ('["main", "child"]', '["main", "main"]', 'processes: "main" is there twice (names must differ)'),
        ('["main", "child"]', "[]", "processes: there are 0 (1 to 64 are right)"),
        ('"round-trip"', '"../x"', 'name: "../x" is not a name (at most 40 letters, digits, dots, - and _)'),
        ("names.half", 'names."a b"', 'names: "a b" is not a name (letters, digits and _, at most 40)'),
        ("names.half", "names.PAGE", "names.PAGE: the name has a meaning already (choose another name)"),
        ("names.half", "names.align", "names.align: the name has a meaning already (choose another name)"),
        ("parameters.extra", "parameters.if", "parameters.if: the name has a meaning already (choose another name)"),
        ("names.half", "names.pages", "names.pages: there is a parameter of this name (choose another name)"),
        # what is missing
        ('name = "round-trip"\n', "", 'the key "name" is missing'),
        ('about = "half', "#", 'the key "about" is missing'),
        ('do = "mmap", ', "", 'setup step 1: the key "do" is missing (one of mmap, munmap, mprotect, brk, touch, read'),
        ('at = "a", ', "", 'setup step 1 (mmap): the key "at" is missing'),
        ("default = 4, ", "", 'parameters.pages: the key "default" is missing (an integer, true or false)'),
        ('that = "pages != 62", ', "", 'require 1: the key "that" is missing'),
        (', otherwise = "pages must not be 62"', "", 'require 1: the key "otherwise" is missing'),
        ('name = "mremap"\n', "", 'thread 1: the key "name" is missing'),
        ('steps = [{ do = "mremap"', 'steps = []\nx = [{ do = "mremap"', 'thread 1: unknown key "x" (choices: name, '),
        ('[{ do = "read", at = "a", pages = 1, when = "extra" }]', "[]", 'thread 2: thread "noise" has no steps (at l'),
        # types
        ('["main", "child"]', '"main"', 'processes: must be a list, not "main"'),
        ('["main", "child"]', '["main", 7]', "processes: must be a string, not 7"),
        ('["main", "child"]', '["main", ""]', 'processes: must be one line of 1 to 300 characters, not ""'),
        ("names.half", "expect.x", None),
        ('"pages // 2"', "1.5", "names.half: must be an integer, true, false or an expression in quotes, not a float"),
        ('"pages // 2"', "[1]", "names.half: must be an integer, true, false or an expression in quotes, not a list"),
        ('"pages // 2"', "{}", "names.half: must be an integer, true, false or an expression in quotes, not a table"),
        ('"pages // 2"', "1979-05-27", "names.half: must be an integer, true, false or an expression in quotes, not a"),
        ('about = "half', 'about = "two\\nlines', 'about: must be one line of 1 to 300 characters, not "two\\nlines'),
        ('"mmap"', "7", "setup step 1: do: must be a string, not 7"),
        (MMAP, "7", "setup step 1: must be a table, not 7"),
        ("tag = 9", "errno = 12", "setup step 2 (touch): errno: must be a string or a list of strings, not 12"),
        ("tag = 9", 'errno = ["", 7]', "setup step 2 (touch): errno: must be a string or a list of strings, not 7"),
        ("tag = 9", "errno = []", 'setup step 2 (touch): errno: the list is empty ("" is success)'),
        ("tag = 9", 'errno = ["", "EFALT"]', 'setup step 2 (touch): unknown errno "EFALT" (did you mean "EFAULT"?)'),
        ('"none"', "false", "expect.moveto-tail: must be a string or a list of strings, not false"),
        ("default = 4", 'default = "4"', 'parameters.pages: default: must be an integer, true or false, not "4"'),
        ("min = 2", "min = true", "parameters.pages: min: must be an integer, not true"),
        ("max = 64", "max = 9223372036854775807", "parameters.pages: max: must be an integer, not a number of 2**62 o"),
        ("default = false", "default = false, max = 1", "parameters.extra: max has no meaning for a parameter that is"),
        ("default = 4", "default = 3", "parameters.pages: default: 3 is not a multiple of 2 (2 and 4 are)"),
        ("multiple_of = 2", "multiple_of = 0", "parameters.pages: multiple_of: must be at least 1, not 0"),
        # values
        ('"pages // 2"', '"pagse // 2"', 'names.half: "pagse // 2": unknown name "pagse" (did you mean "pages"?)'),
        ('"pages // 2"', '"a // 2"', 'names.half: "a // 2": unknown name "a"'),
        ('when = "extra"', 'when = "pages"', 'thread "noise" step 1 (read): when: must be true or false, and "pages" '),
        ('that = "pages != 62"', "that = 1", "require 1: that: must be true or false, and 1 is a number"),
        ('at = "a"', 'at = "a - 2*GiB"', "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**39"),
        ('at = "a"', "at = 0x8000000000", "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**3"),
        ('at = "a"', "at = true", "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**39, not t"),
        ('to = "2*GiB"', "to = -1", "setup step 3 (mremap): to: must be an address in bytes, from 0 to below 2**39, n"),
        ('pages = "pages"', "pages = -1", "setup step 1 (mmap): pages: must be a length in pages, from 0 to 2**26, no"),
        ('pages = "pages"', "pages = 67108865", "setup step 1 (mmap): pages: must be a length in pages, from 0 to 2**"),
        ("tag = 9", "tag = -1", "setup step 2 (touch): tag: must be a content tag, from 0 to below 2**31, not -1"),
        ('to = "2*GiB"', "fail_after = -1", "setup step 3 (mremap): fail_after: must be a number, from 0 to below 2**"),
        ('to = "2*GiB"', 'fail = "tabel", fail_after = 1', 'setup step 3 (mremap): fail: unknown kind of allocation "'),
        ('to = "2*GiB"', 'fail = "table"', 'setup step 3 (mremap): the key "fail_after" is missing'),
        ('to = "2*GiB"', "maymove = 1", "setup step 3 (mremap): maymove: must be true or false, not 1"),
    ],
)
def test_a_bad_scenario_is_refused_in_one_line_that_tells_where(old: str, new: str, message: str | None) -> None:
    text = edited(old, new)
    if message is None:
        message = 'expect: unknown algorithm "x" (choices: '
        text = edited("[expect]\n", "", text)
        text = edited('"linux-3.2" = "stale-migration-entry"\nmoveto-tail = "none"\n', "", text)
    assert refused(text).startswith(message)


def test_a_message_never_repeats_a_long_or_deep_value() -> None:
    deep = "names.half" + ".a" * 31
    assert refused(edited("names.half", deep)) == (
        "names.half: must be an integer, true, false or an expression in quotes, not a table"
    )
    assert len(refused(edited('"mmap"', '"' + "m" * 3000 + '"'))) < 200


def test_threads_and_steps_are_bounded() -> None:
    thread = '[[thread]]\nname = "t{}"\nsteps = [{{ do = "read", at = 0, pages = 1 }}]\n'
    head = 'name = "x"\nabout = "x"\n'
    assert len(Scenario.from_text(head + "".join(map(thread.format, range(64)))).bind({}).threads) == 64
    assert refused(head + "".join(map(thread.format, range(65)))).startswith("thread: there are 65 threads (1 to 64 ")
    steps = '{ do = "read", at = 0, pages = 1 },\n'
    full = head + f"setup = [\n{steps * 9999}]\n" + thread.format(0)
    assert len(Scenario.from_text(full).bind({}).setup) == 9999
    assert refused(edited("setup = [", f"setup = [\n{steps}", full)) == "more than 10000 steps"


def test_a_scenario_whose_threads_are_all_left_out_is_refused() -> None:
    text = re.sub(
        r'name = "mremap"\nsteps = .*', 'name = "mremap"\nsteps = [{ do = "migrate", at = 0, when = false }]', GOOD
    )
    assert refused(text) == 'no thread has a step left (every "when" is false)'


TEXTS = [GOOD, *(Scenario.load(name).text for name in Scenario.builtin_names())]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good scenario after a few accidents: lines and pieces lost, doubled, moved, or overwritten."""
    text = draw(st.sampled_from(TEXTS))
    text = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    pieces = re.findall(r"\w+|\s+|.", text) if draw(st.booleans()) else text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        here, there = draw(st.integers(0, len(pieces) - 1)), draw(st.integers(0, len(pieces) - 1))
        match draw(st.sampled_from(["lose", "double", "swap", "replace", "insert"])):
            case "lose":
                pieces[here] = ""
            case "double":
                pieces[here] *= 2
            case "swap":
                pieces[here], pieces[there] = pieces[there], pieces[here]
            case "replace":
                pieces[here] = draw(
                    st.sampled_from(["-1", "true", "1.5", "[]", "{}", '"x"', "0", "1e9", '"', "99999999999"])
                )
            case "insert":
                pieces[here] += draw(st.text(max_size=3))
    return "".join(pieces)


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_a_damaged_scenario_is_never_anything_but_a_user_error(text: str) -> None:
    try:
        scenario = Scenario.from_text(text, "x.toml")
        program = scenario.bind({})
    except UserError as error:
        assert str(error).isprintable() and str(error).startswith("x.toml: ")
    else:
        assert all(isinstance(arg, int) for step in steps_of(program) for arg in step.args)
        assert len(scenario.sha256) == 64
