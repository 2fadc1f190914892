"""Builds the lab with a sanitizer, runs it, and makes sure that the build looks.

    python -m anonvma_rt.stress.sanitize thread             data races (gcc's ThreadSanitizer)
    python -m anonvma_rt.stress.sanitize address            memory errors, leaks and undefined behaviour
    python -m anonvma_rt.stress.sanitize thread --runs 200  longer; more of everything

It needs a checkout, gcc with the sanitizer's runtime library, Cython and setuptools. The build has a folder of its
own (build/sanitize/), so the usual one is left alone. Exit code 0: nothing reported but what was planted; 1: a report,
or a planted mistake that went unseen; 2: bad input. Where gcc has no such library one line says so; exit code 0.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from anonvma_rt.stress.sanitize.work import PARTS

COMMON = ["-O1", "-g1", "-fno-omit-frame-pointer"]
REPORT = re.compile(r"((WARNING: Thread|ERROR: Address|ERROR: Leak)Sanitizer|runtime error|Sanitizer: CHECK failed).*")
LONGEST = 600  # seconds that one part may take


@dataclass(frozen=True)
class Sanitizer:
    """flags: of the compiler; libraries: loaded before Python is; environment: of the runs; planted: which mistakes it
    must see, and a pattern of what its report says."""

    flags: tuple[str, ...]
    libraries: tuple[str, ...]
    environment: dict[str, str]
    planted: dict[str, str]


SANITIZERS = {
    "thread": Sanitizer(
        flags=("-fsanitize=thread",),
        libraries=("libtsan.so",),
        environment={"TSAN_OPTIONS": "exitcode=66:second_deadlock_stack=1"},
        planted={"plain_access": "data race", "racing_subject": "data race"},
    ),
    # CPython is built with -fwrapv, which would make an overflow of signed integers well defined.
    "address": Sanitizer(
        flags=("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-wrapv"),
        libraries=("libasan.so", "libubsan.so"),
        environment={
            # use_sigaltstack: it would free the stack of the lab's own fault handler at the end of a thread.
            "ASAN_OPTIONS": "exitcode=66:detect_leaks=1:use_sigaltstack=0",
            "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=66",
            "PYTHONMALLOC": "malloc",
        },
        planted={
            "use_after_free": "heap-use-after-free",
            # Whichever of the two sanitizers comes first.
            "overflow": "heap-buffer-overflow|insufficient space",
            "subject": "heap-buffer-overflow|insufficient space",
            "leak": "detected memory leaks",
            "shift": "shift exponent",
            "signed_overflow": "signed integer overflow",
        },
    ),
}

PLANT = """
from setuptools import Extension, setup
from Cython.Build import cythonize
import shlex, os
flags = ["-pthread", "-U_FORTIFY_SOURCE", *shlex.split(os.environ["CFLAGS"])]
extension = Extension("planted", [{source!r}], extra_compile_args=flags)
setup(script_args=["-q", "build_ext", "--build-lib", {folder!r}, "--build-temp", {folder!r} + "/temp"],
      ext_modules=cythonize([extension], include_path=[{include!r}], build_dir={folder!r} + "/c", language_level=3))
"""


def library(name: str) -> str | None:
    """The path of one of gcc's runtime libraries; None where it is not installed."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    if shutil.which(compiler) is None:
        return None
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    return os.path.realpath(found) if os.path.isabs(found) else None


