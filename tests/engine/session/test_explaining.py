"""Heat maps by the bundle's own graph: tested as a network is, whatever backend, and refused where it fails."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, Volume, load_bundle, open_session
from mmcaf_engine.backends.base import Backend
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.bundle.explaining import explaining
from mmcaf_engine.checkup.verify import verify_bundle
from mmcaf_engine.errors import BackendError, BundleError
from mmcaf_engine.manifest import PointingStudy
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.explain import gradcam_maps
from mmcaf_engine.session import explaining as session_explaining
from mmcaf_engine.session.explaining import opened_and_tested
from mmcaf_engine.session.first_opening import Apart
from mmcaf_engine.session.session import Session
from refusals import refused
from tiny_bundle import SIZE, make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_liver import INPUTS, make_tiny_liver
from tiny_maps import expected_map, gains, with_maps

RECORD = {"sex": "F", "age": 63}
CHEST = Volume(hounsfield(6, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7))
PHASES = {
    name: Volume(hounsfield(8 + 2 * at, 12, 10), "rescaled", (24.0 / (8 + 2 * at), 1.0, 1.0))
    for at, name in enumerate(INPUTS)
}
STUDY = {"data": "phantoms", "cases": 200, "hits": 150, "chance": 0.07, "randomised": [0.05, 0.15]}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    chest = make_tiny_bundle(folder / "plain.mmcaf", threshold=0.01)
    return {
        "chest": with_maps(chest, folder / "chest.mmcaf", "image", (2, 4, 4)),
        "quiet": with_maps(
            make_tiny_bundle(folder / "q.mmcaf", threshold=0.99), folder / "quiet.mmcaf", "image", (2, 4, 4)
        ),
        "liver": with_maps(
            make_tiny_liver(folder / "l.mmcaf"),
            folder / "liver.mmcaf",
            "dwi",
            (4, 8, 2),
            judged={**STUDY, "interval": [0.68, 0.80]},
        ),
        "image": with_maps(make_tiny_image(folder / "i.mmcaf"), folder / "image.mmcaf", "image", (3, 4)),
    }


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def sessions(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Iterator[dict[str, Session]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(open_session(load_bundle(bundle), backend=request.param, threads=1))
            for name, bundle in bundles.items()
        }


def answered(session: Session, study: Any, record: Any = None, **options: Any) -> Answer:
    return Answerer(session).answer(study, record, explain="gradcam", **options)


def close_to(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Within what backends may differ by: a thousandth of the largest value."""
    return bool(np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["chest", "quiet"])
def test_a_map_is_of_the_label_and_the_window_of_the_answer(name: str, sessions: dict[str, Session]) -> None:
    """Of label 0 the score is the opposite of the one logit, so that nothing of this graph is above 0."""
    answer = answered(sessions[name], CHEST, RECORD)
    (found,) = answer.maps
    assert (found.method, found.title, found.input) == ("gradcam", "Grad-CAM", "image")
    assert found.window == answer.score.deciding and found.label == answer.result.label
    assert (found.slices, found.floor, found.localises) == ((0, 4), 0.0, False)
    window = answer.prepared.series[0].windows.window(found.window)
    sign = np.array([[1.0 if found.label == "loud" else -1.0]], np.float32)
    expected = expected_map(window, sign, (2, 4, 4))[0]
    assert found.values.shape == (2, 4, 4) and found.values.dtype == np.float32
    assert close_to(found.values, expected) if found.label == "loud" else not found.values.any()


def test_a_map_lies_in_the_patients_axes(sessions: dict[str, Session]) -> None:
    """The network's run to left, front and head; what was judged may be called a localisation."""
    answer = answered(sessions["liver"], PHASES)
    (found,) = answer.maps
    assert found.values.shape == (2, 8, 4) and found.slices == (0, 8) and found.input == "dwi" and found.localises
    one_hot = (np.arange(7) == answer.score.label).astype(np.float32)[np.newaxis]
    window = next(entry for entry in answer.prepared.series if entry.input == "dwi").windows.window(0)
    own = expected_map(window, one_hot, (4, 8, 2))[0]
    assert close_to(found.values, own[:, ::-1].transpose(2, 1, 0)) and gains(7)[answer.score.label] != gains(7)[0]


def test_a_map_over_an_image(sessions: dict[str, Session]) -> None:
    answer = answered(sessions["image"], [radiograph()])
    (found,) = answer.maps
    assert found.values.shape == (1, 3, 4) and found.slices == (0, 1) and answer.prepared.image is not None
    sign = np.array([[1.0 if found.label == "bright" else -1.0]], np.float32)
    assert close_to(found.values, expected_map(answer.prepared.image.values, sign, (3, 4)))


