"""Where an answer goes: what must not be replaced is refused before the work, and nothing is left half written."""

from .leftovers import is_staging, remove, remove_left, restore, sweep
from .named import Output, check_writable, refused, scratch_beside, within, write_all
from .staged import (
    PRIVATE,
    StagedFile,
    commit_folder,
    create,
    new_staging_folder,
    scratch_folder,
    staged_file,
    staged_folder,
    write_file,
)
from .temporary import new_temporary_folder, temporary_folder

__all__ = [
    "PRIVATE",
    "Output",
    "StagedFile",
    "check_writable",
    "commit_folder",
    "create",
    "is_staging",
    "new_staging_folder",
    "new_temporary_folder",
    "refused",
    "remove",
    "remove_left",
    "restore",
    "scratch_beside",
    "scratch_folder",
    "staged_file",
    "staged_folder",
    "sweep",
    "temporary_folder",
    "within",
    "write_all",
    "write_file",
]
