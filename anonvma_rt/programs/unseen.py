"""What no compiler's call tells of: inline assembly of the program's own, which is warned about once, in one line.

Templates that touch no memory (a pause, a fence, nothing at all) are no loss.
"""

import re
import sys

__all__ = ["inline_assembly", "warn_once"]

ASSEMBLY = re.compile(
    r"\b(?:asm|__asm__|__asm)\b((?:\s*(?:volatile|__volatile__|__volatile|inline|goto|__inline__))*)"
    r'\s*\(\s*((?:"(?:[^"\\\n]|\\.)*"\s*)+)([:)])'
)
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
MARKER = re.compile(r'^# (\d+) "((?:[^"\\]|\\.)*)"((?: \d)*)$')
HARMLESS = re.compile(r"^(?:(?:pause|rep\s*;\s*nop|nop|[mls]fence|yield|isb)?[\s;]*(?:\\n|\\t)*)*$")
_warned: set[str] = set()


def inline_assembly(preprocessed: str, ours: str) -> list[str]:
    r"""Where the program's own files have assembly that may touch memory, as "file:line". ours: the folder of headers
    that are the lab's.

    >>> inline_assembly('# 1 "a.c"\nint x;\nvoid f(void) { asm volatile("incl %0" : "+m"(x)); }\n', "/lab")
    ['a.c:2']
    >>> harmless = '# 1 "a.c"\nint f(void) __asm__ ("g"); void h(void) { asm volatile("" : : : "memory"); }\n'
    >>> inline_assembly(harmless, "/lab")
    []
    """
    if "asm" not in preprocessed:
        return []
    found = []
    file, number, system = "?", 1, False
    for line in preprocessed.split("\n"):
        if line.startswith("# ") and (marker := MARKER.match(line)):
            number, file = int(marker[1]), marker[2]
            system = "3" in marker[3].split() or file.startswith(ours)
            continue
        if not system and "asm" in line:
            for one in ASSEMBLY.finditer(line):
                template = "".join(STRING.findall(one[2]))
                # A name for a declaration has neither a qualifier nor operands.
                statement = one[1].strip() or one[3] == ":"
                if statement and not HARMLESS.match(template) and f"{file}:{number}" not in found:
                    found.append(f"{file}:{number}")
        number += 1
    return found


def warn_once(places: list[str]) -> None:
    """One line on stderr for each file's first place."""
    new = [place for place in places if place not in _warned]
    _warned.update(new)
    if new and sys.stderr is not None:
        more = f", and {len(new) - 1} more" if len(new) > 1 else ""
        print(
            f"anonvma-rt: {new[0]}{more}: inline assembly: nobody sees what it reads and writes, so what other threads "
            "do to that is not explored",
            file=sys.stderr,
            flush=True,
        )
