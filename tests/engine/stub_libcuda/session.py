"""Runs examples/pycuda in a process of its own, on a driver and a TensorRT that are stood in for; prints JSON.

python session.py LIBCUDA EXAMPLE
"""

import contextlib
import ctypes
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

library = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)  # Before anything looks for a driver: this is found then.
for name, kind in (("kind", ctypes.c_int), ("context", ctypes.c_uint64), ("pending", ctypes.c_int)):
    getattr(library, f"stub_{name}").restype = kind
for name in ("kind", "context", "pending", "finish"):
    getattr(library, f"stub_{name}").argtypes = [ctypes.c_uint64]
library.stub_primary.restype = ctypes.c_uint64

import numpy as np  # noqa: E402

from fake_cuda import IMAGE, TABLE, Code, FakeGpu, Mark  # noqa: E402
from mmcaf_engine.backends.tensorrt.backend import TensorRtBackend  # noqa: E402
from mmcaf_engine.backends.tensorrt.loading import Place  # noqa: E402
from mmcaf_engine.backends.tensorrt.runner import Runner  # noqa: E402
from mmcaf_engine.errors import MmcafError  # noqa: E402
from mmcaf_engine.machine.gpu import find_gpus  # noqa: E402
from mmcaf_engine.manifest import TensorSpec  # noqa: E402
from mmcaf_engine.session.choice import Choice  # noqa: E402
from mmcaf_engine.session.session import Session  # noqa: E402

INPUTS = (
    TensorSpec(name="image", kind="volume", shape=("N", *IMAGE[1:])),
    TensorSpec(name="table", kind="table", shape=("N", *TABLE[1:])),
)
OUTPUTS = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
COUNT = 3


class SharedGpu(FakeGpu):
    """The stand-in, which knows PyCUDA's memory and streams too."""

    def where(self, address: int) -> str:
        return {1: "foreign", 2: "pinned"}.get(library.stub_kind(address)) or super().where(address)

    def tell(self, stream: int, kind: str, what: Any) -> None:
        """A mark in a stream of PyCUDA's, or in the default one, is reached once its work is done."""
        if stream == 1:
            library.stub_finish_blocking()
        elif stream not in self.queues:
            assert kind == "mark" and isinstance(what, Mark)
            library.stub_finish(stream)
            what.done, what.at = True, self.now
            return
        super().tell(stream, kind, what)


def context_of(attribute: int, address: int) -> tuple[Any, ...]:
    found = library.stub_context(address)
    return Code.cudaSuccess, 7 if found == library.stub_primary() else found


class OnStandIn(TensorRtBackend):
    """The backend, whose engine and CUDA are the stand-in's."""

    def _open(self) -> None:
        self.stand_in = SharedGpu(rtx=True)
        self.stand_in.driver.cuPointerGetAttribute = context_of  # type: ignore[method-assign]
        place, cuda = Place("model.onnx in fp16", "8.9", "580.65"), self.stand_in.cuda()
        self._plan = b"plan"
        self._runner = Runner(self.stand_in.flavour, cuda, self._plan, self.inputs, self.outputs, place)


def refusal(work: Callable[[], Any]) -> dict[str, str]:
    try:
        work()
    except MmcafError as failure:
        return {"class": type(failure).__name__, "said": str(failure)}
    return {}


def main() -> None:
    spec = importlib.util.spec_from_file_location("pycuda_example", sys.argv[2])
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.unusable() is None
    from pycuda import driver as cuda
    from pycuda.gpuarray import GPUArray, to_gpu, to_gpu_async

    generator = np.random.default_rng(3)
    given = {
        "image": generator.integers(-9, 9, (COUNT, *IMAGE[1:])).astype(np.float32),
        "table": generator.integers(-9, 9, (COUNT, *TABLE[1:])).astype(np.float32),
    }
    windows = {name: example.page_locked(array) for name, array in given.items()}
    expected = given["image"].reshape(COUNT, -1).sum(1) + 2 * given["table"].sum(1)
    backend = OnStandIn(Path("model.onnx"), INPUTS, OUTPUTS, 1, "fp16")
    backend.open()
    session = Session(SimpleNamespace(), Choice(OnStandIn, "fp16"), backend)  # type: ignore[arg-type]
    found: dict[str, Any] = {"gpu": find_gpus().found[0].name, "expected": expected.tolist()}

    def run(flags: int, named: bool) -> Any:
        """With GPUArrays that wait in a stream, which the session is told of, or not."""
        stream = cuda.Stream(flags)
        inputs = {name: to_gpu_async(array, stream=stream) for name, array in windows.items()}
        assert library.stub_pending(stream.handle) == 2
        shown = {name: example.WrittenIn(array, stream) if named else array for name, array in inputs.items()}
        return session.run(shown)["logit"].ravel().tolist()

    stream = cuda.Stream()
    outputs = example.answers(session, windows, stream)
    assert isinstance(outputs["logit"], GPUArray)
    found["example"] = outputs["logit"].get().ravel().tolist()
    found["named, own stream"] = run(1, named=True)
    found["default stream waits"] = run(0, named=False)
    found["nobody waits"] = refusal(lambda: run(1, named=False))
    found["in place"] = backend.stand_in.launches.count("plain") > 2
    found["double"] = refusal(lambda: session.run({name: to_gpu(array.astype(float)) for name, array in given.items()}))
    turned = {"image": to_gpu(given["image"]), "table": to_gpu(np.asfortranarray(given["table"]))}
    found["fortran"] = refusal(lambda: session.run(turned))
    other = cuda.Device(0).make_context()
    elsewhere = {name: to_gpu(array) for name, array in given.items()}
    found["another context"] = refusal(lambda: session.run(elsewhere))
    elsewhere.clear()
    other.pop()

    @contextlib.contextmanager
    def golden(bundle: Any) -> Iterator[Any]:
        yield given

    example.load_bundle = lambda path: SimpleNamespace(manifest=SimpleNamespace(inputs=INPUTS))
    example.open_golden, example.open_session = golden, lambda bundle, backend: session
    sys.argv[1:] = ["lung.mmcaf"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        example.main()
    found["main"] = said.getvalue()
    found["left"] = backend.stand_in.live
    sys.stdout.write(json.dumps(found))


main()
