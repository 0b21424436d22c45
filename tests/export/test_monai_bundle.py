"""MONAI bundles: what maps is read as data, what does not is refused by name, and nothing of them is run."""

import json
import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.monai_bundles import INFERENCE, METADATA, NETWORK, SIZE, documents, monai, write_bundle, zipped
from mmcaf_engine import Volume, infer, load_bundle
from mmcaf_engine.errors import ExportError, MmcafError, UsageError
from mmcaf_export.export import export_bundle
from mmcaf_export.monai_bundle.files import is_monai_bundle, opened
from mmcaf_export.monai_bundle.network import network_of
from mmcaf_export.monai_bundle.outputs import meaning, refuse_segmentation
from mmcaf_export.monai_bundle.references import References, plain
from mmcaf_export.monai_bundle.transforms import listed, map_transforms, overridden, subtracted
from refusals import refused

Change = Callable[[dict[str, Any], dict[str, Any]], object]
TRANSFORMS = INFERENCE["preprocessing"]["transforms"]
RANGE = TRANSFORMS[3]


def mapped(*transforms: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a list of transforms, as plain values."""
    document = {**INFERENCE, "preprocessing": list(transforms)}
    found = subtracted(map_transforms(listed(References(document, "x").get("preprocessing"), "x"), "x"))
    steps = [step.model_dump(mode="json") for step in found.steps]
    return {"axes": found.axes, "size": found.size, "steps": steps, "scale": found.scale, "shift": found.shift}


def resized(**more: object) -> dict[str, Any]:
    return {"_target_": "Resized", "keys": "image", "spatial_size": [4, 5, 6], **more}


def test_what_maps_is_taken() -> None:
    found = mapped(*TRANSFORMS)
    assert (found["axes"], found["size"], found["scale"], found["shift"]) == ("RAS", SIZE, 1.0, 0.0)
    assert [step["step"] for step in found["steps"]] == ["clip_scale", "resize_volume"]
    assert (found["steps"][0]["lower"], found["steps"][0]["upper"]) == (-1000, 400)


@pytest.mark.parametrize("target", ["ScaleIntensityRange", "ScaleIntensityRangeD", "ScaleIntensityRangeDict"])
@pytest.mark.parametrize("module", ["", "monai.transforms.", "monai.transforms.intensity.dictionary."])
def test_spellings_of_one_transform(target: str, module: str) -> None:
    assert mapped({**RANGE, "_target_": module + target}) == mapped(RANGE)


@pytest.mark.parametrize(
    ("transforms", "steps", "scale", "shift"),
    [
        ([RANGE | {"b_min": -1, "b_max": 1}], ["clip_scale"], 2, -1),
        ([RANGE | {"b_min": -0.25, "b_max": 0.75}], ["clip_scale", "subtract"], 1, 0),
        ([RANGE, {"_target_": "NormalizeIntensityd", "subtrahend": 0.5, "divisor": 0.25}], ["clip_scale"], 4, -2),
        (
            [RANGE, {"_target_": "NormalizeIntensityd", "subtrahend": [0.5], "divisor": [1]}],
            ["clip_scale", "subtract"],
            1,
            0,
        ),
        ([RANGE | {"b_max": 3}, {"_target_": "NormalizeIntensityd"}], ["clip_scale", "standardise"], 1, 0),
        ([RANGE | {"b_max": 255}, RANGE | {"a_min": 51, "a_max": 102}], ["clip_scale", "clip_scale"], 1, 0),
    ],
)
def test_linear_intensities_are_kept_exactly(
    transforms: list[dict[str, Any]], steps: list[str], scale: float, shift: float
) -> None:
    found = mapped(*transforms)
    assert [step["step"] for step in found["steps"]] == steps
    assert (found["scale"], found["shift"]) == pytest.approx((scale, shift))
    if steps == ["clip_scale", "clip_scale"]:
        assert (found["steps"][1]["lower"], found["steps"][1]["upper"]) == pytest.approx((0.2, 0.4))


@pytest.mark.parametrize(
    ("transform", "fact"),
    [
        ({"_target_": "Spacingd", "pixdim": [1, 1, 1]}, "Spacingd"),
        ({"_target_": "CropForegroundd", "source_key": "image"}, "CropForegroundd"),
        ({"_target_": "ScaleIntensityd", "minv": 0, "maxv": 1}, "ScaleIntensityd"),
        ({"_target_": "ScaleIntensityRangePercentilesd", "lower": 1}, "percentiles"),
        ({"_target_": "RandFlipd", "prob": 0.5}, "RandFlipd"),
        ({"_target_": "Lambdad", "func": "$lambda x: x"}, "Lambdad"),
        ({"_target_": "scripts.mine.Window"}, "code of others"),
        ({"_target_": "$scripts.Mine"}, "code of others"),
        (RANGE | {"clip": False}, "clip"),
        (RANGE | {"a_min": "$-1000"}, "$-1000"),
        (RANGE | {"a_min": 400}, "a_min"),
        (RANGE | {"a_min": True}, "a_min"),
        (RANGE | {"b_min": None}, "b_min"),
        ({"_target_": "NormalizeIntensityd", "nonzero": True}, "nonzero"),
        ({"_target_": "NormalizeIntensityd", "divisor": 2}, "subtrahend"),
        ({"_target_": "NormalizeIntensityd", "subtrahend": 0, "divisor": 0}, "divisor"),
        (resized(mode="trilinear"), "trilinear"),
        (resized(mode="area", anti_aliasing=True), "anti_aliasing"),
        (resized(size_mode="longest"), "size_mode"),
        (resized(spatial_size=[4, -1, 6]), "spatial_size"),
        (resized(spatial_size=[4, 5, 5000]), "size"),
        ({"_target_": "Orientationd", "axcodes": "$x"}, "$x"),
        ({"_target_": "CastToTyped", "dtype": "uint8"}, "uint8"),
        (RANGE | {"_disabled_": "$True"}, "$True"),
    ],
)
def test_what_does_not_map_is_refused_by_name(transform: dict[str, Any], fact: str) -> None:
    with refused(ExportError, str(transform["_target_"]).rpartition(".")[2], fact):
        mapped(transform)


def test_all_that_does_not_map_is_named_at_once() -> None:
    with refused(ExportError, 2, "Spacingd", "CropForegroundd"):
        mapped({"_target_": "Spacingd", "pixdim": [1, 1, 1]}, RANGE, {"_target_": "CropForegroundd"})


def test_settings_leave_one_out_or_change_it() -> None:
    given = [{"_target_": "Spacingd", "pixdim": [1, 1, 1]}, resized(mode="trilinear")]
    kept, changed = overridden(given, {"Spacingd": {"_disabled_": True}, "Resized": {"mode": "area"}})
    assert [one["_target_"] for one in kept] == ["Resized"] and kept[0]["mode"] == "area"
    assert len(changed) == 2 and "Spacingd" in changed[0] and "trilinear" in changed[1]


def test_references_are_followed_and_expressions_are_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    document = {
        "a": f"$__import__('pathlib').Path({str(mark)!r}).touch()",
        "b": ["@c::d", "@c#e#1"],
        "c": {"d": 7, "e": [1, "@c#d"]},
        "m": "%other.json#key",
    }
    references = References(document, "x.json")
    assert references.get("b") == [7, 7] and references.get("absent") is None
    assert not plain(references.get("a")) and not plain(references.get("m")) and plain(references.get("c"))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("document", "fact"),
    [({"a": "@b"}, "@b"), ({"a": "@b", "b": "@a"}, "itself"), ({"a": ["@c#1"], "c": [0]}, "@c#1"), ({"a": "@"}, "@")],
)
def test_references_that_lead_nowhere(document: dict[str, Any], fact: str) -> None:
    with refused(ExportError, "x.json", fact):
        References(document, "x.json").get("a")


@pytest.mark.parametrize(
    ("network", "fact"),
    [
        ({"_target_": "UNet"}, "segmentation"),
        ({"_target_": "monai.networks.nets.SwinUNETR"}, "SwinUNETR"),
        ({"_target_": "monai.networks.nets.AutoEncoder"}, "AutoEncoder"),
        ({"_target_": "os.system", "command": "true"}, "os.system"),
        ({"_target_": "monai.networks.netsx.DenseNet121"}, "netsx"),
        ({"_target_": "scripts.nets.DenseNet121"}, "not imported"),
        ({"_target_": "$monai.networks.nets.DenseNet121"}, "not imported"),
        ({"_target_": ["DenseNet121"]}, "not imported"),
        ("$torch.load('x')", "$torch.load"),
        (NETWORK | {"out_channels": "$len(@labels)"}, "out_channels"),
        (NETWORK | {"act": {"_target_": "torch.nn.ReLU"}}, "act"),
        (NETWORK | {"_mode_": "debug"}, "debug"),
    ],
)
def test_a_network_that_is_not_built(network: Any, fact: str) -> None:
    with refused(ExportError, "x.json", fact):
        network_of(References({"network_def": network}, "x.json"), "x.json", {})


def test_a_network_is_read_as_data() -> None:
    document = {"classes": 5, "network_def": NETWORK | {"out_channels": "@classes"}}
    name, arguments = network_of(References(document, "x"), "x", {"bn_size": 3})
    assert name == "DenseNet" and (arguments["out_channels"], arguments["bn_size"]) == (5, 3)


@pytest.mark.parametrize(
    ("given", "classes", "expected"),
    [
        ({"softmax": True}, 2, ("softmax", ("benign", "malignant"))),
        ({"sigmoid": True}, 2, ("multilabel", ("benign", "malignant"))),
        ({"sigmoid": True}, 1, ("sigmoid", ("benign", "malignant"))),
    ],
)
def test_what_scores_mean(given: dict[str, Any], classes: int, expected: tuple[str, tuple[str, ...]]) -> None:
    found = meaning(METADATA, [{"_target_": "Activationsd", **given}], classes, "x")
    assert (found.scored_by, found.labels) == expected
    assert meaning({}, [], classes, "x").labels is None


@pytest.mark.parametrize(
    ("transform", "classes", "fact"),
    [
        ({"_target_": "Activationsd", "softmax": True}, 1, "softmax"),
        ({"_target_": "Activationsd", "softmax": True, "sigmoid": True}, 2, "sigmoid"),
        ({"_target_": "Activationsd", "other": "$torch.tanh"}, 2, "$torch.tanh"),
        ({"_target_": "KeepLargestConnectedComponentd"}, 2, "KeepLargestConnectedComponentd"),
        ({"_target_": "AsDiscreted", "threshold": 2}, 2, 2),
        ({"_target_": "Activationsd", "softmax": True}, 3, 3),
    ],
)
def test_scores_that_mean_something_else(transform: dict[str, Any], classes: int, fact: str | int) -> None:
    with refused(ExportError, "x", fact):
        meaning(METADATA, [transform], classes, "x")


@pytest.mark.parametrize("output", [{"type": "image"}, {"type": "image", "format": "segmentation"}])
def test_segmentation_is_refused_by_name(output: dict[str, Any]) -> None:
    with refused(ExportError, "pred", "segmentation"):
        refuse_segmentation({"network_data_format": {"outputs": {"pred": output}}}, "x")


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_both_forms_and_both_places_are_read(form: str, as_zip: bool, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle", form=form)
    if as_zip:
        path = zipped(path, tmp_path / "bundle.zip")
    assert is_monai_bundle(path)
    with opened(path) as files:
        assert (files.metadata, files.inference) == documents()
        assert torch.load(files.weights, weights_only=True)["weight"].shape == (1,)
    assert files.weights.exists() is not as_zip


def test_what_is_no_bundle(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("a/b/configs/metadata.json", "{}")
        archive.writestr("xconfigs/metadata.json", "{}")
    for path in (tmp_path, *tmp_path.iterdir(), tmp_path / "absent", Path("/dev/null")):
        assert not is_monai_bundle(path)


@pytest.mark.parametrize(
    ("break_it", "fact"),
    [
        (lambda folder: (folder / "models/model.pt").unlink(), "models/model.pt"),
        (lambda folder: (folder / "models/model.pt").rename(folder / "models/model.ts"), "TorchScript"),
        (lambda folder: (folder / "configs/inference.json").unlink(), "inference"),
        (lambda folder: (folder / "configs/inference.yaml").write_text("a: 1"), "inference.yaml"),
        (lambda folder: (folder / "configs/inference.json").write_text("[1]"), "mapping"),
        (lambda folder: (folder / "configs/inference.json").write_text('{"a": 1, "a": 2}'), "inference.json"),
        (lambda folder: (folder / "configs/metadata.json").write_text("{"), "metadata.json"),
    ],
)
def test_a_bundle_that_lacks_something(break_it: Callable[[Path], object], fact: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    break_it(folder)
    with refused(ExportError, fact), opened(folder):
        pass


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a: !!python/object/apply:os.system ['true']\n", "YAML"),
        ("a: [", "YAML"),
        ("[" * 5000, 64),
    ],
)
def test_yaml_is_plain_values(text: str, fact: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", form="yaml")
    (folder / "configs/inference.yaml").write_text(text)
    with refused(ExportError, "inference.yaml", fact), opened(folder):
        pass


def first(key: str, value: object) -> Change:
    """Change an argument of the first transform that has it."""

    def change(metadata: dict[str, Any], inference: dict[str, Any]) -> None:
        next(one for one in inference["preprocessing"]["transforms"] if key in one)[key] = value

    return change


def without(name: str) -> Change:
    def change(metadata: dict[str, Any], inference: dict[str, Any]) -> None:
        both = (inference["preprocessing"], inference["postprocessing"])
        for part in both:
            part["transforms"] = [one for one in part["transforms"] if one["_target_"] != name]

    return change


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "settings", "fact"),
    [
        (first("mode", "trilinear"), {}, "trilinear"),
        (without("Orientationd"), {}, "axes"),
        (without("Resized"), {}, "size"),
        (without("Activationsd"), {}, "postprocessing"),
        (
            lambda m, i: i.update(inferer={"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8]}),
            {},
            "SlidingWindowInferer",
        ),
        (lambda m, i: i["network_def"].update(in_channels=4), {}, 4),
        (lambda m, i: i["network_def"].update(spatial_dims=2), {}, "pictures"),
        (lambda m, i: i["network_def"].update(depth=3), {}, "depth"),
        (lambda m, i: i["network_def"].update(block_config=[1, "x"]), {}, "TypeError"),
        (lambda m, i: m["network_data_format"]["inputs"]["image"].update(modality="PET"), {}, "PET"),
        (lambda m, i: m["network_data_format"]["outputs"]["pred"].pop("channel_def"), {}, "channel_def"),
        (lambda m, i: i.update(preprocessing="$Compose([])"), {}, "$Compose"),
        (None, {"monai.Spacingd._disabled_": "true"}, "Spacingd"),
    ],
)
def test_what_would_answer_otherwise_is_refused(
    change: Change | None, settings: dict[str, str], fact: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monai(monkeypatch)
    with refused(ExportError, fact):
        export_bundle(write_bundle(tmp_path / "bundle", change), tmp_path / "b.mmcaf", settings=settings)
    assert not (tmp_path / "b.mmcaf").exists()


def test_a_setting_without_an_argument(tmp_path: Path) -> None:
    with refused(UsageError, "monai.Spacingd"):
        export_bundle(write_bundle(tmp_path / "bundle"), tmp_path / "b.mmcaf", settings={"monai.Spacingd": "true"})


def test_a_bundle_stands_alone(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle")
    with refused(UsageError, "ensemble"):
        export_bundle([path, path], tmp_path / "b.mmcaf")
    with refused(UsageError, "bundle", option="network"):
        export_bundle(path, tmp_path / "b.mmcaf", network="mmcaf")
    with refused(UsageError, "input"):
        export_bundle(path, path / "b.mmcaf")


@pytest.mark.full
def test_a_bundle_answers_as_monai_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI's own transforms, network and activation on a NIfTI file, beside the exported bundle on the same voxels."""
    import nibabel

    package = monai(monkeypatch)
    torch.manual_seed(0)
    arguments = {key: value for key, value in NETWORK.items() if not key.startswith("_")}
    network = package.networks.nets.DenseNet(**arguments).eval()

    def spread(metadata: dict[str, Any], inference: dict[str, Any]) -> None:
        transforms = inference["preprocessing"]["transforms"]
        transforms[3] |= {"b_min": -1.0, "b_max": 1.0}
        transforms.insert(2, {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1]})

    path = write_bundle(tmp_path / "bundle", spread, network.state_dict())
    with refused(ExportError, "Spacingd", option="set", value="monai.Spacingd._disabled_=true"):
        export_bundle(path, tmp_path / "b.mmcaf")
    settings = {"monai.Spacingd._disabled_": "true", "name": "mine"}
    archive = zipped(path, tmp_path / "bundle.zip")
    report = export_bundle(archive, tmp_path / "b.mmcaf", settings=settings)
    assert report.network == "monai" and all(done.max_abs_error <= 1e-4 for done in report.verifications)
    assert any("Spacingd" in note for note in report.notes)
    manifest = load_bundle(tmp_path / "b.mmcaf").manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("mine", "0.4.2", ("benign", "malignant"))
    assert "Spacingd" in manifest.description and manifest.activation == "softmax"
    assert json.loads(str(manifest.network.config["arguments"]))["growth_rate"] == 3

    generator = np.random.default_rng(0)
    hu = generator.integers(-1200, 600, (24, 22, 14)).astype(np.int16)
    affine = np.diag([-0.8, -0.9, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu, affine), tmp_path / "study.nii.gz")
    transforms = package.transforms
    steps = transforms.Compose(
        [
            transforms.LoadImage(image_only=True),
            transforms.EnsureChannelFirst(),
            transforms.Orientation(axcodes="RAS"),
            transforms.ScaleIntensityRange(-1000, 400, -1.0, 1.0, clip=True),
            transforms.Resize(SIZE, mode="area"),
        ]
    )
    with torch.inference_mode():
        expected = network(steps(str(tmp_path / "study.nii.gz")).as_tensor()[None]).softmax(dim=1)[0]
    study = Volume(np.ascontiguousarray(hu.T), "hounsfield", spacing_mm=(2.0, 0.9, 0.8))  # to the head, back and left
    found = infer(study, bundle=tmp_path / "b.mmcaf").probabilities
    assert [found["benign"], found["malignant"]] == pytest.approx(expected.tolist(), abs=1e-5)
    assert not math.isclose(float(expected[0]), 0.5, abs_tol=1e-3)


def test_without_monai_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("monai", "monai.networks"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MmcafError, match="monai") as failure:
        export_bundle(write_bundle(tmp_path / "bundle"), tmp_path / "b.mmcaf")
    assert failure.value.exit_code == 6 and "pip install monai" in str(failure.value)
