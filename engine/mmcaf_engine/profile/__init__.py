"""Where the time of an answer goes: cold and warm, stage by stage, layer by layer, on this machine.

from mmcaf_engine.profile import profile_bundle
"""

from typing import Any

from ..lazy import imported

_HOMES = {"profile_bundle": "run", "ProfileReport": "report"}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that a measured process imports no more than it needs."""
    return imported(__name__, _HOMES, name)
