"""A bundle sealed again with a raw case, whose answer is its own network's."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from mmcaf_engine.bundle.bundle import MANIFEST_NAME, Bundle, load_bundle, write_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, RawCase, raw_arrays
from mmcaf_engine.checkup.raw_case import all_windows, describe_raw, prepare_raw
from mmcaf_engine.record.tokenizer import open_tokenizer
from mmcaf_engine.session.session import open_session
from mmcaf_export.raw_case import draw_study


def with_raw_case(bundle: Path, output: Path) -> Path:
    """A copy of the bundle with a raw case in its golden.npz."""
    loaded = load_bundle(bundle)
    raw = raw_case_of(loaded)
    draft = unsealed(bundle, output)
    with np.load(draft / GOLDEN_NAME) as arrays:
        stored = dict(arrays)
    np.savez(draft / GOLDEN_NAME, **stored, **raw_arrays(raw))
    return seal(draft, loaded.manifest.model_dump(mode="json", exclude={"files"}), output)


def raw_case_of(bundle: Bundle) -> RawCase:
    """Drawn from the manifest, and answered by ONNX Runtime."""
    manifest, tokenizer = bundle.manifest, open_tokenizer(bundle)
    study = draw_study(manifest, () if tokenizer is None else tuple(tokenizer.numbers))
    prepared = prepare_raw(study, manifest, tokenizer)
    with open_session(bundle, backend="onnxruntime") as session:
        outputs = session.run(all_windows(prepared, manifest))
    return describe_raw(study, prepared, outputs, manifest)


def edited(bundle: Path, output: Path, path: tuple[str | int, ...], value: Any) -> Path:
    """A copy of the bundle with one value of its manifest changed, sealed again."""
    document = json.loads((bundle / MANIFEST_NAME).read_text(encoding="utf-8"))
    del document["files"]
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    return seal(unsealed(bundle, output), document, output)


def unsealed(bundle: Path, output: Path) -> Path:
    """The files of a bundle without their manifest, beside `output`."""
    draft = output.with_name(f"{output.name}.draft")
    return Path(shutil.copytree(bundle, draft, ignore=shutil.ignore_patterns(MANIFEST_NAME)))


def seal(draft: Path, document: dict[str, Any], output: Path) -> Path:
    """Make a bundle of the files."""
    return write_bundle(draft, document, output).folder
