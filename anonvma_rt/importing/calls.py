"""The table of the calls about memory: what each of them is in the lab, or why it cannot be said.

A call that the lab learns is one more function and one more row of TABLE; a flag that it learns, one row of FLAGS less.
"""

import re

from anonvma_rt.importing.logged import MAP, MREMAP, PROT, Logged, page_down, page_up, read_flags, read_number
from anonvma_rt.importing.meaning import Meaning, Table
from anonvma_rt.importing.space import FREE, NO_RIGHTS, OTHER, SAID, Area, Space
from anonvma_rt.importing.strace import EXITED
from anonvma_rt.text.expression import PAGE

__all__ = ["TABLE"]

UNREADABLE = "its arguments cannot be read as numbers and flags"
NOT_PRIVATE = "shared memory is not in the lab: its pages have no anon_vma"
A_FILE = "a mapping of a file: only anonymous memory is in the lab"
RESERVED = "it reserves much and gives nobody a right to it: what gets one is mapped then"
MOST_RESERVED = 1 << 32  # bytes
# What a mapping must not have, in the order in which it is told.
FLAGS = (
    ("MAP_HUGETLB", "hugetlb pages are not in the lab"),
    ("MAP_LOCKED", "locked memory is not in the lab"),
    ("MAP_DROPPABLE", "droppable memory is not in the lab"),
)
# What makes no difference to the lab, and one to the kernel: two areas that differ in it do not become one.
LEFT_OUT = "{} is left out: here, areas that differ in it alone can merge"
KNOWN_MAP = sum({bit for name, bit in MAP.items() if name != "MAP_SHARED_VALIDATE"}) | 0x3F << 26
CLONE_VM = 0x100
MADV_DONTNEED, MADV_COLLAPSE = 4, 25


def numbers(call: Logged, count: int) -> list[int] | None:
    """The first arguments, where all of them are numbers."""
    found = [read_number(arg) for arg in call.args[:count]]
    return None if len(found) < count or None in found else [number or 0 for number in found]


def bits(call: Logged, at: int, names: dict[str, int]) -> int | None:
    return read_flags(call.args[at], names) if at < len(call.args) else None


# ---- mappings --------------------------------------------------------------------------------------------------------


def _rights(writable: bool | None) -> dict[str, bool | str]:
    return {"prot": "none"} if writable is None else {"writable": writable}


def _writable(prot: int) -> bool | None:
    """None where nobody may access it."""
    return bool(prot & PROT["PROT_WRITE"]) if prot & 7 else None


