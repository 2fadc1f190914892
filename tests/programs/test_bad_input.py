"""What a newcomer gives by mistake: one line, which says what would be right, and exit code 2."""

import shutil
import subprocess

import pytest

from anonvma_rt import hunt, native
from anonvma_rt.cli import main

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")

GOOD = "#include <pthread.h>\nint main(void) { return 0; }\n"
MANY = """#include <pthread.h>
static void *run(void *p) { return p; }
int main(void) { pthread_t t; for (int i = 0; i < 300; i++) pthread_create(&t, 0, run, 0); return 0; }
"""


def run(capsys, *words):
    code = main(["hunt", *map(str, words), "--runs", "2"])
    return code, capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("int f(void) { return 0; }\n", [], "has no main()"),
        ("int main(void) { int x = ; }\n", [], "one.c:1:26: error: expected expression"),
        ("double sin(double); int main(int n, char **v) { return (int)sin(n); }\n", [], "--link -lm"),
        (GOOD, ["--cflags", "-funheard-of"], "-funheard-of"),
        (GOOD, ["--cflags", "'one"], "cannot be cut into words"),
        ("#include <unistd.h>\nint main(void) { return fork(); }\n", [], "calls fork()"),
        (GOOD, ["--link", "-static"], "leave it out"),
        (MANY, [], "it has more than 255 threads, which is the most"),
    ],
)
def test_a_program_that_is_none_is_one_line(tmp_path, capsys, text, flags, said):
    (tmp_path / "one.c").write_text(text)
    code, line = run(capsys, tmp_path / "one.c", *flags)
    assert code == 2 and said in line and "\n" not in line


def test_other_files_are_one_line(tmp_path, capsys):
    (tmp_path / "folder.c").mkdir()
    (tmp_path / "one.c").write_text(GOOD)
    subprocess.run(["gcc", "-c", tmp_path / "one.c", "-o", tmp_path / "plain.o"], check=True)
    (tmp_path / "text.o").write_text("hello\n")
    (tmp_path / "lib.so").write_text("")
    for how in ("dynamic", "static"):
        subprocess.run(["gcc", f"-{how}", tmp_path / "one.c", "-o", tmp_path / how], check=True)
    for name, said in (
        ("folder.c", "is a folder"),
        ("nowhere.c", "there is no such file"),
        ("plain.o", "without the compiler's calls"),
        ("text.o", "is no object file"),
        ("lib.so", "is linked already"),
        ("static", "is linked already"),
        ("dynamic", "is linked already"),
    ):
        code, line = run(capsys, tmp_path / name)
        assert code == 2 and said in line and "\n" not in line


def test_no_compiler_is_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "one.c").write_text(GOOD)
    for compiler, said in (("/nowhere/gcc", "there is no /nowhere/gcc"), ("false", "is no compiler")):
        monkeypatch.setenv("CC", compiler)
        code, line = run(capsys, tmp_path / "one.c")
        assert code == 2 and said in line and "\n" not in line


def test_a_flag_of_the_compiler_may_follow_with_a_space(tmp_path, capsys):
    (tmp_path / "one.c").write_text("#include <math.h>\nint main(int n, char **v) { return (int)sin(n - WORDS); }\n")
    assert run(capsys, tmp_path / "one.c", "--cflags", "-DWORDS=2", "--link", "-lm", "--args", "-x") == (0, "")


def test_inline_assembly_is_warned_about_once(tmp_path, capsys):
    text = 'int x; int main(void) { __asm__ volatile("pause"); __asm__ volatile("%s" : "+m"(x)); return 0; }\n'
    (tmp_path / "one.c").write_text(text % "incl %0")
    (tmp_path / "two.c").write_text(text % "")
    code, line = run(capsys, tmp_path / "one.c")
    assert code == 0 and "one.c:1: inline assembly" in line and "\n" not in line
    assert run(capsys, tmp_path / "one.c") == (0, "")
    assert run(capsys, tmp_path / "two.c") == (0, "")


def test_an_object_that_was_compiled_again_is_another_program(tmp_path, capsys):
    for value, code in (("0", 0), ("1", 1)):
        (tmp_path / "one.c").write_text(f"int x; int main(void) {{ x = {value}; return x; }}\n")
        subprocess.run(
            ["gcc", "-fPIC", "-fsanitize=thread", "-c", tmp_path / "one.c", "-o", tmp_path / "one.o"], check=True
        )
        assert run(capsys, tmp_path / "one.o", "--out", tmp_path / "kept")[0] == code


def test_a_macro_that_the_flags_define_is_a_parameter_with_that_value(tmp_path):
    (tmp_path / "one.c").write_text("#ifndef N\n#define N 3\n#endif\nint main(void) { return N - 1; }\n")
    assert native(tmp_path / "one.c", cflags=["-DN=4"]).parameters["N"].default == 4
    assert native(tmp_path / "one.c", cflags=["-D", "N=1"]).parameters["N"].default == 1
    assert "N" not in native(tmp_path / "one.c", cflags=["-DN=(1+1)"]).parameters
    (found,) = hunt(native(tmp_path / "one.c", cflags=["-DN=1"]), runs=5).results
    assert not found.violations
