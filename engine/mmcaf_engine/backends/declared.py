"""What a model says of its inputs and outputs, held against what the manifest says of them, before it is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import BundleError, printable
from ..manifest import TensorSpec

Declared = Mapping[str, "Tensor"]
"""What a model declares, by name."""


@dataclass(frozen=True)
class Tensor:
    """Type and shape; shape: None where the rank is free, and None for an axis that is."""

    dtype: str
    shape: Sequence[int | None] | None

    def fits(self, spec: TensorSpec) -> bool:
        """Whether it may be what the spec says; of the axes that a caller is free in, it may say anything."""
        if self.dtype != spec.dtype:
            return False
        if self.shape is None:
            return True
        return len(self.shape) == len(spec.shape) and all(
            length is None or isinstance(axis, str) or length == axis
            for length, axis in zip(self.shape, spec.shape, strict=True)
        )

    def __str__(self) -> str:
        axes = None if self.shape is None else ["?" if axis is None else axis for axis in self.shape]
        return in_words(printable(self.dtype), axes)


def expect_inputs(model: str, declared: Declared, specs: Sequence[TensorSpec]) -> None:
    """Refuse a model whose inputs are not exactly these.

    Raises:
        BundleError: they are not.
    """
    known = {spec.name for spec in specs}
    for name in declared.keys() - known:
        raise not_as_listed(model, f"input {printable(name)}", "none of this name", str(declared[name]))
    _expect(model, "input", declared, specs)


def expect_outputs(model: str, declared: Declared, specs: Sequence[TensorSpec]) -> None:
    """Refuse a model that lacks one of these outputs, or has it in another form.

    Raises:
        BundleError: it does.
    """
    _expect(model, "output", declared, specs)


def _expect(model: str, kind: str, declared: Declared, specs: Sequence[TensorSpec]) -> None:
    for spec in specs:
        found = declared.get(spec.name)
        if found is None or not found.fits(spec):
            wanted = in_words(spec.dtype, spec.shape)
            raise not_as_listed(model, f"{kind} {spec.name}", wanted, "none" if found is None else str(found))


def in_words(dtype: str, axes: Sequence[int | str] | None) -> str:
    """A tensor's type and shape, such as "float32 [N, 1]"."""
    return f"{dtype} of any shape" if axes is None else f"{dtype} [{', '.join(map(str, axes))}]"


def not_as_listed(model: str, what: str, expected: str, got: str) -> BundleError:
    """The error about a model that is not what its manifest says."""
    return BundleError(
        f"{model}: {what}: expected {expected}, as the manifest says, got {got}.", "Export the bundle again."
    )
