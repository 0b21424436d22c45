"""Which transfer syntaxes this installation decodes, and with what."""

from dataclasses import dataclass

from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

TRANSFER_SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
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
    """One transfer syntax: its name, the plug-ins that decode it here, and that or what is lacking in words."""

    name: str
    plugins: tuple[str, ...]
    detail: str


def decoders() -> list[Decoder]:
    """One entry for each of TRANSFER_SYNTAXES, in that order."""
    return [_describe(syntax) for syntax in TRANSFER_SYNTAXES]


def _describe(syntax: uid.UID) -> Decoder:
    decoder = get_decoder(syntax)
    plugins = tuple(decoder.available_plugins)
    if not syntax.is_encapsulated:
        return Decoder(syntax.keyword, ("pydicom",), f"{syntax}, uncompressed")
    if plugins:
        return Decoder(syntax.keyword, plugins, f"{syntax}, by {', '.join(plugins)}")
    return Decoder(syntax.keyword, (), f"{syntax}, cannot be decoded: {'; '.join(decoder.missing_dependencies)}")
