"""Windows run side by side, each in one thread, so that no sum depends on how many cores there are."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.machine.memory import available_memory

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def workers(needed: int = 0) -> int:
    """How many windows may run at a time: one for each core, as long as memory lasts.

    Args:
        needed: bytes for one window.
    """
    free = available_memory()
    return usable_cores() if free is None or not needed else max(1, min(usable_cores(), free // needed))


def in_order(run: Callable[[_Item], _Result], items: Iterable[_Item], count: int) -> Iterator[_Result]:
    """What `run` gives for each item, in their order; at most `count` are under way at a time."""
    rest = iter(items)
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(run, item) for item in islice(rest, count)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(run, item) for item in islice(rest, 1)]
        finally:
            for one in waiting:
                one.cancel()


@contextmanager
def torch_in_one_thread() -> Iterator[None]:
    """PyTorch computes each operator in the thread that calls it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
