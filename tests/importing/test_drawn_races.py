"""Logs of several tasks, drawn: whatever is imported of them can be hunted under every kind of kernel."""

from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt import Machine, Scenario, UserError, hunt
from anonvma_rt.importing.importer import ImportOptions, import_scenario

PAGE, BASE = 4096, 1 << 30
ANON = "MAP_PRIVATE|MAP_ANONYMOUS"
ALGORITHMS = ["moveto-tail,free_root_first=false", "linux-4.14", "modern", "linux-host"]

rows = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(
            ["mmap", "munmap", "mprotect", "mremap", "grow", "fork", "clone", "exit", "move_pages", "move_pages"]
        ),
        st.integers(0, 12),
        st.integers(1, 4),
        st.integers(0, 12),
        st.booleans(),
    ),
    min_size=4,
    max_size=14,
)


def logged(drawn):
    """The text of a log in which tasks do this, with the results of a Machine. A call may be over only after the next
    one of another task has begun."""
    machine = Machine("modern")
    tasks = {7: machine.process()}
    lines, held = [], None
    next_pid = 8
    lines.append(f"7 mmap(NULL, {12 * PAGE}, PROT_READ|PROT_WRITE, {ANON}, -1, 0) = {BASE:#x}")
    tasks[7].mmap(12, BASE)
    for who, name, at, pages, to, switch in drawn:
        pid = list(tasks)[who % len(tasks)]
        process = tasks[pid]
        place, away, size = BASE + at * PAGE, BASE + to * PAGE, pages * PAGE
        rights = "PROT_READ|PROT_WRITE" if switch else "PROT_READ"
        if name == "exit" and len(tasks) == 1:
            continue
        if held and held[0] == pid:
            lines.append(held[1])
            held = None
        if name in ("fork", "clone"):
            shares = name == "clone"
            tasks[next_pid] = process if shares else process.fork()
            lines.append(f"{pid} clone(child_stack=0x1, flags={'CLONE_VM|' if shares else ''}SIGCHLD) = {next_pid}")
            next_pid += 1
        elif name == "exit":
            del tasks[pid]
            if process not in tasks.values():
                process.exit()
            lines.append(f"{pid} +++ exited with 0 +++")
        else:
            fixed = f"{ANON}|MAP_FIXED, -1, 0"
            text, call = {
                "mmap": (f"mmap({place:#x}, {size}, {rights}, {fixed})", (process.mmap, pages, place, switch)),
                "munmap": (f"munmap({place:#x}, {size})", (process.munmap, place, pages)),
                "mprotect": (f"mprotect({place:#x}, {size}, {rights})", (process.mprotect, place, pages, switch)),
                "mremap": (
                    f"mremap({place:#x}, {size}, {size}, MREMAP_MAYMOVE|MREMAP_FIXED, {away:#x})",
                    (process.mremap, place, pages, pages, away),
                ),
                "grow": (
                    f"mremap({place:#x}, {size}, {2 * size}, MREMAP_MAYMOVE)",
                    (process.mremap, place, pages, 2 * pages),
                ),
                "move_pages": (
                    f"move_pages(0, 1, [{place:#x}], [0], [0], MPOL_MF_MOVE)",
                    (process.move_pages, place),
                ),
            }[name]
            try:
                result = call[0](*call[1:])
                end = f" = {hex(result) if isinstance(result, int) else 0}"
            except OSError as error:
                end = f" = -1 {'EINVAL' if error.errno == 22 else 'EFAULT' if error.errno == 14 else 'ENOMEM'} (x)"
            if switch and held is None and len(tasks) > 1:
                lines.append(f"{pid} {text[:-1]} <unfinished ...>")
                held = pid, f"{pid} <... {text.partition('(')[0]} resumed>){end}"
            else:
                lines.append(f"{pid} {text}{end}")
    lines += [held[1]] if held else []
    return "\n".join(lines) + "\n"


def made(text, **how):
    """The scenario, or None where the log has nothing for it."""
    try:
        return Scenario.from_text(import_scenario(text, ImportOptions(**how)).text)
    except UserError as error:
        nothing = ("nothing", "no call from line", "no page is there")
        assert any(words in str(error) for words in nothing), error
        return None


@settings(max_examples=80, deadline=None)
@given(rows, st.sampled_from(["first", "all", "no"]), st.booleans(), st.one_of(st.none(), st.integers(1, 16)))
def test_whatever_is_imported_can_be_hunted(drawn, touch, migrate, begin):
    scenario = made(logged(drawn), touch=touch, migrate=migrate, race_from=begin, fold=bool(begin))
    if scenario is None:
        return
    for one in hunt(scenario, runs=30, algorithms=ALGORITHMS).results:
        assert not one.violations, (one.algorithm, one.violations)


@settings(max_examples=20, deadline=None)
@given(rows, st.integers(1, 3))
def test_the_last_calls_can_be_hunted(drawn, threads):
    scenario = made(logged(drawn), threads=threads)
    if scenario is not None:
        assert not any(one.violations for one in hunt(scenario, runs=30, algorithms=ALGORITHMS).results)
