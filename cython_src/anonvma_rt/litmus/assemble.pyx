"""From the steps of a program, which are Python, to rows of numbers (see assemble.pxd).

Whatever makes no sense raises ValueError here, and says where it stands.
"""

KIND_NAMES = {WORD: "a variable", LOCK_WORD: "a lock", ITEM: "an object"}

# verb: its number, the kind of the name it takes, and its other operands: v is a number or a register, r a register
# that takes the result.
VERBS = {
    "lock": (LOCK, LOCK_WORD, ""),
    "unlock": (UNLOCK, LOCK_WORD, ""),
    "trylock": (TRYLOCK, LOCK_WORD, "r"),
    "read_lock": (READ_LOCK, LOCK_WORD, ""),
    "read_unlock": (READ_UNLOCK, LOCK_WORD, ""),
    "write_lock": (WRITE_LOCK, LOCK_WORD, ""),
    "write_unlock": (WRITE_UNLOCK, LOCK_WORD, ""),
    "wait": (WAIT, LOCK_WORD, ""),
    "load": (LOAD, WORD, "r"),
    "store": (STORE, WORD, "v"),
    "add": (ADD, WORD, "v"),
    "cas": (CAS, WORD, "vvr"),
    "await": (AWAIT, WORD, "v"),
    "await_not": (AWAIT_NOT, WORD, "v"),
    "await_less": (AWAIT_LESS, WORD, "v"),
    "await_at_least": (AWAIT_AT_LEAST, WORD, "v"),
    "await_bits": (AWAIT_BITS, WORD, "v"),
    "await_no_bits": (AWAIT_NO_BITS, WORD, "v"),
    "spin": (SPIN, WORD, "v"),
    "free": (FREE, ITEM, ""),
    "new": (NEW, ITEM, ""),
    "use": (USE, ITEM, ""),
    "unlink": (UNLINK, ITEM, ""),
    "set": (SET, WORD, "v"),
    "get": (GET, WORD, "r"),
    "read_trylock": (READ_TRYLOCK, LOCK_WORD, "r"),
    "poll": (POLL, WORD, "v"),
    "take": (TAKE, WORD, "v"),
    "downgrade": (DOWNGRADE, LOCK_WORD, ""),
}

# What is no step of its own, so that nothing could be marked: unless no lock keeps it apart from what others do.
WITHOUT_POINT = ("set", "get")
# What takes a lock for itself, or shares it, and what gives it back. A try may have failed: it takes nothing for sure.
TAKES = {"lock": "all", "write_lock": "all", "read_lock": "share"}
GIVES_BACK = ("unlock", "write_unlock", "read_unlock")
READS = ("get", "load", "await", "await_not", "await_less", "await_at_least", "await_bits", "await_no_bits", "spin")


def is_name(word):
    return isinstance(word, str) and word != "" and ":" not in word


def number(what, value):
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{what} must be a number of 64 bits, not {value!r}")
    return value


def kinds_of_names(sections, classes):
    """{shared name: its kind} in the order of their first mention; what is only freed is a lock if it has a class.

    Raises ValueError for steps that make no sense.
    """
    kinds = {}
    for label, steps in sections:
        for at, step in enumerate(steps):
            where = f"{label}, step {at}"
            if not isinstance(step, (tuple, list)) or not step:
                raise ValueError(f"{where}: a step is (verb, name, ...), not {step!r}")
            verb, *operands = step
            verb = verb.removeprefix("!") if isinstance(verb, str) else verb
            if not isinstance(verb, str) or verb not in VERBS:
                raise ValueError(f"{where}: unknown verb {verb!r}; known are {', '.join(VERBS)}")
            number_of_verb, kind, rest = VERBS[verb]
            if len(operands) != 1 + len(rest):
                raise ValueError(f"{where}: {verb} takes {1 + len(rest)} operands, not {len(operands)}")
            name = operands[0]
            if not is_name(name):
                raise ValueError(f"{where}: a name is a text without ':', not {name!r}")
            # What can be freed is known only when the other verbs have said what it is.
            if number_of_verb == FREE:
                kind = None
            before = kinds.setdefault(name, kind)
            if before is None:
                kinds[name] = kind
            elif kind is not None and before != kind:
                raise ValueError(f"{where}: {verb} needs {KIND_NAMES[kind]}, but {name!r} is {KIND_NAMES[before]}")
    for label, steps in sections:
        for at, (verb, name, *_) in enumerate(steps):
            if verb.removeprefix("!") == "free" and kinds[name] == WORD:
                raise ValueError(f"{label}, step {at}: {name!r} is a variable; only locks and objects can be freed")
    return {name: kind or (LOCK_WORD if name in classes else ITEM) for name, kind in kinds.items()}


