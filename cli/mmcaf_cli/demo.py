"""`mmcaf demo`."""

import json
import shlex
from pathlib import Path
from typing import Literal

from mmcaf_engine.outputs import Output, check_writable, refused

Kind = Literal["lung", "liver", "chest"]

_WRITTEN: dict[Kind, dict[str, Literal["file", "folder"]]] = {
    "lung": {"study.dcm": "file", "series": "folder", "record.json": "file"},
    "liver": {"dicom": "folder", "nifti": "folder"},
    "chest": {"study.dcm": "file", "record.json": "file", "report.txt": "file"},
}


def demo_command(folder: Path, kind: Kind, seed: int, force: bool) -> None:
    """Write one synthetic patient's files."""
    place = Output("save", folder, "folder")
    check_writable([place], force=True)
    with refused(place):
        folder.mkdir(parents=True, exist_ok=True)
    check_writable([Output("save", folder / name, sort) for name, sort in _WRITTEN[kind].items()], force=force)
    with refused(place):
        {"lung": _write_lung, "liver": _write_liver, "chest": _write_chest}[kind](folder, seed)


def _write_lung(folder: Path, seed: int) -> None:
    """The study in both DICOM forms, and the record."""
    from mmcaf_engine.demo.phantom import make_phantom, record
    from mmcaf_engine.demo.write_dicom import write_multiframe, write_series

    study, series, record_file = folder / "study.dcm", folder / "series", folder / "record.json"
    phantom = make_phantom(seed)
    write_multiframe(phantom, study)
    write_series(phantom, series)
    record_file.write_text(json.dumps(record(phantom.patient), indent=2) + "\n", encoding="utf-8")
    print(f"Synthetic patient {seed}: {study}, {series}{'/'} ({len(phantom.hu)} slices) and {record_file}")
    print(f"Try: mmcaf-infer {shlex.quote(str(study))} {shlex.quote(str(record_file))}")


def _write_liver(folder: Path, seed: int) -> None:
    """The study as DICOM series and as NIfTI files."""
    from mmcaf_engine.demo.liver import LIVER_LABELS, PHASES, liver_study
    from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti

    study = liver_study(seed)
    write_mr_series(study, folder / "dicom")
    write_nifti(study, folder / "nifti")
    print(f"Synthetic patient {seed}, {LIVER_LABELS[study.label]}, {len(PHASES)} phases: {folder / 'dicom'}{'/'} and")
    print(f"{folder / 'nifti'}{'/'}")
    print(f"Try: mmcaf-infer {shlex.quote(str(folder / 'dicom'))} --bundle BUNDLE")


def _write_chest(folder: Path, seed: int) -> None:
    """A radiograph, the record and the report."""
    from mmcaf_engine.demo.radiograph import chest_study
    from mmcaf_engine.demo.write_dx import write_chest

    study = chest_study(seed)
    image, record, report = write_chest(study, folder)
    print(f"Synthetic patient {seed}, {', '.join(study.patient.names) or 'no finding'}: {image},")
    print(f"{record} and {report}")
    quoted = [shlex.quote(str(path)) for path in (image, record, report)]
    print(f"Try: mmcaf-infer {quoted[0]} {quoted[1]} --report {quoted[2]} --bundle BUNDLE")
