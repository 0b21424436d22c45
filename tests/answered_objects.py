"""Answers of all four kinds of networks, on studies of DICOM images, and all objects that they can be written as."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import FileDataset

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series
from mmcaf_engine.pipeline import answer_study
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.explain import ExplanationMap
from tiny_bundle import SIZE, SLICES, make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_liver import make_tiny_liver
from tiny_report import make_tiny_report

CREATED = "2026-11-30T09:08:48Z"
NETWORKS = ("CT and record", "MR of three phases", "radiograph", "CT, report and record")
OF_VOLUME = "sr,sc,pm,seg,gsps,ko"
OF_IMAGE = "sr,sc,gsps,ko"


def answered(network: str, folder: Path) -> Answer:
    """With heat maps, which the network draws itself or which are drawn here at random."""
    match network:
        case "CT and record":
            return answered_of(ct_series(hounsfield(8, SIZE, SIZE)), folder)
        case "MR of three phases":
            write_mr_series(liver_study(3, slices=16, size=16), folder / "mr")
            bundle, drawing = make_tiny_liver(folder / "mr.mmcaf"), folder / "map.png"
            return answer_study(folder / "mr", bundle=bundle, backend="onnxruntime", created=CREATED, heatmap=drawing)
        case "radiograph":
            study = save([radiograph()], folder / "dx")
            bundle = make_tiny_image(folder / "dx.mmcaf")
            answer = answer_study(study, bundle=bundle, backend="onnxruntime", created=CREATED)
            return _explained(answer, (1, 3, 4), (0, 1))
        case "CT, report and record":
            study = save(ct_series(hounsfield(8, SIZE, SIZE)), folder / "report")
            bundle = make_tiny_report(folder / "report.mmcaf")
            record = {"sex": "F", "age": 63, "findings": "nodule", "impression": "effusion"}
            answer = answer_study(study, record, bundle=bundle, backend="onnxruntime", created=CREATED)
            return _explained(answer, (SLICES, 2, 2), (0, SLICES))
    raise ValueError(network)


def objects_of(network: str, answer: Answer) -> dict[str, bytes]:
    return answer.to_dicom(OF_IMAGE if network == "radiograph" else OF_VOLUME)


def answered_of(images: Iterable[FileDataset], folder: Path, **options: Any) -> Answer:
    """The first of these networks on other images."""
    study, bundle = save(images, folder / "images"), make_tiny_bundle(folder / "images.mmcaf")
    record = {"sex": "F", "age": 63}
    answer = answer_study(study, record, bundle=bundle, backend="onnxruntime", created=CREATED, **options)
    return _explained(answer, (2, 3, 4), (0, SLICES))


def _explained(answer: Answer, grid: tuple[int, int, int], slices: tuple[int, int]) -> Answer:
    values = np.random.default_rng(1).random(grid, dtype=np.float32)
    label = answer.bundle.manifest.labels[answer.score.label]
    drawn = ExplanationMap("gradcam", "stage 4", "image", answer.score.deciding, label, values, slices)
    return replace(answer, maps=(drawn,))