def mmap(m: Meaning, call: Logged) -> None:
    given, prot, flags = numbers(call, 2), bits(call, 2, PROT), bits(call, 3, MAP)
    why = "" if flags is None else _unsayable(flags)
    if given is None or prot is None or flags is None:
        m.refuse(call, why or UNREADABLE)
        return
    at, length = given
    space = m.spaces[m.process(call)]
    fixed = flags & MAP["MAP_FIXED"] and not flags & MAP["MAP_FIXED_NOREPLACE"]
    if call.errno:
        if why or not flags & MAP["MAP_FIXED"]:
            m.refuse(call, f"it failed, and changed nothing; {why or 'no place is given'}")
        else:
            m.say(call, "mmap", at=at, pages=page_up(length) // PAGE, **_rights(_writable(prot)))
        return
    if call.result is not None:
        at = call.result
    elif not fixed and (not at or at % PAGE or space.kinds(at, at + page_up(length)) != {FREE}):
        m.refuse(call, why or "the program does not say where it goes: the address is not free, or there is none")
        return
    end = at + page_up(length)
    writable = _writable(prot)
    if not why and (writable is not None or end - at <= MOST_RESERVED):
        kinds = {"noreserve": MAP["MAP_NORESERVE"], "grows_down": MAP["MAP_GROWSDOWN"]}
        more = {name: True for name, bit in kinds.items() if flags & bit}
        if m.say(call, "mmap", at=at, pages=(end - at) // PAGE, **_rights(writable), **more):
            _tell(m, call, prot)
            if more.get("grows_down"):
                m.assume("how far a stack grew is not in a log: it is as large as when it was mapped", call.line)
            space.put(at, end, Area(SAID, call.line, writable))
            m.touch_new(call, at, (end - at) // PAGE, writable, whole=bool(flags & MAP["MAP_POPULATE"]))
        return
    if SAID in space.kinds(at, end):
        m.say(call, "munmap", at=at, pages=(end - at) // PAGE)
    space.put(at, end, Area(OTHER if why else NO_RIGHTS, call.line))
    m.refuse(call, why or RESERVED)


def _unsayable(flags: int) -> str:
    """Why a mapping with these flags is not in the lab; empty where it is."""
    if not flags & MAP["MAP_ANONYMOUS"]:
        return A_FILE
    if not flags & MAP["MAP_PRIVATE"] or flags & MAP["MAP_SHARED"]:
        return NOT_PRIVATE
    return next((why for name, why in FLAGS if flags & MAP[name]), "")


def _tell(m: Meaning, call: Logged, prot: int) -> None:
    if prot & PROT["PROT_EXEC"]:
        m.assume(LEFT_OUT.format("PROT_EXEC"), call.line)
    if prot & PROT["PROT_WRITE"] and not prot & PROT["PROT_READ"]:
        m.assume("who may write may read, too", call.line)


def munmap(m: Meaning, call: Logged) -> None:
    given = numbers(call, 2)
    if given is None:
        m.refuse(call, UNREADABLE)
        return
    at, length = given
    space = m.spaces[m.process(call)]
    end = at + page_up(length)
    if call.errno or at % PAGE or not length:
        m.say(call, "munmap", at=at, pages=page_up(length) // PAGE)
        return
    m.find(call, at, end)
    if m.log.sure and SAID not in space.kinds(at, end):
        m.refuse(call, m.why_not(space, at, end))
    else:
        m.say(call, "munmap", at=at, pages=(end - at) // PAGE)
    space.clear(at, end)


def madvise(m: Meaning, call: Logged) -> None:
    given, advice = numbers(call, 2), bits(call, 2, {"MADV_DONTNEED": MADV_DONTNEED, "MADV_COLLAPSE": MADV_COLLAPSE})
    if given is None:
        m.refuse(call, UNREADABLE)
        return
    at, length = given
    space, end = m.spaces[m.process(call)], at + page_up(length)
    if advice not in (MADV_DONTNEED, MADV_COLLAPSE):
        m.refuse(call, "of madvise the lab has MADV_DONTNEED and MADV_COLLAPSE only")
        return
    if at % PAGE == 0:
        m.find(call, at, end)
    if call.errno or at % PAGE or not m.log.sure:
        m.say(call, "dontneed", at=at, pages=page_up(length) // PAGE)
        return
    said = _said(space, at, end)
    if not said:
        m.refuse(call, m.why_not(space, at, end))
    # What is only reserved holds nothing that could go.
    for at, to in said:
        m.say(call, "dontneed", at=at, pages=(to - at) // PAGE)


def mprotect(m: Meaning, call: Logged) -> None:
    given, prot = numbers(call, 2), bits(call, 2, PROT)
    if given is None or prot is None:
        m.refuse(call, UNREADABLE)
        return
    at, length = given
    end = at + page_up(length)
    writable = _writable(prot)
    space = m.spaces[m.process(call)]
    if at % PAGE == 0:
        m.find(call, at, end)
    if prot & (PROT["PROT_GROWSDOWN"] | PROT["PROT_GROWSUP"]):
        m.refuse(call, "a mapping that grows is not in the lab")
    elif call.errno or not m.log.sure or at % PAGE:
        if {OTHER, NO_RIGHTS} & space.kinds(at, end):
            m.refuse(call, m.why_not(space, at, end))
        elif m.say(call, "mprotect", at=at, pages=page_up(length) // PAGE, **_rights(writable)) and not call.errno:
            space.set_rights(at, end, writable)
    elif not {SAID, NO_RIGHTS} & space.kinds(at, end):
        m.refuse(call, m.why_not(space, at, end))
    else:
        _tell(m, call, prot)
        _give_rights(m, call, at, end, writable)


def _said(space: Space, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of a range that are in the scenario."""
    said: list[tuple[int, int]] = []
    for at, to, area in space.pieces(start, end):
        if area.kind == SAID and said and said[-1][1] == at:
            said[-1] = said[-1][0], to
        elif area.kind == SAID:
            said.append((at, to))
    return said


def _give_rights(m: Meaning, call: Logged, start: int, end: int, writable: bool | None) -> None:
    space = m.spaces[m.process(call)]
    said = _said(space, start, end)
    closed = [(at, to) for at, to, area in space.pieces(start, end) if area.kind == SAID and area.writable is None]
    for at, to, area in list(space.pieces(start, end)):
        if area.kind != NO_RIGHTS or writable is None:
            continue
        if m.say(call, "mmap", at=at, pages=(to - at) // PAGE, writable=writable):
            m.assume("memory is mapped when it gets its first rights, and not before", call.line)
            space.put(at, to, Area(SAID, call.line, writable))
            m.touch_new(call, at, (to - at) // PAGE, writable)
    for at, to in said:
        m.say(call, "mprotect", at=at, pages=(to - at) // PAGE, **_rights(writable))
    for at, to in closed:
        m.touch_new(call, at, (to - at) // PAGE, writable)
    space.set_rights(start, end, writable)
    if said and said != [(start, end)]:
        m.assume("the part of the range that is in the scenario gets the rights", call.line)


def mremap(m: Meaning, call: Logged) -> None:
    given, flags = numbers(call, 3), bits(call, 3, MREMAP)
    to = read_number(call.args[4]) if len(call.args) > 4 else None
    if given is None or flags is None or flags & ~7 or (flags & MREMAP["MREMAP_FIXED"] and to is None):
        m.refuse(call, UNREADABLE)
        return
    at, old, new = given[0], page_up(given[1]), page_up(given[2])
    dontunmap = bool(flags & MREMAP["MREMAP_DONTUNMAP"])
    target = to if flags & MREMAP["MREMAP_FIXED"] else None
    if not call.errno and call.result not in (None, at):
        target = call.result
    space = m.spaces[m.process(call)]
    # What is behind the new length is unmapped first, so nothing need be there.
    start, end = page_down(at), page_down(at) + max(min(old, new), PAGE)
    m.find(call, start, end)
    kinds = space.kinds(start, end)
    if {OTHER, NO_RIGHTS} & kinds or (m.log.sure and not call.errno and kinds != {SAID}):
        m.refuse(call, m.why_not(space, start, end))
        if not call.errno:
            _moved_unsaid(m, call, (at, old, new), at if target is None else target)
        return
    more: dict[str, int | bool] = {"maymove": bool(flags & MREMAP["MREMAP_MAYMOVE"])}
    if target is not None:
        more["to"] = target
    if dontunmap:
        more["dontunmap"] = True
    if not m.say(call, "mremap", from_=at, pages=old // PAGE, new_pages=new // PAGE, **more) or call.errno:
        return
    if at % PAGE == 0 and kinds == {SAID} and new:
        _moved(m, call, (at, old, new), target, dontunmap)


def _moved(m: Meaning, call: Logged, sizes: tuple[int, int, int], target: int | None, dontunmap: bool) -> None:
    """Keeps the books of an mremap, and touches what it added."""
    at, old, new = sizes
    space = m.spaces[m.process(call)]
    # It is one vma, whose parts have the same rights.
    writable = next((area.writable for _, _, area in space.pieces(at, at + min(old, new))), True)
    if old > new:
        space.clear(at + new, at + old)
    if target is None and new > old and space.kinds(at + old, at + new) != {FREE}:
        m.assume("the program does not say where an mremap went, and a later call cannot mean that place", call.line)
        space.clear(at, at + old)
        return
    place = at if target is None else target
    if place != at:
        space.clear(place, place + new)
        space.move(at, place, min(old, new))
        if dontunmap:
            space.put(at, at + old, Area(SAID, call.line, writable))
    if new > old:
        space.put(place + old, place + new, Area(SAID, call.line, writable))
        if m.touch == "all":
            m.touch_new(call, place + old, (new - old) // PAGE, writable)


def _moved_unsaid(m: Meaning, call: Logged, sizes: tuple[int, int, int], target: int) -> None:
    """The scenario loses what such a move takes away, and what it moves over."""
    at, old, new = sizes
    space = m.spaces[m.process(call)]
    mixed = SAID in space.kinds(at, at + min(old, new))
    gone = [(at, at + old), (target, target + new)] if target != at else [(at + new, at + old)]
    for start, end in gone:
        if start < end and SAID in space.kinds(start, end):
            m.say(call, "munmap", at=start, pages=(end - start) // PAGE)
    space.clear(at + new, max(at + old, at + new))
    if target != at:
        space.move(at, target, min(old, new))
    space.put(target if mixed else target + min(old, new), target + new, Area(OTHER, call.line))


def brk(m: Meaning, call: Logged) -> None:
    space = m.spaces[m.process(call)]
    asked = read_number(call.args[0]) if call.args else None
    if not m.log.sure:
        m.refuse(call, "where the heap ends is not in the program")
        return
    before, space.brk = space.brk, call.result or 0
    old, new = page_up(before), page_up(space.brk)
    if asked and asked != space.brk:
        m.refuse(call, "it failed, and changed nothing")
    elif before and new > old and m.say(call, "brk", at=old, pages=(new - old) // PAGE):
        space.put(old, new, Area(SAID, call.line))
        m.touch_new(call, old, (new - old) // PAGE, True)
    elif before and new < old and SAID in space.kinds(new, old):
        m.say(call, "munmap", at=new, pages=(old - new) // PAGE)
        space.clear(new, old)


def move_pages(m: Meaning, call: Logged) -> None:
    listed = re.search(r"\[(.*?)\]", call.args[2]) if len(call.args) > 3 else None
    found = [read_number(one) for one in (listed[1] if listed else "").split(",")]
    whose = call.args[0] if call.args else ""
    process = m.process(call) if whose in ("0", "0x0", call.task) else m.process_of.get(whose)
    if call.errno or None in found or process is None:
        m.refuse(
            call, "it failed" if call.errno else UNREADABLE if process else "the log does not say whose pages these are"
        )
        return
    if call.args[3] in ("NULL", "0x0", "nil"):
        m.refuse(call, "it asks where pages are, and moves none")
        return
    pages = [page_down(address or 0) for address in found]
    first = 0
    for at in range(1, len(pages) + 1):
        if at == len(pages) or pages[at] != pages[at - 1] + PAGE:
            m.step(call, process, "move_pages", ("",), at=pages[first], pages=at - first)
            first = at
    m.said.add(call.line)


# ---- processes -------------------------------------------------------------------------------------------------------


def fork(m: Meaning, call: Logged) -> None:
    """Also clone and its like; a task that shares the memory of its parent is no step."""
    parent = m.process(call)
    if call.errno:
        m.refuse(call, "it failed, and made nobody")
        return
    born = str(call.result or "")
    shares = m.log.births[born].shares if born in m.log.births else _clone_flags(call) & CLONE_VM
    if shares:
        if born:
            m.join(born, parent)
        return
    child = m.new_process(f"p{born}" if born else f"child{len(m.processes)}", m.spaces[parent].copy())
    m.say(call, "fork", child=child)
    if born:
        m.join(born, child)


def _clone_flags(call: Logged) -> int:
    number = re.search(r"0x[0-9a-f]+|\d+", call.args[0].partition("{")[2] or call.args[0]) if call.args else None
    return int(number[0], 0) if number and "clone" in call.name else 0


def execve(m: Meaning, call: Logged) -> None:
    if call.errno or not m.log.sure:
        return
    process = m.process(call)
    if not m.spaces[process].used and m.members[process] == {call.task}:
        m.spaces[process] = Space()
        return
    fresh = m.new_process(f"p{call.task}", Space())
    m.leave(call, call.task)
    m.join(call.task, fresh)


def exit_(m: Meaning, call: Logged) -> None:
    members = m.members[m.process(call)]
    for task in sorted(members) if call.name == "exit_group" else [call.task]:
        if task in members:
            m.leave(call, task)


# ---- the table -------------------------------------------------------------------------------------------------------

_REASONS = {
    "process_madvise": "the lab does not have this call",
    "mlock mlock2 mlockall munlock munlockall": "locked memory is not in the lab",
    "msync remap_file_pages shmat shmdt": "only private anonymous memory is in the lab",
    "mincore get_mempolicy": "it asks, and changes nothing",
    "mbind set_mempolicy set_mempolicy_home_node migrate_pages": "NUMA policies are not in the lab",
    "pkey_mprotect pkey_alloc pkey_free": "protection keys are not in the lab",
    "userfaultfd mseal map_shadow_stack process_mrelease": "the lab does not have this call",
}
TABLE: Table = {
    "mmap": mmap,
    "mmap2": mmap,
    "munmap": munmap,
    "madvise": madvise,
    "mprotect": mprotect,
    "mremap": mremap,
    "brk": brk,
    "move_pages": move_pages,
    "fork": fork,
    "vfork": fork,
    "clone": fork,
    "clone2": fork,
    "clone3": fork,
    "syz_clone": fork,
    "syz_clone3": fork,
    "execve": execve,
    "execveat": execve,
    "exit": exit_,
    "exit_group": exit_,
    EXITED: exit_,
    **{name: reason for names, reason in _REASONS.items() for name in names.split()},
}
