"""What a network tells of how it computed, such as the share of its open gates; it has no part in the answer."""

import numpy as np

from ..errors import BackendError, Remedy
from ..manifest import Manifest
from ..volume import Arrays
from .aggregate import mean


def diagnostics(manifest: Manifest, outputs: Arrays) -> dict[str, tuple[float, ...]] | None:
    """Of each output of the kind diagnostic, its values, the mean over the windows; None where there is no such output.

    Args:
        outputs: of all windows, with the optional ones.

    Raises:
        BackendError: a value is not finite.
    """
    found = {}
    for spec in manifest.outputs:
        if spec.kind != "diagnostic":
            continue
        values = outputs[spec.name]
        if not np.isfinite(values).all():
            raise BackendError(
                f"The network's output {spec.name}, which tells of how it computed, is not finite.",
                Remedy("Try another precision", option="precision", value="fp32"),
                Remedy("Or another backend", option="backend", value="onnxruntime"),
            )
        found[spec.name] = tuple(mean(column) for column in values.T.tolist())
    return found or None
