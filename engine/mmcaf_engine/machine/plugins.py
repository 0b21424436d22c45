"""What other packages add through entry points: whatever their code does wrong is their fault, and said to be.

`guard` is the one place through which calls of such code go; `attributing_errors` is for what is made of its answers.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, wraps
from importlib.metadata import EntryPoint
from types import FrameType, FunctionType, TracebackType
from typing import Any, ClassVar, NoReturn, Self, TypeVar, get_origin, get_type_hints

from ..errors import (
    CAUSE_CHARACTERS,
    BackendError,
    CancelledError,
    DeadlineError,
    MmcafError,
    UnsupportedNetworkError,
    printable,
)
from .declared import UndeclaredTypeError, expect

_Function = TypeVar("_Function", bound=Callable[..., Any])


_OURS = {"mmcaf_cli", "mmcaf_engine", "mmcaf_export", "mmcaf_kernels"}
_FRAMEWORKS = {"torch", "numpy", "onnx", "onnxscript", "onnx_ir", "onnxruntime", "openvino", "pydantic"}
_NOT_THEIRS = _OURS | _FRAMEWORKS | sys.stdlib_module_names
"""Packages in which an exception ends up that another package's code is to blame for."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class PluginError(Exception):
    """What another package's code raised, in words, and where; the cause is the exception itself."""


def origin(point: EntryPoint) -> str:
    """The package that an entry point is from, with its version."""
    if point.dist is None:
        return "a package of unknown name"
    return printable(f"{point.dist.name} {point.dist.version}")


def raised(failure: BaseException) -> str:
    """The kind of an exception and the first line of its message; of a wrong type, what was expected and came."""
    if isinstance(failure, UndeclaredTypeError):
        return str(failure)
    lines = said(failure).splitlines()
    return f"{type(failure).__name__}: {printable(lines[0], 200)}" if lines else type(failure).__name__


def raised_whole(failure: BaseException) -> str:
    """As `raised`, with the whole message: of what is said of a model, never where a study was in hand."""
    if isinstance(failure, UndeclaredTypeError):
        return str(failure)
    text = printable(_COLOURS.sub("", said(failure)), CAUSE_CHARACTERS)
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__


def place(failure: BaseException) -> str:
    """The line of another package's code that an exception was raised at, or passed last: module, function, file, line.

    Where the package was in code of a further one, both lines. Empty where no such code was running.
    """
    if isinstance(failure, SyntaxError) and failure.filename:
        return f"{failure.filename}, line {failure.lineno}"
    frames = [(frame, line) for frame, line in _walk(failure.__traceback__) if theirs(frame)]
    if not frames:
        return ""
    own = [one for one in frames if _package(one[0]) == _package(frames[0][0])][-1]
    if own is frames[-1]:
        return _line(*own)
    return f"{_line(*frames[-1])}, called by {_line(*own)}"


def theirs(frame: FrameType) -> bool:
    """Whether a frame runs another package's code, and no framework's."""
    return _package(frame) not in _NOT_THEIRS and not frame.f_code.co_filename.startswith("<frozen")


