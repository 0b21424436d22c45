"""Which series of a study is read for which input."""
