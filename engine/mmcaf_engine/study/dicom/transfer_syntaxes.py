"""Which transfer syntaxes this installation decodes, and with what."""

from dataclasses import dataclass
from importlib.metadata import version

from pydicom import uid

from ...errors import Remedy
from ...machine.installation import install_package
from .decoders import CODECS

TRANSFER_SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
"""PS3.5 section 10 and annex A: those that CT scanners and archives send."""


@dataclass(frozen=True)
class Decoder:
    """One transfer syntax: its name, what decodes it here, that or what is lacking in words, and what would help."""

    name: str
    plugins: tuple[str, ...]
    detail: str
    remedies: tuple[Remedy, ...] = ()


def decoders() -> list[Decoder]:
    """One entry for each of TRANSFER_SYNTAXES, in that order."""
    return [_describe(syntax) for syntax in TRANSFER_SYNTAXES]


def _describe(syntax: uid.UID) -> Decoder:
    codec = CODECS.get(syntax)
    if codec is None:
        return Decoder(syntax.keyword, ("mmcaf_engine",), f"{syntax}, uncompressed")
    try:
        codec.load()
    except ImportError as failure:
        install = Remedy("Install it", command=install_package(codec.package))
        return Decoder(syntax.keyword, (), f"{syntax}, cannot be decoded: {failure}", (install,))
    came = f" {version(codec.package)}" if codec.package else ""
    return Decoder(syntax.keyword, (codec.name,), f"{syntax}, by {codec.name}{came}")
