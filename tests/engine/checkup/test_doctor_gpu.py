"""What `mmcaf doctor` says of GPUs: what will run on each machine, why, and the command that mends the rest."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gpu_machines import (
    B200,
    B300,
    GTX_1080,
    H200,
    NO_DRIVER,
    NO_GPU,
    OLD_DRIVER,
    RTX_4090,
    TESLA_T4,
    Machine,
    machine,
    running_on,
)
from import_rules import ROOT
from mmcaf_cli.doctor import screen
from mmcaf_engine.backends.tensorrt.fitting import RTX_TARGETS
from mmcaf_engine.backends.tensorrt.flavour import find_flavour, install_flavour
from mmcaf_engine.backends.tensorrt.targets import supported_targets
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.errors import Remedy
from mmcaf_engine.machine.gpu import DRIVER_REMEDY
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.session.choice import processor_backend
from refusals import Fact, check_facts

GPU_AREAS = {"gpu", "backend", "precision", "will run"}
EXTRA = install_command("tensorrt")
CLASSIC = "pip install 'tensorrt-cu13>=10' 'cuda-python>=13'"
TORCH = "pip install --force-reinstall torch=={} --index-url https://download.pytorch.org/whl/cu130"


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))


def findings(given: Machine) -> list[Check]:
    with running_on(given):
        return examine()


def by_subject(found: Sequence[Check]) -> dict[str, Check]:
    return {one.subject: one for one in found}


def commands(found: Sequence[Check]) -> set[str | None]:
    """Those that mend something of GPUs."""
    return {
        remedy.command
        for one in found
        if one.area in ("gpu", "backend") and one.status != "ok"
        for remedy in one.remedies
    }


def torch_command() -> str:
    import torch

    return TORCH.format(torch.__version__.partition("+")[0])


MACHINES = {
    "well": machine(RTX_4090, tensorrt_rtx=True, torch="cuda"),
    "no gpu": Machine(NO_GPU, cuda_python=False),
    "no driver": Machine(NO_DRIVER, tensorrt_rtx=True),
    "old driver": machine(OLD_DRIVER, tensorrt_rtx=True, torch="unusable"),
    "turing": machine(TESLA_T4, tensorrt_rtx=True),
    "turing, torch": machine(TESLA_T4, tensorrt_rtx=True, torch="cuda"),
    "pascal": machine(GTX_1080, tensorrt_rtx=True, torch="cuda"),
    "h200, nothing": machine(H200, cuda_python=False),
    "h200, rtx": machine(H200, tensorrt_rtx=True),
    "h200, lean": machine(H200, tensorrt_rtx=True, lean=True),
    "h200, torch": machine(H200, tensorrt_rtx=True, torch="cuda"),
    "h200, both": machine(H200, tensorrt_rtx=True, tensorrt=True, torch="cuda"),
    "b200": machine(B200, tensorrt_rtx=True),
    "b300": machine(B300, tensorrt_rtx=True),
    "two, h200 first": machine(H200, RTX_4090, tensorrt_rtx=True, torch="cuda"),
    "two, rtx first": machine(RTX_4090, H200, tensorrt_rtx=True, torch="cuda"),
    "no tensorrt": machine(RTX_4090, cuda_python=False),
    "no tensorrt, torch": machine(RTX_4090, cuda_python=False, torch="cuda"),
    "torch unusable": machine(RTX_4090, cuda_python=False, torch="unusable"),
}

RUNS: dict[str, tuple[str, str]] = {
    "well": ("tensorrt", RTX_4090.name),
    "turing, torch": ("torch", TESLA_T4.name),
    "h200, torch": ("torch", H200.name),
    "h200, both": ("tensorrt", H200.name),
    "two, h200 first": ("torch", H200.name),
    "two, rtx first": ("tensorrt", RTX_4090.name),
    "no tensorrt, torch": ("torch", RTX_4090.name),
}
"""Machine -> backend and device; on all others the processor answers."""

MENDS: dict[str, set[str]] = {
    "well": set(),
    "no driver": {str(DRIVER_REMEDY.command)},
    "old driver": {str(DRIVER_REMEDY.command)},
    "turing": {"TORCH"},
    "turing, torch": set(),
    "pascal": set(),
    "h200, nothing": {CLASSIC, "TORCH"},
    "h200, rtx": {CLASSIC, "TORCH"},
    "h200, lean": {CLASSIC, "TORCH"},
    "h200, torch": {CLASSIC},
    "h200, both": set(),
    "b200": {CLASSIC, "TORCH"},
    "b300": {CLASSIC, "TORCH"},
    "two, h200 first": {CLASSIC},
    "two, rtx first": set(),
    "no tensorrt": {EXTRA, "TORCH"},
    "no tensorrt, torch": {EXTRA},
    "torch unusable": {EXTRA, "TORCH"},
}
"""Machine -> the commands that mend it, and no other."""

every_machine = pytest.mark.parametrize("name", list(MACHINES))


@every_machine
def test_what_will_run_and_what_mends_the_rest(name: str) -> None:
    found = findings(MACHINES[name])
    auto = by_subject(found)["auto"]
    backend, device = RUNS.get(name, ("", "CPU"))
    check_facts(auto.detail, "fp32", f"{backend} fp32 on {device}".strip() if backend else "CPU")
    if name in MENDS:
        assert commands(found) == {torch_command() if one == "TORCH" else one for one in MENDS[name]}
    assert "problem" not in {one.status for one in found}


@pytest.mark.parametrize("columns", [80, 100])
@every_machine
def test_on_one_screen(name: str, columns: int) -> None:
    found = findings(MACHINES[name])
    of_gpus = screen([one for one in found if one.area in GPU_AREAS], columns)
    said = {str(remedy.command) for one in found for remedy in one.remedies}
    assert len(of_gpus) <= 24, "\n".join(of_gpus)
    assert all(len(line) <= columns for line in of_gpus if line.strip() not in said), "\n".join(of_gpus)
    text = "\n".join(of_gpus)
    for one in found:
        for remedy in one.remedies if one.area in GPU_AREAS else ():
            assert remedy.command is None or remedy.command in text, "a command to paste lies on one line"


def test_where_all_is_well_the_whole_is_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMCAF_BUNDLE")
    lines = screen(findings(MACHINES["well"]), 100)
    assert len(lines) <= 24, "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("h200, rtx", ("tensorrt_rtx", "9.0", "8.9", "12.1")),
        ("h200, nothing", ("cuda-python",)),
        ("b200", ("tensorrt_rtx", "10.0")),
        ("b300", ("tensorrt_rtx", "10.3")),
        ("pascal", ("6.1", "7.5")),
        ("old driver", ("550.54", "12.4", "13.0")),
        ("h200, lean", ("lean runtime", "9.0")),
    ],
)
def test_why_tensorrt_does_not_run(name: str, facts: tuple[Fact, ...]) -> None:
    said = by_subject(findings(MACHINES[name]))["tensorrt"]
    assert said.status == "note"
    check_facts(said.detail, *facts)


@pytest.mark.parametrize("name", [name for name, (backend, _) in RUNS.items() if backend == "torch"])
def test_what_runs_instead_is_said_with_what_was_passed_over(name: str) -> None:
    auto = by_subject(findings(MACHINES[name]))["auto"]
    assert auto.status == "note" and "passed over: tensorrt: " in auto.detail


def test_a_driver_that_is_too_old_is_said_of_the_gpu() -> None:
    found = by_subject(findings(MACHINES["old driver"]))[OLD_DRIVER.name]
    assert (found.area, found.status, found.remedies) == ("gpu", "note", (DRIVER_REMEDY,))


def test_a_torch_without_cuda_is_named(tiny_bundle: Path) -> None:
    found = by_subject(findings(MACHINES["h200, rtx"]))
    check_facts(found["PyTorch on the GPU"].detail, "torch", "processor")
    check_facts(found["auto"].detail, "torch", "processor", "tensorrt", "9.0", "CPU")
    check_facts(
        by_subject(findings(MACHINES["torch unusable"]))["PyTorch on the GPU"].detail, "torch", "13.0", "driver"
    )
    assert "PyTorch on the GPU" not in by_subject(findings(MACHINES["well"]))
    assert "PyTorch on the GPU" not in by_subject(findings(MACHINES["no gpu"]))


def test_of_two_gpus_the_first_is_used(tiny_bundle: Path) -> None:
    found = by_subject(findings(MACHINES["two, h200 first"]))
    assert "not used" not in found[H200.name].detail
    check_facts(found[RTX_4090.name].detail, "not used", "$CUDA_VISIBLE_DEVICES", "8.9")


def test_a_turing_gpu_is_told_of_fp16() -> None:
    precision = by_subject(findings(MACHINES["turing"]))["tensorrt fp32"]
    check_facts(precision.detail, "Tesla T4", "7.5", "fp16")
    assert Remedy("Add an FP16 network", command="mmcaf quantize BUNDLE --precision fp16") in precision.remedies


def test_a_gpu_with_its_facts() -> None:
    gpu = by_subject(findings(MACHINES["no tensorrt"]))[RTX_4090.name]
    assert gpu.status == "ok"
    check_facts(gpu.detail, "8.9", 24576, 23552, "580.65.06", "13.0")


def test_a_machine_without_a_gpu_is_well() -> None:
    found = by_subject(findings(MACHINES["no gpu"]))
    check_facts(found["NVIDIA GPU"].detail, "driver", "processor")
    check_facts(found["cuda-python"].detail, "optional", "NVIDIA GPUs")
    assert [remedy.command for remedy in found["TensorRT"].remedies] == [EXTRA]
    assert found["auto"].status == "ok" and "tensorrt" not in found["auto"].detail
    assert found["auto"].detail.endswith("fp32 on CPU, not tuned")
    assert [remedy.command for remedy in found["auto"].remedies] == ["mmcaf tune BUNDLE"]


def test_what_rtx_runs_on_is_what_it_says() -> None:
    pytest.importorskip("tensorrt_rtx")
    assert supported_targets(find_flavour("tensorrt_rtx")) == RTX_TARGETS


def test_a_gpu_that_cuda_13_has_dropped_is_not_tried() -> None:
    auto = by_subject(findings(MACHINES["pascal"]))["auto"]
    check_facts(auto.detail, "torch", GTX_1080.name, "6.1", "7.5", "CPU")


def test_what_is_judged_for_a_processor_is_not_run_on_a_gpu() -> None:
    with running_on(MACHINES["h200, torch"]):
        assert not (kind := processor_backend("fp32")).needs_gpu and kind.name != "torch"


def test_the_document_names_the_same_commands_and_gpus() -> None:
    text = (ROOT / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    assert install_flavour("tensorrt") in text
    assert ", ".join(f"{target.major}.{target.minor}" for target in RTX_TARGETS) in text
    check_facts(text, *(f"{gpu.target.major}.{gpu.target.minor}" for gpu in (H200, B200, B300)))
