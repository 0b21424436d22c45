"""Bundles made to harm: each threat once."""

import json
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from command import Command
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.bundle.golden import read_cases
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import BundleError
from raw_cases import seal, unsealed, with_raw_case
from refusals import Fact, check_facts, refused
from tiny_bundle import make_draft, make_tiny_bundle, tiny_manifest


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code from the bundle was run",))


NAMES = [
    "../outside",
    "/etc/passwd",
    "a/../../b",
    "C:\\x",
    "",
    "a//b",
    "a/",
    ".",
    "x" * 201,
    "a" + "/a" * 100,
    "a\x1b[2J",
]
NAMES += ["nul.onnx", "NUL", "sub/Com1.txt", "aux .onnx", "a.onnx.", "a ", "a?b", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_file_names_that_leave_the_bundle(tiny_bundle: Path, name: str) -> None:
    manifest = tiny_bundle / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"][name] = {"sha256": "0" * 64, "size": 0}
    manifest.write_text(json.dumps(document))
    with refused(BundleError, "file name" if name.isprintable() else "files", repr(name)):
        load_bundle(tiny_bundle)


def test_more_files_than_any_bundle_has(tiny_bundle: Path) -> None:
    manifest = tiny_bundle / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"] |= {str(number): {"sha256": "0" * 64, "size": 0} for number in range(1000)}
    manifest.write_text(json.dumps(document))
    with refused(BundleError, "files", 1000):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    "names", [("Model.ONNX",), ("caf\u00e9", "cafe\u0301"), ("\u1e69", "S\u0307\u0323")], ids=ascii
)
def test_two_names_that_are_one_file_on_some_systems(tiny_bundle: Path, names: tuple[str, ...]) -> None:
    """Where case does not count, or an accent is a character of its own."""
    manifest = tiny_bundle / "manifest.json"
    document = json.loads(manifest.read_text())
    for name in names:
        document["files"][name] = document["files"]["model.onnx"]
        (tiny_bundle / name).write_bytes((tiny_bundle / "model.onnx").read_bytes())
    manifest.write_text(json.dumps(document))
    with refused(BundleError, "files", "alone"):
        load_bundle(tiny_bundle)


def test_golden_cases_that_unpack_to_more_than_memory_holds(tmp_path: Path) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1250000000, 1, 4, 8, 8), }\n"
    with zipfile.ZipFile(draft / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "bomb.mmcaf")
    with refused(BundleError, "bomb.mmcaf", "golden.npz", "image"):
        open_session(bundle, backend="onnxruntime")


@pytest.mark.parametrize("shape", [(2, 0), (2,), (2, 6), (), (2, 1, 1)], ids=str)
def test_golden_answers_that_compare_with_nothing_or_with_anything(tmp_path: Path, shape: tuple[int, ...]) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(draft / "golden.npz", **{**arrays, "logit": np.zeros(shape, np.float32)})
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "empty.mmcaf")
    with refused(BundleError, "empty.mmcaf", "golden.npz", "logit", "[N, 1]"):
        open_session(bundle, backend="onnxruntime")


@pytest.mark.parametrize("version", [1, 2])
def test_golden_cases_whose_header_is_longer_than_memory(tmp_path: Path, version: int) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    length = (2**16 - 1).to_bytes(2, "little") if version == 1 else (2**31).to_bytes(4, "little")
    with zipfile.ZipFile(draft / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", b"\x93NUMPY" + bytes([version, 0]) + length + bytes(32 * 2**20))
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "long.mmcaf")
    tracemalloc.start()
    try:
        with refused(BundleError, "long.mmcaf", "golden.npz"):
            read_cases(bundle, "fp32")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


