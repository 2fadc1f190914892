"""What SCTBench has, by its own list, and how each benchmark is built: files, flags and arguments of its own scripts.

Nothing is changed: where a suite's makefile expands its sources with m4, that is done here, too, in a folder of its
own. What cannot run is named, with the reason.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonvma_rt.errors import UserError

__all__ = ["benchmarks", "prepared"]

# What the study's own scripts set.
NUMTHREADS = "2"
M4 = ("m4", "-s", "-Ulen", "-Uindex")


@dataclass(frozen=True)
class Recipe:
    """files, includes, inputs (copied to where it runs): within the suite's folder. macros: the file with which m4
    expands the files, and the headers beside them."""

    files: tuple[str, ...]
    cflags: tuple[str, ...] = ()
    args: str = ""
    includes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    macros: str = ""
    link: tuple[str, ...] = ()


def _streamcluster(name: str) -> Recipe:
    folder = f"pkgs/kernels/{name}/src"
    files = (f"{folder}/streamcluster.cpp", f"{folder}/parsec_barrier.cpp")
    return Recipe(files, ("-DENABLE_THREADS",), f"2 5 1 10 10 5 none output.txt {NUMTHREADS}")


def _splash(folder: str, *names: str, args: str = "") -> Recipe:
    files = tuple(f"{folder}/{name}.C" for name in names)
    return Recipe(files, args=args, macros="null_macros/c.m4.null", link=("-lm",))


# Where a benchmark is not one file of its own name.
RECIPES = {
    "conc-bugs/pbzip2-0.9.4": Recipe(
        (
            "pbzip2-0.9.4/pbzip2-0.9.4/pbzip2.cpp",
            *(
                f"pbzip2-0.9.4/bzip2-1.0.6/{name}.c"
                for name in ("blocksort", "huffman", "crctable", "randtable", "compress", "decompress", "bzlib")
            ),
        ),
        ("-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64"),
        f"-k -f -p{NUMTHREADS} -1 -b1 test.tar",
        includes=("pbzip2-0.9.4/bzip2-1.0.6",),
        inputs=("pbzip2-0.9.4/test.tar",),
    ),
    "conc-bugs/stringbuffer-jdk1.4": Recipe(("stringbuffer-jdk1.4/main.cpp", "stringbuffer-jdk1.4/stringbuffer.cpp")),
    "parsec-2.0/streamcluster": _streamcluster("streamcluster"),
    "parsec-2.0/streamcluster2": _streamcluster("streamcluster2"),
    "parsec-2.0/streamcluster3": _streamcluster("streamcluster3"),
    "safestack/bug1": Recipe(("SafeStack.cpp",)),
    "splash2/barnes": _splash("apps/barnes", "code", "code_io", "load", "grav", "getparam", "util"),
    "splash2/lu": _splash("kernels/lu/non_contiguous_blocks", "lu", args="-p2 -n2 -b1"),
}
# What no single process with threads and memory alone can be, or is not built from its files alone.
LEFT_OUT = {
    "aget-bug2": "it downloads a file over a socket",
    "fft": "it cuts pointers down to 32 bits, and crashes so outside of the lab, too",
    "ferret": "it is built with a library of images and another of mathematics, by its suite's own configuration",
    "bug1": "it is a browser's JavaScript engine, built by the browser's own scripts",
    "bug2": "it is a JavaScript engine on a library of threads, built by their own scripts",
    "bug3": "it is a JavaScript engine on a library of threads, built by their own scripts",
    "bug4": "its library of threads is an archive, built by its own scripts",
    "bug5": "its library of threads is an archive, built by its own scripts",
    "bug6": "its library of threads is an archive, built by its own scripts",
}
# The study's second edition left them out, so the list has them as comments.
COMMENT = "#"


def benchmarks(root: Path) -> Iterator[dict[str, Any]]:
    """What stands in buggy.txt, and where its files are. Raises UserError where there is no such checkout."""
    folder = root.resolve() / "benchmarks"
    try:
        listed = (folder / "buggy.txt").read_text()
    except OSError:
        raise UserError(f"{root}: there is no benchmarks/buggy.txt: name a checkout of SCTBench") from None
    for line in listed.splitlines():
        words = line.lstrip(COMMENT).split()
        if len(words) != 4 or (line.startswith(COMMENT) and not line.lstrip(COMMENT).startswith("radbench")):
            continue
        suite, name, threads, steps = words
        recipe = RECIPES.get(f"{suite}/{name}")
        guesses = [(file,) for file in (f"{name}.c", f"{name}.cpp")] if recipe is None else [recipe.files]
        there = next((names for names in guesses if all((folder / suite / one).is_file() for one in names)), ())
        files = [str(folder / suite / file) for file in there]
        yield {
            "name": "safestack" if suite == "safestack" else name,
            "suite": suite,
            "threads": int(threads),
            "steps": int(steps),
            "folder": str(folder / suite),
            "key": f"{suite}/{name}",
            "files": files,
            "left_out": _why_not(name, recipe, files),
        }


def _why_not(name: str, recipe: Recipe | None, files: list[str]) -> str:
    if not files:
        return LEFT_OUT.get(name, "its files are not there")
    if recipe and recipe.macros and shutil.which(M4[0]) is None:
        return "its sources are macros for m4, which is not installed"
    return ""


def prepared(question: dict[str, Any], where: Path) -> dict[str, Any]:
    """What native() is given, for a program that runs in the folder `where`."""
    recipe = RECIPES.get(question["key"], Recipe(()))
    suite = Path(question["folder"])
    files = [Path(file) for file in question["files"]]
    for file in recipe.inputs:
        shutil.copy(suite / file, where)
    if recipe.macros:
        headers = sorted({header for file in files for header in file.parent.glob("*.H")})
        for file in [*files, *headers]:
            expanded = subprocess.run([*M4, suite / recipe.macros, file], capture_output=True, check=True).stdout
            (where / file.name).with_suffix({".C": ".c", ".H": ".h"}[file.suffix]).write_bytes(expanded)
        files = [(where / file.name).with_suffix(".c") for file in files]
    # A function that returns nothing where it should is no bug of its threads.
    cxx = any(file.suffix == ".cpp" for file in files)
    flags = ["-w", *(["-fpermissive"] if cxx else []), *(["-O0"] if cxx or recipe.macros else [])]
    return {
        "files": [str(file) for file in files],
        "cflags": [*flags, *recipe.cflags, *(f"-I{suite / folder}" for folder in recipe.includes)],
        "link": recipe.link,
        "args": recipe.args.split() or _arguments(question["files"][0]),
    }


def _arguments(file: str) -> list[str]:
    """What main is given: a benchmark's first lines may say it, for its scripts to fill in."""
    for line in Path(file).read_text(errors="replace").splitlines()[:3]:
        words = line.replace("//args:", "// args: ").split()
        if words[:2] == ["//", "args:"]:
            return [word.replace("{NUMTHREADS}", NUMTHREADS) for word in words[2:]]
    return []
