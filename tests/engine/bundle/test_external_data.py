"""Which files a model reads weights from: all that the package `onnx` finds, wherever they stand; no foreign error."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcaf_engine.bundle.external_data import MAX_DEPTH, external_locations
from mmcaf_engine.errors import BundleError


def tensor(location: str | None = "w.data", **entries: str) -> onnx.TensorProto:
    made = onnx.TensorProto(dims=[1], data_type=1, name="location")
    if location is None:
        made.raw_data = b"location"
        return made
    made.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {**entries, "location": location}.items():
        made.external_data.add(key=key, value=value)
    return made


def attribute(**fields: Any) -> onnx.AttributeProto:
    return onnx.AttributeProto(name="value", **fields)


def graph(**fields: Any) -> onnx.GraphProto:
    return onnx.GraphProto(name="location", **fields)


def with_attribute(**fields: Any) -> onnx.ModelProto:
    return onnx.ModelProto(graph=graph(node=[onnx.NodeProto(op_type="Op", attribute=[attribute(**fields)])]))


PLACES: dict[str, Callable[[onnx.TensorProto], onnx.ModelProto]] = {
    "initializer": lambda t: onnx.ModelProto(graph=graph(initializer=[t])),
    "sparse values": lambda t: onnx.ModelProto(graph=graph(sparse_initializer=[onnx.SparseTensorProto(values=t)])),
    "sparse indices": lambda t: onnx.ModelProto(graph=graph(sparse_initializer=[onnx.SparseTensorProto(indices=t)])),
    "attribute": lambda t: with_attribute(t=t),
    "attribute's list": lambda t: with_attribute(tensors=[tensor(None), t]),
    "attribute's sparse tensor": lambda t: with_attribute(sparse_tensor=onnx.SparseTensorProto(values=t)),
    "list of sparse tensors": lambda t: with_attribute(sparse_tensors=[onnx.SparseTensorProto(indices=t)]),
    "subgraph": lambda t: with_attribute(g=graph(initializer=[t])),
    "list of subgraphs": lambda t: with_attribute(graphs=[graph(), graph(initializer=[t])]),
    "function": lambda t: onnx.ModelProto(
        functions=[onnx.FunctionProto(name="f", node=[onnx.NodeProto(attribute=[attribute(t=t)])])]
    ),
    "function's attribute": lambda t: onnx.ModelProto(
        functions=[onnx.FunctionProto(name="f", attribute_proto=[attribute(t=t)])]
    ),
    "training's start": lambda t: onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(initialization=graph(initializer=[t]))]
    ),
    "training's step": lambda t: onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(algorithm=graph(initializer=[t]))]
    ),
}


def written(data: bytes, folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(data)
    return folder / "model.onnx"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_wherever_it_stands(place: Callable[[onnx.TensorProto], onnx.ModelProto], tmp_path: Path) -> None:
    made = place(tensor("elsewhere/w.data", offset="0", length="4"))
    assert external_locations(written(made.SerializeToString(), tmp_path)) == {"elsewhere/w.data"}
    assert external_locations(written(place(tensor(None)).SerializeToString(), tmp_path)) == set()


def test_every_key_and_value_of_an_entry_counts(tmp_path: Path) -> None:
    def entry(*fields: tuple[int, bytes]) -> bytes:
        body = b"".join(bytes([number << 3 | 2, len(text)]) + text for number, text in fields)
        return b"\x6a" + bytes([len(body)]) + body

    def model(*entries: bytes) -> bytes:
        body = b"".join(entries)
        for tag in (b"\x2a", b"\x3a"):  # GraphProto.initializer, ModelProto.graph
            body = tag + bytes([len(body)]) + body
        return body

    def found(*fields: tuple[int, bytes]) -> set[str]:
        return external_locations(written(model(entry(*fields)), tmp_path))

    assert found((2, b"w"), (1, b"location")) == {"w"}
    assert found((1, b"location"), (2, b"listed"), (2, b"other")) == {"listed", "other"}
    assert found((1, b"length"), (1, b"location"), (2, b"w")) == {"w"}
    assert found((1, b"location"), (1, b"length"), (2, b"w")) == {"w"}
    assert found((1, b"location")) == {""}
    assert found((1, b"location"), (2, b"\x80")) == {"\udc80"}, "never taken for a name that it is not"
    assert found((1, b"location2"), (2, b"w")) == found((1, b"Location"), (2, b"w")) == set()
    twice = model(entry((1, b"location"), (2, b"a")), entry((1, b"location"), (2, b"b")))
    assert external_locations(written(twice + twice.replace(b"\x01a", b"\x01c"), tmp_path)) == {"a", "b", "c"}


def nested(levels: int) -> bytes:
    """A subgraph in a subgraph and so on; written by hand, since the package `onnx` has a limit of its own."""
    inner: bytes = graph(initializer=[tensor("deep")]).SerializeToString()
    for tag in (b"\x32", b"\x2a", b"\x0a") * levels:  # AttributeProto.g, NodeProto.attribute, GraphProto.node
        inner = tag + length(len(inner)) + inner
    return b"\x3a" + length(len(inner)) + inner


def length(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + length(number >> 7)


def test_depth_has_a_limit(tmp_path: Path) -> None:
    assert external_locations(written(nested(30), tmp_path)) == {"deep"}
    with pytest.raises(BundleError, match=str(MAX_DEPTH)):
        external_locations(written(nested(40), tmp_path))


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\x20location",
        b"\x3b\x08location",
        b"\x3a\x0a\x2a\x09location",
        b"location" + b"\xff" * 20,
        b"location\x0a",
        b"\xba\x80\x80\x80\x80\x01\x08location",
        b"\x3a\x88\x80\x80\x80\x10location",
        b"\x02\x08location",
    ],
    ids=["too long", "a group", "too long within", "endless number", "no length", "tag", "length", "field 0"],
)
def test_what_is_no_message_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx"):
        external_locations(written(data, tmp_path))


@pytest.mark.parametrize("data", [b"", b"no model at all", bytes(100)])
def test_nothing_is_asked_of_what_names_no_location(data: bytes, tmp_path: Path) -> None:
    assert external_locations(written(data, tmp_path)) == set()


LOCATIONS = st.sampled_from(["w", "../w", "/w", "", "location", "ä\n"])
TENSORS = st.one_of(st.none(), LOCATIONS).map(tensor)
SPARSE = st.builds(lambda values, indices: onnx.SparseTensorProto(values=values, indices=indices), TENSORS, TENSORS)


def graphs(inner: st.SearchStrategy[onnx.GraphProto]) -> st.SearchStrategy[onnx.GraphProto]:
    few = {"max_size": 2}
    attributes = st.builds(
        lambda t, g, tensors, graphs, sparse: attribute(
            t=t, g=g, tensors=tensors, graphs=graphs, sparse_tensors=sparse
        ),
        st.none() | TENSORS,
        st.none() | inner,
        st.lists(TENSORS, **few),
        st.lists(inner, **few),
        st.lists(SPARSE, **few),
    )
    nodes = st.lists(attributes, **few).map(lambda made: onnx.NodeProto(name="location", attribute=made))
    return st.builds(
        lambda nodes, initializers, sparse: graph(node=nodes, initializer=initializers, sparse_initializer=sparse),
        st.lists(nodes, **few),
        st.lists(TENSORS, **few),
        st.lists(SPARSE, **few),
    )


GRAPHS = st.recursive(st.just(graph()), graphs, max_leaves=6)
MODELS = st.builds(
    lambda main, start, step, function: onnx.ModelProto(
        graph=main,
        training_info=[onnx.TrainingInfoProto(initialization=start, algorithm=step)],
        functions=[onnx.FunctionProto(name="f", node=function.node)],
    ),
    *[GRAPHS] * 4,
)


def all_tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor of a message, by its own description of its fields."""
    if isinstance(message, onnx.TensorProto):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "add") else [value]:
                yield from all_tensors(part)


def as_onnx_says(model: onnx.ModelProto) -> set[str]:
    values = [entry.value for found in all_tensors(model) for entry in found.external_data if entry.key == "location"]
    return {value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values}


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(model=MODELS)
def test_the_same_as_the_package_onnx_finds(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert external_locations(written(model.SerializeToString(), tmp_path)) == as_onnx_says(model)


@FUZZ
@given(model=MODELS, changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8))
def test_nothing_is_missed_in_a_damaged_one(model: Any, changes: list[tuple[float, int]], tmp_path: Path) -> None:
    data = bytearray(model.SerializeToString() or b"location")
    for place, byte in changes:
        data[int(place * len(data))] = byte
    try:
        read = onnx.ModelProto.FromString(bytes(data))
    except Exception:
        read = None
    try:
        found = external_locations(written(bytes(data), tmp_path))
    except BundleError:
        return
    assert read is None or found >= as_onnx_says(read)
