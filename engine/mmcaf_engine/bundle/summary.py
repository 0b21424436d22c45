"""Which bundle it was, as every report says it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ModelSummary:
    """Which bundle answered, was measured or is looked at; bundle_sha256 identifies its whole content.

    signed_by: name and id of the trusted key that signed it; None where none did.
    """

    name: str
    bundle_sha256: str
    signed_by: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and texts."""
        return asdict(self)
