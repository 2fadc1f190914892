"""A storm of a compiled program: the program alone, with the system's own threads, as often as there is time for.

It is compiled without the compiler's calls and linked without the lab, and each execution is a process, as many at a
time as there are cores. How a process ended says what was seen: its exit code, its signal, or that it did not end.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from time import monotonic, sleep

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.storming.storm_result import Rate, Stormed

__all__ = ["PROFILE", "storm_processes"]

PROFILE = "processes"
PATIENCE = 10.0  # seconds after which a process counts as stuck
NAP = 0.0005
SAID = {"assertion": (b"Assertion", b"assertion"), "uncaught-exception": (b"terminate called",)}


class _Process:
    """One execution that is under way. What it prints is looked at only where it was aborted."""

    def __init__(self, command: Sequence[str]) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        self.began = monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.said, start_new_session=True
        )

    def ended(self) -> bool:
        return self.process.poll() is not None or monotonic() - self.began > PATIENCE

    def kind(self) -> str | None:
        """What was seen, in the words that a hunt has for it."""
        code = self.process.poll()
        if code is None:
            return "stuck"
        if code == -signal.SIGABRT:
            self.said.seek(0)
            text = self.said.read(1 << 16)
            return next((kind for kind, words in SAID.items() if any(word in text for word in words)), "abort")
        return "crash" if code < 0 else "exit-code" if code else None

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.said.close()


def storm_processes(
    command: Sequence[str],
    result: Stormed,
    seconds: float,
    executions: int | None,
    stop: StopToken,
    progress: Callable[[int, int], None],
) -> None:
    """Adds to `result` what was seen in so many seconds, or in so many executions where a number is given. progress: is
    told of the executions that ended, and of the violations among them."""
    rate = Rate(profile=PROFILE)
    result.rates = [rate]
    under_way: list[_Process] = []
    begun, since = 0, monotonic()
    end = since + seconds
    try:
        while not stop.stopped:
            while len(under_way) < _cores() and (monotonic() < end if executions is None else begun < executions):
                under_way.append(_Process(command))
                begun += 1
            if not under_way:
                return
            ended = [one for one in under_way if one.ended()]
            kinds = [kind for one in ended if (kind := one.kind())]
            for one in ended:
                one.close()
                under_way.remove(one)
            passed, since = monotonic() - since, monotonic()
            for counted in (result, rate):
                counted.add(len(ended), passed, kinds)
            if ended:
                progress(len(ended), len(kinds))
            else:
                sleep(NAP)
    finally:
        for one in under_way:
            one.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0))
