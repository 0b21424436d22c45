"""Which bundle it was, as every report says it."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field


@dataclass(frozen=True)
class ModelSummary:
    """Which bundle answered, was measured or is looked at."""

    name: Annotated[str, Field(description="The manifest's.")]
    version: Annotated[str | None, Field(description="The manifest's; null where it gives none.")]
    bundle_sha256: Annotated[
        str, Field(description="Of its manifest, which holds the hash of every file: it identifies the whole content.")
    ]
    device_uid: Annotated[
        str, Field(description="2.25. and the UUIDv5 of urn:sha256:BUNDLE_SHA256 as a decimal number.")
    ]
    signed_by: Annotated[
        dict[str, str] | None, Field(description="name and id (key) of the trusted key that signed it; null without.")
    ]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and texts."""
        return asdict(self)
