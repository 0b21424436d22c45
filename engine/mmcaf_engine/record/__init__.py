"""The record: clinical fields and the report, validated and made ready for the network."""

from .clinical import Clinical, read_clinical
from .record import read_record

__all__ = ["read_clinical", "Clinical", "read_record"]
