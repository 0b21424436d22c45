"""Checkpoints that try to run code, to be read as more than they hold, or to lead elsewhere.

Threat: a file from a stranger. What stands beside its weights is admitted by name, so each name is tried as a door.
"""

import io
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mmcaf_engine.cancel import limited  # noqa: E402
from mmcaf_engine.errors import ExportError  # noqa: E402
from mmcaf_export.checkpoint import load_checkpoint  # noqa: E402
from mmcaf_export.checkpoint.restricted import STANDS_IN, Opaque, read_pickle  # noqa: E402
from refusals import refused  # noqa: E402

STOP, MARK, TUPLE, REDUCE, BUILD, NEWOBJ, EMPTY_TUPLE = b".", b"(", b"t", b"R", b"b", b"\x81", b")"
HARMLESS = (Opaque, OrderedDict, list)


def name(full: str) -> bytes:
    module, _, last = full.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def text(value: str) -> bytes:
    spelled = value.encode()
    return b"X" + struct.pack("<I", len(spelled)) + spelled


def listed(programs: Iterable[bytes]) -> bytes:
    return b"](" + b"".join(programs) + b"e"


Write = Callable[[bytes], Path]


@pytest.fixture
def pickled(tmp_path: Path) -> Write:
    """A file of torch.save whose pickle is this program."""

    def write(program: bytes) -> Path:
        torch.save({"a": torch.ones(1)}, tmp_path / "real.pth")
        path = tmp_path / "weights.pth"
        with zipfile.ZipFile(tmp_path / "real.pth") as real, zipfile.ZipFile(path, "w") as forged:
            for entry in real.namelist():
                content = b"\x80\x02" + program + STOP if entry.endswith("/data.pkl") else real.read(entry)
                forged.writestr(entry, content)
        return path

    return write


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a folder appears if a pickle runs code; `trap` makes it."""
    target = tmp_path / "ran"
    yield target
    assert not target.exists()


def test_no_name_of_the_list_is_the_thing_itself(pickled: Write) -> None:
    """Called with arguments, made as an object, and given a state: an empty value each time."""
    arguments = MARK + text("/etc/passwd") + text("x") + TUPLE
    programs = [name(full) + arguments + how for full in STANDS_IN for how in (REDUCE, NEWOBJ)]
    programs += [name(full) + EMPTY_TUPLE + NEWOBJ + b"}" + BUILD for full in STANDS_IN if full != "collections.deque"]
    values = read_pickle(pickled(listed(programs)), mapped=True)
    assert len(values) == len(programs) > 300
    for value in values:
        assert isinstance(value, HARMLESS) and not getattr(value, "__dict__", None)
        assert isinstance(value, Opaque) or len(value) == 0


def test_no_module_of_the_list_is_imported(pickled: Write) -> None:
    absent = [full for full in STANDS_IN if full.split(".")[0] not in sys.modules]
    assert absent, "every package of the list is imported here"
    read_pickle(pickled(listed(name(full) + EMPTY_TUPLE + REDUCE for full in absent)), mapped=True)
    assert not {full.split(".")[0] for full in absent} & set(sys.modules)


def test_the_list_holds_nothing_that_leads_on() -> None:
    """Names through which a pickle could reach others, were they what they are called."""
    forbidden = {"getattr", "eval", "exec", "compile", "open", "__import__", "partial", "_load_from_bytes", "loads"}
    assert not {full.rpartition(".")[2] for full in STANDS_IN} & (forbidden | {"attrgetter", "methodcaller", "reduce"})
    assert not {full.split(".")[0] for full in STANDS_IN} & {
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "pickle",
        "operator",
    }


def test_a_numpy_object_scalar_does_not_unpickle_what_it_holds(pickled: Write, watched: Path) -> None:
    """numpy's own `scalar` calls pickle.loads on the bytes that it is given with the type object."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(watched),)

    inner = pickle.dumps(Trap(), 2).decode("latin1")
    payload = name("_codecs.encode") + MARK + text(inner) + text("latin1") + TUPLE + REDUCE
    kind = name("numpy.dtype") + MARK + text("O8") + TUPLE + REDUCE
    for core in ("core", "_core"):
        program = name(f"numpy.{core}.multiarray.scalar") + MARK + kind + payload + TUPLE + REDUCE
        assert isinstance(read_pickle(pickled(program), mapped=True), Opaque)


