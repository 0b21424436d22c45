"""Free text: a report read from a file, and turned into the word pieces that a network reads."""

from .report import read_report
from .tokenizer import TokenisedText, Tokenizer, open_tokenizer

__all__ = ["Tokenizer", "TokenisedText", "open_tokenizer", "read_report"]
