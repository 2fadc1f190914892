"""The host as a judge of huge pages: calls in a window of some 2 MiB ranges, and what its page tables hold at last.

The calls are those of host_calls.py; mmap asks for huge pages (madvise with MADV_HUGEPAGE), and ["collapse", address,
0] makes one of small ones (MADV_COLLAPSE). What is told beside the contents is a letter for each page of the window:
"." none, "z" a zero page, "s" a small page, "c" a part of a huge one; a capital letter where the process that forked
has the same page. And how many huge pages are mapped by a pmd. Run as a script this file is the process that makes the
calls; with the argument "off" huge pages are switched off for it.
"""

import os
import random
import re
import struct
import sys

PAGE, HUGE = 4096, 512
BASE = (1 << 36) + (1 << 30)
ROOM, GUARD = 8 * HUGE, HUGE
FIRST = BASE + HUGE * PAGE
SPAN = 4 * HUGE
MOST = 25  # calls of a sequence
BORDERS = (0, 0, 0, 0, 1, 100, 256, 511)
LENGTHS = (512, 512, 512, 1024, 1536, 1, 2, 100, 256, 513)
VERBS = ("mmap",) * 3 + ("munmap",) + ("dontneed",) * 2 + ("mprotect",) * 2 + ("write",) * 5 + ("read",) * 2
VERBS += ("mremap",) * 5
WITH_MOVES = (*VERBS, *("uffd_move",) * 6)
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
# Bits of pagemap and of kpageflags.
PRESENT, FRAME = 1 << 63, (1 << 55) - 1
COMPOUND_HEAD, COMPOUND_TAIL, ZERO = 1 << 15, 1 << 16, 1 << 24


# ---- the child -------------------------------------------------------------------------------------------------------


