"""The packages of the extra `serve`, which nothing but the service needs."""

from importlib import import_module
from types import ModuleType

from ..errors import BackendError, Remedy
from ..machine.installation import install_command


def serve_package(name: str) -> ModuleType:
    """One of them.

    Raises:
        BackendError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise BackendError(
            f"The service needs {name}, which is not installed.",
            Remedy("Install it", command=install_command("serve")),
        ) from None
