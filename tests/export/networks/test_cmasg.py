"""CMASG-Bi-LSTM as a network to export: names, recognition, refused files, and its bundle."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from all_precisions import write_precision
from export.cmasg_networks import PRUNED, SLIM, SWITCHES, filled, metadata, save_slim, slim_export, variant, vocabulary
from export.published_encoders import hugging_face_bert, torchvision_resnet50
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError, UsageError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.manifest import Precision
from mmcaf_engine.manifest.text import text_lengths
from mmcaf_engine.session.session import open_session
from mmcaf_export.checkpoint import STATE_DICT, Checkpoint
from mmcaf_export.export import export_bundle
from mmcaf_export.match import match_state
from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.registry import Networks
from mmcaf_export.report import ExportReport
from refusals import Fact, refused
from shared import Shared

ENTRY = CmasgEntry()
ABSOLUTE = 1e-4  # of every output: what an export must hold
log = logging.getLogger(__name__)


def shapes(config: CmasgConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return CmasgNet(config).state_dict()


def test_parameters_of_the_published_size() -> None:
    with torch.device("meta"):
        network = CmasgNet()
    counts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        counts[part] = counts.get(part, 0) + parameter.numel()
    assert counts == {
        "image_encoder": 23_508_032,
        "text_encoder": 108_891_648,
        "image_projection": 1_049_088,
        "text_projection": 393_728,
        "cross_attention": 2_048,
        "bilstm": 1_576_960,
        "sparse_gate": 262_656,
        "classifier": 1_026,
    }


@pytest.mark.parametrize("older", [False, True], ids=["BertModel", "first releases"])
def test_published_encoders_load_by_name(older: bool) -> None:
    own = {
        name: value for name, value in shapes(CmasgConfig()).items() if not name.startswith(("image_enc", "text_enc"))
    }
    state = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in own.items()}
    state |= torchvision_resnet50("image_encoder.") | hugging_face_bert("text_encoder.", older=older)
    assert Networks().recognise(state, {}) == ("cmasg", CmasgConfig())
    renamed = ENTRY.own_names(state)
    checkpoint = Checkpoint(Path("weights.pth"), STATE_DICT, "0" * 64, renamed, {})
    matched = match_state(shapes(CmasgConfig()), checkpoint, ENTRY.dead)
    assert set(matched.state) == set(shapes(CmasgConfig()))
    assert {name for name in matched.ignored if not name.endswith("num_batches_tracked")} == {
        "image_encoder.fc.weight",
        "image_encoder.fc.bias",
    }


@pytest.mark.parametrize("name", SWITCHES)
def test_recognition(name: str) -> None:
    config = variant(**SWITCHES[name])
    assert Networks().recognise(shapes(config), metadata(config)) == ("cmasg", config)


def test_a_plain_checkpoint_is_read_as_recommended() -> None:
    assert Networks().recognise(shapes(CmasgConfig()), {}) == ("cmasg", CmasgConfig())


def test_kept_units_are_those_whose_learned_gate_is_open() -> None:
    state = dict(filled().state_dict())
    alpha = torch.linspace(-1, 1, SLIM.hidden)
    del state["sparse_gate.keep_l0"], state["sparse_gate.keep_l0_reverse"]
    state |= {"sparse_gate.log_alpha_l0": alpha, "sparse_gate.kept_units_l0": torch.arange(SLIM.hidden)}
    renamed = ENTRY.own_names(state)
    assert torch.equal(renamed["sparse_gate.keep_l0"], alpha >= 0)
    assert bool(renamed["sparse_gate.keep_l0_reverse"].all())
    assert "sparse_gate.log_alpha_l0" not in renamed
    matched = match_state(shapes(SLIM), Checkpoint(Path("w.pth"), STATE_DICT, "", renamed, {}), ENTRY.dead)
    assert "sparse_gate.kept_units_l0" in matched.ignored


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32], ids=str)
def test_kept_units_may_be_stored_as_any_number(dtype: torch.dtype) -> None:
    state = dict(filled().state_dict())
    state["sparse_gate.keep_l0"] = state["sparse_gate.keep_l0"].to(dtype)
    matched = match_state(
        shapes(SLIM), Checkpoint(Path("w.pth"), STATE_DICT, "", ENTRY.own_names(state), {}), ENTRY.dead
    )
    assert (~matched.state["sparse_gate.keep_l0"].bool()).nonzero()[:, 0].tolist() == list(PRUNED)
    assert matched.state["sparse_gate.keep_l0"].dtype == torch.bool


def test_kept_units_that_are_no_bits_are_refused() -> None:
    state = dict(filled().state_dict())
    state["sparse_gate.keep_l0"] = torch.linspace(0, 1, SLIM.hidden)
    with refused(ExportError, "sparse_gate.keep_l0", "torch.float32"):
        match_state(shapes(SLIM), Checkpoint(Path("w.pth"), STATE_DICT, "", ENTRY.own_names(state), {}), ENTRY.dead)


@pytest.mark.parametrize(
    ("changes", "said", "facts"),
    [
        ({"image_encoder.layer3.5.conv3.weight": None}, {}, ("3, 4, 5, 3", "ResNet-50", "3, 4, 6, 3")),
        ({"image_encoder.conv1.weight": None}, {}, ("image_encoder.conv1.weight",)),
        (
            {"text_encoder.embeddings.position_embeddings.weight": None},
            {},
            ("text_encoder.embeddings.position_embeddings.weight",),
        ),
        ({"bilstm.weight_ih_l1": (96, 48)}, {}, ("one layer",)),
        ({"classifier.weight": (1, 48)}, {}, ("classes", 1, 2)),
        ({}, {"pooling": "max"}, ("pooling", "'max'", "mean", "last")),
        ({}, {"gate_value": "binary"}, ("gate_value", "'binary'", "soft", "hard")),
        ({}, {"size": "50"}, ("size", 50, 32)),
        ({}, {"size": "big"}, ("size", "'big'")),
        ({}, {"text_heads": "5"}, ("5 heads", 32)),
    ],
    ids=str,
)
def test_recognition_refuses(
    changes: dict[str, tuple[int, ...] | None], said: dict[str, str], facts: tuple[Fact, ...]
) -> None:
    state = shapes(SLIM) | {key: torch.empty(shape, device="meta") for key, shape in changes.items() if shape}
    state = {key: value for key, value in state.items() if changes.get(key, ()) is not None}
    with refused(ExportError, "CMASG-Bi-LSTM", *facts):
        Networks().recognise(state, metadata(SLIM) | said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size.* 0"),
        ({"width": 0.1}, "width.* 0.1 .*6.4"),
        ({"hidden_reverse": 0}, "hidden_reverse.* 0"),
        ({"attention_projections": True, "cross_attention": False}, "cross_attention"),
        ({"sparse_gate": False, "gate_input": "xh"}, "sparse_gate"),
        ({"text_positions": 0}, "positions.* 0"),
    ],
    ids=str,
)
def test_impossible_configurations(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variant(**changes)


@pytest.mark.parametrize(
    ("image", "ids", "message"),
    [
        ((1, 1, 64, 32), (1, 5), r"image is \[1, 1, 64, 32\]; expected \[N, 1, 64, 64\]"),
        ((1, 2, 64, 64), (1, 5), r"image is \[1, 2, 64, 64\]"),
        ((1, 1, 64, 64), (5,), r"input_ids \[5\]"),
    ],
    ids=["not square", "two channels", "one text"],
)
def test_refused_inputs(image: tuple[int, ...], ids: tuple[int, ...], message: str) -> None:
    words = torch.ones(ids, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        filled()(torch.zeros(image), words, words)


@pytest.mark.parametrize("name", ["as recommended", "reads the output", "projections", "modalities weighed"])
def test_slim_network_trains(name: str) -> None:
    config = variant(**SWITCHES[name], size=32)
    torch.manual_seed(0)
    network = CmasgNet(config).train()
    given = ENTRY.example_inputs(config, 3, seed=1)
    colour = given["image"].expand(-1, 3, -1, -1)  # as training pipelines feed it
    logits = network(colour, given["input_ids"], given["attention_mask"])
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0])).backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()}
    assert silent == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the slim network, and vocabularies of the right and of another size."""
    folder = tmp_path_factory.mktemp("cmasg")
    save_slim(folder)
    (folder / "other.txt").write_text(vocabulary(SLIM.text_vocabulary + 1), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def exported(shared: Shared) -> ExportReport:
    return slim_export(shared)


def test_bundle(exported: ExportReport) -> None:
    bundle = load_bundle(exported.output)
    bundle.verify()
    manifest = bundle.manifest
    assert exported.network == "cmasg" and exported.config["hidden"] == SLIM.hidden
    assert [(spec.name, spec.kind, spec.shape) for spec in manifest.inputs] == [
        ("image", "image", ("N", 1, 64, 64)),
        ("input_ids", "tokens", ("N", "L")),
        ("attention_mask", "token_mask", ("N", "L")),
    ]
    assert manifest.labels == ("clear", "not clear") and manifest.activation == "softmax"
    assert [(spec.name, spec.shape, spec.optional) for spec in manifest.outputs[1:]] == [
        ("word_weights", ("N", "L"), True),
        ("region_weights", ("N", 4), True),
    ]
    assert [(entry.output, entry.input, entry.grid) for entry in manifest.attention] == [
        ("word_weights", "input_ids", None),
        ("region_weights", "image", (2, 2)),
    ]
    assert [entry.output for entry in manifest.mapped] == ["region_weights"]
    assert manifest.text is not None and manifest.image is not None
    assert manifest.text.fields == ("findings", "impression") and manifest.text.remove == ("XXXX",)
    assert manifest.text.max_tokens == 40 and manifest.text.buckets == (32, 40)
    assert manifest.image.mean == (0.449,) and manifest.image.view == "frontal"
    assert (bundle.folder / "vocabulary.txt").read_text(encoding="utf-8") == vocabulary(SLIM.text_vocabulary)
    assert "reports like the one that it reads" in manifest.description
    assert {entry.name for entry in manifest.provenance.rewrites} >= {"grey_stem", "pruned_units", "hoisted_gates"}
    assert any("the record's findings and impression" in note for note in exported.notes)
    assert max(done.max_abs_error for done in exported.verifications) <= ABSOLUTE
    assert {done.backend for done in exported.verifications} == {"onnxruntime", "openvino"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("length", [1, 2, 31, 40])
def test_backends_answer_as_the_source(backend: str, length: int, exported: ExportReport) -> None:
    given = ENTRY.example_inputs(SLIM, 3, seed=11)
    words = torch.arange(3 * length).reshape(3, length) % SLIM.text_vocabulary
    mask = (torch.arange(length) < torch.tensor([[length], [1], [(length + 1) // 2]])).long()
    given |= {"input_ids": words, "attention_mask": mask}
    with torch.inference_mode():
        logits, *weights = (tensor.numpy() for tensor in filled().answer(*given.values()))
    expected = logits
    with open_session(load_bundle(exported.output), backend=backend) as session:
        feed = {name: tensor.numpy() for name, tensor in given.items()}
        found = session.run(feed)["logits"]
        every = session.run(feed, optional=True)
        narrow = session.run(
            {
                name: tensor.numpy().astype(np.int32) if name != "image" else tensor.numpy()
                for name, tensor in given.items()
            }
        )["logits"]
    error = float(np.abs(found - expected).max())
    log.info("%s, %d word pieces: error %.1e", backend, length, error)
    assert error <= ABSOLUTE
    assert np.array_equal(found, narrow)
    assert list(every) == ["logits", "word_weights", "region_weights"] and np.array_equal(every["logits"], found)
    for name, source in zip(list(every)[1:], weights, strict=True):
        error = float(np.abs(every[name] - source).max())
        log.info("%s, %d word pieces: error of %s %.1e", backend, length, name, error)
        assert every[name].shape == source.shape and error <= ABSOLUTE
        np.testing.assert_allclose(every[name].sum(axis=1), 1, atol=ABSOLUTE)
    assert not every["word_weights"][mask.numpy() == 0].any()


@pytest.mark.parametrize(
    ("settings", "facts", "remedy"),
    [
        ({}, ("vocabulary",), {"option": "set", "value": "text.vocabulary=vocab.txt"}),
        ({"text.vocabulary": "{folder}/other.txt"}, ("other.txt", 61, 60), {}),
        ({"text.vocabulary": "{folder}/weights.safetensors"}, ("weights.safetensors", "UTF-8"), {}),
        ({"text.vocabulary": "{folder}/none.txt"}, ("none.txt", "no such file"), {}),
        ({"text.vocabulary": "{folder}/vocab.txt", "text.max_tokens": "64"}, ("max_tokens", 64, 40), {}),
        ({"text.vocabulary": "{folder}/vocab.txt", "text.max_tokens": "16"}, ("buckets", "max_tokens", 16), {}),
        ({"text.vocabulary": "{folder}/vocab.txt", "labels": '["only"]'}, ("labels",), {}),
        ({"text.vocabulary": "{folder}/vocab.txt", "image.channels": "3"}, ("mean", "std", "3 channels"), {}),
        ({"text.vocabulary": "{folder}/vocab.txt", "network.config.pooling": "max"}, ("pooling", "'max'"), {}),
    ],
    ids=str,
)
def test_refused_settings(
    settings: dict[str, str], facts: tuple[Fact, ...], remedy: dict[str, str], folder: Path
) -> None:
    given = {name: text.format(folder=folder) for name, text in settings.items()}
    with refused(ExportError, *facts, **remedy):
        export_bundle(folder / "weights.safetensors", folder / "refused.mmcaf", settings=given)
    assert not (folder / "refused.mmcaf").exists()


def test_refused_labels_of_the_file(folder: Path) -> None:
    save_file(filled().state_dict(), folder / "labels.safetensors", metadata(SLIM) | {"labels": '["one"]'})
    settings = {"text.vocabulary": str(folder / "vocab.txt")}
    with refused(ExportError, "labels", "JSON list", "2 names"):
        export_bundle(folder / "labels.safetensors", folder / "refused.mmcaf", settings=settings)


def test_the_session_refuses_a_text_that_is_too_long(exported: ExportReport) -> None:
    given = {name: tensor.numpy() for name, tensor in ENTRY.example_inputs(SLIM, 1, seed=1).items()}
    words = np.ones((1, 41), np.int64)
    with (
        open_session(load_bundle(exported.output), backend="onnxruntime") as session,
        refused(UsageError, "input_ids", 1, 40, 41),
    ):
        session.run(given | {"input_ids": words, "attention_mask": words})


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engines(precision: Precision, exported: ExportReport, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    manifest = load_bundle(exported.output).manifest
    lowered = tmp_path / f"model.{precision}.onnx"
    write_precision(exported.output / "model.onnx", lowered, precision)
    targets = (Target(8, 9), Target(12, 0))
    engine = build_engine(
        find_flavour("tensorrt_rtx"),
        lowered,
        manifest.inputs,
        manifest.outputs,
        precision=precision,
        targets=targets,
        lengths=text_lengths(manifest.text),
    )
    assert engine.targets == targets and len(engine.plan) > 0
