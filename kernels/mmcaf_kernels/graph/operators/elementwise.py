"""Operators that treat every element alone, and those that change types or make constants."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import OPERATIONS, Arguments, Function, Operation, operation

TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
TYPES[16] = torch.bfloat16
"""ONNX's number of a type -> torch's."""


def _elementwise(**functions: Function) -> None:
    for name, function in functions.items():
        OPERATIONS[name] = Operation(partial(_always, function))


def _always(function: Function, _: Arguments) -> Function:
    return function


def _divided(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _all_of(function: Function) -> Function:
    def call(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return call


_elementwise(
    Add=torch.add, Sub=torch.sub, Mul=torch.mul, Div=_divided, Pow=_power, Neg=torch.neg, Abs=torch.abs,
    Sqrt=torch.sqrt, Reciprocal=torch.reciprocal, Exp=torch.exp, Log=torch.log, Erf=torch.erf, Tanh=torch.tanh,
    Sigmoid=torch.sigmoid, Relu=torch.relu, Softplus=F.softplus, HardSwish=F.hardswish, PRelu=_prelu,
    Sin=torch.sin, Cos=torch.cos, Sign=torch.sign, Floor=torch.floor, Ceil=torch.ceil, Round=torch.round,
    Equal=torch.eq, Less=torch.lt, LessOrEqual=torch.le, Greater=torch.gt, GreaterOrEqual=torch.ge,
    And=torch.logical_and, Or=torch.logical_or, Not=torch.logical_not, Where=torch.where, MatMul=torch.matmul,
    Min=_all_of(torch.minimum), Max=_all_of(torch.maximum), Sum=_all_of(torch.add),
)  # fmt: skip
OPERATIONS["Identity"] = Operation(lambda _: lambda x: x)


@operation("Cast")
def _cast(given: Arguments) -> Function:
    if given("to") not in TYPES:
        raise given.unsupported(f"to is {given('to')}; known are ONNX's types {sorted(TYPES)}")
    wanted = TYPES[given("to")]
    return lambda x: x.to(wanted)


@operation("Constant")
def _constant(given: Arguments) -> Function:
    value = given("value")
    if not isinstance(value, Tensor):
        kinds = {"value_float": torch.float32, "value_floats": torch.float32}
        kinds |= {"value_int": torch.int64, "value_ints": torch.int64}
        found = [torch.tensor(given(name), dtype=kind) for name, kind in kinds.items() if given(name) is not None]
        if not found:
            raise given.unsupported("neither numbers nor a tensor")
        value = found[0]
    return lambda: value


@operation("Range", settings=0)
def _range(given: Arguments) -> Function:
    start, end, step = (given.tensor(position) for position in range(3))
    return lambda: torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@operation("LeakyRelu")
def _leaky_relu(given: Arguments) -> Function:
    slope = given("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


@operation("Elu")
def _elu(given: Arguments) -> Function:
    return lambda x: F.elu(x, given("alpha", 1.0))


@operation("HardSigmoid")
def _hard_sigmoid(given: Arguments) -> Function:
    slope, shift = given("alpha", 0.2), given("beta", 0.5)
    return lambda x: torch.clamp(x * slope + shift, 0, 1)


@operation("Gelu")
def _gelu(given: Arguments) -> Function:
    return lambda x: F.gelu(x, approximate=given("approximate", "none"))


@operation("Clip", settings=1)
def _clip(given: Arguments) -> Function:
    lower, upper = (given.numbers(position) for position in (1, 2))
    return lambda x: torch.clamp(x, lower[0] if lower else None, upper[0] if upper else None)


@operation("LogSoftmax")
def _log_softmax(given: Arguments) -> Function:
    return lambda x: torch.log_softmax(x, given("axis", -1))


@operation("Softmax")
def _softmax(given: Arguments) -> Function:
    return lambda x: torch.softmax(x, given("axis", -1))
