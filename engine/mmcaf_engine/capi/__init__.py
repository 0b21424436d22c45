"""The C library of this installation: where it lies, and what a program needs to be built and run with it."""