def make_window(base):
    """A Window of this file; base: the class that makes the usual calls."""

    class HugeWindow(base):
        base, room, guard = BASE, ROOM, GUARD
        parent = None

        def reserve(self):
            reason = super().reserve()
            if reason is None and not self.off:
                # What super() switched off.
                self.libc.prctl(41, 0, 0, 0, 0)
                reason = self.cannot_have_any()
            return reason

        @property
        def off(self):
            return "off" in sys.argv[1:]

        def cannot_have_any(self):
            """Why there are no huge pages here, or why they cannot be seen; or None."""
            try:
                with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as file:
                    if "[never]" in file.read():
                        return "transparent huge pages are switched off"
                self.flags = os.open("/proc/kpageflags", os.O_RDONLY)
            except OSError as refusal:
                return f"{refusal.filename}: {refusal.strerror}"
            self.call("mmap", FIRST, HUGE, True)
            self.call("write", FIRST, 1, 7)
            found, count = self.seen()
            self.reset()
            return None if count == 1 and "c" in found else "a write gets no huge page"

        def call(self, verb, address, pages, *rest):
            if verb == "collapse":
                result = self.libc.madvise(address, HUGE * PAGE, MADV_COLLAPSE)
            else:
                result = super().call(verb, address, pages, *rest)
                if verb == "mmap" and result == address and not self.off:
                    self.libc.madvise(address, pages * PAGE, MADV_HUGEPAGE)
                return result
            return -self.errno() if result == -1 else result

        def frames(self, process):
            with open(f"/proc/{process}/pagemap", "rb", buffering=0) as file:
                entries = os.pread(file.fileno(), ROOM * 8, BASE // PAGE * 8)
            return [word & FRAME if word & PRESENT else 0 for word in struct.unpack(f"={ROOM}Q", entries)]

        def letter(self, frame):
            (flags,) = struct.unpack("=Q", os.pread(self.flags, 8, frame * 8))
            return "z" if flags & ZERO else "c" if flags & (COMPOUND_HEAD | COMPOUND_TAIL) else "s"

        def seen(self):
            if self.off:
                return []
            own = self.frames("self")
            others = self.frames(os.getppid()) if os.getpid() != self.process else [0] * ROOM
            known = {frame: self.letter(frame) for frame in {*own} - {0}}
            letters = ""
            for frame, other in zip(own, others, strict=True):
                letter = known.get(frame, ".")
                letters += letter.upper() if frame and frame == other and letter != "z" else letter
            return [letters, self.mapped_by_pmds()]

        def mapped_by_pmds(self):
            count, inside = 0, False
            with open("/proc/self/smaps", encoding="utf-8") as file:
                for line in file:
                    place = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
                    if place:
                        inside = BASE <= int(place[1], 16) < BASE + ROOM * PAGE
                        if int(place[1], 16) > BASE + ROOM * PAGE:
                            break
                    elif inside and line.startswith("AnonHugePages:"):
                        count += int(line.split()[1]) // 2048
            return count

    window = HugeWindow()
    window.process = os.getpid()
    return window


# ---- the Machine's side ----------------------------------------------------------------------------------------------


def letters(machine, process, parent=None):
    """The same of a Machine's process."""
    found, pmds = "", 0
    for at in range(BASE, BASE + ROOM * PAGE, PAGE):
        pte = process.pte(at)
        if pte.state == "none":
            found += "."
        elif pte.pfn == 0 or (pte.state == "huge" and machine.page(pte.pfn).order == 0):
            found += "z"
        else:
            pmds += pte.state == "huge" and at % (HUGE * PAGE) == 0
            one = "c" if machine.page(pte.pfn).order else "s"
            found += one.upper() if parent is not None and parent.pte(at).pfn == pte.pfn else one
    return found, pmds


def random_call(rng, tag, verbs):
    verb = rng.choice(verbs)
    at = FIRST + (rng.randrange(SPAN // HUGE) * HUGE + rng.choice(BORDERS)) * PAGE
    pages = rng.choice(LENGTHS)
    if verb == "mmap":
        return [verb, at, pages, rng.random() < 0.9]
    if verb == "mprotect":
        return [verb, at, pages, rng.random() < 0.5]
    if verb in ("write", "read"):
        return [
            verb,
            at,
            pages if rng.random() < 0.1 else rng.choice((1, 1, 2, 3)),
            *([tag] if verb == "write" else []),
        ]
    if verb == "mremap":
        to = FIRST + (rng.randrange(SPAN // HUGE) * HUGE + rng.choice(BORDERS)) * PAGE
        return [verb, at, pages, pages if rng.random() < 0.8 else rng.choice(LENGTHS), to, True, rng.random() < 0.1]
    if verb == "uffd_move":
        return [verb, at, pages, FIRST + (rng.randrange(SPAN // HUGE) * HUGE + rng.choice(BORDERS)) * PAGE]
    return [verb, at, pages]


def empties_a_table(process, call):
    """Whether a MADV_DONTNEED may leave a page table empty, which the kernel frees since 6.14 (6375e95f381e), and the
    lab does not (docs/fidelity.md): a later access gets a huge page there, and a small one here."""
    verb, start, pages = call[:3]
    span, end = HUGE * PAGE, start + pages * PAGE
    first = -(-start // span) * span
    return verb == "dontneed" and any(process.pte(at).state != "huge" for at in range(first, end - span + 1, span))


def sequence(machine, seed, forks=False, huge=True, verbs=VERBS):
    """A random sequence: (calls, steps as [result, vmas], contents, letters, pmds)."""
    # Not in the child, which has the standard library only.
    from host_sequences import make, vmas

    rng = random.Random(seed)
    family, calls, steps = [machine.process()], [], []
    fork_at = rng.randrange(5, MOST - 8) if forks else -1
    while len(calls) < MOST:
        if len(calls) == fork_at:
            calls.append(["fork", 0, 0])
            family.append(family[-1].fork())
        else:
            call = random_call(rng, len(calls) + 1, verbs)
            while empties_a_table(family[-1], call):
                call = random_call(rng, len(calls) + 1, verbs)
            calls.append(call)
        done = 0 if calls[-1][0] == "fork" else make(family[-1], calls[-1], huge)
        steps.append([done, vmas(family[-1])])
    last = family[-1]
    seen = letters(machine, last, family[-2] if len(family) > 1 else None) if huge else ()
    contents = {at: last.read(at) for vma in last.maps() for at in range(vma.start, vma.end, PAGE)}
    for process in family:
        process.exit()
    return calls, steps, contents, *seen


def main():
    sys.path.insert(0, os.path.dirname(__file__))
    import host_calls

    host_calls.serve(make_window(host_calls.Window))


if __name__ == "__main__":
    main()