def accesses_of(steps):
    """What a thread does to variables: (name, verb, {lock that is held: "all" or "share"})."""
    held = {}
    for verb, name, *_ in steps:
        verb = verb.removeprefix("!")
        if verb in TAKES:
            held = {**held, name: TAKES[verb]}
        elif verb == "downgrade":
            held = {**held, name: "share"}
        elif verb in GIVES_BACK:
            held = {lock: how for lock, how in held.items() if lock != name}
        elif VERBS[verb][1] == WORD:
            yield name, verb, held


def unprotected(threads):
    """The variables that a `get` or `set` comes to while another thread may change them, or use what it sets: no lock
    that both hold keeps the two apart. There they are points, as load and store are.

    >>> sorted(unprotected([[("lock", "a"), ("set", "x", 1), ("unlock", "a")], [("get", "x", "r")]]))
    ['x']
    """
    found = set()
    threads = [list(accesses_of(steps)) for steps in threads]
    for at, one in enumerate(threads):
        for name, verb, held in one:
            for other_name, other, others in (access for thread in threads[at + 1 :] for access in thread):
                if name != other_name or (verb in READS and other in READS):
                    continue
                silent = verb in WITHOUT_POINT or other in WITHOUT_POINT
                if silent and not any("all" in (how, others.get(lock)) for lock, how in held.items() if lock in others):
                    found.add(name)
    return found


def compile_sections(sections, places):
    """Rows for Instruction, a list per section, and the names of all registers ("0:r")."""
    announced = unprotected([steps for label, steps in sections if label != "setup"])
    loud = {"get": LOAD, "set": STORE}
    registers = {}
    compiled = []
    for thread, (label, steps) in enumerate(sections):
        own = {}
        rows = []
        for at, (verb, name, *rest) in enumerate(steps):
            where = f"{label}, step {at}"
            marked, verb = verb.startswith("!"), verb.removeprefix("!")
            if marked and verb in WITHOUT_POINT:
                raise ValueError(f"{where}: {verb} has no point, so it cannot be an interesting operation")
            values = []
            result = -1
            for form, operand in zip(VERBS[verb][2], rest, strict=True):
                if isinstance(operand, str) and label == "setup":
                    raise ValueError(f"{where}: setup has no registers, so not {operand!r}")
                if form == "r":
                    if not is_name(operand):
                        raise ValueError(f"{where}: a register is a text without ':', not {operand!r}")
                    result = own.setdefault(operand, len(registers))
                    registers.setdefault(f"{thread}:{operand}", result)
                elif not isinstance(operand, str):
                    values += [number(f"{where}: the value of {verb}", operand), -1]
                elif operand not in own:
                    raise ValueError(f"{where}: register {operand!r} was given no value before")
                else:
                    values += [0, own[operand]]
            if len(own) > MAX_REGISTERS:
                raise ValueError(f"{label} has more than {MAX_REGISTERS} registers")
            number_of_verb = loud.get(verb, VERBS[verb][0]) if name in announced else VERBS[verb][0]
            rows.append((number_of_verb, marked, places[name], result, *(values + [0, -1, 0, -1])[:4]))
        compiled.append(rows)
    return compiled, tuple(registers)
