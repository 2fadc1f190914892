"""Announcements left out of the simulated kernel, one at a time: `python -m anonvma_rt.stress.omissions`."""