RAW = ["spacing.image", "origin.image", "direction.image", "shape.image", "starts", "volume.image"]


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize(
    "value", [np.float32(1), np.zeros((2, 2)), np.full(3, 2.0**62)], ids=["scalar", "flat", "huge"]
)
def test_raw_cases_of_other_shapes(with_raw: Path, tmp_path: Path, name: str, value: NDArray[Any]) -> None:
    draft = unsealed(with_raw, tmp_path / "other.mmcaf")
    with np.load(draft / "golden.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    np.savez(draft / "golden.npz", **{**arrays, f"raw.{name}": value})
    bundle = load_bundle(seal(draft, tiny_manifest(), tmp_path / "other.mmcaf"))
    with refused(BundleError):
        check_raw_case(bundle)


@pytest.fixture(scope="module")
def with_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    return with_raw_case(make_tiny_bundle(folder / "tiny.mmcaf"), folder / "raw.mmcaf")


def _wide(graph: onnx.GraphProto, *, said: int | str | None) -> None:
    _after(graph, helper.make_node("Concat", ["before", "before"], ["logit"], axis=1))
    kind = graph.output[0].type.tensor_type
    if said is None:
        kind.ClearField("shape")
    elif isinstance(said, int):
        kind.shape.dim[1].dim_value = said
    else:
        kind.shape.dim[1].dim_param = said


def _after(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Put a node behind the network, from what was its output to what is called so now."""
    for one in graph.node:
        one.output[:] = ["before" if name == "logit" else name for name in one.output]
    graph.node.append(node)


def _renamed(graph: onnx.GraphProto) -> None:
    _after(graph, helper.make_node("Identity", ["before"], ["other"]))
    graph.output[0].name = "other"


def _double(graph: onnx.GraphProto) -> None:
    _after(graph, helper.make_node("Cast", ["before"], ["logit"], to=TensorProto.DOUBLE))
    graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _hidden(graph: onnx.GraphProto) -> None:
    """A shape that no runtime knows before it runs."""
    places = numpy_helper.from_array(np.array([0.0], np.float32), "least")
    graph.initializer.append(places)
    graph.node.extend(
        [
            helper.make_node("Greater", ["image", "least"], ["bright"]),
            helper.make_node("NonZero", ["bright"], ["found"]),
            helper.make_node("Cast", ["found"], ["numbers"], to=TensorProto.FLOAT),
        ]
    )
    _after(graph, helper.make_node("Add", ["numbers", "before"], ["logit"]))
    graph.output[0].type.tensor_type.ClearField("shape")


def _more(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1]))


CHANGED: dict[str, tuple[Callable[[onnx.GraphProto], None], tuple[Fact, ...]]] = {
    "wide": (partial(_wide, said=2), ("output logit", "[N, 1]", "2]")),
    "wide-of-free-axis": (partial(_wide, said="k"), ("output logit", "[N, 1]", "2]")),
    "wide-of-free-rank": (partial(_wide, said=None), ("output logit", "[N, 1]", "2]")),
    "renamed": (_renamed, ("output logit", "[N, 1]", "none")),
    "double": (_double, ("output logit", "float32", "[N, 1]")),
    "found-when-run": (_hidden, ("output logit", "float32 [1, 1]", "[5, ")),
    "another-input": (_more, ("input extra",)),
}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("change", CHANGED)
def test_a_network_that_is_not_what_the_manifest_says(tmp_path: Path, backend: str, change: str) -> None:
    changed, facts = CHANGED[change]
    draft = make_draft(tmp_path / "draft")
    model = onnx.load(draft / "model.onnx")
    changed(model.graph)
    onnx.save(model, draft / "model.onnx")
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "other.mmcaf")
    with refused(BundleError, "model.onnx", "as the manifest says", *facts):
        open_session(bundle, backend=backend)


def test_zip_members_that_the_manifest_does_not_list_are_not_unpacked(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "extra.zip"
    with zipfile.ZipFile(archive, "w") as output:
        for file in tiny_bundle.iterdir():
            output.write(file, file.name)
        output.writestr("../../escaped", "x")
        output.writestr("unlisted", "x")
    folder = load_bundle(archive).folder
    assert sorted(file.name for file in folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]
    assert not list(cache_folder("bundles").parent.rglob("escaped"))


def test_symbolic_link_in_place_of_a_file(tiny_bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (tiny_bundle / "model.onnx").rename(outside)
    (tiny_bundle / "model.onnx").symlink_to(outside)
    with refused(BundleError, "tiny.mmcaf", "model.onnx", "missing"):
        load_bundle(tiny_bundle)


def test_pickled_array_in_the_golden_cases_is_never_loaded(tmp_path: Path) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    bomb = np.empty(1, dtype=object)
    bomb[0] = _Bomb()
    np.savez(draft / "golden.npz", image=bomb, table=bomb, logit=bomb)
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "bomb.mmcaf")
    with refused(BundleError, "bomb.mmcaf", "golden.npz"):
        open_session(bundle, backend="onnxruntime")


def test_golden_cases_that_are_a_bare_pickle(tmp_path: Path) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    (draft / "golden.npz").write_bytes(pickle.dumps(_Bomb()))
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "bomb.mmcaf")
    with refused(BundleError, "bomb.mmcaf", "golden.npz"):
        open_session(bundle, backend="onnxruntime")


GARBLED = {"encrypted": (8, b"\x01"), "compression": (10, b"\x63"), "offset": (42, b"\xf0\xff\xff\x7f")}
"""Where in a file's entry of a zip's directory, and what (PKWARE's APPNOTE.TXT, 4.3.12)."""


@pytest.mark.parametrize("field", GARBLED)
def test_a_zip_whose_directory_says_otherwise(tiny_bundle: Path, tmp_path: Path, field: str) -> None:
    archive = tmp_path / "garbled.zip"
    with zipfile.ZipFile(archive, "w") as output:
        for file in sorted(tiny_bundle.iterdir(), key=lambda file: file.name != "manifest.json"):
            output.write(file, file.name)
        at, value = GARBLED[field]
        start = output.fp.tell() + at if output.fp is not None else 0
    data = bytearray(archive.read_bytes())
    data[start : start + len(value)] = value
    archive.write_bytes(data)
    with refused(BundleError, "garbled.zip"):
        load_bundle(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [("manifest.json",), ("MANIFEST.json",), ("model.onnx",), ("notes", "notes"), ("caf\u00e9", "cafe\u0301")],
    ids=ascii,
)
def test_a_zip_with_two_members_of_one_name(tiny_bundle: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    """Which of them counts, each program that unpacks it decides for itself; so does each file system."""
    for at, first in enumerate((True, False)):
        archive = tmp_path / f"two{at}.zip"
        sound = [(file.name, file.read_bytes()) for file in tiny_bundle.iterdir()]
        added = [(name, b"{}") for name in names]
        with zipfile.ZipFile(archive, "w") as output:
            for name, data in [*added, *sound] if first else [*sound, *added]:
                output.writestr(name, data)
        with refused(BundleError, archive.name, "2 members"):
            load_bundle(archive)


def test_a_zip_of_very_many_members(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "many.zip"
    with zipfile.ZipFile(archive, "w") as output:
        for file in tiny_bundle.iterdir():
            output.write(file, file.name)
        for number in range(10_000):
            output.writestr(zipfile.ZipInfo(str(number)), b"")
    with refused(BundleError, "many.zip", 10_003, 1002):
        load_bundle(archive)


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_one_changed_byte_is_found_by_those_who_look(run: Command, tiny_bundle: Path, command: str) -> None:
    data = bytearray((tiny_bundle / "model.onnx").read_bytes())
    data[100] ^= 0x80
    (tiny_bundle / "model.onnx").write_bytes(data)
    outcome = run("mmcaf", command, tiny_bundle)
    assert outcome.code == 5
    check_facts(outcome.error(), "model.onnx", "SHA-256")


def test_file_changed_between_two_bundles_of_one_process(tiny_bundle: Path) -> None:
    load_bundle(tiny_bundle).read("model.onnx", 10**9)
    (tiny_bundle / "model.onnx").write_bytes(bytes((tiny_bundle / "model.onnx").stat().st_size))
    with refused(BundleError, "tiny.mmcaf", "model.onnx", "SHA-256"):
        load_bundle(tiny_bundle).read("model.onnx", 10**9)


def test_link_that_appears_after_loading(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    (tiny_bundle / "model.onnx").rename(tmp_path / "outside.onnx")
    (tiny_bundle / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    with refused(BundleError, "tiny.mmcaf", "model.onnx", "missing"):
        bundle.read("model.onnx", 10**9)


def test_zip_that_announces_a_huge_manifest(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as output:
        output.writestr("manifest.json", b" " * (64 * 1024 * 1024))
    assert archive.stat().st_size < 100_000
    with refused(BundleError, "bomb.zip", "manifest.json", "bytes", command="zip -0 -r"):
        load_bundle(archive)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_uncompressed_zip_member_larger_than_listed(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    """Refused before a byte of it is unpacked, though its beginning is what the manifest lists."""
    archive = tmp_path / "grown.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as output:
        for file in tiny_bundle.iterdir():
            output.writestr(file.name, file.read_bytes() + (b"x" if file.name == name else b""))
    listed = (tiny_bundle / name).stat().st_size
    before = set(cache_folder("bundles").iterdir())
    with refused(BundleError, "grown.zip", name, listed + 1, "bytes", listed):
        load_bundle(archive)
    assert set(cache_folder("bundles").iterdir()) == before


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (b"[" * 100_000 + b"]" * 100_000, ("64 levels",)),
        (b'{"a":' * 100 + b"1" + b"}" * 100, ("64 levels",)),
        (b'{"format_version": ' + b"9" * 5000 + b"}", ("5000 digits",)),
        (b'{"format_version": 1, "format_version": 1}', ('"format_version"', "twice")),
        (b'{"name": "\xff"}', ("UTF-8", "0xff")),
        (b"", ("JSON", "line 1")),
        (b"null", ("format_version",)),
    ],
    ids=["deep-list", "deep-object", "huge-number", "duplicate-key", "not-utf8", "empty", "null"],
)
def test_hostile_manifest(tiny_bundle: Path, text: bytes, facts: tuple[Fact, ...]) -> None:
    (tiny_bundle / "manifest.json").write_bytes(text)
    with refused(BundleError, "manifest.json", *facts):
        load_bundle(tiny_bundle)
