"""Campaigns: many hunts, handed out in ranges to whoever works, kept in a store.

What a program needs is here: read_campaign(*text_of(file)) makes a plan, Store.create() a store for it, run_campaign()
works on it with a Crew. The modules are imported when they are used: a worker needs few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anonvma_rt.stress.campaign.executors import Crew
    from anonvma_rt.stress.campaign.file import read_campaign, text_of
    from anonvma_rt.stress.campaign.run import run_campaign
    from anonvma_rt.stress.campaign.store import Store

__all__ = ["Crew", "Store", "read_campaign", "run_campaign", "text_of"]

_MODULES = {"Crew": "executors", "Store": "store", "read_campaign": "file", "run_campaign": "run", "text_of": "file"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
