"""The C types that litmus files use: of each, how wide a word it is, or that it is a lock or a domain of SRCU.

A type is "int32" and the like, as the casts of Program are called; "" is a word of 64 bits, pointers among them.
"""

from anonvma_rt.litmus.herd.lexer import Tokens

__all__ = ["LOCK", "SRCU", "VOID", "begins_type", "read_stars", "read_type"]

LOCK, SRCU, VOID = "lock", "srcu", "void"

_ONE_WORD = {
    "int8_t": "int8", "s8": "int8", "uint8_t": "uint8", "u8": "uint8", "bool": "uint8", "_Bool": "uint8",
    "int16_t": "int16", "s16": "int16", "uint16_t": "uint16", "u16": "uint16",
    "int32_t": "int32", "s32": "int32", "uint32_t": "uint32", "u32": "uint32", "atomic_t": "int32",
    "int64_t": "", "s64": "", "uint64_t": "", "u64": "", "intptr_t": "", "uintptr_t": "", "size_t": "", "ssize_t": "",
    "atomic64_t": "", "atomic_long_t": "", "ptrdiff_t": "",
    "spinlock_t": LOCK, "raw_spinlock_t": LOCK, "void": VOID,
}  # fmt: skip
_STRUCTS = {"srcu_struct": SRCU, "mutex": LOCK}
_QUALIFIERS = {"const", "volatile", "static", "register", "__rcu", "extern"}
_PLAIN = {"int", "char", "short", "long", "unsigned", "signed"}
_WIDTH = {"char": "int8", "short": "int16", "long": "", "int": "int32"}


def begins_type(word: str) -> bool:
    return word in _ONE_WORD or word in _QUALIFIERS or word in _PLAIN or word == "struct"


def read_type(tokens: Tokens, where: str) -> tuple[str, int]:
    """A type: what it is without its stars, and how many those are."""
    kind: str | None = None
    plain: list[str] = []
    while tokens.next.kind == "name" and begins_type(tokens.next.text):
        word = tokens.next.text
        if word in _QUALIFIERS:
            tokens.take()
        elif kind is not None or (plain and word not in _PLAIN):
            break
        elif word == "struct":
            tokens.take()
            struct = tokens.name(where)
            if struct.text not in _STRUCTS:
                tokens.fail(f"{where}: struct {struct.text} is not understood (only srcu_struct is)", struct.line)
            kind = _STRUCTS[struct.text]
        elif word in _ONE_WORD:
            kind = _ONE_WORD[tokens.take().text]
        else:
            plain.append(tokens.take().text)
    if plain:
        kind = next((_WIDTH[word] for word in ("char", "short", "long") if word in plain), "int32")
        kind = f"u{kind}" if "unsigned" in plain and kind else kind
    if kind is None:
        tokens.fail(f"{where}: a type is needed here, not {tokens.next.text}")
    return kind, read_stars(tokens)


def read_stars(tokens: Tokens) -> int:
    stars = 0
    while tokens.next.text == "*" or tokens.next.text in _QUALIFIERS:
        stars += tokens.take().text == "*"
    return stars
