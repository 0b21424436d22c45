"""What every part of the manifest is: frozen, strict about what it does not know, and written without what it lacks."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from ..errors import printable, steers

LONGEST_TEXT = 10_000
"""Characters of one string of a manifest at most."""


class ForeignModel(BaseModel):
    """What came from elsewhere as JSON. Every string in it is bounded, and one line in which nothing steers a terminal.

    Unknown fields are refused, so that an older engine never ignores what a newer file relies on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=LONGEST_TEXT)

    @field_validator("*")
    @classmethod
    def _shown_as_it_is(cls, value: Any) -> Any:
        for text in _strings(value):
            if steers(text) or "\n" in text or "\t" in text:
                raise ValueError(f"one line without control characters is expected, got {text[:80]!r}")
        return value


class ManifestModel(ForeignModel):
    """A part of the manifest.

    A field that was added after the first bundles were written is left out of the file where it holds its default:
    so a manifest that uses none of them is written as it was before there were any.
    """

    version_2: ClassVar[frozenset[str]] = frozenset()
    """Fields that format version 2 added."""
    version_2_values: ClassVar[Mapping[str, frozenset[str]]] = MappingProxyType({})
    """Field -> values of it, or keys, that format version 2 added."""
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


def describe_validation(failure: ValidationError, whole: str = "manifest") -> str:
    """The first few validation errors as 'where: what', in one line; `whole` is where an error of no field is."""
    errors = failure.errors(include_url=False, include_input=False)
    lines = [
        f"{printable('.'.join(map(str, error['loc'])), 160) or whole}: {printable(error['msg'], 400)}"
        for error in errors[:4]
    ]
    return "; ".join(lines) + (f"; and {len(errors) - 4} more" if len(errors) > 4 else "")


def newer_fields(part: object, where: str = "") -> Iterator[str]:
    """Dotted paths of what version 2 added within a manifest, or a part of one: fields that were given, and values."""
    if isinstance(part, ManifestModel):
        for name in type(part).model_fields:
            if name in part.version_2 and name in part.model_fields_set:
                yield f"{where}{name}"
                continue
            value, added = getattr(part, name), part.version_2_values.get(name, ())
            if isinstance(value, dict):
                yield from (f"{where}{name}.{key}" for key in value if key in added)
            elif value in added:
                yield f"{where}{name} {value}"
                continue
            yield from newer_fields(value, f"{where}{name}.")
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from newer_fields(value, f"{where}{name}.")
    elif isinstance(part, tuple):
        for at, value in enumerate(part):
            yield from newer_fields(value, f"{where}{at}.")


def _strings(value: object) -> Iterator[str]:
    """All strings within a value; models within it look at their own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from _strings(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _strings(part)


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("one line of printable characters without blanks around it is expected")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""A text for people, shown as it is."""
