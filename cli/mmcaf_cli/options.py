"""The vocabulary of options: what all commands take, and what means the same in each that takes it."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mmcaf_engine.cancel import opening_within
from mmcaf_engine.errors import MmcafError, Remedy, UsageError
from mmcaf_engine.machine.memory import require_address_space
from mmcaf_engine.settings import DEFAULT_OPEN_TIMEOUT, read_settings

from .console import Loudness, answer, set_loudness

_Function = TypeVar("_Function", bound=Callable[..., Any])

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle directory or zip.")]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="BUNDLE", help="Bundle to use. Default: $MMCAF_BUNDLE, the user's config, the demo."
    ),
]

Backend = Annotated[
    str, typer.Option("--backend", metavar="BACKEND", help="auto, or a backend's name as mmcaf doctor lists them.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="DEVICE", help="cpu, gpu, gpu.N or npu, as OpenVINO finds them. Default: the processor."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", metavar="PRECISION", help="auto, fp32, fp16, bf16, int8 or int8-bf16, if the bundle holds it."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Cores to use. Default: all that the process may.")
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the JSON to this file too; - is stdout, as --json."),
]
OldOutput = Annotated[Path | None, typer.Option("--out", metavar="FILE", hidden=True)]
"""What --output was called before; to go with the next release."""

Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]


class App(typer.Typer):
    """Typer with the conventions of both programs: each command takes -h, --version, -q and -v.

    Args:
        group: whether it has commands of its own, as `mmcaf` has; else it is one command, as `mmcaf-infer` is.
        completion: whether the shell's completion can be installed from it.
    """

    def __init__(self, *, group: bool = False, completion: bool = True, help: str | None = None) -> None:
        super().__init__(
            help=help,
            no_args_is_help=group,
            add_completion=completion,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        if group:
            self.callback(help=help)(_with_common_options(_nothing, light=True))

    def alone(self, function: _Function) -> _Function:
        """Of a group: what it does without one of its commands; called before each of them too."""
        decorate = self.callback(help=self.info.help, invoke_without_command=True, no_args_is_help=False)
        decorate(_with_common_options(function, with_settings=True))
        return function

    def command(
        self, name: str | None = None, *, whatever_is_set: bool = False, light: bool = False, **settings: Any
    ) -> Callable[[_Function], _Function]:
        """As `typer.Typer.command`, with the options that all commands take.

        Args:
            whatever_is_set: whether it also works with wrong settings, as what looks for such must.
            light: whether it imports no libraries that need much address space.
        """
        register = super().command(name, **settings)

        def add(function: _Function) -> _Function:
            register(_with_common_options(function, with_settings=not whatever_is_set, light=light))
            return function

        return add


def on_device(backend: str, device: str | None) -> str:
    """The backend's name with the device that --device gives.

    Raises:
        UsageError: that backend is told no device.
    """
    if device is None:
        return backend
    if backend not in ("auto", "openvino"):
        raise UsageError(
            f"--device: for the backend openvino; {backend} was named.", Remedy("Leave it out", option="device")
        )
    return f"openvino:{device.lower()}"


def on_devices(backends: list[str], devices: list[str]) -> list[str]:
    """The names of backends that --backend and --device give where both may be repeated.

    Raises:
        UsageError: a backend is told no device.
    """
    if not devices:
        return backends
    others = [name for name in backends if name not in ("auto", "openvino")]
    if others:
        on_device(others[0], devices[0])
    return [on_device("openvino", device) for device in devices]


def _open_timeout(with_settings: bool) -> int:
    try:
        return read_settings().open_timeout
    except MmcafError:
        if with_settings:
            raise
        return DEFAULT_OPEN_TIMEOUT


def _nothing() -> None:
    """What a group does before its command."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from mmcaf_engine import __version__

        answer(f"mmcaf-infer {__version__}")
        raise typer.Exit


def _common(
    *,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No warnings and no progress on stderr; errors stay.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more on stderr: what is done, and errors in detail.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Set what all commands let the caller set."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose contradict each other.")
    if quiet or verbose:
        set_loudness(Loudness.QUIET if quiet else Loudness.VERBOSE)


def _with_common_options(
    function: Callable[..., Any], *, with_settings: bool = False, light: bool = False
) -> Callable[..., Any]:
    """The function with the parameters of `_common` behind its own; with settings, it refuses wrong ones."""
    common = inspect.signature(_common).parameters
    own = inspect.signature(function)

    @wraps(function)
    def command(**given: Any) -> Any:
        _common(**{name: given.pop(name) for name in common})
        if not light:
            require_address_space()
        with opening_within(_open_timeout(with_settings) or None):
            return function(**given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.parameters.values()]
    command.__signature__ = own.replace(parameters=[*parameters, *common.values()])  # type: ignore[attr-defined]
    return command
