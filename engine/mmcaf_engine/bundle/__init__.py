"""The bundle: everything that is needed to answer, every byte of it hashed."""

from .bundle import Bundle, load_bundle

__all__ = ["load_bundle", "Bundle"]
