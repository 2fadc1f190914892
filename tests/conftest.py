"""Hypothesis profiles for all tests: `dev` by default, `ci` where CI is set, any by HYPOTHESIS_PROFILE.

No profile has a deadline: what runs on threads of its own takes as long as the machine is busy.
"""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
