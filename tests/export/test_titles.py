"""Titles of modules: from an entry's patterns to plain paths, which name every part as the patterns would."""

import re

import pytest

from export.conftest import Slim
from mmcaf_engine.backends.node_names import module_name
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_export.networks.registry import BUILT_IN
from mmcaf_export.titles import expand_titles, module_titles

ENTRIES = {entry.name: entry for entry in BUILT_IN}


@pytest.mark.parametrize(
    ("network", "path", "module", "title"),
    [
        ("mmcaf", "image_encoder.encoder.in_conv.0", "image_encoder.encoder.in_conv", "stem"),
        ("mmcaf", "image_encoder.dcfb2.msdc.dwconvs.0", "image_encoder.dcfb2", "E3D-MSCA stage 2"),
        ("mmcaf", "image_encoder.cab3", "image_encoder.cab3", "E3D-MSCA stage 3"),
        ("mmcaf", "image_encoder.bfpu1.key_conv", "image_encoder.bfpu1", "BFPU 1"),
        ("mmcaf", "image_encoder", "image_encoder", "image encoder"),
        ("mmcaf", "multiscale_fusion.SF2.fc1x", "multiscale_fusion.SF2", "scale fusion 2"),
        ("lcadb", "layer3_patch_com.0.conv1", "layer3_patch_com", "patch stage 3"),
        ("lcadb", "conv1_compose", "conv1_compose", "image stem"),
        ("cmasg", "image_encoder", "image_encoder", "ResNet stem"),
        ("cmasg", "image_encoder.layer3.5.conv2", "image_encoder.layer3", "ResNet stage 3"),
        ("cmasg", "text_encoder.encoder.layer.11.attention", "text_encoder.encoder.layer.11", "BERT layer 11"),
        ("cmasg", "bilstm.read", "bilstm", "gated Bi-LSTM"),
        (
            "medfusionnet",
            "image_encoder.features.denseblock2.denselayer1.conv1",
            "image_encoder.features.denseblock2",
            "dense block 2",
        ),
        ("medfusionnet", "image_encoder.features.norm5", "image_encoder", "image features"),
        ("medfusionnet", "label_head", "label_head", "classifier"),
    ],
)
def test_what_the_networks_call_their_parts(network: str, path: str, module: str, title: str) -> None:
    assert expand_titles(ENTRIES[network].module_titles, [path]) == {module: title}


def test_paths_that_no_pattern_fits() -> None:
    assert expand_titles(ENTRIES["mmcaf"].module_titles, ["kangaroo.1", "", "fin_cls"]) == {"fin_cls": "classifier"}
    assert expand_titles((("", "all"), ("x*", "none")), ["a.b"]) == {}
    assert expand_titles((), ["a.b"]) == {}


def by_patterns(patterns: tuple[tuple[str, str], ...], path: str) -> str | None:
    """The title that the first fitting pattern gives."""
    for pattern, title in patterns:
        if found := re.match(rf"(?:{pattern})(?=\.|$)", path):
            return found.expand(title)
    return None


def test_a_bundle_names_every_part(slim: Slim) -> None:
    bundle = load_bundle(slim.report.output)
    titles, patterns = bundle.manifest.module_titles, slim.entry.module_titles
    assert titles == module_titles(patterns, bundle.folder / "model.onnx")
    assert len(titles) >= len(patterns) - 3
    for path in titles:
        for inner in (path, f"{path}.deeper.0"):
            assert module_name(titles, inner) == by_patterns(patterns, inner)