def _walk(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__") or "").partition(".")[0]


def _line(frame: FrameType, line: int) -> str:
    code = frame.f_code
    where = f"{frame.f_globals.get('__name__')}.{code.co_qualname}".removesuffix(".<module>")
    return printable(f"{where}, {code.co_filename}, line {line}", 400)


def said(failure: BaseException) -> str:
    """The message of an exception of another package, which may fail even at that."""
    try:
        return str(failure).strip()
    except Exception:
        return ""


@contextmanager
def contained(*passed: type[BaseException]) -> Iterator[None]:
    """Whatever another package's code raises becomes a `PluginError`, also what would end the program.

    A KeyboardInterrupt is the user's, and stays; so does what is `passed`.

    Raises:
        PluginError: in place of any other exception.
    """
    try:
        yield
    except BaseException as failure:
        if isinstance(failure, (KeyboardInterrupt, GeneratorExit, PluginError, *passed)):
            raise
        where = place(failure)
        raise PluginError(f"{raised(failure)}{where and f' ({where})'}") from failure


def attributing_errors(kind: type, doing: str) -> AbstractContextManager[None]:
    """Report what goes wrong while something is done with another package's class as that package's fault.

    Of a class of this package, errors stay what they are.

    Args:
        kind: the class, or one derived from it. doing: after "failed".

    Raises:
        BackendError: in place of an exception that is not one of ours.
    """
    title = getattr(kind, "_guarded", None)
    return nullcontext() if title is None else _attributing(title, doing, MmcafError)


@contextmanager
def _attributing(title: str, doing: str, *passed: type[BaseException], quiet: bool = False) -> Iterator[None]:
    """As `attributing_errors`, of code of this title.

    Args:
        quiet: say the kind of an exception alone, since its message may quote the study that was in hand.
        passed: what it may raise besides a BackendError, which is a refusal that needs only the package's name, and
            the end of the caller's limits.
    """
    try:
        with contained(BackendError, CancelledError, DeadlineError, *passed):
            yield
    except PluginError as fault:
        cause = fault.__cause__
        hidden = quiet and not isinstance(cause, UndeclaredTypeError)
        _blame(title, doing, type(cause).__name__ if hidden else fault, cause)
    except BackendError as refusal:
        if type(refusal) not in (BackendError, UnsupportedNetworkError):
            _blame(title, doing, raised(refusal), refusal)  # of a class of its own, which may lack what ours have
        if title in refusal.problem or MmcafError in passed:
            raise
        raise type(refusal)(f"{title}: {printable(refusal.problem, 500)}", *refusal.remedies) from refusal


def _blame(title: str, doing: str, reason: object, cause: BaseException | None) -> NoReturn:
    lacks_memory = isinstance(cause, MemoryError)
    remedy = "Update or remove the package, or report it to its authors."
    raise BackendError(
        f"{title} failed {doing}: {reason}.", "Close other programs." if lacks_memory else remedy
    ) from cause


def may_raise(*kinds: type[Exception]) -> Callable[[_Function], _Function]:
    """Of a method that other packages override: these exceptions are an answer, and no fault."""

    def mark(function: _Function) -> _Function:
        function.__dict__["may_raise"] = kinds
        return function

    return mark


def holds_study(function: _Function) -> _Function:
    """Of a method that other packages override: what it is given is a patient's, so no exception of it is quoted."""
    function.__dict__["holds_study"] = True
    return function


def guard(kind: type, base: type, title: str) -> None:
    """Let every call of another package's class pass through one place, which attributes errors and checks answers.

    Every member that `base` declares or inherits is replaced: what its code raises becomes a BackendError that names
    the package, and what it gives back must be of the type that is declared. So must the attributes be, of the class
    now, and of an instance when it is made or gives itself back. A class of this package is left as it is.

    Args:
        kind: subclass of `base`; changed in place, since its own code refers to it by name.
        title: what messages call it, with its package.

    Raises:
        TypeError: a method is missing, or an attribute of the class is not of the declared type.
    """
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0] or "_guarded" in vars(kind):
        return
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise TypeError(f"{kind.__name__} lacks {', '.join(missing)}")
    for name, hint in _attributes(base).items():
        found = inspect.getattr_static(kind, name, None)
        if get_origin(hint) is ClassVar:
            _expect_of_class(kind, name, hint)
        elif _binds(found):
            setattr(kind, name, _property(name, found, hint, title))
    for name, declared in _members(base).items():
        found = inspect.getattr_static(kind, name)
        if (name.startswith("__") and name != "__init__") or (found is declared and name.startswith("_")):
            continue  # What is private and not overridden calls only what is guarded.
        if isinstance(declared, property):
            setattr(kind, name, _property(name, found, _returned(declared.fget), title))
        elif isinstance(declared, classmethod | FunctionType):
            setattr(kind, name, _method(name, found, declared, base, title))
    kind._guarded = title  # type: ignore[attr-defined]


def _expect_of_class(kind: type, name: str, hint: Any) -> None:
    value = getattr(kind, name)
    try:
        expect(value, hint, name)
    except TypeError as failure:
        raise TypeError(f"{failure} {value!r}") from None


def _method(name: str, found: Any, declared: Any, base: type, title: str) -> Any:
    of_class = isinstance(declared, classmethod)
    function = declared.__func__ if of_class else declared
    hint = _returned(function)
    passed = function.__dict__.get("may_raise", ()) + ((MmcafError,) if found is declared else ())
    quiet = "holds_study" in function.__dict__

    @wraps(function, updated=())
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        with _attributing(title, f"in {name}", *passed, quiet=quiet):
            answer = _bound(found, None if of_class else self, self if of_class else type(self))(*arguments, **options)
            if name == "__init__":
                _expect_attributes(self, base)
            elif hint is Self:
                expect(answer, base)
                _expect_attributes(answer, base)
            elif hint is not type(None):
                expect(answer, hint)
        return answer

    return classmethod(call) if of_class else call


def _property(name: str, found: Any, hint: Any, title: str) -> property:
    def get(self: Any) -> Any:
        with _attributing(title, f"in {name}"):
            value = _bound(found, self, type(self))
            expect(value, hint)
        return value

    def change(self: Any, value: Any) -> None:
        found.__set__(self, value)

    return property(get, change if hasattr(type(found), "__set__") else None)


def _binds(found: object) -> bool:
    return hasattr(type(found), "__get__")


def _bound(found: Any, instance: object, owner: type) -> Any:
    return found.__get__(instance, owner) if _binds(found) else found


def _expect_attributes(instance: object, base: type) -> None:
    for name, hint in _attributes(base).items():
        if not hasattr(instance, name):
            raise TypeError(f"{name} is not set, as of a {base.__name__} whose own __init__ was not called")
        expect(getattr(instance, name), hint, name)


@cache
def _members(base: type) -> dict[str, Any]:
    """Name -> what a class and those of this project that it derives from declare, as the class has it."""
    ours = [one for one in base.__mro__ if one.__module__.partition(".")[0] == base.__module__.partition(".")[0]]
    return {name: declared for one in reversed(ours) for name, declared in vars(one).items()}


@cache
def _attributes(base: type) -> dict[str, Any]:
    """Name -> declared type of what instances have besides methods."""
    return get_type_hints(base, include_extras=True)


def _returned(function: Any) -> Any:
    return get_type_hints(function, include_extras=True).get("return", Any)
