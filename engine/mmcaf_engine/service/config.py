"""serve.toml: what the service listens to, which bundle answers which studies, and where the answers go."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from ..bundle.default import demo_bundle
from ..errors import Remedy, ServiceError, printable, program
from ..files import read_bounded
from ..manifest import ForeignModel, describe_validation
from ..result.writers.kinds import USUAL, Kind
from ..study import Duplicates, Gaps, Oblique, Tilt
from .answers import Priority
from .places import is_loopback, refuse_address, refuse_one_in_another, refuse_ourselves, refuse_same_port

MAX_BYTES = 1024 * 1024
DEMO = "builtin:demo"
"""A path that is none."""

AeTitle = Annotated[str, Field(pattern=r"^ *[!-\[\]-~][ -\[\]-~]*$", max_length=16)]
"""DICOM PS3.5 6.2, AE: not of spaces alone, and without a backslash."""
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Seconds = Annotated[float, Field(ge=0, le=30 * 86400)]
Hours = Annotated[float, Field(ge=0, le=100 * 365 * 24)]


class Part(ForeignModel):
    """A table of the file. Paths in it are relative to the file's folder."""

    @field_validator("*", mode="before")
    @classmethod
    def _typed(cls, value: Any, given: ValidationInfo) -> Any:
        """Pydantic takes true for the number 1."""
        is_switch = cls.model_fields[str(given.field_name)].annotation is bool
        if isinstance(value, bool) and not is_switch and given.field_name not in ("dicom", "http"):
            raise ValueError("a number or a text is expected, got true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _resolved(cls, value: Any, given: ValidationInfo) -> Any:
        folder = (given.context or {}).get("folder")
        if isinstance(value, Path) and folder is not None:
            return Path(folder, value.expanduser())
        return value


class Tls(Part):
    """Certificates, PEM. trusted: whose certificates the other side may show; with it, it must show one."""

    certificate: Path
    key: Path
    trusted: Path | None = None


class Peer(Part):
    """Who may send: an AE title, from one host or any, with a certificate of this common name or any."""

    ae_title: AeTitle
    host: str | None = None
    certificate_name: str | None = None
    quiet_s: Seconds | None = Field(default=None, description="Instead of completeness.quiet_s.")
    priority: Priority = "routine"


class DicomSettings(Part):
    """The DICOM node. peers: who may send; anyone without any, but then from this machine alone."""

    ae_title: AeTitle = "MMCAF"
    host: str = "127.0.0.1"
    port: Port = 11112
    any_called_title: bool = Field(default=False, description="Also take associations for other AE titles.")
    most_associations: int = Field(default=10, ge=1, le=1000)
    timeout_s: Seconds = 30.0
    peers: tuple[Peer, ...] = ()
    tls: Tls | None = None


class HttpSettings(Part):
    """The page and the API. token_file: what a caller must send as `Authorization: Bearer`."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls: Tls | None = None
    token_file: Path | None = None
    most_bytes: int = Field(default=2 * 2**30, ge=2**20, description="Of one upload.")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not is_loopback(self.host) and (self.tls is None or self.token_file is None):
            raise ValueError(f"{self.host} is reached from elsewhere: it needs tls and token_file")
        return self


class CompletenessSettings(Part):
    """When a study is whole: the count that an archive tells, else so long a silence after its sender left."""

    quiet_s: Seconds = 10.0
    count_from: Name | None = Field(default=None, description="The destination that is asked how many there are.")
    deadline_s: Seconds = Field(default=3600.0, description="A study with gaps is refused after so long.")


class BundleSettings(Part):
    """A bundle, opened once by a process of its own. shadow: its answers are kept and compared, never sent."""

    name: Name
    path: Path = Field(description=f"Of a bundle; {DEMO} is the demonstration.")
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    shadow_of: Name | None = None
    require_signature: bool = False

    @field_validator("path", mode="before")
    @classmethod
    def _built_in(cls, value: Any) -> Any:
        return demo_bundle() if value == DEMO else value


class RecordSettings(Part):
    """Where records come from, besides those that are posted or typed into the page."""

    folder: Path | None = Field(default=None, description="Watched: JSON, FHIR and CSV files.")
    fhir_url: str | None = Field(default=None, description="A FHIR server that is searched for the study's patient.")
    token_file: Path | None = None
    trusted: Path | None = Field(default=None, description="Whose certificate the FHIR server may show.")
    wait_s: Seconds = Field(default=86400.0, description="So long a study waits for its record.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.fhir_url is not None:
            refuse_address("fhir_url", self.fhir_url, with_token=self.token_file is not None)
        elif self.token_file is not None or self.trusted is not None:
            raise ValueError("token_file and trusted are for fhir_url, which is missing")
        return self


class AnswerSettings(Part):
    """How a study is answered: the arguments of `infer` of these names."""

    gaps: Gaps = "refuse"
    tilt: Tilt = "refuse"
    duplicates: Duplicates = "refuse"
    oblique: Oblique | None = None
    stride: int | None = Field(default=None, ge=1)
    strict: bool = False


class Route(Part):
    """Which studies a bundle answers. match: DICOM keyword -> pattern with * and ?, of every one of which a series must
    have a value that fits. destinations: all, without any.
    """

    bundle: Name
    match: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{1,63}$")], str] = Field(default_factory=dict)
    options: AnswerSettings = AnswerSettings()
    record: Literal["required", "optional"] | None = Field(default=None, description="Without: as the bundle needs it.")
    destinations: tuple[Name, ...] | None = None


class Destination(Part):
    """Where answers go: another DICOM node, a DICOMweb server (STOW-RS), or a FHIR server."""

    name: Name
    kind: Literal["dicom", "dicomweb", "fhir"]
    ae_title: AeTitle | None = None
    host: str | None = None
    port: Port | None = None
    url: str | None = None
    token_file: Path | None = None
    tls: Tls | None = None
    trusted: Path | None = None
    objects: tuple[Kind, ...] = Field(default=USUAL, min_length=1, description="As --dicom-objects names them.")
    commitment: bool = Field(default=False, description="Ask for a promise to keep them, by Storage Commitment.")
    expires_h: Hours = Field(default=72.0, description="Delivery is given up after so long.")

    @property
    def machine(self) -> str | None:
        """The name or address of the computer that it is."""
        return self.host if self.url is None else urlsplit(self.url).hostname

    @property
    def machine_port(self) -> int | None:
        """Where it listens there."""
        if self.url is None:
            return self.port
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        needs = {"dicom": ("ae_title", "host", "port"), "dicomweb": ("url",), "fhir": ("url",)}[self.kind]
        if missing := [name for name in needs if getattr(self, name) is None]:
            raise ValueError(f"{self.name}, of the kind {self.kind}, needs {', '.join(missing)}")
        if self.url is not None:
            refuse_address(self.name, self.url, with_token=self.token_file is not None)
        if self.commitment and self.kind != "dicom":
            raise ValueError(f"{self.name}: storage commitment belongs to the kind dicom")
        return self


class DiskSettings(Part):
    """What stays free on the spool's disk."""

    reserve_mib: int = Field(default=5 * 1024, ge=0, description="Below it nothing more is taken (0xA700).")
    hard_mib: int = Field(default=1024, ge=0, description="Below it associations are not accepted.")
    most_studies: int = Field(default=1000, ge=1, description="That wait for an answer; above, nothing more is taken.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.hard_mib > self.reserve_mib:
            raise ValueError("hard_mib is above reserve_mib")
        return self


class RetentionSettings(Part):
    """How long what was delivered is kept; what was not is never removed by itself."""

    images_h: Hours = Field(default=24.0, description="After every answer of the study was committed or delivered.")
    results_h: Hours = 365 * 24.0


class Config(Part):
    """The whole file."""

    spool: Path
    dicom: DicomSettings | None = DicomSettings()
    http: HttpSettings | None = HttpSettings()
    folder: Path | None = Field(default=None, description="Watched for studies: DICOM files, folders and zips.")
    completeness: CompletenessSettings = CompletenessSettings()
    records: RecordSettings = RecordSettings()
    bundle: tuple[BundleSettings, ...] = Field(min_length=1)
    route: tuple[Route, ...] = ()
    destination: tuple[Destination, ...] = ()
    disk: DiskSettings = DiskSettings()
    retention: RetentionSettings = RetentionSettings()

    @field_validator("dicom", "http", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """TOML has no null: `http = false` says that there is none."""
        return None if value is False else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("bundle", [one.name for one in self.bundle]),
            ("destination", [one.name for one in self.destination]),
            ("dicom.peers", [] if self.dicom is None else [one.ae_title.strip() for one in self.dicom.peers]),
        ):
            if repeated := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: {', '.join(repeated)} is there twice")
        bundles = {one.name: one for one in self.bundle}
        for one in self.bundle:
            if one.shadow_of is not None and (one.shadow_of not in bundles or bundles[one.shadow_of].shadow_of):
                raise ValueError(f"bundle {one.name} is the shadow of {one.shadow_of}, which does not answer")
        destinations = {one.name: one for one in self.destination}
        for route in self.route:
            if route.bundle not in bundles or bundles[route.bundle].shadow_of:
                raise ValueError(f"a route leads to {route.bundle}, which is no bundle that answers")
            if unknown := sorted(set(route.destinations or ()) - destinations.keys()):
                raise ValueError(f"a route leads to {', '.join(unknown)}, which is no destination")
        counted = self.completeness.count_from
        if counted is not None and (counted not in destinations or destinations[counted].kind == "fhir"):
            raise ValueError(f"completeness.count_from is {counted}, which is no dicom or dicomweb destination")
        if self.dicom is not None and not self.dicom.peers and not is_loopback(self.dicom.host):
            raise ValueError(
                f"dicom.host {self.dicom.host} is reached from elsewhere: dicom.peers must say who may send"
            )
        if self.dicom is None and self.http is None and self.folder is None:
            raise ValueError("nothing is listened to: dicom, http and folder are all left out")
        refuse_one_in_another({"spool": self.spool, "folder": self.folder, "records.folder": self.records.folder})
        ours = [(part.host, part.port) for part in (self.dicom, self.http) if part is not None]
        if len(ours) > 1:
            refuse_same_port(*ours)
        for destination in self.destination:
            refuse_ourselves(destination.name, destination.machine, destination.machine_port, ours)
        return self

    @property
    def routes(self) -> tuple[Route, ...]:
        """As they are; without any, every study to every bundle that answers."""
        return self.route or tuple(Route(bundle=one.name) for one in self.bundle if one.shadow_of is None)


def read_config(file: Path) -> Config:
    """The service's configuration.

    Raises:
        ServiceError: it cannot be read, is no TOML, or a value in it cannot be.
    """
    remedy = Remedy("Correct it, then look again", command=program("serve", "--check", "--config", file))
    content = read_bounded(file, error=ServiceError, max_bytes=MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise ServiceError(f"{file} has more than {MAX_BYTES} bytes.", remedy)
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise ServiceError(f"{file} is no TOML in UTF-8: {printable(str(failure), 200)}.", remedy) from None
    try:
        return Config.model_validate(document, context={"folder": file.resolve().parent})
    except ValidationError as failure:
        raise ServiceError(f"{file}: {describe_validation(failure, 'configuration')}.", remedy) from None
