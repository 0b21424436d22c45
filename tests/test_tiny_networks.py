"""The networks that the tests answer with: each sees how its input lies, and answers by its formula in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import tiny_bundle
import tiny_image
import tiny_liver
import tiny_report
from small_networks import convolution_logits, make_convolution_bundle

Arrays = dict[str, NDArray[Any]]
Change = Callable[[NDArray[Any]], NDArray[Any]]
Formula = Callable[[Arrays], NDArray[Any]]

SEEN = 1e-3
"""What a logit must change by: a hundred times what the tests forgive."""

NETWORKS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], Formula]] = {
    "bundle": (tiny_bundle.make_tiny_bundle, ("image",), tiny_bundle.expected_logits),
    "report": (tiny_report.make_tiny_report, ("image",), tiny_report.expected_logits),
    "image": (tiny_image.make_tiny_image, ("image",), lambda arrays: tiny_image.expected(arrays["image"])),
    "liver": (tiny_liver.make_tiny_liver, tiny_liver.INPUTS, lambda arrays: tiny_liver.expected(arrays)["logits"]),
    "convolution": (make_convolution_bundle, ("image",), convolution_logits),
}
CHANGES: dict[str, Change] = {
    "flip of columns": lambda image: image[..., ::-1],
    "flip of rows": lambda image: image[..., ::-1, :],
    "flip of the third axis": lambda image: np.flip(image, -3),
    "rows and columns swapped": lambda image: _squared(image).swapaxes(-1, -2),
    "rows and columns turned": lambda image: np.rot90(_squared(image), axes=(-2, -1)),
    "another order along the third axis": lambda image: np.roll(image, 1, axis=-3),
    "shifted by one place": lambda image: np.roll(image, 1, axis=-1),
}
"""Of [..., rows, columns]; the third axis from behind holds the slices of a volume, the channels of an image."""


def _squared(image: NDArray[Any]) -> NDArray[Any]:
    """The same at both ends of a swap that cannot be of the whole: its largest square, in place."""
    side = min(image.shape[-2:])
    return image[..., :side, :side]


def changed(image: NDArray[Any], change: Change) -> NDArray[Any]:
    """The image with the changed part in its place."""
    part = change(image)
    made = image.copy()
    made[..., : part.shape[-2], : part.shape[-1]] = part
    return made


def smooth(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Brighter in one corner, as a body is in an image: no noise that any weights would see."""
    ramps = np.meshgrid(*(np.linspace(0, at + 1, size) for at, size in enumerate(shape)), indexing="ij")
    total = np.sum(ramps, axis=0)
    return (total / total.max()).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the network answers, its golden case, the names of its images, and its formula."""
    make, images, formula = NETWORKS[request.param]
    folder = make(tmp_path_factory.mktemp("network") / "tiny.mmcaf")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    with np.load(folder / "golden.npz") as golden:
        case = {name: golden[name] for name in names}

    def answer(arrays: Arrays) -> NDArray[Any]:
        return np.asarray(session.run(None, arrays)[0])

    return answer, case, images, formula


def test_the_formula(opened: Any) -> None:
    answer, case, _, formula = opened
    np.testing.assert_allclose(answer(case), formula(case), atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_geometry_is_seen(change: Change, kind: str, opened: Any) -> None:
    answer, case, images, _ = opened
    for name in images:
        given = dict(case)
        if kind == "smooth":
            given[name] = np.broadcast_to(smooth(case[name].shape[1:]), case[name].shape).copy()
        other = {**given, name: changed(given[name], change)}
        assert not np.array_equal(given[name], other[name])
        assert np.abs(answer(other) - answer(given)).max() > SEEN, name
