"""The 2011 program on the host's own kernel: the C file of stress/kernel, built where nothing stays of it, and run."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from anonvma_rt.errors import UserError, quote

__all__ = ["SOURCE", "compiler", "run_kernel_program"]

SOURCE = Path(__file__).with_name("anonvma_kernel.c")


def compiler() -> list[str]:
    """The words of $CC, or cc."""
    words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(words[0]) is None:
        raise UserError(f"kernel needs a C compiler, and {quote(words[0])} is not there: install one, or set CC")
    return words


def run_kernel_program(options: Sequence[str]) -> int:
    """Builds the program, runs it with these options on our own stdout and stderr, and returns its exit code."""
    with TemporaryDirectory(prefix="anonvma-rt-") as folder:
        program = Path(folder, SOURCE.stem)
        command = [*compiler(), "-O2", "-o", str(program), str(SOURCE)]
        built = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if built.returncode:
            first = next((line for line in built.stderr.splitlines() if "error" in line), built.stderr)
            raise UserError(f"the C compiler failed: {first}")
        try:
            process = subprocess.Popen([program, *options])
        except OSError as error:
            raise UserError(f"programs cannot be run in {folder}: {error.strerror}; set TMPDIR") from None
    # What runs needs no name, so the folder is gone already, however this ends.
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # ^C reached it, too, but a signal to this process alone did not
