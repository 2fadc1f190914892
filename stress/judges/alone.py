"""A program of others, or a subject of a table, in a process of its own, with a limit of time: whatever it does, the
table goes on.

The question and the answer are JSON on one line each, so that a crash or a hang of the child is one more answer.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ask", "main"]


def to_stderr(name: str) -> None:
    print(name, file=sys.stderr, flush=True)


def ask(
    what: str, question: Mapping[str, Any], seconds: float, tell: Callable[[str], object] = to_stderr
) -> dict[str, Any]:
    """What `what` (see main) answers; {"failed": reason} where it does not. tell: called with the question's name."""
    tell(question.get("name", ""))
    command = [sys.executable, "-m", "anonvma_rt.stress.judges.alone", what]
    try:
        done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {seconds:.0f} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        return {"failed": f"exit code {done.returncode}: {said[-1]}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main(arguments: list[str]) -> int:
    from anonvma_rt.errors import UserError
    from anonvma_rt.stress.judges import genmc, sctbench
    from anonvma_rt.stress.search import rows

    question = json.load(sys.stdin)
    answers = {"builtin": rows.answer, "genmc": genmc.answer, "sctbench": sctbench.answer}
    try:
        print(json.dumps(answers[arguments[0]](question)))
    except UserError as error:
        print(json.dumps({"failed": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
