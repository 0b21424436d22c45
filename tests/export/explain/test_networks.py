"""Heat maps of every network: the same in torch, ONNX Runtime and OpenVINO, for every length of text."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import cmasg_networks, lcadb_networks, medfusionnet_networks, mmcaf_networks
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.manifest import COTANGENT, TensorSpec
from mmcaf_export.explain.gradcam import GradCam
from mmcaf_export.explain.write import Explained, write_explain
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.lcadb import LcadbConfig
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.networks.medfusionnet.config import MedFusionConfig
from mmcaf_export.networks.medfusionnet.entry import MedFusionEntry
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.rewrites.rewrite import rewritten

log = logging.getLogger(__name__)
BOTTLENECKS = LcadbConfig(depth=50, slices=16, size=64, width=1 / 32)


def _cmasg(name: str) -> Any:
    return cmasg_networks.variant(**cmasg_networks.SWITCHES[name])


def _medfusionnet(config: MedFusionConfig) -> tuple[int, int]:
    """Of three levels in the profile release the last dense block, whose map the last transition would halve."""
    size = config.grid * (2 if config.profile == "release" and len(config.layers) == 3 else 1)
    return size, size


Build = Callable[[Any], nn.Module]
NETWORKS: dict[str, tuple[NetworkEntry[Any], Any, Build, list[tuple[int, ...]]]] = {
    "mmcaf": (MmcafEntry(), mmcaf_networks.SLIM, mmcaf_networks.filled, [(2, 6, 6)]),
    "lcadb": (LcadbEntry(), lcadb_networks.SLIM, lcadb_networks.filled, [(8, 8, 1), (4, 4, 1)]),
    "lcadb, bottlenecks": (LcadbEntry(), BOTTLENECKS, lcadb_networks.filled, [(8, 8, 1), (4, 4, 1)]),
    **{
        f"cmasg, {name}": (CmasgEntry(), _cmasg(name), cmasg_networks.filled, [(2, 2)])
        for name in ("as recommended", "hard", "plain LSTM", "hard, reads the output, hold", "misprint")
    },
    **{
        f"medfusionnet, {name}": (MedFusionEntry(), config, medfusionnet_networks.filled, [_medfusionnet(config)])
        for name, config in medfusionnet_networks.CONFIGS.items()
        if config.has("image")
    },
}


@dataclass(frozen=True)
class Case:
    """A network's graph of heat maps, and what it was made from."""

    entry: NetworkEntry[Any]
    config: Any
    network: nn.Module
    folder: Path
    grids: list[tuple[int, ...]]
    explained: Explained
    lengths: tuple[int, ...]


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    entry, config, build, grids = NETWORKS[request.param]
    network, folder = build(config).requires_grad_(False), tmp_path_factory.mktemp("maps")
    lengths = (config.text_positions,) if any("L" in spec.shape for spec in entry.tensors(config)[0]) else ()
    explained = write_explain(entry, config, network, entry.example_inputs(config, 2, seed=3), folder, lengths=lengths)
    assert explained is not None
    yield Case(entry, config, network, folder, grids, explained, lengths)


@pytest.mark.full
def test_every_runtime_draws_the_map_of_torch(case: Case) -> None:
    for done in case.explained.verifications:
        log.info("%s: %s within %.1e", case.entry.name, done.backend, done.max_relative_error)
    assert [done.backend for done in case.explained.verifications] == ["onnxruntime", "openvino"]
    assert [entry.grid for entry in case.explained.spec.maps] == case.grids
    assert all(case.explained.golden[entry.output].max() > 0 for entry in case.explained.spec.maps)


@pytest.mark.full
def test_other_inputs_and_lengths_too(case: Case) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(case.folder / "explain.onnx")
    maps = case.entry.explained(case.config)
    lengths = set()
    for seed, longest in ((1, 99), (2, 9), (4, 1)):
        drawn = case.entry.example_inputs(case.config, 1, seed=seed)
        given = {name: tensor[:, :longest] if tensor.dtype == torch.int64 else tensor for name, tensor in drawn.items()}
        lengths |= {tuple(tensor.shape) for tensor in given.values() if tensor.dtype == torch.int64}
        cotangent = torch.linspace(1, -0.5, case.explained.golden[COTANGENT].shape[1])[None]
        expected = GradCam(case.network, maps).signed(list(given.values()), cotangent)
        feed = {name: tensor.numpy() for name, tensor in given.items()} | {COTANGENT: cotangent.numpy()}
        for signed, answer in zip(expected, session.run(None, feed), strict=True):
            assert np.abs(answer - np.maximum(signed.numpy(), 0)).max() <= 1e-4 * float(signed.abs().max())
    assert not lengths or len(lengths) == 3


@pytest.mark.full
def test_the_graph_holds_no_more_than_it_needs(case: Case) -> None:
    """About the network's weights, of which the last layers have no part in it, and none that nothing reads."""
    example = case.entry.example_inputs(case.config, 1, seed=0)
    lean = rewritten(case.network, case.entry.rewrites, example)
    outputs = [spec.name for spec in case.entry.tensors(case.config)[1]]
    export_onnx(lean, example, case.folder / "model.onnx", outputs=outputs)
    graph = onnx.load(case.folder / "explain.onnx").graph
    read = {name for node in graph.node for name in node.input}
    read |= {name for node in graph.node for at in node.attribute for inner in at.g.node for name in inner.input}
    assert {tensor.name for tensor in graph.initializer} <= read
    whole, maps = ((case.folder / f"{name}.onnx").stat().st_size for name in ("model", "explain"))
    log.info("%s: explain.onnx %d bytes, model.onnx %d", case.entry.name, maps, whole)
    assert maps <= 1.2 * whole + 100_000


@pytest.mark.full
def test_tensorrt_takes_it(case: Case) -> None:
    pytest.importorskip("tensorrt_rtx")
    inputs, outputs = case.entry.tensors(case.config)
    cotangent = TensorSpec(name=COTANGENT, kind="cotangent", shape=("N", int(outputs[0].shape[1])))
    maps = tuple(
        TensorSpec(name=entry.output, kind="map", shape=("N", *entry.grid)) for entry in case.explained.spec.maps
    )
    engine = build_engine(
        find_flavour("tensorrt_rtx"),
        case.folder / "explain.onnx",
        (*inputs, cotangent),
        maps,
        precision="fp32",
        targets=(Target(8, 9),),
        lengths=case.lengths,
    )
    assert engine.targets == (Target(8, 9),) and len(engine.plan) > 0
