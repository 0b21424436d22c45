"""Whether the service could run as it is configured: its ports, its spool, its bundles and its destinations."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from ..errors import ServiceError
from .alone import make_spool
from .bundles import opened
from .choice import lineup_of, read_choices
from .config import Config
from .counts import counter_for
from .database import open_database
from .extra import serve_package
from .fhir_client import FhirClient, SearchError
from .http_carriers import read_token
from .probe import Finding, check_destination, found
from .processes import reserve_of
from .record_folder import make_records_folder
from .tls import refuse_unusable


def check_service(config: Config) -> Iterator[Finding]:
    """Look at everything, one after the other; nothing is sent but C-ECHO and questions, and nothing is answered."""
    yield found("spool", lambda: _spool(config))
    if config.dicom is not None:
        yield found("dicom", lambda: _dicom(config))
    if config.http is not None:
        yield found("http", lambda: _http(config))
    for bundle in config.bundle:

        def open_bundle(name: str = bundle.name) -> str:
            settings = next(one for one in config.bundle if one.name == name)
            with opened(settings) as answerer:
                own = answerer.bundle
                which = f"{own.manifest.name}, SHA-256 {own.sha256[:16]}, passed its self-test"
            return f"{which}; {_part(config, name)}"

        yield found(f"bundle {bundle.name}", open_bundle)
    for destination in config.destination:
        yield check_destination(config, destination)
    if config.records.folder is not None or config.records.fhir_url is not None:
        yield found("records", lambda: _records(config))
    if config.completeness.count_from is not None:
        yield found("count", lambda: _count(config))


def _spool(config: Config) -> str:
    make_spool(config.spool)
    open_database(config.spool).close()
    room = reserve_of(config).room(config.spool)
    if room != "enough":
        raise ServiceError(
            f"The disk of {config.spool} has less room than disk.reserve_mib asks for.",
            "Free some, or lower disk.reserve_mib.",
        )
    return str(config.spool)


def _part(config: Config, name: str) -> str:
    """What a bundle does in the service, by the configuration or by a person's choice."""
    with closing(open_database(config.spool)) as memory:
        line = lineup_of(config, read_choices(memory), name)
    if line is None:
        raise ValueError(f"the configuration has no bundle {name}")
    since = (
        ""
        if line.since is None
        else f", since a switch at {datetime.fromtimestamp(line.since, UTC):%Y-%m-%d %H:%M} UTC"
    )
    return f"answers{since}" if name == line.answers else f"shadow of {line.answers}{since}"


def _dicom(config: Config) -> str:
    settings = config.dicom
    if settings is None:
        raise ValueError("there is no DICOM node")
    if settings.tls is not None:
        refuse_unusable(settings.tls)
    _refuse_taken(settings.host, settings.port)
    who = f"{len(settings.peers)} peer(s)" if settings.peers else "anyone on this machine"
    return f"{settings.ae_title} at {settings.host} port {settings.port}, for {who}"


def _http(config: Config) -> str:
    settings = config.http
    if settings is None:
        raise ValueError("there is no HTTP interface")
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        serve_package(package)
    if settings.tls is not None:
        refuse_unusable(settings.tls)
    if settings.token_file is not None:
        read_token(settings.token_file)
    _refuse_taken(settings.host, settings.port)
    scheme = "http" if settings.tls is None else "https"
    return f"{scheme}://{settings.host}:{settings.port}, {'with a token' if settings.token_file else 'without a token'}"


def _refuse_taken(host: str, port: int) -> None:
    """A port that another program listens at; our own running service is one, too."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            why = "a program listens there" if failure.errno == errno.EADDRINUSE else str(failure.strerror)
            raise ServiceError(
                f"{host} port {port} cannot be listened at: {why}.",
                "Stop it, which may be this service, or take another.",
            ) from None


def _records(config: Config) -> str:
    settings, found = config.records, []
    if settings.folder is not None:
        make_records_folder(settings.folder)
        found.append(f"{settings.folder} is watched")
    if settings.fhir_url is not None:
        try:
            FhirClient(settings).metadata()
        except SearchError as failure:
            raise ServiceError(
                f"{settings.fhir_url}: {failure}.", "Check its address, its certificate and its token."
            ) from None
        found.append(f"{settings.fhir_url} answers")
    return ", ".join(found)


def _count(config: Config) -> str:
    counter_for(config)("1.2.826.0.1.3680043.8.498.1")
    return f"{config.completeness.count_from} says how many images a study has"
