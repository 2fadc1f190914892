"""From the steps of a program, which are Python, to rows of numbers (see assemble.pxd).

Whatever makes no sense raises ValueError here, and says where it stands.
"""

from anonvma_rt.litmus.expression cimport NUMBER, REGISTER as REGISTER_TERM

from anonvma_rt.litmus.expression import OF_ONE, OPERATORS, address, compile_expression, number

KIND_NAMES = {WORD: "a variable", LOCK_WORD: "a lock", ITEM: "an object", DOMAIN: "an SRCU domain"}

# verb: its number, the kind of the name it takes (None: it takes none), and its other operands: v is a number, an
# address or a register, r a register that takes the result, l a label, e an expression.
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
    "load_acquire": (LOAD_ACQUIRE, WORD, "r"),
    "store_release": (STORE_RELEASE, WORD, "v"),
    "plain_load": (PLAIN_LOAD, WORD, "r"),
    "plain_store": (PLAIN_STORE, WORD, "v"),
    "exchange": (EXCHANGE, WORD, "vr"),
    "compare_exchange": (COMPARE_EXCHANGE, WORD, "vvr"),
    "fetch_add": (FETCH_ADD, WORD, "vr"),
    "fetch_and": (FETCH_AND, WORD, "vr"),
    "fetch_or": (FETCH_OR, WORD, "vr"),
    "fetch_xor": (FETCH_XOR, WORD, "vr"),
    "add_unless": (ADD_UNLESS, WORD, "vvr"),
    "mb": (MB, None, ""),
    "rmb": (RMB, None, ""),
    "wmb": (WMB, None, ""),
    "let": (LET, None, "re"),
    "label": (LABEL, None, "l"),
    "jump": (JUMP, None, "l"),
    "jump_if": (JUMP_IF, None, "vl"),
    "jump_unless": (JUMP_UNLESS, None, "vl"),
    "spin_start": (SPIN_START, None, ""),
    "spin_hint": (SPIN_HINT, None, ""),
    "beyond": (BEYOND, None, ""),
    "is_locked": (IS_LOCKED, LOCK_WORD, "r"),
    "rcu_read_lock": (RCU_READ_LOCK, None, ""),
    "rcu_read_unlock": (RCU_READ_UNLOCK, None, ""),
    "synchronize_rcu": (SYNCHRONIZE_RCU, None, ""),
    "srcu_read_lock": (RCU_READ_LOCK, DOMAIN, "r"),
    "srcu_read_unlock": (RCU_READ_UNLOCK, DOMAIN, "v"),
    "synchronize_srcu": (SYNCHRONIZE_RCU, DOMAIN, ""),
}

# What is no step of its own, so that nothing could be marked: get and set unless no lock keeps them apart from what
# others do.
WITHOUT_POINT = (
    "set", "get", "mb", "rmb", "wmb", "let", "label", "jump", "jump_if", "jump_unless", "spin_start", "spin_hint",
    "beyond",
)  # fmt: skip
JUMPS = ("jump", "jump_if", "jump_unless")
# The domain of those verbs of RCU that name none. No name of a program has a colon.
RCU = ":rcu"
OF_RCU = ("rcu_read_lock", "rcu_read_unlock", "synchronize_rcu")
# What takes a lock for itself, or shares it, and what gives it back. A try may have failed: it takes nothing for sure.
TAKES = {"lock": "all", "write_lock": "all", "read_lock": "share"}
GIVES_BACK = ("unlock", "write_unlock", "read_unlock")
READS = (
    "get", "load", "load_acquire", "plain_load", "await", "await_not", "await_less", "await_at_least", "await_bits",
    "await_no_bits", "spin",
)  # fmt: skip


def is_name(word):
    return isinstance(word, str) and word != "" and word[0] not in "&*" and ":" not in word


def name_of(step):
    """The shared name, or "*r", that a step acts on; None where it acts on none."""
    verb = step[0].removeprefix("!")
    return RCU if verb in OF_RCU else None if VERBS[verb][1] is None else step[1]


def must_be_step(where, step):
    """Its verb. Raises ValueError where it is none, or has too few or too many operands."""
    if not isinstance(step, (tuple, list)) or not step:
        raise ValueError(f"{where}: a step is (verb, name, ...), not {step!r}")
    verb, *operands = step
    verb = verb.removeprefix("!") if isinstance(verb, str) else verb
    if not isinstance(verb, str) or verb not in VERBS:
        raise ValueError(f"{where}: unknown verb {verb!r}; known are {', '.join(VERBS)}")
    _, kind, rest = VERBS[verb]
    right = len(rest) + (kind is not None)
    if "e" in rest:
        if len(operands) < right:
            raise ValueError(f"{where}: {verb} takes a register and the words of an expression")
    elif len(operands) != right:
        raise ValueError(f"{where}: {verb} takes {right} operands, not {len(operands)}")
    return verb


