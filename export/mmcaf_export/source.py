"""The source network: built as its entry says, with a checkpoint's weights, and whole."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_buffer_registration_hook
from torch.nn.parameter import is_lazy

from mmcaf_engine.errors import ExportError, MmcafError, printable
from mmcaf_engine.machine.plugins import theirs

from .calls import adapted
from .checkpoint import Checkpoint
from .match import MatchReport, match_state
from .networks.entry import NetworkEntry

_Lines = dict[tuple[int, str], str]
"""A module's id and a buffer's name -> the line that registered it."""


def filled(
    entry: NetworkEntry[Any], config: Any, checkpoint: Checkpoint, allow_extra: Sequence[str] = ()
) -> tuple[nn.Module, MatchReport]:
    """The source network, its weights still those of the checkpoint's file and not a copy; it has run once.

    It is built on "meta", without values, which takes neither time nor memory. Where that fails, or leaves a tensor
    without its value that no checkpoint holds, it is built on the CPU, twice: what it is made of besides the
    checkpoint must be the same every time.

    Args:
        allow_extra: see `match_state`.

    Raises:
        ExportError: the checkpoint does not fit; the network is not whole, not always the same, or does not take and
            give what its entry declares.
    """
    example = entry.example_inputs(config, 1, seed=0)
    try:
        with torch.device("meta"):
            network = entry.build(config)
        if not any(tensor.is_meta for _module, _name, tensor in _unstored(network)):
            return _with_weights(entry, config, network, checkpoint, example, allow_extra)
    except MmcafError:
        raise
    except Exception:  # noqa: S110 - What the CPU says of it is what counts.
        pass
    lines: _Lines = {}
    with _registrations(lines):
        network = _on_cpu(entry, config, 0)
    _check_values(network, lines)
    network, matched = _with_weights(entry, config, network, checkpoint, example, allow_extra)
    again, _matched = _with_weights(entry, config, _on_cpu(entry, config, 1), checkpoint, example, allow_extra)
    _check_same(network, again, example, lines)
    return network, matched


def _on_cpu(entry: NetworkEntry[Any], config: Any, seed: int) -> nn.Module:
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.build(config)


def _with_weights(
    entry: NetworkEntry[Any],
    config: Any,
    network: nn.Module,
    checkpoint: Checkpoint,
    example: Mapping[str, Tensor],
    allow_extra: Sequence[str],
) -> tuple[nn.Module, MatchReport]:
    expected = network.state_dict()
    if lazy := [key for key, tensor in expected.items() if is_lazy(tensor)]:
        raise ExportError(
            f"The network's {lazy[0]} has no shape before its first run, as a lazy module's.",
            "Let the entry's `build` run the network once, or give the module its sizes.",
        )
    matched = match_state(expected, checkpoint, entry.dead, allow_extra)
    unread = {key: _unread(expected[key]) for key in matched.absent if key not in matched.state}
    network.load_state_dict(matched.state | unread, assign=True)
    network.requires_grad_(False).eval()
    return adapted(network, example, entry.tensors(config)[1], entry.unused_outputs), matched


def _unread(tensor: Tensor) -> Tensor:
    """In the place of an entry that the answer does not depend on, which would be no number if it did."""
    return torch.full(tensor.shape, torch.nan if tensor.is_floating_point() else 0, dtype=tensor.dtype)


def _unstored(network: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Tensors that no state_dict holds, as (path of the module, name, tensor): buffers that are not persistent, and
    attributes, also in lists and dicts."""
    stored = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    for path, module in network.named_modules():
        kept = module._non_persistent_buffers_set
        yield from (
            (path, name, tensor) for name, tensor in module._buffers.items() if name in kept and tensor is not None
        )
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from ((path, at, tensor) for at, tensor in _held(name, value) if id(tensor) not in stored)


def _held(name: str, value: Any, depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Tensors within an attribute's value."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        tensors = (*value.named_parameters(), *value.named_buffers())
        yield from ((f"{name}.{key}", tensor) for key, tensor in tensors)
    elif depth and isinstance(value, list | tuple):
        for at, entry in enumerate(value):
            yield from _held(f"{name}[{at}]", entry, depth - 1)
    elif depth and isinstance(value, dict):
        for key, entry in value.items():
            yield from _held(f"{name}[{printable(repr(key), 40)}]", entry, depth - 1)
    elif depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _held(f"{name}.{field.name}", getattr(value, field.name, None), depth - 1)


@contextmanager
def _registrations(lines: _Lines) -> Iterator[None]:
    """Note at which line each buffer is registered."""

    def note(module: nn.Module, name: str, _buffer: Tensor | None) -> None:
        frame = sys._getframe(1)
        while frame is not None and not theirs(frame):
            frame = frame.f_back  # type: ignore[assignment]
        if frame is not None:
            lines[id(module), name] = f"{frame.f_code.co_filename}, line {frame.f_lineno}"

    hook = register_module_buffer_registration_hook(note)
    try:
        yield
    finally:
        hook.remove()


def _check_values(network: nn.Module, lines: _Lines) -> None:
    """Refuse what is still without values, or holds what is no number, and does not come from the checkpoint."""
    for path, name, tensor in _unstored(network):
        if tensor.is_meta or (tensor.is_floating_point() and bool(tensor.isnan().any())):
            lacks = 'lies on "meta" and so has no values' if tensor.is_meta else "holds NaN"
            raise ExportError(
                f"{_where(network, path, name, lines)} {lacks}, though built on the CPU, and no checkpoint holds it.",
                'Let the entry\'s `build` make it without device="meta", of values that are known.',
            )


def _check_same(network: nn.Module, again: nn.Module, example: Mapping[str, Tensor], lines: _Lines) -> None:
    """Refuse a network that answers otherwise when it is built again: part of it is in no checkpoint.

    `lines` are of the first.
    """
    with torch.inference_mode():
        first, second = (_tuple(one(*example.values())) for one in (network, again))
    if all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(first, second, strict=True)):
        return
    other = {(path, name): tensor for path, name, tensor in _unstored(again)}
    differing = [
        _where(network, path, name, lines)
        for path, name, tensor in _unstored(network)
        if (found := other.get((path, name))) is None or not torch.equal(tensor, found)
    ]
    culprits = "; ".join(differing[:4]) or "something that is neither a buffer nor an attribute of a module"
    raise ExportError(
        f"The network answers otherwise each time that it is built, with the same checkpoint: {culprits} is drawn at "
        "random or left unset, and no checkpoint holds it.",
        "Make it a parameter or a persistent buffer, which the checkpoint must then hold, or draw it with a generator "
        "of its own and a fixed seed.",
    )


def _tuple(answer: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (answer,) if isinstance(answer, Tensor) else answer


def _where(network: nn.Module, path: str, name: str, lines: _Lines) -> str:
    module = network.get_submodule(path)
    kind = type(module)
    line = lines.get((id(module), name))
    what = "buffer" if name in module._buffers else "attribute"
    place = f", {line}" if line else ""
    return f"the {what} {f'{path}.' if path else ''}{name} of the module {kind.__module__}.{kind.__qualname__}{place},"
