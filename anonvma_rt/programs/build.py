"""From C and C++ sources to a file that the lab can load: compiled with the compiler's calls, linked with a runtime.

Every object and every linked file is kept in the cache, named after all that went into it: the preprocessed source, the
flags and the compiler. A file is linked once for each place in memory that it is loaded at, since its addresses are
fixed. Nothing is compiled or loaded but what the user named.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from anonvma_rt.errors import UserError, quote
from anonvma_rt.programs.unseen import inline_assembly, warn_once
from anonvma_rt.text.writing import cache_folder

__all__ = ["PLACES", "Built", "Sources", "alone", "build", "compiler_of", "is_program", "library", "must_be_a_file"]

RUNTIME = Path(__file__).with_name("runtime")
CXX_SUFFIXES = (".cc", ".cpp", ".cxx", ".C")
SOURCES = (".c", *CXX_SUFFIXES)
OBJECTS = (".o",)
# The compiler's calls, without its library, and no memset behind their back; volatile accesses as calls of their own;
# frames that can be walked.
WATCHED = ("-fsanitize=thread", "-fno-builtin-memset")
CALLS = (*WATCHED, "-fPIC", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", "-pthread")
VOLATILE = {"gcc": ("--param", "tsan-distinguish-volatile=1"), "clang": ("-mllvm", "-tsan-distinguish-volatile")}
# Of the newer form of tables some addr2line takes the file's own name for that of a header.
USUAL = ("-O1", "-gdwarf-4")
OWN = ("-O3", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-builtin", "-fcf-protection=none")
LINK = ("-shared", "-nostartfiles", "-static-libgcc", "-Wl,-z,now,-z,norelro,-z,defs,-Bsymbolic", "-pthread")
SCRIPTS = (f"-Wl,-T,{RUNTIME / 'image.ld'}", f"-Wl,--version-script={RUNTIME / 'exports.map'}")
# The first address of a loaded program, and how far the next one is from it: all low bits of an address stay the same.
FIRST_PLACE, NEXT_PLACE, PLACES = 0x200000000000, 1 << 36, 64
# Names of the C library that are about threads or waiting, and those of them that only touch what they are given.
THREADS = re.compile(r"pthread_|sem_|thrd_|mtx_|cnd_|tss_|call_once$|sched_|futex|aio_|mq_|timer_|poll$|select$")
HARMLESS = re.compile(r"pthread_(mutex|cond|rwlock|barrier)?attr_|sched_get_priority_|sched_getcpu$")
# The library of mathematics writes to no memory, unless it is given where (frexp, modf, remquo, sincos, lgamma_r).
MATHEMATICS = "-lm"
# What the C library and that of C++ have that writes to no memory of the program's but a thread's own: it looks, it
# throws, or it comes down to what the runtime has.
WRITES_NOTHING = re.compile(
    r"_GLOBAL_OFFSET_TABLE_$|std(in|out|err)$|opt(arg|ind|err|opt)$|str(n?len|n?cmp|n?casecmp|r?chr|str|spn|cspn|pbrk)$|mem(cmp|chr)$|ato(i|l|ll|f)$|l?l?abs$"
    r"|pthread_\w*attr_|sched_get|get(pid|ppid|pagesize)$|sysconf$|is[a-z]+$|to(upper|lower)$|__ctype_b_loc$|f?abs[fl]?$"
    r"|(a?(sin|cos|tan)h?|atan2|exp(2|10|m1)?|log(2|10|1p|b)?|pow|sqrt|cbrt|hypot|floor|ceil|l?l?round|l?l?rint|nearbyint|trunc|fmod"
    r"|remainder|fdim|fmax|fmin|fma|ldexp|scalbl?n|copysign|erfc?|tgamma)[fl]?$"
    r"|_Unwind_|__gxx_personality|__cxa_|_ZT[IVS]|_ZSt\d+(__throw_|terminate)|_ZNSt6thread|_ZNSt18condition_variable"
    r"|_ZNS?t?\w*(exception|_error)\w*[CD]\dE|_ZNSt13__future_base|_ZSt15get_once|__once_|_ZSt11__once|__once_proxy|_ZSt15__once"
)
LONGEST = 600  # seconds that a compiler may take


@dataclass(frozen=True)
class Sources:
    """What the user named: files (sources and objects), flags of the compiler and of the linker."""

    files: tuple[str, ...]
    cflags: tuple[str, ...] = ()
    link: tuple[str, ...] = ()

    @property
    def cxx(self) -> bool:
        return any(file.endswith(CXX_SUFFIXES) for file in self.files)


@dataclass(frozen=True)
class Built:
    """Objects that are ready to be linked. key: the digest of all that went into them. told: whether every write to
    memory is told, because nothing else is called that is known to write, or not known."""

    objects: tuple[Path, ...]
    link: tuple[str, ...]
    key: str
    compiler: tuple[str, ...]
    told: bool = False

    def at(self, place: int) -> Path:
        """The file to load at that place, counted from 0 up to PLACES. Raises UserError."""
        path = cache_folder() / f"program-{self.key[:24]}-{place}.so"
        if not path.exists():
            address = FIRST_PLACE + place * NEXT_PLACE
            flags = [*LINK, f"-Wl,-Ttext-segment={address:#x}", *SCRIPTS]
            _make(
                [*self.compiler, *flags, *map(str, self.objects), *self.link],
                path,
                "the program does not link",
                _waits_here,
            )
        return path


def is_program(name: str) -> bool:
    """Whether a name on the command line is a program to compile.

    >>> is_program("queue.cc"), is_program("race.toml")
    (True, False)
    """
    return name.endswith((*SOURCES, *OBJECTS))


def build(sources: Sources, macros: Mapping[str, int | bool]) -> Built:
    """Compiles what has to be compiled. macros: -DNAME=value for each. Raises UserError, in one line, with what the
    compiler said first."""
    defined = [f"-D{name}={int(value)}" for name, value in macros.items()]
    objects = [_object(file, (*sources.cflags, *defined)) for file in sources.files]
    compiler = _command("CXX" if sources.cxx else "CC")
    if "-static" in sources.link:
        raise UserError("--link -static: the lab loads a program, so it is linked as a shared object: leave it out")
    link = (*(("-static-libstdc++",) if sources.cxx else ()), *sources.link)
    own = [_own(path) for path in sorted(RUNTIME.glob("*.c"))]
    told = set(sources.link) <= {MATHEMATICS} and _told(objects, own)
    objects += own
    sha = hashlib.sha256()
    scripts = [path.read_text() for path in (RUNTIME / "image.ld", RUNTIME / "exports.map")]
    # What was compiled here is named after its contents, and what the user compiled is not.
    given = [path.read_bytes() for path in objects if path.parent != cache_folder()]
    for content in given:
        sha.update(hashlib.sha256(content).digest())
    for part in (*(path.name for path in objects), *link, *LINK, *scripts, *compiler):
        sha.update(part.encode() + b"\0")
    built = Built(tuple(objects), link, sha.hexdigest(), compiler, told)
    _must_have_main(built)
    return built


def alone(sources: Sources, macros: Mapping[str, int | bool]) -> Path:
    """The program without the lab: without the compiler's calls, linked with the system's own threads. Raises
    UserError."""
    defined = [f"-D{name}={int(value)}" for name, value in macros.items()]
    include = f"-I{RUNTIME.parent / 'include'}"
    objects = []
    for file in sources.files:
        if file.endswith(OBJECTS):
            raise UserError(f"{Path(file).name} was compiled for the lab: a program alone is made of its sources")
        compiler = _command("CXX" if file.endswith(CXX_SUFFIXES) else "CC")
        objects.append(_compiled(Path(file), (*compiler, *USUAL, "-pthread", include, *sources.cflags, *defined)))
    compiler = _command("CXX" if sources.cxx else "CC")
    words = [*compiler, *map(str, objects), "-pthread", *sources.link]
    path = cache_folder() / f"alone-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:24]}"
    if not path.exists():
        _make(words, path, "the program does not link without the lab")
    return path


def must_be_a_file(name: str) -> None:
    """Raises UserError, which says what it is instead."""
    if Path(name).is_dir():
        raise UserError(f"{quote(name)} is a folder, and a program is made of files")
    if not Path(name).is_file():
        raise UserError(f"{quote(name)}: there is no such file")


def compiler_of(sources: Sources) -> str:
    """The first line of what the compiler says of itself."""
    return _version(_command("CXX" if sources.cxx else "CC")).partition("\n")[0]


def _object(file: str, flags: Sequence[str]) -> Path:
    path = Path(file)
    must_be_a_file(file)
    if file.endswith(OBJECTS):
        _must_have_calls(path)
        return path.resolve()
    cxx = file.endswith(CXX_SUFFIXES)
    compiler = _command("CXX" if cxx else "CC")
    kind = "clang" if "clang" in _version(compiler) else "gcc"
    own = [
        f"-I{RUNTIME.parent / 'include'}",
        "-DANONVMA_RT",
        *(("-include", str(RUNTIME / "before.hh")) if cxx else ()),
    ]
    return _compiled(path, (*compiler, *USUAL, *CALLS, *VOLATILE[kind], *own, *flags))


def library(file: str) -> Path:
    """A file in C as a library for this process: a specification. Raises UserError."""
    command = (*_command("CC"), *USUAL, "-fPIC", "-shared", "-Wl,-z,defs", f"-I{RUNTIME.parent / 'include'}")
    return _compiled(Path(file), command, "so")


def _own(path: Path) -> Path:
    """A file of the runtime, which is no part of the program: its accesses are not reported."""
    return _compiled(path, (*_command("CC"), *OWN))


def _compiled(path: Path, command: Sequence[str], kind: str = "o") -> Path:
    done = _run([*command, "-E", str(path)], f"{path.name} does not compile")
    sha = hashlib.sha256(_version(tuple(command[:1])).encode())
    for part in (*command[1:], path.name):
        sha.update(part.encode() + b"\0")
    sha.update(done.encode("utf-8", "surrogateescape"))
    if path.parent != RUNTIME and kind == "o":
        warn_once(inline_assembly(done, str(RUNTIME.parent)))
    made = cache_folder() / f"{path.stem}-{sha.hexdigest()[:24]}.{kind}"
    if not made.exists():
        _make([*command, *(("-c",) if kind == "o" else ()), str(path)], made, f"{path.name} does not compile")
    return made


def _make(command: Sequence[str], path: Path, what: str, check: Callable[[Path], None] = lambda made: None) -> None:
    """Makes a file beside its place, checks it and moves it there, so that two who make it at once both find it
    whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="making-", dir=path.parent)
    except OSError as error:
        raise UserError(f"{path.parent}: nothing can be built there: {error.strerror}") from None
    try:
        made = Path(folder, "made")
        _run([*command, "-o", str(made)], what)
        check(made)
        os.replace(made, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="surrogateescape", timeout=LONGEST, check=False
        )
    except FileNotFoundError:
        raise UserError(f"a program needs a compiler, and there is no {command[0]}: install gcc, or set CC") from None
    except OSError as error:
        raise UserError(f"the compiler {command[0]} does not run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{what}: the compiler did not end in {LONGEST} seconds") from None
    if done.returncode:
        raise UserError(f"{what}: {_reason(done.stderr)}")
    return done.stdout