def kinds_of_names(sections, classes, variables=()):
    """{shared name: its kind} in the order of their first mention, with the `variables`; what is only freed is a lock
    if it has a class, and what only an address is taken of is a variable.

    Raises ValueError for steps that make no sense.
    """
    kinds = {}
    addressed = dict.fromkeys(variables)
    for label, steps in sections:
        for at, step in enumerate(steps):
            where = f"{label}, step {at}"
            verb = must_be_step(where, step)
            words = [word for word in step[1:] if isinstance(word, str) and word not in OPERATORS]
            addressed |= dict.fromkeys(word[1:] for word in words if word[:1] == "&")
            if verb in OF_RCU:
                kinds[RCU] = DOMAIN
            number_of_verb, kind, _ = VERBS[verb]
            if kind is None:
                continue
            name = step[1]
            if kind == WORD and isinstance(name, str) and name[:1] == "*":
                continue
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
        for at, (verb, *operands) in enumerate(steps):
            if verb.removeprefix("!") == "free" and kinds[operands[0]] not in (None, LOCK_WORD, ITEM):
                kind = KIND_NAMES[kinds[operands[0]]]
                raise ValueError(f"{label}, step {at}: {operands[0]!r} is {kind}; only locks and objects can be freed")
    kinds = {name: kind or (LOCK_WORD if name in classes else ITEM) for name, kind in kinds.items()}
    for name in addressed:
        if not is_name(name):
            raise ValueError(f"a variable is a text without ':', not {name!r}")
        if kinds.setdefault(name, WORD) != WORD:
            what = KIND_NAMES[kinds[name]]
            raise ValueError(f"{name!r} is {what}, and only variables have addresses, types and values")
    return kinds


def labels_of(label, steps):
    """{label: the number of its step}"""
    labels = {}
    for at, (verb, *operands) in enumerate(steps):
        if verb == "label" and labels.setdefault(operands[0], at) != at:
            raise ValueError(f"{label}, step {at}: the label {operands[0]!r} is there already")
    return labels


def held_at(steps):
    """{number of a step that some way leads to: the locks that are held before it on every way, "all" or "share"}"""
    labels = {step[1]: at for at, step in enumerate(steps) if step[0] == "label"}
    held = {}
    coming = [(0, {})]
    while coming:
        at, now = coming.pop()
        if at in held:
            now = {lock: how for lock, how in held[at].items() if now.get(lock) in (how, "all")}
            if now == held[at]:
                continue
        if at == len(steps):
            continue
        held[at] = now
        verb, *operands = steps[at]
        verb = verb.removeprefix("!")
        if verb in TAKES:
            now = {**now, operands[0]: TAKES[verb]}
        elif verb == "downgrade":
            now = {**now, operands[0]: "share"}
        elif verb in GIVES_BACK:
            now = {lock: how for lock, how in now.items() if lock != operands[0]}
        if verb in JUMPS and operands[len(operands) - 1] in labels:
            coming.append((labels[operands[len(operands) - 1]], now))
        if verb != "jump":
            coming.append((at + 1, now))
    return held


def accesses_of(steps, aliased):
    """What a thread does to variables: (name, verb, {lock that is held: "all" or "share"}); through a pointer to each
    of those that are `aliased`."""
    for at, held in held_at(steps).items():
        verb, *operands = steps[at]
        verb = verb.removeprefix("!")
        if VERBS[verb][1] == WORD:
            for name in aliased if operands[0][0] == "*" else (operands[0],):
                yield name, verb, held


def unprotected(threads, aliased=()):
    """The variables that a `get` or `set` comes to while another thread may change them, or use what it sets: no lock
    that both hold keeps the two apart. There they are points, as load and store are.

    >>> sorted(unprotected([[("lock", "a"), ("set", "x", 1), ("unlock", "a")], [("get", "x", "r")]]))
    ['x']
    """
    found = set()
    threads = [list(accesses_of(list(steps), aliased)) for steps in threads]
    for at, one in enumerate(threads):
        for name, verb, held in one:
            for other_name, other, others in (access for thread in threads[at + 1 :] for access in thread):
                if name != other_name or (verb in READS and other in READS):
                    continue
                silent = verb in WITHOUT_POINT or other in WITHOUT_POINT
                if silent and not any("all" in (how, others.get(lock)) for lock, how in held.items() if lock in others):
                    found.add(name)
    return found


