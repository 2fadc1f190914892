"""An explorer and its process: signals, fork, and the end of the interpreter while blocks run."""

import os
import signal
import threading
import time

import pytest
from engine_programs import BUSY, child, explore


def test_signals_reach_the_main_thread():
    """A handler runs, in Python's main thread, while the block goes on; nothing is lost of the block."""
    caught = []
    old = signal.signal(signal.SIGUSR1, lambda *_: caught.append(threading.current_thread()))
    try:
        with explore(BUSY, seed=3) as explorer:
            quiet = explorer.run(0, 5000)
            explorer.submit(0, 5000)
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.001)
            explorer.finish()
            assert explorer.collect() == quiet
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert caught and set(caught) == {threading.main_thread()}


@pytest.mark.parametrize("busy", [False, True])
def test_fork(busy):
    """The child may build explorers of its own; the inherited one says that it is of no use, and ends in silence."""
    out, err, code = child(
        f"busy = {busy}\n"
        "explorer = explore(BUSY, seed=3)\n"
        "first = explorer.run(0, 100)\n"
        "if busy: explorer.submit(0, 30_000)\n"
        "import sys\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    with explorer:\n"
        "        for call in (lambda: explorer.run(0, 1), lambda: explorer.submit(0, 1), lambda: explorer.trace(0)):\n"
        "            try: call()\n"
        "            except RuntimeError as error: assert 'does not survive fork' in str(error)\n"
        "            else: raise AssertionError\n"
        "    with explore(BUSY, seed=3) as own:\n"
        "        assert own.run(0, 100) == first\n"
        "    del explorer\n"
        "    sys.exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "explorer.finish()\n"
        "assert explorer.run(0, 100) == first\n"
    )
    assert (out, err, code) == ("7\n", "", 0)


def test_the_interpreter_ends_while_blocks_run():
    assert child("e = explore(BUSY)\ne.submit(0, 10**6)\nf = explore(WRONG)\nprint(1)") == ("1\n", "", 0)


@pytest.mark.parametrize("ask", ["run(0, 10**6)", "run_with(Sticky(), 0, 10**6)", "trace(0)"])
def test_a_handler_that_raises_ends_the_block(ask):
    """As ^C does: the exception comes out of the call within a moment, and the explorer is as good as before."""
    out, err, code = child(
        "import signal\n"
        "def ring(*_): raise TimeoutError('rung')\n"
        "signal.signal(signal.SIGALRM, ring)\n"
        "program = Program([[('poll', 'x', 1)]]) if 'trace' in '''" + ask + "''' else BUSY\n"
        "with explore(program, seed=3) as explorer:\n"
        "    explorer.bound = 10**5\n"
        "    first = explorer.run(0, 10)\n"
        "    explorer.bound = 10**9\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        f"    try: explorer.{ask}\n"
        "    except TimeoutError as error: print(error, explorer.idle, explorer.stop.stopped)\n"
        "    explorer.stop.reset()\n"
        "    explorer.bound = 10**5\n"
        "    assert explorer.run(0, 10) == first\n"
        "print(len(threads_besides({str(os.getpid())})))\n"
    )
    assert (out, err, code) == ("rung True True\n0\n", "", 0)