def _reason(output: str) -> str:
    """The line that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [
        line for line in lines if "error:" in line or "undefined reference" in line or "multiple definition" in line
    ]
    line = (wrong or lines or ["the compiler said nothing"])[0]
    return line + (" (--link names libraries, as --link -lm)" if "undefined reference" in line else "")


def _command(variable: str) -> tuple[str, ...]:
    return tuple(shlex.split(os.environ.get(variable, ""))) or (("g++",) if variable == "CXX" else ("gcc",))


@cache
def _version(compiler: tuple[str, ...]) -> str:
    return _run([*compiler, "--version"], f"{compiler[0]} is no compiler that answers --version")


def _symbols(path: Path) -> dict[str, str]:
    """The names in an object, and what each is ("T": code, "U": not there)."""
    words = [line.split() for line in _run(["nm", str(path)], f"{path.name} is no object file").splitlines()]
    return {line[-1]: line[-2] for line in words if len(line) > 1}


def _told(objects: Sequence[Path], own: Sequence[Path]) -> bool:
    """Whether all that these objects call is in them, in the runtime, or writes nothing (WRITES_NOTHING)."""
    lines = [line.split() for line in _run(["nm", *map(str, objects)], "nm").splitlines()]
    wanted = {words[-1] for words in lines if len(words) == 2 and words[0] in "Uw"}
    lines += [line.split() for line in _run(["nm", *map(str, own)], "nm").splitlines()]
    there = {words[-1] for words in lines if len(words) == 3}
    return all(name in there or WRITES_NOTHING.match(name) for name in wanted)


def _waits_here(linked: Path) -> None:
    """Whatever of the C library waits, or begins a thread, is the lab's: what it does not have would wait for real."""
    names = {line.split()[-1].partition("@")[0] for line in _run(["nm", "-D", "-u", str(linked)], "nm").splitlines()}
    if missing := sorted(name for name in names if THREADS.match(name) and not HARMLESS.match(name)):
        raise UserError(f"the program calls {missing[0]}(), which the lab does not have")


def _must_have_calls(path: Path) -> None:
    if not any(name.startswith("__tsan_") for name in _symbols(path)):
        raise UserError(
            f"{path.name} was built without the compiler's calls, so nobody sees what it does: "
            "build it with -fsanitize=thread -fPIC"
        )


def _must_have_main(built: Built) -> None:
    if not any(_symbols(path).get("main") in ("T", "W") for path in built.objects if path.suffix == ".o"):
        raise UserError("the program has no main(), which is its first thread: name the file that has it, too")
