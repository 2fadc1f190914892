"""Builds of compiled modules with other flags than the usual ones, each kept in a cache and made once.

What is in the cache is named after all that goes into it: the sources, the flags, the compiler, Cython and Python. It
is made beside its place and moved there as a whole, so that two who make it at once both find it whole.
"""

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anonvma_rt import get_cimport_path
from anonvma_rt.errors import UserError
from anonvma_rt.text.writing import cache_folder

__all__ = ["AUDIT_FLAGS", "Builder", "subjects"]

# The compiler's calls before each access, and that they are ours (engine/audit/access.pxd).
AUDIT_FLAGS = ("-fsanitize=thread", "-DANONVMA_RT_AUDIT")
COMMON = ("-O1", "-g1", "-pthread", "-U_FORTIFY_SOURCE")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LONGEST = 1800  # seconds that a build may take

# What the built-in subjects are made of; the rest of mm/lab and mm/hooks only looks on.
SUBJECTS = ("mm/*.pyx", "mm/lab/kernel.pyx", "mm/lab/syscall.pyx", "litmus/program.pyx")

SCRIPT = """
import json, sys
from setuptools import Extension, setup
from Cython.Build import cythonize
asked = json.load(sys.stdin)
extensions = [
    Extension(name, [source], extra_compile_args=asked["flags"], extra_link_args=["-pthread", "-fno-sanitize=all"])
    for name, source in asked["modules"].items()
]
directives = dict(boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False)
made = cythonize(extensions, include_path=[asked["include"]], build_dir="c", nthreads=asked["cores"], quiet=True,
                 emit_linenums=True, compiler_directives={"language_level": 3, "freethreading_compatible": True,
                 **directives})
setup(script_args=["-q", "build_ext", "--build-lib", "lib", "--build-temp", "temp", "--parallel", str(asked["cores"])],
      ext_modules=made)
"""


def subjects() -> dict[str, Path]:
    """The modules of the built-in subjects, and where their sources are. Raises UserError where there are none."""
    root = Path(get_cimport_path(), "anonvma_rt")
    found = sorted(path for pattern in SUBJECTS for path in root.glob(pattern))
    if not found:
        raise UserError(f"an audit needs the sources of the compiled half (*.pyx), and there are none below {root}")
    return {f"anonvma_rt.{path.relative_to(root).with_suffix('').as_posix().replace('/', '.')}": path for path in found}


@dataclass
class Builder:
    """flags: of the compiler, behind the common ones. say: called with a line before something is made. folder: the
    cache. include: where the .pxd files are."""

    flags: tuple[str, ...]
    say: Callable[[str], None] = lambda line: None
    folder: Path = field(default_factory=cache_folder)
    include: Path = field(default_factory=lambda: Path(get_cimport_path()))

    def plan(self, modules: Mapping[str, Path]) -> Path:
        """A plan for the overlay: a file that names the built file of each module, all of which are there then. Raises
        UserError, in one line, where something that is needed for a build is missing or the build fails."""
        files = self.files(modules)
        text = json.dumps({name: str(path) for name, path in files.items()}, indent=1, sort_keys=True)
        path = self.folder / f"plan-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        if not path.exists():
            self._place(path, text.encode())
        return path

    def files(self, modules: Mapping[str, Path]) -> dict[str, Path]:
        """The built file of each module."""
        common = self._common()
        files = {name: self._file(name, source, common) for name, source in modules.items()}
        missing = {name: source for name, source in modules.items() if not files[name].exists()}
        if missing:
            self._make(missing, files)
        return files

    def _common(self) -> bytes:
        """What goes into every module."""
        sha = hashlib.sha256()
        for path in sorted(self.include.rglob("*.pxd")):
            sha.update(path.relative_to(self.include).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        tools = [
            *COMMON,
            *self.flags,
            SCRIPT,
            sys.version,
            SUFFIX,
            _compiler(),
            _cython(),
        ]
        return sha.digest() + "\0".join(tools).encode()

    def _file(self, name: str, source: Path, common: bytes) -> Path:
        key = hashlib.sha256(common + name.encode() + b"\0" + source.read_bytes()).hexdigest()[:24]
        return self.folder / f"{name}-{key}{SUFFIX}"

    def _make(self, modules: Mapping[str, Path], files: Mapping[str, Path]) -> None:
        for needed in ("Cython", "setuptools"):
            if importlib.util.find_spec(needed) is None:
                raise UserError(f"an audit compiles, and {needed} is not installed: python -m pip install {needed}")
        number = f"{len(modules)} module{'s' if len(modules) > 1 else ''}"
        self.say(f"building {number} with {' '.join(self.flags)}, kept in {self.folder}")
        self._create_folder()
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="making-") as folder:
            asked = {
                "modules": {name: str(path) for name, path in modules.items()},
                "flags": [*COMMON, *self.flags],
                "include": str(self.include),
                "cores": min(len(os.sched_getaffinity(0)), len(modules)),
            }
            command = [sys.executable, "-c", SCRIPT]
            # The builder's own flags reach the linker as well, where a sanitizer's would bring its library.
            environment = {k: v for k, v in os.environ.items() if k not in ("CFLAGS", "LDFLAGS", "PYTHONPATH")}
            try:
                done = subprocess.run(
                    command, cwd=folder, env=environment, input=json.dumps(asked), capture_output=True, text=True,
                    timeout=LONGEST,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UserError(f"the build of {number} did not end in {LONGEST} seconds") from None
            if done.returncode:
                raise UserError(f"the build of {number} failed: {_reason(done.stdout + done.stderr)}")
            for name in modules:
                os.replace(
                    Path(folder, "lib", *name.split(".")).with_name(name.rpartition(".")[2] + SUFFIX), files[name]
                )

    def _create_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: no folder for builds can be made there: {error.strerror}") from None

    def _place(self, path: Path, data: bytes) -> None:
        self._create_folder()
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)


def _compiler() -> str:
    """Which compiler it is, for the names in the cache. Raises UserError where there is none."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(command[0]) is None:
        raise UserError(f"an audit compiles, and there is no compiler ({command[0]})")
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return " ".join(command) + done.stdout


def _cython() -> str:
    spec = importlib.util.find_spec("Cython")
    if spec is None:
        return ""
    from importlib.metadata import version

    return version("cython")


def _reason(output: str) -> str:
    """The line of a failed build that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line.lower() or ".pyx:" in line]
    return (wrong or lines or ["it said nothing"])[0 if wrong else -1]
