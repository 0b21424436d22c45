"""MedFusionNet against an independent calculation, its parameter names, and what it must not depend on."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from export import medfusionnet_oracle
from export.fill import fill
from export.medfusionnet_networks import COLUMNS, CONFIGS, as_the_authors, filled, recorded, weights
from mmcaf_engine.errors import ExportError
from mmcaf_export.networks.medfusionnet import MedFusionConfig, MedFusionNet
from mmcaf_export.networks.medfusionnet.densenet import densenet_names
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.networks.registry import Networks
from refusals import Fact, refused

EXACT = 1e-12  # of the largest value, in float64
SINGLE = 1e-5  # of a logit in float32
ENTRY = MedFusionEntry()
log = logging.getLogger(__name__)


def given(config: MedFusionConfig, batch: int = 3, seed: int = 2) -> dict[str, Tensor]:
    """Inputs as training feeds them: metadata as recorded, of release the values; the image as one grey plane."""
    found = ENTRY.example_inputs(config, batch, seed)
    if "metadata" in found and config.profile == "full":
        found["metadata"] = recorded(batch, seed)
    return found


def in_double(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def run(network: MedFusionNet, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return network(*inputs.values())


def expected(network: MedFusionNet, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What the independent calculation makes of the same weights and inputs, in float64."""
    state = in_double(dict(network.state_dict()))
    inputs = in_double(inputs)
    image, channels = inputs.get("image"), network.config.channels
    return medfusionnet_oracle.answer(
        state,
        grey=None if image is None else image[:, 0] * channels.grey_std + channels.grey_mean,
        recorded=inputs.get("metadata"),
        ids=inputs.get("input_ids"),
        mask=inputs.get("attention_mask"),
        normalisation=network.config.normalisation,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_as_an_independent_calculation(name: str) -> None:
    config = CONFIGS[name]
    network, inputs = filled(config, served=False), given(config)
    wanted, _ = expected(network, inputs)
    single = float((run(network, inputs) - wanted).abs().max())
    double = float((run(network.double(), in_double(inputs)) - wanted).abs().max())
    log.info("%s: error %.1e in float32, %.1e in float64; logits %s", name, single, double, wanted[0].tolist())
    assert double <= 1e-10 and single <= SINGLE
    assert wanted.shape == (3, config.labels)
    assert float((wanted[0] - wanted[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(("profile", "features", "parameters"), [("full", 4, 7_385_550), ("release", 1, 7_119_310)])
def test_size_of_the_published_network(profile: Any, features: int, parameters: int) -> None:
    with torch.device("meta"):
        network = MedFusionNet(MedFusionConfig(profile=profile, features=features))
    assert sum(tensor.numel() for tensor in network.parameters()) == parameters
    assert sum(tensor.numel() for tensor in network.image_encoder.parameters()) == 6_953_856


def test_size_with_reports() -> None:
    text = {"vocabulary": 30_522, "width": 768, "layers": 12, "heads": 12}
    text |= {"intermediate": 3_072, "positions": 512, "types": 2}
    sizes = {f"text_{name}": value for name, value in text.items()}
    with torch.device("meta"):
        network = MedFusionNet(MedFusionConfig(modalities="image+metadata+text", **sizes))
    total = sum(tensor.numel() for tensor in network.parameters())
    assert total == pytest.approx(116.39e6, abs=0.01e6)  # without BERT's pooler, which no answer depends on


@pytest.mark.parametrize("name", CONFIGS)
def test_recognition_by_shapes(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        state = MedFusionNet(config).state_dict()
    metadata = {"normalisation": config.normalisation, "size": str(config.size)}
    found, recognised = Networks().recognise(state, metadata)
    assert found == "medfusionnet"
    if name == "cervical":  # its weights tell nothing of an image
        assert (recognised.modalities, recognised.labels, recognised.features) == ("metadata", 4, 4)
    elif config.modalities == "text":
        assert (recognised.modalities, recognised.text) == ("text", config.text)
    else:
        assert recognised == config


def test_the_release_says_nothing_of_its_size() -> None:
    with torch.device("meta"):
        state = MedFusionNet(MedFusionConfig(profile="release", features=1)).state_dict()
    wanted = MedFusionConfig(profile="release", features=1, normalisation="half")
    assert Networks().recognise(state, {}) == ("medfusionnet", wanted)


def torchvision_densenet121() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of torchvision's densenet121, written down from its published layout."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{part}", (channels,)
        yield f"{name}.num_batches_tracked", ()

    yield "features.conv0.weight", (64, 3, 7, 7)
    yield from norm("features.norm0", 64)
    channels = 64
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            own = f"features.denseblock{block}.denselayer{layer}"
            yield from norm(f"{own}.norm1", channels)
            yield f"{own}.conv1.weight", (128, channels, 1, 1)
            yield from norm(f"{own}.norm2", 128)
            yield f"{own}.conv2.weight", (32, 128, 3, 3)
            channels += 32
        if block < 4:
            yield from norm(f"features.transition{block}.norm", channels)
            yield f"features.transition{block}.conv.weight", (channels // 2, channels, 1, 1)
            channels //= 2
    yield from norm("features.norm5", 1024)
    yield "classifier.weight", (1000, 1024)
    yield "classifier.bias", (1000,)


@pytest.mark.parametrize("form", ["torchvision", "old torchvision", "CheXNet", "behind our prefix"])
def test_densenet121_loads_by_name(form: str) -> None:
    state: dict[str, Tensor] = {}
    for name, shape in torchvision_densenet121():
        value = torch.from_numpy(fill(name, shape))
        if form in ("old torchvision", "CheXNet"):
            name = name.replace(".norm1.", ".norm.1.").replace(".norm2.", ".norm.2.")
            name = name.replace(".conv1.", ".conv.1.").replace(".conv2.", ".conv.2.")
        prefix = {"CheXNet": "module.densenet121.", "behind our prefix": "image_encoder."}.get(form, "")
        state[prefix + name] = value
    assert len(state) == 727 and sum(value.numel() for value in state.values() if value.ndim != 0) > 7_978_856
    with torch.device("meta"):
        network = MedFusionNet(MedFusionConfig())
    encoder = {key.removeprefix("image_encoder."): value for key, value in densenet_names(state).items()}
    network.image_encoder.load_state_dict(encoder, strict=True, assign=True)
    name = "denseblock3.denselayer17.conv2.weight"
    assert torch.equal(
        network.image_encoder.features.get_parameter(name),
        torch.from_numpy(fill(f"features.{name}", (32, 128, 3, 3))),
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["classifier.weight", "fusion.weight"], ["classifier.weight", "fusion.weight"]),
        (["classifier.weight", "module.features.conv0.weight"], ["image_encoder.features.conv0.weight"]),
        (
            ["classifier.weight", "image_encoder.classifier.weight", "image_encoder.features.norm0.bias"],
            ["classifier.weight", "image_encoder.features.norm0.bias"],
        ),
    ],
    ids=["none", "its own", "within another"],
)
def test_only_densenet_is_renamed(keys: list[str], expected: list[str]) -> None:
    assert list(densenet_names({key: torch.zeros(1) for key in keys})) == expected


RELEASED = {
    "image_encoder.": "backbone.",
    "feature_pyramid.lateral.0.": "fpn.lateral.",
    "metadata_attention.": "attention.",
    "fusion.": "fc_fusion.",
    "head.hidden.": "classifier.1.",
    "head.output.": "classifier.3.",
}


def as_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names as an independent repair has them: Sweta-Das/ChestXrayMultilabelClassification."""
    renamed = {}
    for key, tensor in state.items():
        ours = next(prefix for prefix in RELEASED if key.startswith(prefix))
        renamed[RELEASED[ours] + key.removeprefix(ours)] = tensor
    return renamed


def test_the_independent_repairs_names_become_ours() -> None:
    network = filled(CONFIGS["release"])
    theirs = as_released(dict(network.state_dict()))
    assert "classifier.3.weight" in theirs and "backbone.features.norm5.bias" in theirs
    found = ENTRY.own_names(theirs)
    assert found.keys() == network.state_dict().keys()
    assert all(found[key] is tensor for key, tensor in network.state_dict(keep_vars=True).items()) or all(
        torch.equal(found[key], tensor) for key, tensor in network.state_dict().items()
    )
    assert Networks().recognise(theirs, {"size": "64"}) == ("medfusionnet", CONFIGS["release"])


@pytest.mark.parametrize(("name", "levels"), [("release", 1), ("release of three levels", 3)])
def test_the_authors_names_become_ours(name: str, levels: int) -> None:
    network = filled(CONFIGS[name])
    state = dict(network.state_dict())
    theirs = as_the_authors(state, levels)
    assert {"densenet.features.conv0.weight", "fpn.fpn_layers.0.bias", "self_attention.key.bias", "fc2.bias"} < set(
        theirs
    )
    found = ENTRY.own_names(theirs)
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    assert Networks().recognise(theirs, {"size": "64"}) == ("medfusionnet", CONFIGS[name])
    assert ENTRY.needed_repairs(theirs) == ("release",)
    assert (
        ENTRY.needed_repairs(state)
        == ENTRY.needed_repairs(as_released(dict(filled(CONFIGS["release"]).state_dict())))
        == ()
    )


def test_levels_that_the_authors_loop_never_reaches_are_left_out() -> None:
    state = dict(filled(CONFIGS["release"]).state_dict())
    theirs = as_the_authors(state, 1) | {"fpn.fpn_layers.1.weight": torch.zeros(16, 9, 1, 1)}
    found = ENTRY.own_names(theirs)
    assert found.keys() == state.keys() | {"fpn.fpn_layers.1.weight"}
    assert re.fullmatch("|".join(ENTRY.dead), "fpn.fpn_layers.1.weight")
    assert not re.fullmatch("|".join(ENTRY.dead), "fpn.fpn_layers.0.weight")


def test_other_spellings_within_a_whole_checkpoint() -> None:
    """DenseNet as in CheXNet, BERT as in its older files with the pooler, and a fourth block that no tap reads."""
    config = MedFusionConfig(**vars(CONFIGS["text"]) | {"fpn_taps": "transitions", "blocks": "2-3-4"})
    state = dict(filled(config).state_dict())
    old: dict[str, Tensor] = {}
    for key, tensor in state.items():
        key = key.replace("image_encoder.features", "image_encoder.module.densenet121.features")
        key = key.replace(".conv1.", ".conv.1.") if "denselayer" in key else key
        key = key.replace("text_encoder.", "text_encoder.bert.").replace("LayerNorm.weight", "LayerNorm.gamma")
        old[key.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    old["text_encoder.bert.pooler.dense.weight"] = torch.zeros(24, 24)
    old["image_encoder.features.denseblock4.denselayer1.norm1.weight"] = torch.zeros(5)
    old["image_encoder.module.densenet121.classifier.0.weight"] = torch.zeros(14, 5)
    assert ENTRY.own_names(old).keys() == state.keys()
    assert Networks().recognise(old, {}) == ("medfusionnet", config)


def test_other_networks_keep_their_names() -> None:
    state = {
        "classifier.weight": torch.zeros(2),
        "features.conv0.weight": torch.zeros(1),
        "bert.pooler.bias": torch.ones(1),
    }
    assert ENTRY.own_names(state) == state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "light"}, "profile is 'light'; expected one of full, release"),
        ({"fpn_taps": "last"}, "fpn_taps is 'last'; expected one of stages, transitions"),
        ({"modalities": ""}, "modalities are ''; expected some of image\\+metadata\\+text"),
        ({"modalities": "metadata+image"}, "modalities are 'metadata\\+image'"),
        ({"modalities": "image+sound"}, "modalities are 'image\\+sound'"),
        ({"normalisation": "none"}, "normalisation is 'none'; expected one of imagenet, half"),
        ({"labels": 0}, "labels is 0; expected at least 1"),
        ({"features": 0}, "features is 0; expected at least 1 with metadata"),
        ({"size": 200}, "size is 200; expected a multiple of 32"),
        ({"size": 0}, "size is 0"),
        ({"profile": "release", "modalities": "image"}, "the profile release takes image\\+metadata; image came"),
        ({"blocks": "6-12-24"}, "blocks is '6-12-24'; expected the layers of 4 blocks, such as 6-12-24-16"),
        ({"blocks": "6-12-x-16"}, "blocks is '6-12-x-16'"),
        ({"fpn_taps": "transitions"}, "expected the layers of 3 blocks"),
        ({"modalities": "text"}, "BERT config: vocabulary is 0"),
    ],
    ids=str,
)
def test_impossible_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MedFusionConfig(**changes)


@pytest.mark.parametrize(
    ("name", "change", "facts"),
    [
        (
            "slim",
            {"head.output.weight": None},
            ("MedFusionNet", "head.output.weight"),
        ),
        ("slim", {"fusion.weight": (12,)}, ("fusion.weight", "[12]", "2 axes")),
        ("slim", {"image_encoder.features.conv0.weight": ()}, ("image_encoder.features.conv0.weight", "[]", "4 axes")),
        ("slim", {"region_position": (5, 16)}, ("region_position", "5 rows")),
        (
            "slim",
            {"image_encoder.features.denseblock1.denselayer1.conv2.weight": None},
            ("image_encoder.features.denseblock1.denselayer1.conv2.weight", "missing"),
        ),
        ("cervical", {"metadata_tokenizer.value_weight": None}, ("image_encoder",)),
        (
            "text",
            {"text_encoder.embeddings.word_embeddings.weight": None},
            ("text_encoder.embeddings.word_embeddings.weight",),
        ),
    ],
    ids=["head", "axes", "stem", "regions", "layers", "nothing", "text"],
)
def test_recognition_refuses(name: str, change: dict[str, tuple[int, ...] | None], facts: tuple[Fact, ...]) -> None:
    with torch.device("meta"):
        state = dict(MedFusionNet(CONFIGS[name]).state_dict())
        for key, shape in change.items():
            del state[key]
            if shape is not None:
                state[key] = torch.empty(shape)
    with refused(ExportError, *facts):
        Networks().recognise(state, {})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([(1, 2, 64, 64), (1, 8)], r"image is \[1, 2, 64, 64\]; expected \[N, 1 or 3, 64, 64\]"),
        ([(1, 1, 96, 96), (1, 8)], r"image is \[1, 1, 96, 96\]"),
        ([(1, 1, 64, 64), (1, 4)], r"the table is \[1, 4\]; expected \[N, 8\]"),
        ([(1, 1, 64, 64)], "1 inputs came; expected image, metadata"),
    ],
    ids=["channels", "size", "table", "number"],
)
def test_refused_inputs(inputs: list[tuple[int, ...]], message: str) -> None:
    network = filled(CONFIGS["slim"])
    with pytest.raises(ValueError, match=message):
        network(*(torch.zeros(shape) for shape in inputs))


@pytest.mark.parametrize("name", ["slim", "text", "release", "release of three levels"])
def test_slim_network_trains(name: str) -> None:
    config = CONFIGS[name]
    torch.manual_seed(0)
    network = MedFusionNet(config).train()
    logits = network(*given(config, 4).values())
    target = torch.arange(4 * config.labels).reshape(4, -1) % 2
    torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float()).backward()
    silent = {key for key, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()}
    assert silent == set()


def test_three_channels_are_what_one_grey_plane_becomes() -> None:
    config = CONFIGS["slim"]
    network, inputs = filled(config, served=False).double(), in_double(given(config))
    plane = inputs["image"] * config.channels.grey_std + config.channels.grey_mean
    colour = medfusionnet_oracle.channels(plane[:, 0], config.normalisation)
    found = run(network, {**inputs, "image": colour})
    assert float((found - run(network, inputs)).abs().max()) <= EXACT


@pytest.mark.parametrize("name", ["slim", "cervical", "release", "text"])
def test_permuting_the_labels_permutes_the_answers(name: str) -> None:
    config = CONFIGS[name]
    network, inputs = filled(config, served=False).double(), in_double(given(config))
    before = run(network, inputs)
    order = torch.arange(config.labels).roll(2)
    state = dict(network.state_dict())
    for key in ("head.output.weight", "head.output.bias", "label_queries", "label_head.weight"):
        if key in state:
            state[key] = state[key][order]
    network.load_state_dict(state)
    after = run(network, inputs)
    assert float((after - before[:, order]).abs().max()) <= EXACT * float(before.abs().max())
    assert float((after - before).abs().max()) > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_a_case_does_not_depend_on_its_batch(name: str) -> None:
    config = CONFIGS[name]
    network, inputs = filled(config, served=False).double(), in_double(given(config))
    together = run(network, inputs)
    for case in range(3):
        alone = run(network, {key: tensor[case : case + 1] for key, tensor in inputs.items()})
        assert float((alone - together[case]).abs().max()) <= EXACT * float(together.abs().max())


def test_a_missing_value_is_its_fill_value() -> None:
    network, inputs = filled(CONFIGS["slim"], served=False), given(CONFIGS["slim"])
    fills = dict(
        zip(network.metadata_selection.feature_index.tolist(), network.metadata_selection.fill_value, strict=True)
    )
    whole = {**inputs, "metadata": inputs["metadata"].nan_to_num(1.0)}
    for column, fill_value in fills.items():
        missing, filled_in = whole["metadata"].clone(), whole["metadata"].clone()
        missing[:, column], filled_in[:, column] = torch.nan, fill_value
        answer = run(network, {**whole, "metadata": missing})
        assert torch.equal(answer, run(network, {**whole, "metadata": filled_in}))
        assert not torch.equal(answer, run(network, {**whole, "metadata": filled_in + 7}))


def test_selecting_columns_is_sending_them() -> None:
    config = CONFIGS["slim"]
    network, inputs = filled(config, served=False), given(config)
    index = network.metadata_selection.feature_index
    assert len(index) < COLUMNS == inputs["metadata"].shape[1]
    before = run(network, inputs)
    unread = inputs["metadata"].clone()
    unread[:, [column for column in range(COLUMNS) if column not in index.tolist()]] = -1e6
    assert torch.equal(before, run(network, {**inputs, "metadata": unread}))
    network.metadata_selection.feature_index = torch.arange(len(index))
    assert torch.equal(before, run(network, {**inputs, "metadata": inputs["metadata"][:, index]}))


def test_padding_a_text_changes_nothing() -> None:
    config = CONFIGS["text"]
    network, inputs = filled(config, served=False).double(), in_double(given(config))
    before = run(network, inputs)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    longest = int(mask.sum(1).max())
    shorter = {**inputs, "input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}
    assert ids.shape[1] == 20 and set(mask.sum(1).tolist()) != {20}
    other = {**inputs, "input_ids": torch.where(mask.bool(), ids, 7)}
    for again in (shorter, other):
        assert float((run(network, again) - before).abs().max()) <= EXACT * float(before.abs().max())
    changed = {**inputs, "input_ids": torch.where(mask.bool(), ids.flip(1), 0)}
    assert float((run(network, changed) - before).abs().max()) > 1e-4


def test_a_single_word_piece_is_enough() -> None:
    config = CONFIGS["report alone"]
    network = filled(config)
    answer = run(network, {"input_ids": torch.tensor([[3]]), "attention_mask": torch.tensor([[1]])})
    assert answer.shape == (1, 1) and bool(torch.isfinite(answer).all())


def test_weights_are_the_mean_of_what_tokens_take() -> None:
    """Recomputed token by token; padding takes part on neither side."""
    config = CONFIGS["text"]
    network = filled(config)
    given = ENTRY.example_inputs(config, 2, seed=4)
    kept: list[Tensor] = []
    network.self_attention.register_forward_hook(lambda _m, given, _made: kept.extend(given))
    with torch.inference_mode():
        logits, *weights = network.answer_and_weights(network._named(*given.values()))
        assert torch.equal(logits, network(*given.values()))
        tokens, real = kept[:2]
        query, key = network.self_attention.query(tokens), network.self_attention.key(tokens)
    regions, fields, length = config.grid**2, config.features, given["input_ids"].shape[1]
    assert [part.shape for part in weights] == [(2, regions), (2, fields), (2, length)]
    for case in range(2):
        seen = real[case].nonzero()[:, 0]
        shares = [((query[case, at] @ key[case, seen].T) / config.width**0.5).softmax(-1) for at in seen]
        expected = torch.zeros(len(real[case]))
        expected[seen] = torch.stack(shares).mean(0)
        found = torch.cat([part[case] for part in weights])
        assert torch.allclose(found, expected[: len(found)], atol=1e-6)
        assert not found[regions + fields + int(given["attention_mask"][case].sum()) :].any()
        assert float(found.max() / found[found > 0].min()) > 1.01


def test_without_reports_there_is_nothing_of_text() -> None:
    keys = filled(CONFIGS["slim"]).state_dict()
    assert not [key for key in keys if key.startswith("text_")]
    assert not [
        key for key in filled(CONFIGS["cervical"]).state_dict() if key.startswith(("image_", "feature_pyramid"))
    ]


def test_without_label_tokens_the_fused_vector_alone_answers() -> None:
    network = filled(CONFIGS["no label tokens"], served=False)
    assert not [key for key in network.state_dict() if key.startswith("label_")]
    both, plain = expected(filled(CONFIGS["slim"], served=False), given(CONFIGS["slim"]))
    assert float((both - plain).abs().max()) > 1e-3
    logits, alone = expected(network, given(network.config))
    assert torch.equal(logits, alone)


def test_weights_follow_from_names() -> None:
    """Equal names mean equal weights, whatever else a network holds: that switches are compared on equal terms."""
    slim, without = (dict(filled(CONFIGS[name]).state_dict()) for name in ("slim", "no label tokens"))
    assert without.keys() < slim.keys() and all(torch.equal(slim[key], value) for key, value in without.items())
    assert weights({"fusion.weight": torch.empty(2, 3)})["fusion.weight"].shape == (2, 3)
