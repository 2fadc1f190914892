"""python -m anonvma_rt.stress.scaling: see experiment.py."""

import sys

from anonvma_rt.stress.scaling.experiment import main

sys.exit(main())