def build(root: Path, name: str, sanitizer: Sanitizer) -> tuple[Path, Path]:
    """Makes what is not up to date; returns where the package and the planted mistakes are.

    setuptools does not see that flags changed, so a folder that was made with others is thrown away.
    """
    base = root / "build" / "sanitize" / name
    flags = " ".join([*COMMON, *sanitizer.flags])
    stamp = hashlib.sha256(f"{flags} {sys.version}".encode()).hexdigest()
    if not (base / "stamp").is_file() or (base / "stamp").read_text() != stamp:
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        (base / "stamp").write_text(stamp)
    environment = os.environ | {"CFLAGS": flags, "LDFLAGS": " ".join(sanitizer.flags)}
    run = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base), "--build-lib", str(base / "lib")]
    made = subprocess.run(run, cwd=root, env=environment, capture_output=True, text=True)
    plant = PLANT.format(
        source=str(root / "stress/sanitize/planted.pyx"),
        folder=str(base / "planted"),
        include=str(root / "cython_src"),
    )
    if made.returncode == 0:
        made = subprocess.run([sys.executable, "-c", plant], cwd=root, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"the build with {flags} failed:\n{made.stdout}{made.stderr}")
    return base / "lib", base / "planted"


@dataclass
class Ran:
    """One run in the sanitizer's build."""

    code: int
    output: str
    reports: list[str]
    errors: str


def run(arguments: list[str], folders: tuple[Path, Path], sanitizer: Sanitizer, libraries: list[str]) -> Ran:
    environment = os.environ | sanitizer.environment
    environment |= {"LD_PRELOAD": " ".join(libraries), "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-m", "anonvma_rt.stress.sanitize.work", *arguments]
    try:
        # Not from the root: what is in the current folder comes before PYTHONPATH.
        done = subprocess.run(
            command, cwd=folders[1], env=environment, capture_output=True, text=True, errors="replace", timeout=LONGEST
        )
    except subprocess.TimeoutExpired as late:
        return Ran(-1, "", [f"no end after {LONGEST} seconds"], str(late.stderr or ""))
    reports = [match.group(0) for match in REPORT.finditer(done.stderr)]
    return Ran(done.returncode, done.stdout.strip(), reports, done.stderr)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m anonvma_rt.stress.sanitize", description=__doc__.splitlines()[0])
    parser.add_argument("sanitizer", choices=SANITIZERS)
    parser.add_argument("--runs", type=int, default=10, help="how much of everything (default %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="say nothing when all is well")
    parser.add_argument("part", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all of them)")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.part if part not in PARTS]
    if unknown or options.runs < 1:
        parser.error(f"unknown part {unknown[0]}" if unknown else "--runs must be at least 1")
    root = Path(__file__).resolve().parents[2]
    if not (root / "setup.py").is_file():
        parser.error("this needs a checkout: the installed package has no sources to build")
    sanitizer = SANITIZERS[options.sanitizer]
    libraries = [library(name) for name in sanitizer.libraries]
    if not all(libraries):
        missing = [name for name, path in zip(sanitizer.libraries, libraries, strict=True) if path is None]
        print(f"sanitize {options.sanitizer}: skipped, gcc has no {' and no '.join(missing)} here", file=sys.stderr)
        return 0
    say = (lambda *_: None) if options.quiet else print
    began = perf_counter()
    folders = build(root, options.sanitizer, sanitizer)
    say(f"built in {perf_counter() - began:.0f} s: {folders[0]}")
    bad = 0
    for part in options.part or PARTS:
        began = perf_counter()
        ran = run([part, "--runs", str(options.runs)], folders, sanitizer, libraries)
        fine = ran.code == 0 and not ran.reports and ran.output.isdecimal() and int(ran.output) > 0
        say(f"{part:14} {'no report' if fine else 'FAILED':10} {ran.output:>8} made, {perf_counter() - began:.1f} s")
        if not fine:
            bad += 1
            print(f"sanitize {options.sanitizer}, {part}: exit code {ran.code}\n{ran.errors[-6000:]}", file=sys.stderr)
    for name, words in sanitizer.planted.items():
        ran = run(["--planted", name], folders, sanitizer, libraries)
        seen = ran.code != 0 and any(re.search(words, report) for report in ran.reports)
        say(f"{name:14} {'reported' if seen else 'NOT SEEN'}")
        if not seen:
            bad += 1
            print(f"sanitize {options.sanitizer}: {name} was not reported\n{ran.errors[-3000:]}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
