"""The builds with sanitizers: what runs in them does something, and what they do not report is not taken for clean.

The builds themselves take minutes: .ci/run makes them, and the test marked `long`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

sanitize = pytest.importorskip("anonvma_rt.stress.sanitize.__main__", reason="anonvma_rt.stress needs an installation")
work = pytest.importorskip("anonvma_rt.stress.sanitize.work")

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = (Path(sanitize.__file__).resolve().parents[2] / "setup.py").is_file()
RACE = "==================\nWARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 8"


@pytest.mark.parametrize("part", work.PARTS)
def test_every_part_does_something_and_says_how_much(part, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["work", part, "--runs", "2"])
    assert work.main() == 0
    assert int(capsys.readouterr().out) > 0


def told(monkeypatch, capsys, arguments, ran):
    """What the command says if every run in the sanitizer's build ends as ran(arguments) says."""
    if not CHECKOUT:
        pytest.skip("this needs a checkout")
    monkeypatch.setattr(sanitize, "library", lambda name: f"/usr/lib/{name}")
    monkeypatch.setattr(sanitize, "build", lambda *_: (ROOT, ROOT))
    monkeypatch.setattr(sanitize, "run", lambda arguments, *_: ran(arguments))
    code = sanitize.main(arguments)
    return code, capsys.readouterr()


def fine(arguments):
    if arguments[0] != "--planted":
        return sanitize.Ran(0, "17", [], "")
    words = {name: words for s in sanitize.SANITIZERS.values() for name, words in s.planted.items()}[arguments[1]]
    return sanitize.Ran(66, "", [f"ERROR: {words.split('|')[0]}"], "")


@pytest.mark.parametrize("name", sanitize.SANITIZERS)
def test_all_is_well(monkeypatch, capsys, name):
    code, said = told(monkeypatch, capsys, [name], fine)
    assert code == 0 and said.err == "" and said.out.count("no report") == len(work.PARTS)
    assert said.out.count(" reported") == len(sanitize.SANITIZERS[name].planted)
    code, said = told(monkeypatch, capsys, [name, "--quiet"], fine)
    assert (code, said.out, said.err) == (0, "", ""), "the last line of .ci/run is pytest's"


@pytest.mark.parametrize(
    "wrong",
    [
        sanitize.Ran(0, "17", ["WARNING: ThreadSanitizer: data race"], RACE),
        sanitize.Ran(66, "17", [], ""),
        sanitize.Ran(0, "0", [], ""),
        sanitize.Ran(0, "", [], ""),
    ],
)
def test_a_report_an_exit_code_and_a_part_that_did_nothing_all_fail(monkeypatch, capsys, wrong):
    def ran(arguments):
        return wrong if arguments[0] == "proofs" else fine(arguments)

    code, said = told(monkeypatch, capsys, ["thread", "--quiet"], ran)
    assert code == 1 and "sanitize thread, proofs" in said.err and wrong.errors in said.err


@pytest.mark.parametrize(
    "blind",
    [sanitize.Ran(0, "7", [], ""), sanitize.Ran(66, "", ["runtime error: another"], ""), sanitize.Ran(1, "", [], "")],
)
def test_a_planted_mistake_that_goes_unseen_fails(monkeypatch, capsys, blind):
    def ran(arguments):
        return blind if arguments == ["--planted", "shift"] else fine(arguments)

    code, said = told(monkeypatch, capsys, ["address", "--quiet"], ran)
    assert code == 1 and "shift was not reported" in said.err


def test_reports_are_found_in_what_the_runtime_libraries_print():
    for text in (
        RACE,
        "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
        "==1==ERROR: LeakSanitizer: detected memory leaks",
        "x.c:3:9: runtime error: shift exponent 40 is too large",
        "AddressSanitizer: CHECK failed: sanitizer_posix.cpp:61",
        "FATAL: ThreadSanitizer: CHECK failed: tsan_rtl.cpp:1",
    ):
        assert sanitize.REPORT.search(text), text
    assert sanitize.REPORT.search("ThreadSanitizer is a tool") is None


def test_without_the_runtime_library_one_line_says_so(monkeypatch, capsys):
    if not CHECKOUT:
        pytest.skip("this needs a checkout")
    assert sanitize.library("libnosuchthing.so") is None
    monkeypatch.setattr(sanitize, "library", lambda name: None)
    assert sanitize.main(["address"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "gcc has no libasan.so" in said.err
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.undo()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert sanitize.library("libtsan.so") is None


@pytest.mark.parametrize("arguments", [["thread", "hunt"], ["memory"], ["thread", "--runs", "0"], []])
def test_bad_input(arguments):
    with pytest.raises(SystemExit) as ended:
        sanitize.main(arguments)
    assert ended.value.code == 2


@pytest.mark.long
@pytest.mark.parametrize("name", sanitize.SANITIZERS)
def test_the_builds_themselves(name):
    command = [sys.executable, "-m", "anonvma_rt.stress.sanitize", name, "--runs", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
