"""MMCAF-Net as the exporter sees it: recognition, test inputs, and its default manifest."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcaf_engine.manifest import (
    CategoryField,
    ClipScaleStep,
    Code,
    FhirObservation,
    FhirPatient,
    NumberField,
    PreprocessingSpec,
    ResizeStep,
    SubtractStep,
    TableSpec,
    TensorSpec,
    WindowSpec,
)

from ...assumptions import Assumptions
from ..entry import NetworkEntry, whole_number
from ..feature_map import FeatureMap
from .assumptions import assumptions
from .fusion import WIDTHS, Fusion
from .network import TABLE_VALUES, MmcafConfig, MmcafNet
from .penet import STEM_CHANNELS
from .rewrites import REWRITES

LOWER_HU, UPPER_HU = -100.0, 900.0
TRAINING_MEAN = 0.15897
AIR = -1000.0

STAGE_PREFIXES = ("", "c", "p", "yc", "yp")  # clinical, pathologic, either after treatment
STAGE_CODES = {  # LOINC: clinical, pathologic, other
    "T": ("21905-5", "21899-0", "21911-3"),
    "N": ("21906-3", "21900-6", "21912-1"),
    "M": ("21907-1", "21901-4", "21913-9"),
}
SMOKING_ANSWERS = {  # SNOMED CT
    "266919005": "never",
    "8517006": "former",
    "449868002": "current",  # every day
    "428041000124106": "current",  # some days
    "428071000124103": "current",  # heavy
    "428061000124105": "current",  # light
    "77176002": "current",
}

LABEL_CODES = {
    "adenocarcinoma": Code(scheme="SCT", value="254626006", meaning="Adenocarcinoma of lung"),
    "squamous-cell carcinoma": Code(scheme="SCT", value="254634000", meaning="Squamous cell carcinoma of lung"),
}
"""The labels in the order of the classes, each with its code in SNOMED CT."""

_STEM = "image_encoder.encoder.in_conv.0.weight"
_HEAD = "fin_cls.weight"


class MmcafEntry(NetworkEntry[MmcafConfig]):
    """MMCAF-Net: one CT window and seven clinical values -> one logit."""

    name = "mmcaf"
    title = "MMCAF-Net"
    signature = (_STEM, "kan.coef", "multiscale_fusion.SF1.fc1x.weight")
    dead = (
        r"image_encoder\.encoder\.(asp_pool|decoders|out_conv)\..*",
        r"image_encoder\.fused_cls\..*",
        r"multiscale_fusion\.cross_attention\d\.[qk]_proj\..*",
        r"(tab_cls|img_cls)\..*",
        r".*\.num_batches_tracked",
    )
    rewrites = REWRITES
    module_titles = (
        (r"image_encoder\.encoder\.(in_conv|max_pool)", "stem"),
        (r"image_encoder\.encoder\.encoders\.0", "PENet stage 1"),
        (r"image_encoder\.encoder\.encoders\.1", "PENet stage 2"),
        (r"image_encoder\.encoder\.encoders\.2", "PENet stage 3"),
        (r"image_encoder\.(?:cab|dcfb)(\d)", r"E3D-MSCA stage \1"),
        (r"image_encoder\.sab", "E3D-MSCA spatial attention"),
        (r"image_encoder\.ucb(\d)", r"up-convolution \1"),
        (r"image_encoder\.scale(\d)", r"stage \1 norm"),
        (r"image_encoder\.bfpu(\d)", r"BFPU \1"),
        (r"image_encoder\.fc", "image features"),
        (r"image_encoder", "image encoder"),
        (r"kan", "KAN"),
        (r"multiscale_fusion\.cross_attention(\d)", r"cross-attention \1"),
        (r"multiscale_fusion\.SF(\d)", r"scale fusion \1"),
        (r"multiscale_fusion", "multiscale fusion"),
        (r"fin_cls", "classifier"),
    )

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> MmcafConfig:
        # Without a head the usual one is assumed, so that matching can name everything that is missing.
        inputs = state[_HEAD].shape[-1] if _HEAD in state else 2 * WIDTHS[0]
        if inputs not in (2 * WIDTHS[0], WIDTHS[0]):
            raise ValueError(f"{_HEAD} takes {inputs} features; {2 * WIDTHS[0]} or {WIDTHS[0]} are expected")
        fusion: Fusion = "tokens" if inputs == 2 * WIDTHS[0] else "mean"
        if metadata.get("fusion", fusion) != fusion:
            raise ValueError(f"its metadata says fusion={metadata['fusion']}, but {_HEAD} takes {inputs} features")
        return MmcafConfig(
            slices=whole_number("slices", metadata.get("slices", "12")),
            size=whole_number("size", metadata.get("size", "192")),
            width=state[_STEM].shape[0] / STEM_CHANNELS,
            fusion=fusion,
        )

    def build(self, config: MmcafConfig) -> MmcafNet:
        return MmcafNet(config).eval()

    def tensors(self, config: MmcafConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        volume = ("N", 1, config.slices, config.size, config.size)
        return (
            (
                TensorSpec(name="image", kind="volume", shape=volume),
                TensorSpec(name="table", kind="table", shape=("N", TABLE_VALUES)),
            ),
            (TensorSpec(name="logit", kind="score", shape=("N", 1)),),
        )

    def explained(self, config: MmcafConfig) -> tuple[FeatureMap, ...]:
        """What the features are the largest values of: the bottom-up path's last map."""
        return (FeatureMap("gradcam", "last image features", "image_encoder.bfpu2", "image"),)

    def example_inputs(self, config: MmcafConfig, batch: int, seed: int) -> dict[str, Tensor]:
        """Blocks of tissue under pixel noise, in sixteen grey levels so that they store small."""
        generator = np.random.default_rng(seed)
        blocks = -(-config.size // 8)
        coarse = generator.integers(0, 12, (batch, 1, config.slices, blocks, blocks))
        fine = coarse.repeat(8, axis=-2).repeat(8, axis=-1)[..., : config.size, : config.size]
        levels = np.clip(fine + generator.integers(-3, 4, fine.shape), 0, 15)
        image = (levels / 15 - TRAINING_MEAN).astype(np.float32)
        table = generator.uniform(-1, 1.2, (batch, TABLE_VALUES)).astype(np.float32)
        return {"image": torch.from_numpy(image), "table": torch.from_numpy(table)}

    def assumed(self, config: MmcafConfig, metadata: Mapping[str, str]) -> Assumptions:
        rest = [step.model_dump(mode="json") for step in _preprocessing(config).steps[1:]]
        return assumptions(config, metadata, rest)

    def manifest(self, config: MmcafConfig) -> dict[str, Any]:
        return {
            "name": "MMCAF-Net",
            "description": "Lung cancer subtype from a chest CT and seven clinical values.",
            "preprocessing": _preprocessing(config).model_dump(mode="json"),
            "table": _table().model_dump(mode="json"),
            "labels": list(LABEL_CODES),
            "label_codes": {label: code.model_dump(mode="json") for label, code in LABEL_CODES.items()},
            "aggregation": {"method": "max"},
            "threshold": 0.5,
            "licence": "not stated; that of the checkpoint applies",
            "intended_use": "Research only: no decision about a patient may rest on it.",
            "demonstration": False,
        }


def _preprocessing(config: MmcafConfig) -> PreprocessingSpec:
    return PreprocessingSpec(
        modality="CT",
        intensity="hounsfield",
        windows=WindowSpec(
            slices=config.slices,
            stride=config.slices,
            pad_value=AIR,
            trained_on="lesion",
            order="axes",
            lesion_field="lesion_slices",
        ),
        steps=(
            # The published resize is OpenCV's, of whole numbers, so its averages are rounded.
            ResizeStep(rows=config.size, columns=config.size, rounding="opencv"),
            ClipScaleStep(lower=LOWER_HU, upper=UPPER_HU),
            SubtractStep(value=TRAINING_MEAN),
        ),
    )


def _table() -> TableSpec:
    return TableSpec(
        fields=(
            CategoryField(
                name="sex",
                description="Sex",
                categories={"M": 1, "F": 0},
                synonyms={"male": "M", "female": "F"},
                dicom="PatientSex",
                fhir=FhirPatient(element="gender"),
            ),
            NumberField(
                name="age",
                description="Age at the study",
                unit="years",
                units={"a": 1, "months": 1 / 12, "mo": 1 / 12},
                minimum=18,
                maximum=110,
                lower=20,
                upper=90,
                dicom="PatientAge",
                fhir=FhirPatient(element="birthDate"),
            ),
            NumberField(
                name="weight",
                description="Body weight",
                unit="kg",
                units={"g": 0.001, "lb": 0.45359237, "[lb_av]": 0.45359237},
                minimum=25,
                maximum=300,
                lower=35,
                upper=130,
                dicom="PatientWeight",
                fhir=FhirObservation(codes=("29463-7",)),
            ),
            _stage("T", {"is": 0, "1": 1, "1a": 1, "1b": 2, "1c": 3, "2": 4, "2a": 4, "2b": 5, "3": 6, "4": 7}),
            _stage("N", {"0": 0, "1": 1, "2": 2, "3": 3}),
            _stage("M", {"0": 0, "1": 1, "1a": 1, "1b": 2, "1c": 3}),
            CategoryField(
                name="smoking_history",
                description="Smoking history",
                categories={"never": 0, "former": 1, "current": 2},
                synonyms={"no": "never", "ex-smoker": "former", "smoker": "current"},
                divisor=2,
                fhir=FhirObservation(codes=("72166-2",), answers=SMOKING_ANSWERS),
            ),
        )
    )


def _stage(letter: str, categories: dict[str, float]) -> CategoryField:
    """A TNM component; "1a", "T1a", "cT1a" and "pt1a" all mean the same."""
    return CategoryField(
        name=f"{letter.lower()}_stage",
        description=f"{letter} stage (TNM, 8th edition)",
        categories=categories,
        synonyms={f"{prefix}{letter}{category}": category for prefix in STAGE_PREFIXES for category in categories},
        divisor=10,
        fhir=FhirObservation(codes=STAGE_CODES[letter]),
    )