@pytest.mark.parametrize(
    "full",
    [
        *("os.system", "posix.system", "nt.system", "builtins.eval", "builtins.exec", "builtins.getattr"),
        *("builtins.__import__", "functools.partial", "operator.attrgetter", "subprocess.Popen", "torch.load"),
        *("torch.storage._load_from_bytes", "pickle.loads", "numpy.load", "numpy.lib.npyio.load", "runpy.run_path"),
        *("torch.hub.load", "torch.jit.load", "importlib.import_module", "builtins.open", "webbrowser.open"),
        *("numpy.f2py.crackfortran.getlincoef", "torch._utils._rebuild_device_tensor_from_nothing", "code.interact"),
    ],
)
def test_names_that_lead_to_code(full: str, pickled: Write, watched: Path) -> None:
    called = name(full) + MARK + text(f"mkdir {watched}") + TUPLE + REDUCE
    as_factory = name("collections.defaultdict") + MARK + name(full) + TUPLE + REDUCE
    as_state = name("argparse.Namespace") + EMPTY_TUPLE + NEWOBJ + b"}" + text("x") + name(full) + b"s" + BUILD
    for program in (called, as_factory, as_state):
        with refused(ExportError, "weights.pth", "not data"):
            load_checkpoint(pickled(program))


@pytest.mark.parametrize(
    "program",
    [
        name("argparse.Namespace") + EMPTY_TUPLE + NEWOBJ + EMPTY_TUPLE + REDUCE,
        name("argparse.Namespace") + b"}" + text("__setstate__") + text("x") + b"s" + BUILD,
        name("torch._tensor._rebuild_from_type_v2")
        + MARK
        + name("argparse.Namespace")
        + name("argparse.Namespace")
        + EMPTY_TUPLE
        + b"}"
        + TUPLE
        + REDUCE,
        b"i" + b"os\nsystem\n",
        b"(" + text("x") + name("argparse.Namespace") + b"o",
        b"\x82\x01",
        text("os") + text("system") + b"\x93",
    ],
    ids=["calling a value", "state of a class", "tensor of a value", "INST", "OBJ", "EXT1", "STACK_GLOBAL"],
)
def test_other_doors(program: bytes, pickled: Write) -> None:
    with refused(ExportError, "weights.pth"):
        load_checkpoint(pickled(program))


def test_what_a_state_sets_does_not_stay(pickled: Write) -> None:
    state = b"}" + b"".join(text(key) + text("x") + b"s" for key in ("__class__", "__reduce__", "state_dict", "keys"))
    for full in ("argparse.Namespace", "types.SimpleNamespace", "numpy.ndarray"):
        value = read_pickle(pickled(name(full) + EMPTY_TUPLE + NEWOBJ + state + BUILD), mapped=True)
        assert isinstance(value, Opaque) and not value.__dict__


def test_the_allowance_ends_with_the_reading(pickled: Write) -> None:
    before = set(torch.serialization.get_safe_globals())
    path = pickled(name("pathlib.PosixPath") + EMPTY_TUPLE + REDUCE)
    read_pickle(path, mapped=True)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_a_legacy_file_that_claims_what_it_has_not(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    at = content.index(b"cpu")
    claimed = content.index(b"K\x03", at)
    path.write_bytes(content[:claimed] + b"\x8a\x07" + (2**50).to_bytes(7, "little") + content[claimed + 2 :])
    with refused(ExportError, "old.pth"):
        load_checkpoint(path)


def test_a_document_that_holds_itself_many_times(tmp_path: Path) -> None:
    """Ten to the tenth paths, of lists that lie in lists, and a dict within itself."""
    node: object = [1.0]
    for _ in range(10):
        node = [node] * 10
    ring: dict[str, object] = {"ema": node}
    ring |= {str(number): ring for number in range(10)}
    torch.save({"ring": ring, "model": {"a": torch.ones(2)}}, tmp_path / "weights.pth")
    with limited(deadline=10):
        assert list(load_checkpoint(tmp_path / "weights.pth").state) == ["a"]
    torch.save({"ring": ring}, tmp_path / "weights.pth")
    with refused(ExportError, "weights.pth", "no tensors"), limited(deadline=10):
        load_checkpoint(tmp_path / "weights.pth")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"a": torch.ones(1)}, stream)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(stream) as real, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in real.namelist():
            content = real.read(entry)
            packed.writestr(entry, content + bytes(2**23) if entry.endswith("data/0") else content)
    assert path.stat().st_size < 2**20
    with refused(ExportError, "bomb.pth", "compression"):
        load_checkpoint(path)


def test_names_that_steer_a_terminal_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model\x1b[2J": {"a\x1b[31m": torch.ones(1)}, "net\n": {"b": torch.zeros(1)}, "model": 3}, path)
    with refused(ExportError, "weights.pth"):
        load_checkpoint(path)
