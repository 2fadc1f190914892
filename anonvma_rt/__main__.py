"""python -m anonvma_rt: the same as the command anonvma-rt."""

import sys

from anonvma_rt.cli import main

if __name__ == "__main__":
    sys.exit(main())
