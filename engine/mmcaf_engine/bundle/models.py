"""The files of a bundle that make one network of it: a model, and the weights beside it."""

from ..manifest import Precision
from .bundle import Bundle


def model_hashes(bundle: Bundle, precision: Precision, model: str | None = None) -> list[str]:
    """SHA-256 of a precision's model, or one of its parts, and of the weights beside it, as the manifest has them."""
    files = bundle.manifest.files
    return [files[name].sha256 for name in model_files(bundle, precision, model or bundle.manifest.models[precision])]


def model_files(bundle: Bundle, precision: Precision, model: str) -> list[str]:
    """A model and what it may be read with: weights beside it, or beside the whole network if it is a part of one."""
    named = (model, f"{model}.data", f"{bundle.manifest.models[precision]}.data")
    return [name for name in dict.fromkeys(named) if name in bundle.manifest.files]
