"""Answers that were kept, to be made again from their own fields by a later commit.

PYTHONPATH=tests:tests/engine python tests/again.py NAME...

answers these of `CASES`, or all, and writes the results to tests/data/results_version_2. Do so for a new case alone:
what is there has to come out again.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicom_factory import ct_series, hounsfield, save, write
from mmcaf_engine import infer
from mmcaf_engine.demo import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series
from study_edits import REFERENCE, again, tilt
from tiny_bundle import SIZE
from tiny_image import radiograph

DATA = Path(__file__).parent / "data"
KEPT = DATA / "results_version_2"
RECORD = {"sex": "F", "age": 63}
TABLE = b"patient_id,sex,age\nA,M,20\nB,F,63\n"


@dataclass(frozen=True)
class Case:
    """What is answered. bundle: of tests/data/version_1. study: by its maker's name below. options: of `infer`."""

    bundle: str
    study: str
    record: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "plain": Case("tiny_bundle", "series", RECORD),
    "stride": Case("tiny_bundle", "series", RECORD, {"stride": 1, "series": "1"}),
    "slices": Case("tiny_bundle", "series", RECORD, {"slices": "2-6", "stride": 1}),
    "gaps": Case("tiny_bundle", "holed", RECORD, {"gaps": "interpolate", "series": ["image=1"]}),
    "tilt": Case("tiny_bundle", "tilted", RECORD, {"tilt": "resample", "duplicates": "first"}),
    "row": Case("tiny_bundle", "series", TABLE, {"row": 2, "allow_id_mismatch": True}),
    "threads": Case("tiny_bundle", "series", RECORD, {"backend": "openvino", "threads": 2}),
    "report": Case("tiny_report", "series", {**RECORD, "findings": "new nodule", "impression": ""}),
    "phases": Case("tiny_liver", "phases", None, {"series": {"c_a": "7"}, "oblique": "accept"}),
    "radiograph": Case("tiny_image", "radiograph"),
}


def make_study(name: str, folder: Path) -> Path:
    """Write one of the studies, the same on every machine."""

    def phases(folder: Path) -> Path:
        write_mr_series(liver_study(3, slices=16, size=16), folder)
        return folder

    def tilted(folder: Path) -> Path:
        return save(again(2)(tilt(1)(ct_series(REFERENCE))), folder)

    def holed(folder: Path) -> Path:
        return save([one for at, one in enumerate(ct_series(hounsfield(30, SIZE, SIZE))) if at != 7], folder)

    makers: dict[str, Callable[[Path], Path]] = {
        "series": lambda folder: save(ct_series(hounsfield(6, SIZE, SIZE)), folder),
        "holed": holed,
        "tilted": tilted,
        "phases": phases,
        "radiograph": lambda folder: write(radiograph(), folder / "radiograph.dcm"),
    }
    return makers[name](folder)


def bundle_of(case: Case) -> Path:
    """The archive of its bundle."""
    return DATA / "version_1" / f"{case.bundle}.zip"


def main() -> None:
    """Write the results of some of the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*CASES, []])
    for name in parser.parse_args().names or CASES:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            options = {"backend": "onnxruntime", "threads": 1, **case.options}
            study = make_study(case.study, Path(folder))
            result = infer(study, case.record, bundle=bundle_of(case), created="2026-11-30T12:00:00Z", **options)
        KEPT.mkdir(exist_ok=True)
        text = result.to_json(indent=1).replace(folder, "study")
        (KEPT / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
