"""What a backend's class says of its runtime on this machine, asked before any network is loaded."""

import hashlib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from ..errors import BackendError, Remedy, printable
from ..machine.installation import install_package, installed_version
from ..manifest import Precision
from .availability import Availability, Detail


def called(name: str, origin: str) -> str:
    """What messages call a backend, with the package that it comes from where that is another one."""
    return f"Backend {name} of the package {origin}" if origin else f"Backend {name}"


class Runtime:
    """A runtime that can run networks, if it is installed and fits the machine.

    Everything that the engine knows of one it asks its class: nothing is said of one anywhere else.
    """

    name: str
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions of which one must be installed, beside the one that the class comes from."""
    optional: ClassVar[bool] = True
    """Whether an installation is whole without it."""
    needs_gpu: ClassVar[bool] = False
    auto_needs_gpu: ClassVar[bool] = False
    """Whether "auto" takes it on a GPU alone, although it can run without one."""
    rank: ClassVar[int] = 100
    """Place in lists, the lowest first."""
    can_split: ClassVar[bool] = False
    """Whether it also runs a network in two parts, each in a backend of this class: `split.SplitNetwork`."""
    origin: ClassVar[str] = ""
    """The package that it comes from, with version, where that is another one; set by the registry."""

    @classmethod
    def title(cls) -> str:
        """What messages call it."""
        return called(cls.name, cls.origin)

    @classmethod
    def availability(cls) -> Availability:
        """Whether this machine can run it, and why or why not. Imports the runtime."""
        try:
            return Availability(True, f"{cls.name} {cls.version()}")
        except (ImportError, BackendError) as failure:
            missing = failure.__cause__ if isinstance(failure, BackendError) else failure
            if not isinstance(missing, ImportError):
                raise
            install = [Remedy("Install it", command=install_package(package)) for package in cls.packages[:1]]
            return Availability(
                False, f"{cls.name} cannot be imported ({printable(str(missing), 300)})", tuple(install)
            )

    @classmethod
    def can_run(cls, precision: Precision) -> Availability:
        """Whether this machine can usefully run a precision on this backend, and why or why not."""
        answer = cls.availability()
        return cls._can_run(precision) if answer.available else answer

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        """As `can_run`, where the runtime is known to be available."""
        return Availability(True, f"{cls.name} runs {precision}")

    @classmethod
    def hint(cls, precision: Precision) -> str | None:
        """What the runtime is told to compute FP32 values of a network of this precision in; None if it is not told."""
        return None

    @classmethod
    def follows_types(cls, precision: Precision) -> bool:
        """Whether each value is computed in the type that the file gives it, as ONNX defines the operators.

        What the precision was found to cost in another runtime that does so then holds for this one too; of a runtime
        that does not, only what was measured in it.
        """
        return True

    @classmethod
    def auto_rank(cls) -> int | None:
        """Place among what "auto" tries here where nothing was measured, the lowest first; None: it is not tried."""
        return None

    @classmethod
    def excluded_from_auto(cls) -> str | None:
        """Why "auto" and tuning leave it aside on this machine although it can run; None if they do not."""
        return None

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """What else there is to know of it on this machine, such as a package or kernels that it uses."""
        return ()

    @classmethod
    def runtime(cls) -> Any:
        """The runtime's module, imported on first use."""
        return import_module(cls.name)

    @classmethod
    def package(cls) -> str:
        """The distribution that computes, of those in `packages`; the backend's name where none is named."""
        return next(filter(installed_version, cls.packages), (*cls.packages, cls.name)[0])

    @classmethod
    def build(cls) -> str:
        """The runtime's version with all that tells its builds apart."""
        return str(cls.runtime().__version__)

    @classmethod
    def version(cls) -> str:
        """The runtime's version, without its build."""
        return cls.build().split("-")[0]

    @classmethod
    def code(cls) -> str:
        """What tells one state of another package's class from the next: package, version, SHA-256 of its module."""
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return (
            f"{cls.origin} {hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ''}" if cls.origin else ""
        )
