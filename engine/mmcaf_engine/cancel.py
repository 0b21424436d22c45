"""How a caller follows long work."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): "read" (files), "decode" (slices), "open" (the session), "infer" (windows).

Where a session must build an engine first, also with the phases of that, as its runtime names them.
"""
