"""Whether an installation, and what it answers, is in order."""