def test_a_heat_map_is_drawn_of_it_where_there_is_no_attention(sessions: dict[str, Session], tmp_path: Path) -> None:
    answer = Answerer(sessions["chest"]).answer(CHEST, RECORD, heatmap=tmp_path / "map.png")
    assert [one.method for one in answer.maps] == ["gradcam"] and (tmp_path / "map.png").exists()
    assert answer.result.options is not None and answer.result.options.explain == ("gradcam",)


def test_the_graph_is_opened_when_it_is_asked_for_once_and_closed_with_its_session(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Backend] = []
    real = session_explaining.open_backend

    def noting(bundle: Any, backend: Backend, **options: Any) -> Any:
        opened.append(backend)
        assert backend.progress is print
        return real(bundle, backend, **options)

    monkeypatch.setattr(session_explaining, "open_backend", noting)
    with open_session(load_bundle(bundles["chest"]), backend="onnxruntime", threads=1) as session:
        Answerer(session).answer(CHEST, RECORD)
        assert not opened
        first, second = (answered(session, CHEST, RECORD, progress=print).maps[0] for _ in range(2))
        assert first.values.tobytes() == second.values.tobytes() and len(opened) == 1
        (graph,) = opened
        assert graph.is_open and (graph.name, graph.threads, graph.precision) == ("onnxruntime", 1, "fp32")
    assert not graph.is_open
    with refused(BackendError, "onnxruntime", "closed"):
        session.explain({}, np.ones((1, 1), np.float32))
    session.close()


def test_it_is_of_a_lower_precisions_session_too(bundles: dict[str, Path], tmp_path: Path) -> None:
    """The network answers in FP16, its map is drawn in FP32."""
    bundle = load_bundle(bundles["chest"])
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        lower = Session(bundle, replace(session.choice, precision="fp16"), session._backend)
        try:
            found = lower.explain(cases(bundles["chest"]), np.ones((1, 1), np.float32))
        finally:
            lower.close()
    assert found["cam"].shape == (1, 2, 4, 4)


def cases(bundle: Path) -> dict[str, NDArray[Any]]:
    with np.load(bundle / "golden.npz") as golden:
        return {name: golden[name][:1] for name in ("image", "table")}


