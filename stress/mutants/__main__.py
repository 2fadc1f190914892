"""Makes one mistake after the other in a copy of the engine, and runs the test that must see it.

    python -m anonvma_rt.stress.mutants                  all of them, one after the other
    python -m anonvma_rt.stress.mutants NAME ...         some of them
    python -m anonvma_rt.stress.mutants --list           what there is

It needs a checkout that is built in place, a C compiler, Cython and setuptools. The checkout itself is not touched. A
test that fails, crashes or does not come to its end within the time kills the mutant. Exit code 0: all were killed; 1:
one survived, or could not be made; 2: bad input.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from anonvma_rt.stress.mutants.table import Mutant, mistakes, read

COPIED = ("anonvma_rt", "cython_src", "stress", "tests", "setup.py", "pyproject.toml", "pytest_anonvma_rt.py")
PATIENCE = 60  # seconds that a test may take

BUILD = """
import setup
from setuptools import setup as build

build(
    script_args=["-q", "build_ext", "--inplace", "--force"],
    ext_modules=[one for one in setup.extensions() if one.name in {names!r}],
    cmdclass={{"build_ext": setup.build_ext}},
    packages=[],
    package_dir=setup.PACKAGES,
)
"""


class BadTable(Exception):
    """A mutant that cannot be made."""


def copy(root: Path, folder: Path) -> None:
    """What it takes to build and to test."""
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(root / name, folder / name)


def build(folder: Path, modules: Iterable[str]) -> None:
    names = {f"anonvma_rt.{module}" for module in modules}
    compiler = os.environ.get("CC") or ("ccache gcc" if shutil.which("ccache") else "gcc")
    environment = {**os.environ, "CC": compiler, "CFLAGS": os.environ.get("CFLAGS", "-O0")}
    run = [sys.executable, "-c", BUILD.format(names=names)]
    made = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise BadTable(f"it does not build:\n{made.stdout[-2000:]}{made.stderr[-2000:]}")


def passes(folder: Path, tests: Iterable[str], seconds: float | None = None) -> bool:
    """Whether tests pass in the copy; one that takes longer does not."""
    run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    test = subprocess.Popen(
        run, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return test.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        # Whatever the test has started goes with it.
        if test.poll() is None:
            os.killpg(test.pid, signal.SIGKILL)
            test.wait()


def killed(folder: Path, mutant: Mutant) -> bool:
    """Makes the mistake, runs the test, and takes the mistake back."""
    wrong = "; ".join(mistakes(folder, mutant))
    if wrong:
        raise BadTable(wrong)
    source = folder / mutant.file
    right = source.read_text()
    built = [path for name in mutant.modules for path in folder.glob(f"anonvma_rt/{name.replace('.', '/')}.*.so")]
    if len(built) != len(mutant.modules):
        raise BadTable(f"not all of {', '.join(mutant.modules)} are built")
    kept = {path: path.with_suffix(".kept") for path in built}
    for path, aside in kept.items():
        shutil.copy2(path, aside)
    try:
        source.write_text(right.replace(mutant.old, mutant.new))
        if mutant.modules:
            build(folder, mutant.modules)
        return not passes(folder, [mutant.test], PATIENCE)
    finally:
        source.write_text(right)
        for path, aside in kept.items():
            aside.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m anonvma_rt.stress.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a mutant (default: all of them)")
    parser.add_argument("--list", action="store_true", help="say what there is and end")
    options = parser.parse_args(arguments)
    mutants = read()
    unknown = [name for name in options.names if name not in mutants]
    if unknown:
        print(f"mutants: there is no {unknown[0]}; --list says what there is", file=sys.stderr)
        return 2
    chosen = [mutants[name] for name in options.names or mutants]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:36} {mutant.file.removeprefix('cython_src/')}\n    {mutant.why}\n    {mutant.test}")
        return 0
    root = Path(__file__).resolve().parents[2]
    if not (root / "setup.py").is_file() or not list((root / "anonvma_rt").rglob("*.so")):
        print("mutants: this needs a checkout that is built in place", file=sys.stderr)
        return 2
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        copy(root, folder)
        if not passes(folder, sorted({mutant.test for mutant in chosen})):
            print("mutants: their tests do not pass without them", file=sys.stderr)
            return 2
        for mutant in chosen:
            began = perf_counter()
            try:
                verdict = "killed" if killed(folder, mutant) else "SURVIVED"
            except BadTable as wrong:
                verdict = f"IS NONE: {wrong}"
            survived += verdict != "killed"
            print(f"{mutant.name:36} {perf_counter() - began:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} killed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
