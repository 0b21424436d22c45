"""The workstation side: from a study and a record to an answer, without torch.

from mmcaf_engine import load_bundle, open_session, infer
"""

from typing import Any

from .lazy import imported

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "bundle",
    "load_bundle": "bundle",
    "open_session": "session",
    "Session": "session",
    "infer": "pipeline",
    "Answerer": "pipeline",
    "Answer": "result.answer",
    "SourceImages": "result.sources",
    "Volume": "volume",
    "Study": "volume",
    "CancelToken": "cancel",
    "Result": "result",
    "read_study": "study",
    "read_record": "record",
    "MmcafError": "errors",
    "StudyError": "errors",
    "RecordError": "errors",
    "BundleError": "errors",
    "BackendError": "errors",
    "ExportError": "errors",
    "StrictError": "errors",
    "UsageError": "errors",
    "ServiceError": "errors",
    "CancelledError": "errors",
    "DeadlineError": "errors",
    "Remedy": "errors",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package stays cheap."""
    return imported(__name__, _HOMES, name)


def __dir__() -> list[str]:
    """The public names, also those that were not used yet."""
    return __all__
