"""Python imports this as it starts: what a test starts while a mutant is tried gets the change too."""

import mutants.plugin  # noqa: F401  (importing it makes the change)
