"""Random programs of memory accesses, small enough to explore all their states under TSO and PSO."""

# What a random program is made of.
KINDS = {
    "plain": ["load", "store", "store", "cas", "add"],
    "ordered": [
        "load", "load", "load_acquire", "store", "store", "store_release", "mb", "wmb", "rmb", "cas", "add", "exchange",
        "fetch_add",
    ],
    "locked": [
        "load", "store", "store", "wmb", "exchange", "compare_exchange", "fetch_and", "fetch_or", "fetch_xor",
        "add_unless",
    ],
    "awaits": ["load", "store", "store", "store_release", "wmb", "await", "await", "add"],
}  # fmt: skip
# Steps of all threads together, by how many threads there are.
MOST = {2: 9, 3: 8, 4: 8}


def random_accesses(draw, verbs):
    """Two to four threads of at most five steps, on two or three variables. draw: a random.Random."""
    tasks = draw.choice([2, 2, 3, 3, 4])
    variables = draw.choice(["xy", "xy", "xyz"])
    left, threads = MOST[tasks], []
    for i in range(tasks):
        count = draw.randint(1, max(1, min(5, left - (tasks - i - 1))))
        left -= count
        registers = []
        threads.append([random_step(draw, draw.choice(verbs), variables, registers) for _ in range(count)])
    return threads


def random_step(draw, verb, variables, registers):
    """Each result has a register of its own, so that the values at the end tell all that was read."""

    def value():
        return draw.choice(registers) if registers and draw.random() < 0.2 else draw.choice([1, 1, 2])

    variable, result = draw.choice(variables), f"r{len(registers)}"
    if verb in ("mb", "wmb", "rmb"):
        return (verb,)
    if verb in ("store", "store_release", "add", "await"):
        return (verb, variable, value())
    if verb in ("cas", "compare_exchange"):
        operands = (draw.choice([0, 1]), value())
    elif verb == "add_unless":
        operands = (value(), draw.choice([0, 1]))
    else:
        operands = () if verb in ("load", "load_acquire") else (value(),)
    registers.append(result)
    return (verb, variable, *operands, result)


# Pieces of several steps, with a lock, branches and RCU.
PIECES = {
    "locks": ("access", "locked", "locked", "tried"),
    "branches": ("access", "access", "branch", "branch", "computed"),
    "rcu": ("access", "section", "section", "grace"),
    "mixed": ("access", "locked", "tried", "branch", "computed", "section", "grace"),
}


def random_pieces(draw, kinds, verbs=tuple(KINDS["ordered"])):
    """Two or three threads of one or two pieces. kinds: of PIECES; verbs: what is in them."""
    tasks, threads = draw.choice([2, 2, 3]), []
    for _ in range(tasks):
        registers, thread = [], []
        for _ in range(draw.choice([1, 2] if tasks == 2 else [1, 1, 2])):
            thread += random_piece(draw, draw.choice(kinds), verbs, registers, len(thread))
        threads.append(thread)
    return threads


def random_piece(draw, kind, verbs, registers, at):
    """at: where it begins in its thread, for labels of its own."""

    def steps(most=2):
        return [random_step(draw, draw.choice(verbs), "xy", registers) for _ in range(draw.randint(1, most))]

    def skipped(jump):
        """What may be jumped over gives no register that is used later."""
        kept = len(registers)
        inside = steps(1)
        del registers[kept:]
        return [(jump, registers[-1], f"over {at}"), *inside], ("label", f"over {at}")

    if kind == "access":
        return steps()
    if kind == "locked":
        return [("lock", "a"), *steps(), ("unlock", "a")]
    if kind == "section":
        return [("rcu_read_lock",), *steps(), ("rcu_read_unlock",)]
    if kind == "grace":
        return [*steps(1), ("synchronize_rcu",), *steps(1)]
    if kind == "computed":
        first = [random_step(draw, "load", "xy", registers)]
        name = f"r{len(registers)}"
        words = (registers[-1], draw.choice([1, 2]), draw.choice(["+", "^", "==", "!=", "<"]))
        registers.append(name)
        return [*first, ("let", name, *words), ("store", draw.choice("xy"), name)]
    if kind == "tried":
        registers.append(f"r{len(registers)}")
        taken = ("trylock", "a", registers[-1])
        inside, label = skipped("jump_unless")
        return [taken, *inside, ("unlock", "a"), label]
    looked = random_step(draw, "load", "xy", registers)
    inside, label = skipped(draw.choice(["jump_if", "jump_unless"]))
    return [looked, *inside, label]
