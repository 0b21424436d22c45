"""The kernels as operators of OpenVINO, and what an installation that lacks them says."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcaf_kernels.cpu import extension as extensions
from mmcaf_kernels.cpu.extension import built, extension, fault, fingerprint, instructions, missing, placing
from mmcaf_kernels.cpu.groupnorm_act import groupnorm_act
from mmcaf_kernels.cpu.maps import bfloat16

ov = pytest.importorskip("openvino")
needs_extension = pytest.mark.skipif(missing() is not None, reason=f"no operators here: {missing()}")


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What was found is found again, after the test too."""
    for cached in (extension, instructions, fingerprint):
        cached.cache_clear()
    yield
    for cached in (extension, instructions, fingerprint):
        cached.cache_clear()


def compiled(kind: str, inputs: list[Any], attributes: dict[str, Any], threads: int = 2) -> Any:
    """A network of one operator whose first input is the network's own, as the others' values are constants."""
    from openvino import opset13
    from openvino.utils.node_factory import NodeFactory

    core, factory = ov.Core(), NodeFactory()
    for receiver in (core, factory):
        receiver.add_extension(str(extension()))
    first = opset13.parameter(inputs[0].shape, inputs[0].dtype)
    constants = [opset13.constant(value) for value in inputs[1:]]
    node = factory.create(kind, [made.output(0) for made in (first, *constants)], attributes)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return core, core.compile_model(ov.Model(node.outputs(), [first]), "CPU", options)


def case(shape: tuple[int, ...]) -> list[Any]:
    random = np.random.default_rng(5)
    channels = shape[-1]
    sizes = [shape, (channels,), (channels,), shape, (6, channels), (6,), (channels, 6), (channels,)]
    return [random.normal(0, 1, size).astype(np.float32) for size in sizes]


@needs_extension
def test_group_norm_is_the_kernel() -> None:
    inputs, attributes = (
        case((2, 3, 5, 7, 24)),
        {"groups": 3, "eps": 1e-3, "slope": 0.2, "residual": True, "gate": True},
    )
    out, rounded = np.full(inputs[0].shape, np.nan, np.float32), np.zeros(inputs[0].shape, np.int8)
    groupnorm_act(
        inputs[0], 3, *inputs[1:3], eps=1e-3, slope=0.2, residual=inputs[3], gate=inputs[4:], out=out, rounded=rounded,
        step=0.05,
    )  # fmt: skip
    _, network = compiled("GroupNormAct", inputs, attributes)
    np.testing.assert_array_equal(network(inputs[0])[0], out)
    _, network = compiled("GroupNormAct", inputs, {**attributes, "rounded": "i8", "step": 0.05})
    answer = network(inputs[0])
    np.testing.assert_array_equal(answer[0], out)
    np.testing.assert_array_equal(answer[1], rounded)


