"""OpenVINO on another device than the processor: a GPU or NPU that it finds, or a network divided among several."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from ...errors import Remedy, UsageError, printable
from ...manifest import Precision, types_in
from ..availability import Availability, Detail
from ..base import Backend
from ..node_time import Counting

_ONE = r"(?:cpu|npu|gpu(?:\.\d+)?)"
_DEVICE = re.compile(rf"{_ONE}|hetero:{_ONE}(?:,{_ONE})*")


@cache
def on_device(kind: type[Backend], device: str) -> type[Backend]:
    """The backend of a device: cpu, gpu, gpu.N, npu, or hetero:DEVICE,DEVICE for a network divided among them.

    Whether the device is there is asked only when the backend is asked whether it is available.

    Args:
        kind: the backend of the processor.

    Raises:
        UsageError: no device of that form; so also OpenVINO's AUTO.
    """
    if device == "cpu":
        return kind
    if not _DEVICE.fullmatch(device):
        why = "; its AUTO changes devices between two windows, and the bits with them" if device == "auto" else ""
        raise UsageError(
            f"openvino: expected the device cpu, gpu, gpu.N or npu, got {printable(device, 40)!r}{why}.",
            Remedy("Leave it out for the processor", option="device"),
        )
    return type(f"{kind.__name__}OnDevice", (OnDevice, kind), {"name": f"openvino:{device}", "target": device.upper()})


def other_devices(kind: type[Backend]) -> list[type[Backend]]:
    """The backends of the devices that OpenVINO finds beside the processor.

    Args:
        kind: the backend of the processor.
    """
    names = [str(name).lower() for name in kind.runtime().Core().available_devices]
    return [on_device(kind, name) for name in names if name != "cpu" and _DEVICE.fullmatch(name)]


class OnDevice(Backend):
    """What is different on the device `target`, by OpenVINO's name for it: no kernels of this project's processor.

    Its engines are not kept: OpenVINO 2026.4 ends the process when a divided network is exported, and no other device
    was to be had to try it on.
    """

    target: ClassVar[str]
    keeps_engines = False
    rank = 25
    can_split = False

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.device = self._said()

    @classmethod
    def auto_rank(cls) -> int | None:
        """None: it answers where it is named, or where `mmcaf tune` has timed it."""
        return None

    @classmethod
    def availability(cls) -> Availability:
        """Whether OpenVINO finds every device that this needs."""
        answer = super().availability()
        if not answer.available:
            return answer
        found = cls._found()
        absent = [one for one in cls._needed() if one not in found and f"{one}.0" not in found]
        if absent:
            reason = f"openvino finds no device {' or '.join(absent)} here; it finds {', '.join(found)}"
            return Availability(False, reason, (Remedy("Install the device's driver, or leave it out", "device"),))
        return Availability(True, f"openvino {cls.version()} on {cls._said()}")

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """That nobody has tried such a device, where that is so."""
        untried = sorted({device.split(".")[0] for device in cls._needed()} - {"CPU"})
        if not untried:
            return ()
        text = (
            f"no {' or '.join(untried)} was to be had to try this on: how it answers, and how fast, is untested. Each "
            "session passes the golden self-test there before it answers"
        )
        return (Detail(f"{cls.name}, untested", False, text),)

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        for units in sorted(one.upper() for one in types_in(precision) - {"int8"}):
            if units not in cls._capabilities():
                return Availability(False, f"{cls.target} has no {units} units, so {units} would be slower than FP32")
        return Availability(True, f"{cls.name} runs {precision}")

    @classmethod
    def follows_types(cls, precision: Precision) -> bool:
        """FP32 alone: what becomes of the types of a file is known of the processor."""
        return precision == "fp32"

    @classmethod
    def _needed(cls) -> list[str]:
        return cls.target.removeprefix("HETERO:").split(",")

    @classmethod
    def _found(cls) -> list[str]:
        devices: list[str] = cls.runtime().Core().available_devices
        return devices

    @classmethod
    def _capabilities(cls) -> list[str]:
        """Of all its devices alike."""
        core = cls.runtime().Core()
        each = [set(core.get_property(device, "OPTIMIZATION_CAPABILITIES")) for device in cls._needed()]
        return sorted(set.intersection(*each))

    @classmethod
    def _said(cls) -> str:
        """The device with what OpenVINO calls it, such as "GPU.0 (Intel Arc A770)"."""
        core = cls.runtime().Core()
        names = [printable(str(core.get_property(device, "FULL_DEVICE_NAME")), 100) for device in cls._needed()]
        return f"{cls.target} ({', '.join(dict.fromkeys(names))})"

    def layers(self) -> Counting:
        return Backend.layers(self)

    def _kernels(self) -> dict[str, int]:
        return {}

    def _configuration(self) -> dict[str, Any]:
        configuration = super()._configuration()
        threads = configuration.pop("INFERENCE_NUM_THREADS")
        if not self.target.startswith("HETERO:"):
            return configuration
        each = {device: {**configuration} for device in self._needed()}
        if "CPU" in each:
            each["CPU"]["INFERENCE_NUM_THREADS"] = threads
        return {"DEVICE_PROPERTIES": each}
