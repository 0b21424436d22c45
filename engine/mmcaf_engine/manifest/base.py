"""What every part of the manifest is: frozen, strict about what it does not know, and written without what it lacks."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class ManifestModel(BaseModel):
    """Unknown fields are refused, so that an older engine never ignores what a newer bundle relies on.

    A field that was added after the first bundles were written is left out of the file where it holds its default:
    so a manifest that uses none of them is written as it was before there were any.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version_2: ClassVar[frozenset[str]] = frozenset()
    """Fields that format version 2 added."""
    sparse: ClassVar[frozenset[str]] = frozenset()
    """Further fields that are left out where they hold their default."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialise(self)
        defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in type(self).model_fields.items()
            if name in self.version_2 | self.sparse
        }
        return {
            name: value
            for name, value in written.items()
            if name not in defaults or getattr(self, name) != defaults[name]
        }


def newer_fields(part: object, where: str = "") -> Iterator[str]:
    """Dotted paths of the fields within a manifest, or a part of one, that were given and that version 2 added."""
    if isinstance(part, ManifestModel):
        for name in type(part).model_fields:
            if name in part.version_2 and name in part.model_fields_set:
                yield f"{where}{name}"
            else:
                yield from newer_fields(getattr(part, name), f"{where}{name}.")
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from newer_fields(value, f"{where}{name}.")
    elif isinstance(part, tuple):
        for at, value in enumerate(part):
            yield from newer_fields(value, f"{where}{at}.")


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("one line of printable characters without blanks around it is expected")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""A text for people, shown as it is."""