def test_the_graph_is_first_opened_where_the_network_was(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a process of its own within the session's time, also where the answer is asked for later; and only once."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path))
    told: list[tuple[str, float, dict[str, Any]]] = []

    def run(self: Apart, seconds: float, progress: Any = None) -> None:
        told.append((self.work.partition(":")[0], seconds, dict(self.given)))

    monkeypatch.setattr(Apart, "run", run)
    for _ in range(2):
        with open_session(load_bundle(bundles["chest"]), backend="onnxruntime", threads=1, open_timeout=30) as session:
            answered(session, CHEST, RECORD)
    network, graph = told
    assert network[0].endswith("session.session") and graph[0].endswith("session.explaining")
    assert graph[1:] == (30, {"backend": "onnxruntime", "threads": 1})
    opened_and_tested(load_bundle(bundles["chest"]), **graph[2])


def test_a_bundle_is_verified_with_its_graph(bundles: dict[str, Path], tmp_path: Path) -> None:
    """And told as a failure of that, where the network passes."""
    report = verify_bundle(load_bundle(bundles["chest"]), "onnxruntime")
    assert [(one.title, one.self_test is not None) for one in report.verified] == [
        ("onnxruntime fp32", True),
        ("onnxruntime fp32 heat maps", True),
    ]
    assert [one["heat_maps"] for one in report.to_dict()["self_tests"]] == [False, True]
    with np.load(bundles["chest"] / "golden.npz") as golden:
        cam = golden["cam"] * np.float32(1.01)
    report = verify_bundle(load_bundle(changed(bundles["chest"], tmp_path / "other.mmcaf", cam=cam)), "onnxruntime")
    network, graph = report.verified
    assert network.failure is None and graph.failure is not None
    with refused(BackendError, "heat maps", "cam"):
        report.require_passed()


# Tested before it draws


def changed(bundle: Path, output: Path, **arrays: Any) -> Path:
    """The bundle with other arrays in golden.npz; None leaves one out."""
    folder = Path(shutil.copytree(bundle, output.with_name(f"{output.name}.draft")))
    fields = load_bundle(bundle).manifest.model_dump(mode="json", exclude={"files"})
    (folder / "manifest.json").unlink()
    golden = {**np.load(folder / "golden.npz"), **arrays}
    np.savez(folder / "golden.npz", **{name: array for name, array in golden.items() if array is not None})
    return write_bundle(folder, fields, output).folder


def explained(bundle: Path) -> None:
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        answered(session, CHEST, RECORD)


@pytest.mark.parametrize(("factor", "passes"), [(1 + 9e-4, True), (1 + 2e-3, False)])
def test_a_map_that_is_not_the_stored_one_is_never_drawn(
    factor: float, passes: bool, bundles: dict[str, Path], tmp_path: Path
) -> None:
    """Its own scale is what counts, a thousandth of the largest value; it is a thousandth here of what it was."""
    with np.load(bundles["chest"] / "golden.npz") as golden:
        cam, cotangent = golden["cam"], golden["cotangent"]
    stored = {"cam": (cam * np.float32(factor / 1000)), "cotangent": cotangent / np.float32(1000)}
    bundle = changed(bundles["chest"], tmp_path / "other.mmcaf", **stored)
    if passes:
        explained(bundle)
        return
    with refused(BackendError, "self-test", "heat maps", "cam", option="backend"):
        explained(bundle)


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"cam": None}, "cam"),
        ({"cotangent": None}, "cotangent"),
        ({"cam": np.zeros((2, 4, 4), np.float32)}, "cam"),
        ({"cotangent": np.zeros((2, 2), np.float32)}, "cotangent"),
        ({"cam": np.zeros((1, 2, 4, 4), np.float32)}, "golden.npz"),
    ],
    ids=["no-map", "no-cotangent", "shape", "scores", "cases"],
)
def test_without_stored_cases_of_its_own_it_is_refused(
    arrays: dict[str, Any], named: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    with refused(BundleError, "golden.npz", named):
        explained(changed(bundles["chest"], tmp_path / "other.mmcaf", **arrays))


def test_a_graph_that_was_altered_is_refused_before_it_is_parsed(bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(bundles["chest"], tmp_path / "altered.mmcaf"))
    data = bytearray((bundle / "explain.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "explain.onnx").write_bytes(data)
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        Answerer(session).answer(CHEST, RECORD)
        with refused(BundleError, "explain.onnx"):
            answered(session, CHEST, RECORD)


def test_a_graph_with_weights_of_another_file_is_no_part_of_a_bundle(bundles: dict[str, Path], tmp_path: Path) -> None:
    """Also of the network's own: each model is hashed with what it reads."""
    folder = Path(shutil.copytree(bundles["chest"], tmp_path / "draft"))
    fields = load_bundle(bundles["chest"]).manifest.model_dump(mode="json", exclude={"files"})
    (folder / "manifest.json").unlink()
    model = onnx.load(folder / "explain.onnx")
    onnx.save_model(
        model, folder / "explain.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    with refused(BundleError, "explain.onnx", "model.onnx.data"):
        write_bundle(folder, fields, tmp_path / "other.mmcaf")


def test_a_map_that_was_judged_and_is_no_better_than_chance_is_no_localisation(bundles: dict[str, Path]) -> None:
    manifest = load_bundle(bundles["liver"]).manifest
    judged = PointingStudy.model_validate({**STUDY, "interval": [0.68, 0.80], "chance": 0.7})
    assert manifest.explain is not None
    other = manifest.model_copy(update={"explain": manifest.explain.model_copy(update={"judged": judged})})
    (found,) = gradcam_maps(other, {"cam": np.ones((1, 4, 8, 2), np.float32)}, 0, "cyst")
    assert not found.localises
    with refused(BackendError, "Grad-CAM", "no number", option="backend"):
        gradcam_maps(other, {"cam": np.full((1, 4, 8, 2), np.nan, np.float32)}, 0, "cyst")


def test_a_pass_of_the_network_is_none_of_the_graph(bundles: dict[str, Path]) -> None:
    """What is remembered of one says nothing of the other."""
    bundle = load_bundle(bundles["chest"])
    graph = explaining(bundle)
    assert graph.sha256 != bundle.sha256 and graph.manifest.models == {"fp32": "explain.onnx"}
    assert [spec.name for spec in graph.manifest.inputs] == ["image", "table", "cotangent"]
    with refused(BundleError, "chest.mmcaf"):
        explaining(replace(bundle, manifest=bundle.manifest.model_copy(update={"explain": None})))
