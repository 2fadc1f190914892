"""Runs the programs and tools of others by which the lab can be judged, from a checkout that the user has.

    python -m anonvma_rt.stress.judges sctbench PATH     executions to the first bug, by strategy
    python -m anonvma_rt.stress.judges genmc PATH        numbers of executions beside those expected; errors found
    python -m anonvma_rt.stress.judges nidhugg PROGRAM   numbers of traces under SC, TSO and PSO, counted by both

Each of their programs runs in a process of its own. Exit code 0: all was found, or counted, as expected; 1: something
was not; 2: bad input.
"""

import argparse
import json
import sys
from pathlib import Path

from anonvma_rt.errors import UserError
from anonvma_rt.stress.judges import genmc, nidhugg, sctbench


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m anonvma_rt.stress.judges", description=__doc__.splitlines()[0])
    parser.add_argument("judge", choices=("sctbench", "genmc", "nidhugg"))
    parser.add_argument("path", type=Path, help="the checkout; of Nidhugg the program that was built")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--seconds", type=float, help="the most that one program may take")
    parser.add_argument("--seeds", type=int, default=20, help="of each strategy (default %(default)s)")
    parser.add_argument("--runs", type=int, default=10_000, help="executions with each seed (default %(default)s)")
    parser.add_argument("--strategy", action="append", help="only this one; may be repeated")
    parser.add_argument("--only", action="append", default=[], help="only this benchmark, or this family of programs")
    options = parser.parse_args(arguments)
    try:
        if options.judge == "genmc":
            families = options.only or [*genmc.FAMILIES, *genmc.WRONG]
            result = genmc.run(options.path, families, options.seconds or genmc.SECONDS)
        elif options.judge == "nidhugg":
            result = nidhugg.run(options.path, options.only, options.seconds or nidhugg.SECONDS)
        else:
            strategies = options.strategy or sctbench.usual()
            seconds = options.seconds or sctbench.SECONDS
            result = sctbench.run(options.path, strategies, options.seeds, options.runs, options.only, seconds)
    except UserError as error:
        print(f"judges: {error}", file=sys.stderr)
        return 2
    told = {"genmc": genmc, "nidhugg": nidhugg, "sctbench": sctbench}[options.judge]
    print(json.dumps(result, indent=1) if options.json else told.text(result))
    return 0 if result["as_expected"] else 1


if __name__ == "__main__":
    sys.exit(main())
