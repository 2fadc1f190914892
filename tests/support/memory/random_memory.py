"""Random programs of memory accesses, small enough to explore all their states under TSO and PSO."""

PLAIN = ("load", "store", "store", "cas", "add")
ORDERED = (*PLAIN, "load", "load_acquire", "store_release", "mb", "wmb", "rmb", "exchange", "fetch_add")
# Steps of all threads together, by how many threads there are.
MOST = {2: 9, 3: 8, 4: 8}


def random_accesses(draw, verbs=ORDERED):
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
    operands = {"cas": (draw.choice([0, 1]), value()), "exchange": (value(),), "fetch_add": (value(),)}.get(verb, ())
    registers.append(result)
    return (verb, variable, *operands, result)
