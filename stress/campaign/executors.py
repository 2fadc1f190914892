"""Who executes ranges: processes of this machine, the workers of a dask cluster, the ranks of an MPI job.

To the runner each is a concurrent.futures.Executor in a Crew, which knows how to replace it and which errors mean that
a worker was lost. A process worker dies with the thread that started it, so a runner that is killed leaves no orphan.
"""

import ctypes
import errno
import logging
import mmap
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.errors import UserError, quote

__all__ = ["CannotStart", "Crew", "Lost", "ProcessWorkers", "crew_for", "host_is_short"]

START_SECONDS = 120.0  # for a worker to import what it needs; a busy machine takes a while
STARTS = 20  # of workers that are killed while they start, in a row
REST = 0.05  # seconds between two of them, more each time
ROOM = 16 << 20  # bytes of addresses for a thread's stack and what starts a worker; an interpreter without them dies
LOOK_SECONDS = 2.0  # between two looks at how many workers a cluster has now
LONGEST_LOOK = 1.0  # seconds: whoever looks may have been stopped itself, and that time counts for nobody
PR_SET_PDEATHSIG = 1
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT}


class Lost(Exception):
    """A worker died, or fell silent, with a range in its hands; exactly that range is to blame."""


class CannotStart(UserError):
    """Workers do not even start, so no range is to blame."""


def host_is_short(error: BaseException | None) -> bool:
    """Whether this machine lacks descriptors, memory, processes or room: no range is to blame for that."""
    if isinstance(error, OSError):
        return error.errno in _SHORT
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


@dataclass
class Crew:
    """An executor and what the runner must know of it.

    make: a new executor, at the start and when the last one broke. width: ranges under way that keep it busy.
    An error of a future is the fault of its range, but for two kinds: a BrokenExecutor means that the whole executor
    has to be replaced and that nobody knows which range is to blame, and so do the errors in `gone`, but no range is.
    exact: a worker that dies takes one range with it, so to find out which execution kills it costs little.
    """

    make: Callable[[], Executor]
    width: Callable[[Executor], int]
    gone: tuple[type[BaseException], ...] = ()
    exact: bool = True
    close: Callable[[], None] = lambda: None
    executor: Executor = field(init=False)

    def begin(self) -> None:
        self.executor = self.make()

    def renew(self) -> None:
        self.executor.shutdown(wait=False)
        self.executor = self.make()

    def submit(self, call: Callable[..., Any], *arguments: object, within: float) -> "Future[Any]":
        """within: seconds after which a worker of ours that has not answered counts as lost; see look()."""
        if isinstance(self.executor, ProcessWorkers):
            return self.executor.submit(call, *arguments, within=within)
        return self.executor.submit(call, *arguments)

    def look(self) -> None:
        """To be called often: ends workers that should have answered, whatever keeps them from it."""
        if isinstance(self.executor, ProcessWorkers):
            self.executor.look()

    def end(self, kill: bool) -> None:
        """No worker is left afterwards, as far as it is ours. kill: do not wait for what they do."""
        if kill and isinstance(self.executor, ProcessWorkers):
            self.executor.kill()
        self.executor.shutdown(wait=not kill or isinstance(self.executor, ProcessWorkers))
        self.close()


def crew_for(spec: str, jobs: int | None) -> Crew:
    """The crew that --executor names: processes, dask://HOST:PORT or mpi. Raises UserError."""
    if spec == "processes":
        workers = len(os.sched_getaffinity(0)) if jobs is None else jobs
        if not 1 <= workers <= 1024:
            raise UserError(f"--jobs must be from 1 to 1024, not {workers}")
        return Crew(lambda: ProcessWorkers(workers), lambda _: 2 * workers)
    if jobs is not None:
        raise UserError("--jobs is for the processes of this machine; the cluster decides how many workers it has")
    if spec == "mpi":
        return _mpi()
    if spec.startswith("dask://"):
        return _dask(spec)
    raise UserError(f"--executor must be processes, dask://HOST:PORT or mpi, not {quote(spec)}")


def _needs_room() -> None:
    """Raises MemoryError while there still is enough for somebody to catch it.

    Where CPython runs out of memory in a thread it can abort the process or leave a lock taken.
    """
    try:
        mmap.mmap(-1, ROOM).close()
    except (OSError, ValueError) as error:
        raise MemoryError(f"less than {ROOM >> 20} MiB of addresses are left for a worker") from error


