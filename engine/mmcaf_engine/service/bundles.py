"""The bundles of the service: loaded as the configuration asks, and opened once they passed their self-test."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..bundle.bundle import Bundle, load_bundle
from ..errors import ServiceError
from ..pipeline import Answerer
from ..session.session import open_session
from .config import BundleSettings


def load(settings: BundleSettings) -> Bundle:
    """A bundle, checked against its hashes, its signature and the releases that were seen of it.

    Raises:
        BundleError: it cannot be. ServiceError: it has no signature, and the configuration asks for one.
    """
    bundle: Bundle = load_bundle(settings.path)
    if settings.require_signature and bundle.origin.signed_by is None:
        raise ServiceError(
            f"{settings.path} has no signature of a trusted key, and the configuration asks for one.",
            "Sign it, or trust its key.",
        )
    return bundle


@contextmanager
def opened(settings: BundleSettings) -> Iterator[Answerer]:
    """A bundle's answerer, once it passed its self-test.

    Raises:
        BundleError, BackendError, ServiceError: it cannot be opened.
    """
    with open_session(
        load(settings), backend=settings.backend, precision=settings.precision, threads=settings.threads
    ) as session:
        yield Answerer(session)
