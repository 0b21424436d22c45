"""How a source network is called and what it gives: dicts, lists, named tuples and dataclasses, by declared names.

What follows knows one form alone: inputs by place, and a tensor or a tuple of the declared outputs in their order.
"""

import collections.abc
import dataclasses
import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_engine.machine.plugins import place, raised_whole
from mmcaf_engine.manifest import TensorSpec

from .networks.plugins import NetworkError

_DECLARE = "Declare in `tensors` what `forward` gives; name in `unused_outputs` what the bundle is to do without."
_Arrange = Callable[[Sequence[Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]
"""The declared inputs, in order -> positional and named arguments of `forward`."""


def adapted(
    network: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[TensorSpec],
    unused: Sequence[str] = (),
) -> nn.Module:
    """The network as one that takes the declared inputs by place and gives the declared outputs in their order.

    It runs once, on the example. Its class is replaced in place by one that differs in `forward`, where need be.

    Args:
        example: the declared inputs, of one case.
        unused: outputs that are left out.

    Raises:
        ExportError: arguments or outputs are not those that are declared; the message names them.
    """
    _check_example(example)
    failures: list[Exception] = []
    for arrange in _arrangements(network, list(example)):
        given, named = arrange(list(example.values()))
        try:
            with torch.no_grad():
                answer = network(*given, **named)
        except Exception as found:
            failures.append(found)
            continue
        pick = _picked(answer, outputs, unused)
        _check_outputs([answer] if isinstance(answer, Tensor) else pick(answer), outputs, example)
        if arrange is _by_place and _is_plain(answer, outputs) and not unused:
            return network
        return _with_forward(network, list(example), arrange, pick)
    where = place(failures[0])
    raise NetworkError(f"forward: {raised_whole(failures[0])}{where and f' ({where})'}") from failures[0]


def _check_example(example: Mapping[str, Tensor]) -> None:
    sizes = {name: tensor.shape[0] if tensor.ndim else None for name, tensor in example.items()}
    if wrong := [name for name, size in sizes.items() if size != 1]:
        raise ExportError(
            f"example_inputs of one case gives {wrong[0]} as {_shape(example[wrong[0]])}; the batch, 1, comes first.",
            "Correct the entry's `example_inputs`.",
        )


def _by_place(given: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(given), {}


def _arrangements(network: nn.Module, names: Sequence[str]) -> list[_Arrange]:
    """Ways to call `forward`: one, or where its signature does not tell, those that there are, the likelier first.

    Raises:
        ExportError: an input is expected at another's place, or there is no argument for one.
    """
    parameters = list(inspect.signature(network.forward).parameters.values())
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return [_by_place]
    by_name = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    by_place = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if [one.name for one in by_place[: len(names)]] == list(names):
        return [_by_place]
    if all(name in by_name for name in names):
        return [lambda given: ((), dict(zip(names, given, strict=True)))]

    def as_dict(given: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (dict(zip(names, given, strict=True)),), {}

    tensors = [one for one in by_place if one.default in (one.empty, None)]
    if by_place and by_place[0].name not in names and _is_mapping(network, by_place[0]):
        return [as_dict]
    if misplaced := [one.name for at, one in enumerate(tensors) if one.name in (*names[:at], *names[at + 1 :])]:
        raise ExportError(
            f"forward takes {', '.join(one.name for one in tensors)}, but the declared inputs are {', '.join(names)}: "
            f"{misplaced[0]} stands at another place.",
            "Give the inputs in `tensors` the names of the arguments of `forward`, or the same order.",
        )
    if len(tensors) >= len(names):
        return [_by_place, as_dict] if len([one for one in tensors if one.default is one.empty]) == 1 else [_by_place]
    if len(tensors) == 1 and tensors[0].name not in names:
        return [as_dict]
    raise ExportError(
        f"forward takes {', '.join(one.name for one in tensors) or 'no tensor'}, but the declared inputs are "
        f"{', '.join(names)}.",
        "Declare in `tensors` what `forward` takes.",
    )


def _is_mapping(network: nn.Module, parameter: inspect.Parameter) -> bool:
    try:
        hint = get_type_hints(network.forward).get(parameter.name)
    except Exception:  # An annotation may name what is imported for type checkers alone.
        hint = parameter.annotation
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] in ("dict", "Dict", "Mapping")
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, collections.abc.Mapping)


@dataclass(frozen=True)
class _Leaf:
    """A tensor within an answer, by the names and indexes that lead to it, and by whether each is an attribute."""

    path: tuple[str | int, ...]
    steps: tuple[tuple[bool, Any], ...]
    value: Any

    @property
    def name(self) -> str:
        """Its path as one name: heads_risk."""
        return "_".join(map(str, self.path)) or "the answer"

    @property
    def short(self) -> str:
        """The last key of the path, with what follows it: risk."""
        last = max((at for at, step in enumerate(self.path) if isinstance(step, str)), default=0)
        return "_".join(map(str, self.path[last:]))

    @property
    def told(self) -> str:
        """For messages."""
        shape = f" {_shape(self.value)}" if isinstance(self.value, Tensor) else f" (a {type(self.value).__name__})"
        return f"{'.'.join(map(str, self.path)) or 'one tensor'}{shape}"


def _leaves(answer: Any, path: tuple[str | int, ...] = (), steps: tuple[tuple[bool, Any], ...] = ()) -> Iterator[_Leaf]:
    """Everything within an answer but what is None."""
    within: list[tuple[str | int, tuple[bool, Any], Any]]
    if isinstance(answer, Mapping):
        within = [(str(key), (False, key), value) for key, value in answer.items()]
    elif isinstance(answer, tuple) and hasattr(answer, "_fields"):
        within = [(name, (False, at), answer[at]) for at, name in enumerate(answer._fields)]
    elif isinstance(answer, tuple | list):
        within = [(at, (False, at), value) for at, value in enumerate(answer)]
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        names = [field.name for field in dataclasses.fields(answer)]
        within = [(name, (True, name), getattr(answer, name)) for name in names]
    else:
        if answer is not None:
            yield _Leaf(path, steps, answer)
        return
    for name, step, value in within:
        yield from _leaves(value, (*path, name), (*steps, step))


def _picked(answer: Any, outputs: Sequence[TensorSpec], unused: Sequence[str]) -> Callable[[Any], tuple[Tensor, ...]]:
    """What takes the declared outputs out of such an answer.

    Raises:
        ExportError: some are missing, or there are more than are declared.
    """
    leaves = list(_leaves(answer))
    left = [leaf for leaf in leaves if not {leaf.name, leaf.short} & set(unused)]
    names = [spec.name for spec in outputs]
    chosen = {name: _named(name, left) for name in names}
    in_order = not any(isinstance(step, str) for leaf in left for step in leaf.path)
    unnamed = isinstance(answer, tuple) and not any(chosen.values()) and len(left) == len(names)
    if in_order or unnamed:  # A named tuple whose names are all other ones is a tuple.
        if len(left) != len(names):
            raise _unfit(leaves, names, f"{len(left)} came, {len(names)} {'is' if len(names) == 1 else 'are'} declared")
        chosen = dict(zip(names, left, strict=True))
    missing = [name for name, leaf in chosen.items() if leaf is None]
    taken = [leaf for leaf in chosen.values() if leaf is not None]
    extra = [leaf for leaf in left if not any(leaf is one for one in taken)]
    if missing or extra:
        faults = [f"{', '.join(missing)} missing"] if missing else []
        faults += [f"{', '.join('.'.join(map(str, leaf.path)) for leaf in extra)} not declared"] if extra else []
        raise _unfit(leaves, names, "; ".join(faults))
    if wrong := [leaf for leaf in taken if not isinstance(leaf.value, Tensor)]:
        raise ExportError(f"forward gives {wrong[0].told}; a tensor is expected.", _DECLARE)
    routes = tuple(leaf.steps for leaf in taken)
    return lambda given: tuple([_reached(given, route) for route in routes])


def _reached(answer: Any, route: Sequence[tuple[bool, Any]]) -> Any:
    for is_attribute, key in route:
        answer = getattr(answer, key) if is_attribute else answer[key]
    return answer


def _named(name: str, leaves: Sequence[_Leaf]) -> _Leaf | None:
    """The leaf of this name, or the one whose last key it is, if there is one alone."""
    whole = [leaf for leaf in leaves if leaf.name == name]
    short = [leaf for leaf in leaves if leaf.short == name]
    return whole[0] if whole else short[0] if len(short) == 1 else None


def _unfit(leaves: Sequence[_Leaf], names: Sequence[str], fault: str) -> ExportError:
    gives = ", ".join(leaf.told for leaf in leaves) or "nothing"
    return ExportError(f"forward gives {gives}; the declared outputs are {', '.join(names)}: {fault}.", _DECLARE)


def _check_outputs(found: Sequence[Tensor], outputs: Sequence[TensorSpec], example: Mapping[str, Tensor]) -> None:
    longest = max((tensor.shape[1] for tensor in example.values() if tensor.dtype == torch.int64), default=0)
    for tensor, spec in zip(found, outputs, strict=True):
        wanted = [1 if axis == "N" else longest if axis == "L" else axis for axis in spec.shape]
        if list(tensor.shape) != wanted or tensor.dtype != torch.float32:
            raise ExportError(
                f"forward gives the output {spec.name} as {tensor.dtype} {_shape(tensor)} for one case; "
                f"torch.float32 {wanted} was declared.",
                "Correct the shape in `tensors`, or what `forward` gives.",
            )


def _is_plain(answer: Any, outputs: Sequence[TensorSpec]) -> bool:
    """Whether what follows can take it as it is."""
    if isinstance(answer, Tensor):
        return len(outputs) == 1
    return type(answer) is tuple and [type(one) for one in answer] == [Tensor] * len(outputs)


def _with_forward(
    network: nn.Module, names: Sequence[str], arrange: _Arrange, pick: Callable[[Any], tuple[Tensor, ...]]
) -> nn.Module:
    """The same object, of a class of its own."""
    kind = type(network)

    def forward(self: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
        given, named = arrange(inputs)
        return pick(kind.forward(self, *given, **named))

    shown = [name if name.isidentifier() and not keyword.iskeyword(name) else f"input_{name}" for name in names]
    places = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *shown)]
    forward.__signature__ = inspect.Signature(places)  # type: ignore[attr-defined]
    network.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return network


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
