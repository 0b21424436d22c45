"""Codes of terminologies that exports use, as tables with their source and version."""
