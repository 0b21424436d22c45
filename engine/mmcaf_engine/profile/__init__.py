"""Where the time of an answer goes: cold and warm, stage by stage, layer by layer, on this machine.

from mmcaf_engine.profile import profile_bundle
"""

from importlib import import_module
from typing import Any

_HOMES = {"profile_bundle": "run", "ProfileReport": "report"}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that a measured process imports no more than it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
