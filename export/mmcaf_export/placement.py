"""Seals into a bundle where this project's kernels go in its networks, for programs that open it without Python.

The Python engine finds these places itself. The C library takes them from the bundle, or loads an engine that the
Python engine has kept; without either it runs OpenVINO's own operators.
"""

import shutil
from pathlib import Path

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import Bundle, check_output, load_bundle, write_bundle
from mmcaf_engine.outputs import scratch_beside
from mmcaf_engine.session.choice import Choice, backend_for
from mmcaf_kernels.cpu.openvino.placement import ENDING, write_placement


def place_bundle(path: str | Path, output: str | Path | None = None, *, force: bool = False) -> Bundle:
    """Add to a bundle, beside each of its networks, where the kernels go in it; the same bundle gives the same bytes.

    It holds for the release of OpenVINO and the state of the kernels that are installed here.

    Args:
        output: where the new bundle goes; by default it replaces the old one, whose signature then is void.
        force: replace what stands at `output`.

    Raises:
        BundleError: the bundle is refused.
        BackendError: there are no kernels for OpenVINO here, or it refuses a network.
        UsageError: nothing may be written at `output`.
    """
    bundle = load_bundle(path)
    target, replaces = Path(path if output is None else output), force or output is None
    place = check_output(target, inputs=[None if output is None else path], force=replaces)
    manifest = bundle.manifest
    with scratch_beside(place) as scratch:
        folder = scratch / "bundle"
        for name in manifest.files:
            if not name.endswith(ENDING):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(name) as source, (folder / name).open("xb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
        for precision, model in manifest.models.items():
            backend = backend_for(bundle, Choice(OpenVinoBackend, precision))
            if not isinstance(backend, OpenVinoBackend):
                raise TypeError(f"{backend.name} is not OpenVINO")
            editor = backend.placement()
            sha256 = manifest.files[model].sha256
            write_placement(editor, sha256, OpenVinoBackend.build(), folder / f"{model}{ENDING}")
        return write_bundle(folder, manifest.model_dump(mode="json", exclude={"files"}), target, force=replaces)


def placements(bundle: Bundle) -> dict[str, int]:
    """The files of a bundle that say where kernels go, and their sizes in bytes."""
    return {name: entry.size for name, entry in bundle.manifest.files.items() if name.endswith(ENDING)}
