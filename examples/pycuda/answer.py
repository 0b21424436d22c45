"""Runs a session on arrays that PyCUDA has written to GPU memory, in a stream of its own.

python examples/pycuda/answer.py lung.mmcaf
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pycuda import autoprimaryctx  # noqa: F401  (the context that TensorRT uses too; autoinit would make another)
from pycuda import driver as cuda
from pycuda.gpuarray import GPUArray, to_gpu_async

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle.golden import open_golden
from mmcaf_engine.session.session import Session


class WrittenIn:
    """A GPUArray that also names the stream in which it is written: PyCUDA's own interface leaves that open.

    The session then waits for this stream alone, and on the GPU: nobody calls `stream.synchronize()`.
    """

    def __init__(self, array: GPUArray, stream: cuda.Stream) -> None:
        self.array = array  # Its memory is given back with the last reference.
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, "stream": stream.handle}


def answers(session: Session, windows: Mapping[str, NDArray[Any]], stream: cuda.Stream) -> dict[str, GPUArray]:
    """Every output as a GPUArray [N, ...] in the same stream.

    A network's outputs are a few numbers, which the session checks on the host and returns there.

    Args:
        windows: input name -> array [N, ...] in page-locked memory, which alone is copied while the processor goes on.
            A program that computes its windows on the GPU has no need of this copy.
    """
    inputs = {name: WrittenIn(to_gpu_async(array, stream=stream), stream) for name, array in windows.items()}
    outputs = session.run(inputs)
    return {name: to_gpu_async(values, stream=stream) for name, values in outputs.items()}


def page_locked(array: NDArray[Any]) -> NDArray[Any]:
    """A copy in page-locked memory."""
    copy: NDArray[Any] = cuda.pagelocked_empty(array.shape, array.dtype)
    copy[:] = array
    return copy


def main() -> None:
    """Answer a bundle's golden cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    bundle = load_bundle(parser.parse_args().bundle)
    stream = cuda.Stream()
    with open_golden(bundle) as golden:
        windows = {spec.name: page_locked(golden[spec.name]) for spec in bundle.manifest.inputs}
    with open_session(bundle, backend="tensorrt") as session:
        for name, output in answers(session, windows, stream).items():
            print(f"{name}: {output.get().tolist()}")


if __name__ == "__main__":
    main()
