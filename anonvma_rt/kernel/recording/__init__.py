"""A scenario written in Python, with the calls of a Machine: the setup happens at once, the threads are written down.

Everything before the first thread is done by a real Machine, so addresses are known, mistakes raise where they are
made, and the state can be looked at. What stands in a thread (or in `after`) is only recorded, for the lab decides
when it happens. The result is a TOML text like any other, so a reproducer of it needs no Python.
"""

from anonvma_rt.kernel.recording.recorded import RecordedProcess
from anonvma_rt.kernel.recording.recording import Recording, rehearse

__all__ = ["RecordedProcess", "Recording", "rehearse"]
