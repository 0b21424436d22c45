"""The graph of a bundle's heat maps, seen as a network of its own: opened, hashed and tested as every other."""

import hashlib
from dataclasses import replace

from ..errors import BundleError, Remedy
from .bundle import Bundle
from .models import explaining_manifest


def explaining(bundle: Bundle) -> Bundle:
    """The bundle as if the graph that draws its heat maps were its network, in FP32.

    golden.npz holds cotangent and maps of each of the stored cases, by their names. `sha256` is another one than the
    bundle's, so that nothing that is remembered of the network holds for the graph.

    Raises:
        BundleError: the bundle has no such graph.
    """
    manifest = explaining_manifest(bundle.manifest)
    if manifest is None:
        raise BundleError(f"{bundle.shown}: it has no graph that draws heat maps.", Remedy("Export it again, with one"))
    sha256 = hashlib.sha256(f"{bundle.sha256} {manifest.models['fp32']}".encode()).hexdigest()
    return replace(bundle, manifest=manifest, sha256=sha256)
