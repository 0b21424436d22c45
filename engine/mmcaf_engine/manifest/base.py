"""What every part of the manifest is: frozen, and strict about what it does not know."""

from pydantic import BaseModel, ConfigDict


class ManifestModel(BaseModel):
    """Unknown fields are refused, so that an older engine never ignores what a newer bundle relies on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
