"""The command that turns a file which only running it can read into plain data, for the machine that trusts it."""

import json
import shlex
from pathlib import Path
from typing import Literal

Source = Literal["torch", "pickle", "script", "program"]

_LOADED: dict[Source, tuple[str, str]] = {
    "torch": ("import torch", 'torch.load({0}, map_location="cpu", weights_only=False)'),
    "pickle": ("import pickle, torch", 'pickle.load(open({0}, "rb"))'),
    "script": ("import torch", 'torch.jit.load({0}, map_location="cpu")'),
    "program": ("import torch", "torch.export.load({0}).state_dict"),
}

# Modules become their state_dict and all keeps its place, so that nothing is chosen that the export must ask for.
_PLAIN = (
    "f = lambda v: v.detach().clone() if torch.is_tensor(v) "
    'else f(v.state_dict()) if callable(getattr(v, "state_dict", None)) '
    "else {str(k): f(x) for k, x in v.items()} if isinstance(v, dict) "
    "else [f(x) for x in v] if isinstance(v, (list, tuple)) "
    'else (torch.from_numpy(v.copy()) if type(v).__name__ == "ndarray" else v.item()) '
    'if getattr(getattr(v, "dtype", 0), "kind", "-") in "fiub" '
    "else v if v is None or type(v) in (int, float, bool, str) else str(v)"
)


def converted(path: Path) -> Path:
    """What the command writes, beside the file."""
    return path.with_name(f"{path.stem}.plain.pth")


def convert(path: Path, source: Source = "torch") -> str:
    """The advice, with the command; it is run where the file lies."""
    name, target = (json.dumps(part.name, ensure_ascii=False) for part in (path, converted(path)))
    imports, loaded = _LOADED[source]
    code = f"{imports}; {_PLAIN}; torch.save(f({loaded.format(name)}), {target})"
    return f"Convert it on the machine that trained it, where it is trusted: python -c {shlex.quote(code)}"