class ProcessWorkers(ThreadPoolExecutor):
    """Processes, each with a thread here that hands it one call at a time and replaces it when it dies.

    So the call that a dead worker had is known, and no other call is lost with it. Each worker keeps to one core,
    because a hunt pins its threads to the core on which it begins, and two must not choose the same.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix="anonvma-rt")
        self._free_cores = cores(workers)
        self._own = threading.local()
        self._living: set[_Worker] = set()
        self._lock = threading.Lock()
        self._killed = False
        self._looked = monotonic()

    def submit(
        self, call: Callable[..., Any], /, *arguments: Any, within: float | None = None, **more: Any
    ) -> "Future[Any]":
        _needs_room()
        return super().submit(self._forward, call, arguments, more, within)

    def look(self) -> None:
        """Kills the workers whose time is over: one that was stopped from outside cannot end itself."""
        now = monotonic()
        passed, self._looked = min(now - self._looked, LONGEST_LOOK), now
        with self._lock:
            for worker in self._living:
                worker.passes(passed)

    def pids(self) -> list[int]:
        """Of the workers that live now."""
        with self._lock:
            return [worker.process.pid for worker in self._living if worker.process.pid]

    def kill(self) -> None:
        """Ends all workers at once; calls under way are Lost."""
        with self._lock:
            self._killed = True
            for worker in self._living:
                worker.process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            with self._lock:
                for worker in self._living:
                    worker.dismiss()
                self._living.clear()

    def _forward(
        self, call: Callable[..., Any], arguments: tuple[Any, ...], more: dict[str, Any], within: float | None
    ) -> Any:
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = self._hire()
        try:
            return worker.do(call, arguments, more, within)
        except Lost:
            self._own.worker = None
            self._fire(worker)
            raise

    def _hire(self) -> "_Worker":
        """A new worker. One that is killed while it starts says nothing of the range it was meant for."""
        for attempt in range(1, STARTS + 1):
            with self._lock:
                if self._killed:
                    raise Lost("the workers were told to end")
                _needs_room()
                core = self._free_cores.pop(0)
                try:
                    worker = _Worker(core)
                except BaseException:
                    self._free_cores.append(core)
                    raise
                self._living.add(worker)
            if worker.started():
                return worker
            self._fire(worker)
            code = worker.process.exitcode
            if code is None or code >= 0:
                hint = 'a script that runs a campaign needs `if __name__ == "__main__":`'
                raise CannotStart(f"a worker process did not start ({_cause(code)}); {hint}")
            sleep(REST * attempt)
        raise CannotStart(f"{STARTS} worker processes in a row were killed while they started ({_cause(code)})")

    def _fire(self, worker: "_Worker") -> None:
        with self._lock:
            self._living.discard(worker)
            self._free_cores.append(worker.core)
        worker.dismiss()


class _Worker:
    """One process at the other end of a pipe."""

    def __init__(self, core: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.core = core
        self.left: float | None = None  # seconds that it still has for what it does
        self.given = 0.0
        self.pipe, theirs = context.Pipe()
        try:
            self.process = context.Process(
                target=_serve, args=(theirs, os.getpid(), core), name="anonvma-rt worker", daemon=True
            )
            self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()

    def started(self) -> bool:
        """Waits until it says that it is ready."""
        try:
            return self.pipe.poll(START_SECONDS) and self.pipe.recv() == "ready"
        except (EOFError, OSError):
            self.process.join(10)
            return False

    def passes(self, seconds: float) -> None:
        """That much time has passed."""
        if self.left is not None:
            self.left -= seconds
            if self.left < 0:
                self.process.kill()

    def do(
        self, call: Callable[..., Any], arguments: tuple[Any, ...], more: dict[str, Any], within: float | None
    ) -> Any:
        self.left, self.given = within, within or 0.0
        try:
            self.pipe.send((call, arguments, more))
            good, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            if self.left is not None and self.left < 0:
                raise Lost(
                    f"worker process {self.process.pid} did not answer within {self.given:g} s, as if it was stopped"
                ) from None
            raise Lost(f"worker process {self.process.pid} died ({_cause(self.process.exitcode)})") from None
        finally:
            # Its thread waits for the next call, so no time passes for it.
            self.left = None
        if good:
            return value
        raise value

    def dismiss(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def _serve(pipe: Any, parent: int, core: int) -> None:
    """The life of a worker process: it ends when the pipe does, or when the thread that started it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the runner, which lets workers finish
    with suppress(OSError):  # the set of cores that may be used has just become smaller
        os.sched_setaffinity(0, {core})
    pipe.send("ready")
    while True:
        try:
            asked = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            call, arguments, more = pickle.loads(asked)  # which imports, and may need more than the machine has
            answer = (True, call(*arguments, **more))
        except Exception as error:
            answer = (False, error)
        try:
            said = pickle.dumps(answer)
        except Exception as error:  # what came out cannot be sent
            short = error if host_is_short(error) else None
            said = pickle.dumps((False, short or RuntimeError(f"{type(answer[1]).__name__} of a worker: {error}")))
        try:
            pipe.send_bytes(said)
        except OSError:
            return


def _dask(spec: str) -> Crew:
    try:
        from distributed import Client
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise UserError(f"--executor {spec} needs dask.distributed: pip install 'anonvma_rt[dask]'") from None
    for name in logging.root.manager.loggerDict:
        if name.split(".")[0] == "distributed":  # it logs with tracebacks what we say in one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
    clients: list[Any] = []

    def close() -> None:
        while clients:
            clients.pop().close(timeout=5)

    def make() -> Executor:
        close()
        try:
            client: Any = Client(  # type: ignore[no-untyped-call]
                f"tcp://{spec.removeprefix('dask://')}", timeout=10, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise UserError(f"--executor {spec}: there is no scheduler: {error}") from None
        clients.append(client)
        # A range is a pure function, but a lost one must be computed again and not be looked up.
        executor: Executor = client.get_executor(pure=False)
        return executor

    asked, known = -LOOK_SECONDS, 0

    def width(_: Executor) -> int:
        nonlocal asked, known
        if monotonic() - asked > LOOK_SECONDS:
            try:
                known = sum(clients[-1].nthreads().values())
            except OSError as error:
                raise UserError(f"--executor {spec}: there is no scheduler any more: {error}") from None
            asked = monotonic()
        return 2 * max(1, known)

    return Crew(make, width, gone=(CommClosedError,), exact=False, close=close)


def _mpi() -> Crew:
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except ImportError:
        raise UserError("--executor mpi needs mpi4py and an MPI library: pip install 'anonvma_rt[mpi]'") from None
    if MPI.COMM_WORLD.Get_size() < 2:
        raise UserError(
            "--executor mpi needs ranks: mpiexec -n 5 python -m mpi4py.futures -m anonvma_rt campaign run ... "
            "--executor mpi"
        )

    def width(executor: Any) -> int:
        return 2 * int(executor.num_workers)

    return Crew(MPIPoolExecutor, width, exact=False)
