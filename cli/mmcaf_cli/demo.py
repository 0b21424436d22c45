"""`mmcaf demo`."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmcaf_engine.outputs import Output, commit_folder, refused, scratch_folder

from .console import to_json
from .report import Report

Kind = Literal["lung", "liver", "chest"]

_PARTS = {
    "lung": ("study.dcm", "series", "record.json"),
    "liver": ("dicom", "nifti"),
    "chest": ("study.dcm", "record.json", "report.txt"),
}
"""Files and folders of each kind."""

_NAMES = re.compile(r"(\w+/)?slice-\d{3}\.dcm|\w+\.nii\.gz")
"""Of the files in those folders."""


@dataclass(frozen=True)
class _Example:
    """What the patient has, in words, and what mmcaf-infer answers it with.

    arguments: options, and names within the folder. own_bundle: whether another bundle than the built-in one is needed.
    """

    description: str
    arguments: tuple[str, ...]
    own_bundle: bool = True


def demo_command(folder: Path, kind: Kind, seed: int, report: Report) -> None:
    """Write one synthetic patient's files, each whole or not at all."""
    place = Output("output", folder, "folder")
    parts = [Output("output", folder / name, "whole", own=_own_files) for name in _PARTS[kind]]
    report.check(place, *parts)
    with refused(place):
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder) as scratch:
            example = {"lung": _write_lung, "liver": _write_liver, "chest": _write_chest}[kind](scratch, seed)
            for part in parts:
                commit_folder(scratch / part.path.name, part.path, replace=report.force)
    command = _command(folder, example)
    files = ", ".join(f"{part.path}/" if part.path.is_dir() else str(part.path) for part in parts)
    report.give(
        lambda: f"Synthetic patient {seed}, {example.description}: {files}\nTry: {command}",
        lambda: to_json(
            {
                "kind": kind,
                "seed": seed,
                "description": example.description,
                "written": [str(part.path) for part in parts],
                "command": command,
            }
        ),
    )


def _own_files(folder: Path) -> list[str]:
    """Those that are named as a demonstration's are."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return [name for name in names if _NAMES.fullmatch(name)]


def _command(folder: Path, example: _Example) -> str:
    words = [word if word.startswith("--") else str(folder / word) for word in example.arguments]
    return shlex.join(["mmcaf-infer", *words]) + (" --bundle BUNDLE" if example.own_bundle else "")


def _write_lung(folder: Path, seed: int) -> _Example:
    """The study in both DICOM forms, and the record."""
    from mmcaf_engine.demo.phantom import make_phantom, record
    from mmcaf_engine.demo.write_dicom import write_multiframe, write_series

    phantom = make_phantom(seed)
    write_multiframe(phantom, folder / "study.dcm")
    write_series(phantom, folder / "series")
    document = json.dumps(record(phantom.patient), indent=2) + "\n"
    (folder / "record.json").write_text(document, encoding="utf-8")
    return _Example(f"chest CT of {len(phantom.hu)} slices", ("study.dcm", "record.json"), own_bundle=False)


def _write_liver(folder: Path, seed: int) -> _Example:
    """The study as DICOM series and as NIfTI files."""
    from mmcaf_engine.demo.liver import LIVER_LABELS, PHASES, liver_study
    from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti

    study = liver_study(seed)
    write_mr_series(study, folder / "dicom")
    write_nifti(study, folder / "nifti")
    return _Example(f"{LIVER_LABELS[study.label]}, {len(PHASES)} phases", ("dicom",))


def _write_chest(folder: Path, seed: int) -> _Example:
    """A radiograph, the record and the report."""
    from mmcaf_engine.demo.radiograph import chest_study
    from mmcaf_engine.demo.write_dx import write_chest

    study = chest_study(seed)
    write_chest(study, folder)
    findings = ", ".join(study.patient.names) or "no finding"
    return _Example(findings, ("study.dcm", "record.json", "--report", "report.txt"))