class Assembler:
    """Makes the rows of one section after the other. registers: all of them, by "0:r"; terms: those of every `let`."""

    def __init__(self, places, announced):
        self.places, self.announced = places, announced
        self.registers = {}
        self.terms = []

    def section(self, thread, label, steps):
        """Rows for Instruction: the verb, the kind of its name, and the rest in the order of the fields."""
        self.own, self.thread, self.label = {}, thread, label
        self.labels = labels_of(label, steps)
        # On some way it may come to a register that no step before has written; then it holds 0.
        self.anew = any(step[0].removeprefix("!") in JUMPS for step in steps)
        rows = [self.row(f"{label}, step {at}", step) for at, step in enumerate(steps)]
        if len(self.own) > MAX_REGISTERS:
            raise ValueError(f"{label} has more than {MAX_REGISTERS} registers")
        return rows

    def row(self, where, step):
        verb, *operands = step
        marked, verb = verb.startswith("!"), verb.removeprefix("!")
        if marked and verb in WITHOUT_POINT:
            raise ValueError(f"{where}: {verb} has no point, so it cannot be an interesting operation")
        number_of_verb, kind, forms = VERBS[verb]
        name = name_of((verb, *operands))
        rest = operands[len(operands) - len(forms) :] if "e" not in forms else operands
        values = []
        result = at = -1
        if self.label == "setup" and ("l" in forms or "e" in forms):
            raise ValueError(f"{where}: setup has no registers and no labels, so no {verb}")
        for form, operand in zip(forms, rest):
            if form == "r":
                result = self.result(where, operand)
            elif form == "v":
                values += self.value(where, verb, operand)
            elif form == "l":
                if operand not in self.labels:
                    raise ValueError(f"{where}: there is no label {operand!r}")
                at = self.labels[operand]
            else:
                at = len(self.terms)
                self.terms += compile_expression(where, rest[1:], lambda word: self.term(where, word))
                values = [len(self.terms) - at, -1]
        object = pointer = -1
        if name is not None and name[0] == "*":
            pointer = self.value(where, verb, name[1:])[1]
        elif name is not None:
            object = self.places[name]
        if name in self.announced or (pointer >= 0 and self.announced):
            number_of_verb = {GET: LOAD, SET: STORE}.get(number_of_verb, number_of_verb)
        if verb in OF_RCU:
            kind = DOMAIN
        return number_of_verb, kind or 0, marked, object, pointer, result, at, *(values + [0, -1, 0, -1])[:4]

    def result(self, where, name):
        if self.label == "setup":
            raise ValueError(f"{where}: setup has no registers, so not {name!r}")
        if not is_name(name):
            raise ValueError(f"{where}: a register is a text without ':', not {name!r}")
        return self.register(name)

    def register(self, name):
        place = self.own.setdefault(name, len(self.registers))
        self.registers.setdefault(f"{self.thread}:{name}", place)
        return place

    def value(self, where, verb, operand):
        """A number, and the register that has it instead (-1: none)."""
        if not isinstance(operand, str):
            return [number(f"{where}: the value of {verb}", operand), -1]
        if operand[:1] == "&":
            if operand[1:] not in self.places:
                raise ValueError(f"{where}: an address is '&' with the name of a variable, not {operand!r}")
            return [address(self.places[operand[1:]]), -1]
        if self.label == "setup":
            raise ValueError(f"{where}: setup has no registers, so not {operand!r}")
        if operand not in self.own and not (self.anew and is_name(operand)):
            raise ValueError(f"{where}: register {operand!r} was given no value before")
        return [0, self.register(operand)]

    def term(self, where, word):
        """A word of an expression that is no number and no operator."""
        value, register = self.value(where, "let", word)
        return (NUMBER, value) if register < 0 else (REGISTER_TERM, register)


def compile_sections(sections, places, aliased=()):
    """Rows for Instruction, a list per section; rows for Term; and the names of all registers ("0:r"). aliased: the
    variables that a pointer may lead to."""
    threads = [steps for label, steps in sections if label != "setup"]
    assembler = Assembler(places, unprotected(threads, aliased))
    rows = [assembler.section(thread, label, steps) for thread, (label, steps) in enumerate(sections)]
    for name in assembler.registers:
        if name.partition(":")[2] in (*OPERATORS, *OF_ONE) and assembler.terms:
            raise ValueError(f"a register of a program with `let` cannot have the name of an operator, {name!r}")
    return rows, assembler.terms, tuple(assembler.registers)
