"""The configuration that a service runs with: what was accepted, not what its owner is writing at this moment.

Its processes read this copy whenever one is started again, so that all of them always have the same.
"""

from pathlib import Path

from pydantic import ValidationError

from ..errors import ServiceError
from ..files import read_bounded
from .config import MAX_BYTES, Config, read_config
from .disk import sync_folder, write_synced

NAME = "config.json"


def keep_accepted(config: Config) -> Path:
    """Write it into its spool; the file.

    Raises:
        OSError: it cannot be written.
    """
    file, draft = config.spool / NAME, config.spool / f".{NAME}"
    draft.unlink(missing_ok=True)
    write_synced(draft, config.model_dump_json(indent=1).encode())
    draft.replace(file)
    sync_folder(config.spool)
    return file


def read_accepted(file: Path) -> Config:
    """What `keep_accepted` wrote, or a configuration as a person writes it.

    Raises:
        ServiceError: it cannot be read, or is none.
    """
    if file.name != NAME:
        return read_config(file)
    content = read_bounded(file, error=ServiceError, max_bytes=16 * MAX_BYTES)
    try:
        return Config.model_validate_json(content)
    except ValidationError:
        raise ServiceError(f"{file} is not what this service wrote.", "Start the service again.") from None