@needs_extension
def test_group_norm_of_bfloat16_maps() -> None:
    inputs = case((1, 3, 5, 7, 24))[:3]
    out = np.zeros(inputs[0].shape, np.uint16)
    groupnorm_act(bfloat16(inputs[0]), 3, *inputs[1:], out=out)
    low = ov.Tensor(bfloat16(inputs[0]).view(np.float16), inputs[0].shape, ov.Type.bf16)
    from openvino import opset13
    from openvino.utils.node_factory import NodeFactory

    core, factory = ov.Core(), NodeFactory()
    for receiver in (core, factory):
        receiver.add_extension(str(extension()))
    first = opset13.parameter(inputs[0].shape, ov.Type.bf16)
    arguments = [first.output(0), *(opset13.constant(value).output(0) for value in inputs[1:])]
    node = factory.create("GroupNormAct", arguments, {"groups": 3, "floating": "bf16"})
    network = core.compile_model(ov.Model(node.outputs(), [first]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = network.create_infer_request()
    request.infer([low])
    np.testing.assert_array_equal(request.get_output_tensor(0).data.view(np.uint16), out)


@needs_extension
def test_the_bits_are_the_same_for_any_threads_and_from_a_kept_engine() -> None:
    inputs, attributes = case((1, 6, 30, 31, 48))[:3], {"groups": 3}
    core, network = compiled("GroupNormAct", inputs, attributes, threads=1)
    right = network(inputs[0])[0]
    core, network = compiled("GroupNormAct", inputs, attributes, threads=2)
    np.testing.assert_array_equal(network(inputs[0])[0], right)
    again = core.import_model(network.export_model(), "CPU")
    np.testing.assert_array_equal(again(inputs[0])[0], right)


@needs_extension
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 5}, "24 channels make no 5 groups"),
        ({"groups": 0}, "24 channels make no 0 groups"),
        ({"slope": -0.1}, "not 0 to 1"),
        ({"step": 0.0}, "step is 0, not above 0"),
        ({"floating": "f64"}, "none of f32, bf16, i8, u8"),
        ({"floating": "none"}, "neither a floating nor a rounded output"),
        ({"residual": True}, "has 3 inputs, not 4"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_attributes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        compiled("GroupNormAct", case((1, 2, 3, 4, 24))[:3], {"groups": 3, **change})


@needs_extension
def test_wrong_inputs_are_refused() -> None:
    inputs = case((1, 2, 3, 4, 24))[:3]
    with pytest.raises(RuntimeError, match=r"input 2 is \[23\], not \[24\]"):
        compiled("GroupNormAct", [*inputs[:2], inputs[2][:23]], {"groups": 3})
    with pytest.raises(RuntimeError, match="input 1 is f16, not f32"):
        compiled("GroupNormAct", [inputs[0], inputs[1].astype(np.float16), inputs[2]], {"groups": 3})


def test_none_was_built(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    monkeypatch.setattr(extensions, "folders", [])
    assert "not built; they are built where CMake finds GCC or Clang" in str(missing())
    assert fingerprint() == "none"


@pytest.mark.usefixtures("forgetful")
def test_it_serves_one_release_of_openvino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libmmcaf_openvino_2024.9.1.so").write_bytes(b"of another release")
    monkeypatch.setattr(extensions, "folders", [tmp_path])
    assert "built for openvino 2024.9.1, not for the installed 20" in str(missing())
    found = fault()
    assert found is not None and found.command == "pip install openvino==2024.9.1"


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("content", [b"", b"not a library"], ids=["empty", "text"])
def test_a_damaged_library_is_named(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / f"libmmcaf_openvino_{ov.__version__.split('-')[0]}.so").write_bytes(content)
    monkeypatch.setattr(extensions, "folders", [tmp_path])
    found = fault()
    assert found is not None and "cannot be loaded" in str(found) and "again from its sources" in found.remedy


@needs_extension
@pytest.mark.usefixtures("forgetful")
def test_a_library_of_older_sources_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "OPERATORS", (*extensions.OPERATORS, "Newer"))
    assert "has no Newer: it was built from older sources" in str(missing())


@needs_extension
@pytest.mark.usefixtures("forgetful")
def test_a_library_cut_short_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = extension()
    extension.cache_clear()
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[:20000])
    monkeypatch.setattr(extensions, "folders", [tmp_path])
    assert "cannot be loaded" in str(missing())


@needs_extension
def test_a_library_of_another_release_by_a_wrong_name_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forgetful: None
) -> None:
    """Its runtime library is not that of the OpenVINO at hand."""
    whole = extension()
    extension.cache_clear()
    name = next(file.name for file in extensions._runtime()).encode()
    content = whole.read_bytes()
    assert content.count(name) >= 1
    (tmp_path / whole.name).write_bytes(content.replace(name, name[:-1] + b"9"))
    monkeypatch.setattr(extensions, "folders", [tmp_path])
    assert "cannot be loaded" in str(missing())


@needs_extension
@pytest.mark.parametrize(("value", "expected"), [("reference", "no AVX2 and FMA"), ("avx2", "avx2"), ("?", "no AVX2")])
def test_a_processor_without_the_units(value: str, expected: str) -> None:
    script = "from mmcaf_kernels.cpu.extension import instructions, missing; print(missing() or instructions())"
    environment = {"MMCAF_CPU_FEATURES": value, "PATH": "/usr/bin"}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert expected in found.stdout


@needs_extension
def test_it_is_told_apart_by_its_bytes_and_what_it_computes_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forgetful: None
) -> None:
    before = fingerprint()
    assert before.endswith(f"-{instructions()}") and extension() == built()[ov.__version__.split("-")[0]]
    copy = Path(shutil.copy(extension(), tmp_path))
    with copy.open("ab") as file:
        file.write(b"another build")
    monkeypatch.setattr(extensions, "folders", [tmp_path])
    for cached in (extension, instructions, fingerprint):
        cached.cache_clear()
    assert fingerprint() not in (before, "none")


@needs_extension
def test_what_puts_operators_into_a_network_is_part_of_their_state(
    forgetful: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So an engine in which they were put otherwise is not loaded."""
    monkeypatch.setattr(extensions, "folders", [*extensions.folders, str(tmp_path / "cpu")])
    states = {fingerprint()}
    for part in ("cpu/openvino", "graph", "graph/fusions"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "another.py").write_text("pass")
        fingerprint.cache_clear()
        states.add(fingerprint())
    assert len(states) == 4


def test_cmake_tells_the_same_state_as_python() -> None:
    """It is compiled into the extension, from which a program without Python makes the key of a kept engine."""
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed; apt install cmake")
    root = Path(__file__).parents[2]
    script = ["-D", f"MMCAF_PLACING_OF={root / 'kernels/mmcaf_kernels'}", "-P", str(root / "cmake/placing.cmake")]
    found = subprocess.run([cmake, *script], capture_output=True, text=True, check=True)
    assert (found.stdout + found.stderr).strip() == placing()
