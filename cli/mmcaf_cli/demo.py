"""`mmcaf demo`."""

import json
import shlex
from pathlib import Path

from mmcaf_engine.demo.phantom import make_phantom, record
from mmcaf_engine.demo.write_dicom import write_multiframe, write_series
from mmcaf_engine.errors import UsageError


def demo_command(folder: Path, seed: int, force: bool) -> None:
    """Write one synthetic patient's study, in both DICOM forms, and record."""
    study, series, record_file = folder / "study.dcm", folder / "series", folder / "record.json"
    if not force and any(path.exists() for path in (study, series, record_file)):
        raise UsageError(
            f"{folder}: a demo stands there already.", "Choose another folder, or replace it with --force."
        )
    phantom = make_phantom(seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_multiframe(phantom, study)
        write_series(phantom, series)
        record_file.write_text(json.dumps(record(phantom.patient), indent=2) + "\n", encoding="utf-8")
    except OSError as failure:
        raise UsageError(f"{folder}: cannot be written: {failure.strerror}.", "Choose another folder.") from None
    print(f"Synthetic patient {seed}: {study}, {series}{'/'} ({len(phantom.hu)} slices) and {record_file}")
    print(f"Try: mmcaf-infer {shlex.quote(str(study))} {shlex.quote(str(record_file))}")
