"""What `mmcaf doctor` says of GPUs: what will run on each machine, why, and the command that mends the rest."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from gpu_machines import (
    B200,
    B300,
    FOR_CUDA_12_6,
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
from mmcaf_engine.backends.registry import Backends
from mmcaf_engine.backends.tensorrt.fitting import RTX_TARGETS
from mmcaf_engine.backends.tensorrt.flavour import find_flavour, install_flavour
from mmcaf_engine.backends.tensorrt.targets import supported_targets
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.errors import BackendError, Remedy
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import DRIVER_REMEDY
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.session.choice import processor_backend
from mmcaf_engine.session.session import open_session
from refusals import Fact, check_facts
from several_precisions import add_precisions

GPU_AREAS = {"gpu", "backend", "precision", "will run"}
EXTRA, KERNELS = install_command("tensorrt"), install_command("kernels")
CLASSIC = "pip install 'tensorrt-cu13>=10' 'cuda-python>=13'"
TORCH = "pip install --force-reinstall torch=={} --index-url https://download.pytorch.org/whl/cu130"


Findings = Callable[[str], list[Check]]


@pytest.fixture(scope="module")
def bundle(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One with a network in each precision."""
    folder = tmp_path_factory.mktemp("doctor")
    written = add_precisions(
        tiny_bundle_source, folder / "all.mmcaf", {"fp16": 0.0, "bf16": 0.0, "int8": 0.0, "int8-bf16": 0.0}
    )
    return load_bundle(written)


@pytest.fixture(scope="module")
def findings(bundle: Bundle) -> Iterator[Findings]:
    """What is found on a machine of this name, each asked once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCAF_BUNDLE", str(bundle.folder))

        @cache
        def found(name: str) -> list[Check]:
            with running_on(MACHINES[name]):
                return examine()

        yield found


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
    "old driver, torch for it": machine(OLD_DRIVER, torch="cuda", code=FOR_CUDA_12_6),
    "old driver, torch for the processor": machine(OLD_DRIVER, tensorrt_rtx=True),
    "old driver, nothing": machine(OLD_DRIVER, cuda_python=False, torch="none", extras=False),
    "turing": machine(TESLA_T4, tensorrt_rtx=True),
    "turing, torch": machine(TESLA_T4, tensorrt_rtx=True, torch="cuda"),
    "pascal": machine(GTX_1080, tensorrt_rtx=True, torch="cuda"),
    "pascal, torch for the processor": machine(GTX_1080, tensorrt_rtx=True),
    "pascal, torch with code for it": machine(GTX_1080, torch="cuda", code=FOR_CUDA_12_6),
    "pascal, old driver": machine(replace(GTX_1080, cuda=(12, 4)), torch="unusable"),
    "pascal, nothing": machine(GTX_1080, cuda_python=False, torch="none"),
    "h200, nothing": machine(H200, cuda_python=False),
    "h200, rtx": machine(H200, tensorrt_rtx=True),
    "h200, lean": machine(H200, tensorrt_rtx=True, lean=True),
    "h200, torch": machine(H200, tensorrt_rtx=True, torch="cuda"),
    "h200, both": machine(H200, tensorrt_rtx=True, tensorrt=True, torch="cuda"),
    "h200, no torch": machine(H200, tensorrt=True, torch="none"),
    "b200, torch without code for it": machine(B200, tensorrt_rtx=True, torch="cuda", code=FOR_CUDA_12_6),
    "b300, torch": machine(B300, torch="cuda"),
    "no code for it yet": machine(replace(B200, target=Target(13, 0)), torch="cuda"),
    "no code for it yet, torch for the processor": machine(replace(B200, target=Target(13, 0))),
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
    "h200, no torch": ("tensorrt", H200.name),
    "b300, torch": ("torch", B300.name),
    "old driver, torch for it": ("torch", OLD_DRIVER.name),
    "two, h200 first": ("torch", H200.name),
    "two, rtx first": ("tensorrt", RTX_4090.name),
    "no tensorrt, torch": ("torch", RTX_4090.name),
}
"""Machine -> backend and device; on all others the processor answers."""

MENDS: dict[str, set[str]] = {
    "well": set(),
    "no driver": {str(DRIVER_REMEDY.command)},
    "old driver": {str(DRIVER_REMEDY.command)},
    "old driver, nothing": {str(DRIVER_REMEDY.command), EXTRA, KERNELS},
    "turing": {"TORCH"},
    "turing, torch": set(),
    "pascal": set(),
    "pascal, torch for the processor": set(),
    "pascal, torch with code for it": set(),
    "pascal, old driver": set(),
    "pascal, nothing": set(),
    "old driver, torch for it": {str(DRIVER_REMEDY.command), EXTRA},
    "old driver, torch for the processor": {str(DRIVER_REMEDY.command), "TORCH"},
    "h200, no torch": {KERNELS},
    "b200, torch without code for it": {CLASSIC, "TORCH"},
    "b300, torch": {CLASSIC},
    "no code for it yet": {CLASSIC},
    "no code for it yet, torch for the processor": {CLASSIC},
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
def test_what_will_run_and_what_mends_the_rest(name: str, findings: Findings) -> None:
    found = findings(name)
    auto = by_subject(found)["auto"]
    backend, device = RUNS.get(name, ("", "CPU"))
    check_facts(auto.detail, "fp32", f"{backend} fp32 on {device}".strip() if backend else "CPU")
    if name in MENDS:
        assert commands(found) == {torch_command() if one == "TORCH" else one for one in MENDS[name]}
    assert "problem" not in {one.status for one in found}


@every_machine
def test_what_is_said_to_run_is_what_a_session_takes(
    name: str, bundle: Bundle, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of itself, and of each backend in each precision; and no runtime would refuse any of it."""
    found = findings(name)
    monkeypatch.setattr("mmcaf_engine.session.session.open_backend", MACHINES[name].open)
    with running_on(MACHINES[name]):
        session = open_session(bundle)
        said = by_subject(found)["auto"].detail
        assert said.startswith(f"{session.backend} {session.precision} on {session.device}, ")
        assert said.partition("; passed over: ")[2] == (session.fallback or "")
        runs = {one.subject for one in found if one.area == "precision" and one.status == "ok"}
        taken = set()
        for backend, precision in product(Backends().classes, bundle.manifest.models):
            with suppress(BackendError):
                taken.add(f"{backend} {open_session(bundle, backend=backend, precision=precision).precision}")
    assert runs == taken
    backends = {subject.partition(" ")[0] for subject in runs}
    assert backends == {one.subject for one in found if (one.area, one.status) == ("backend", "ok")} & {
        *Backends().classes
    }


def rows(lines: Sequence[str], columns: int) -> int:
    """Of a terminal, which breaks what is too long."""
    return sum(max(1, -(-len(line) // columns)) for line in lines)


def words(lines: Sequence[str]) -> str:
    """What is said, however it is broken; the ends of a command's lines are no words."""
    return " ".join(" ".join(line.removesuffix("\\") for line in lines).split())


@pytest.mark.parametrize("columns", [80, 100])
@every_machine
def test_on_one_screen(name: str, columns: int, findings: Findings) -> None:
    """All that mends something is there, with its command; what will run comes first."""
    found = findings(name)
    shown = screen(found, columns)
    assert rows(shown, columns) <= 24, "\n".join(shown)
    assert shown[0].split()[1:4] == ["will", "run", "auto:"]
    said = words(shown)
    assert by_subject(found)["auto"].detail in said
    for one in found:
        assert one.status == "ok" or not one.remedies or one.subject in said or one.detail in said
        assert all(remedy.command in said for remedy in one.remedies if remedy.command is not None)


def test_a_path_that_the_terminal_breaks_takes_the_rows_that_it_takes() -> None:
    found = [Check("package", f"package {at}", "note", f"/{'x' * 90}/{at}") for at in range(40)]
    shown = screen(found, 80)
    assert 22 <= rows(shown, 80) <= 24 and shown[-1].startswith("and ")


@pytest.mark.parametrize("columns", [20, 33, 40, 63, 79, 80])
@pytest.mark.parametrize("name", ["well", "h200, rtx", "no driver", "pascal, nothing"])
def test_lines_end_between_words(name: str, columns: int, findings: Findings) -> None:
    """Only a word that is longer than the screen makes a line longer, and all words are there as without a screen."""
    found = findings(name)
    shown = screen(found, columns, full=True)
    for line in shown:
        assert len(line) <= columns or len(line.removesuffix(" \\").split()) <= 2, line
    assert words(shown) == words(screen(found, 100, full=True)) or columns < 80
    assert sorted(words(shown).split()) == sorted(words(screen(found, 100, full=True)).split())


@pytest.mark.parametrize("count", [20, 23, 24, 25, 60])
def test_what_only_informs_fills_the_screen_and_no_more(count: int) -> None:
    shown = screen([Check("gpu", f"card {at}", "note", f"number {at} sleeps") for at in range(count)], 80)
    assert len(shown) == min(count, 24)
    assert (shown[-1] == f"and {count - 23} more, with -v") == (count > 24)


def test_what_mends_something_is_shown_whatever_room_there_is() -> None:
    lacking = [Check("package", f"p{at}", "problem", "not installed", (Remedy(f"r{at}"),)) for at in range(30)]
    well = [Check("cache", "folder", "ok", "there")]
    shown = screen([*well, *lacking], 80)
    assert shown[-1] == "and 1 more, with -v" and not {f"r{at}" for at in range(30)} - {*words(shown).split()}


@pytest.mark.parametrize("name", ["well", "h200, both"])
def test_where_all_is_well_nothing_is_left_out(name: str, findings: Findings) -> None:
    lines = screen(findings(name), 100)
    assert len(lines) <= 24 and "with -v" not in lines[-1], "\n".join(lines)


def test_what_there_is_no_room_for_is_counted(findings: Findings) -> None:
    found = findings("h200, rtx")
    short, full = screen(found, 80), screen(found, 80, full=True)
    assert len(short) <= 24 < len(full) and not any("with -v" in line for line in full)
    assert re.fullmatch(r"and \d+ more, with -v", short[-1])
    assert {*words(short[:-1]).replace(":", "").split()} <= {*words(full).replace(":", "").split()}
    for one in found:
        if one.status != "ok" and one.area != "precision":
            assert f"{one.subject}: {one.detail}" in words(full)


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
def test_why_tensorrt_does_not_run(name: str, facts: tuple[Fact, ...], findings: Findings) -> None:
    said = by_subject(findings(name))["tensorrt"]
    assert said.status == "note"
    check_facts(said.detail, *facts)


@pytest.mark.parametrize("name", [name for name, (backend, _) in RUNS.items() if backend == "torch"])
def test_what_runs_instead_is_said_with_what_was_passed_over(name: str, findings: Findings) -> None:
    auto = by_subject(findings(name))["auto"]
    assert auto.status == "note" and "passed over: tensorrt: " in auto.detail


def test_a_driver_that_is_too_old_is_said_of_the_gpu(findings: Findings) -> None:
    found = by_subject(findings("old driver"))[OLD_DRIVER.name]
    assert (found.area, found.status, found.remedies) == ("gpu", "note", (DRIVER_REMEDY,))


def test_a_torch_without_cuda_is_named(findings: Findings) -> None:
    found = by_subject(findings("h200, rtx"))
    check_facts(found["PyTorch on the GPU"].detail, "torch", "processor")
    check_facts(found["auto"].detail, "torch", "processor", "tensorrt", "9.0", "CPU")
    check_facts(by_subject(findings("torch unusable"))["PyTorch on the GPU"].detail, "torch", "13.0", "driver")
    assert "PyTorch on the GPU" not in by_subject(findings("well"))
    assert "PyTorch on the GPU" not in by_subject(findings("no gpu"))


def test_of_two_gpus_the_first_is_used(findings: Findings) -> None:
    found = by_subject(findings("two, h200 first"))
    assert "not used" not in found[H200.name].detail
    check_facts(found[RTX_4090.name].detail, "not used", "$CUDA_VISIBLE_DEVICES", "8.9")


def test_a_turing_gpu_is_told_of_fp16(findings: Findings) -> None:
    precision = by_subject(findings("turing"))["tensorrt fp32"]
    check_facts(precision.detail, "Tesla T4", "7.5", "fp16")
    assert Remedy("Add an FP16 network", command="mmcaf quantize BUNDLE --precision fp16") in precision.remedies


def test_a_gpu_with_its_facts(findings: Findings) -> None:
    gpu = by_subject(findings("no tensorrt"))[RTX_4090.name]
    assert gpu.status == "ok"
    check_facts(gpu.detail, "8.9", 24576, 23552, "580.65.06", "13.0")


def test_a_machine_without_a_gpu_is_well(findings: Findings) -> None:
    found = by_subject(findings("no gpu"))
    check_facts(found["NVIDIA GPU"].detail, "driver", "processor")
    check_facts(found["cuda-python"].detail, "optional", "NVIDIA GPUs")
    assert [remedy.command for remedy in found["TensorRT"].remedies] == [EXTRA]
    assert found["auto"].status == "ok" and "tensorrt" not in found["auto"].detail
    assert found["auto"].detail.endswith("fp32 on CPU, not tuned")
    assert [remedy.command for remedy in found["auto"].remedies] == ["mmcaf tune BUNDLE"]


def test_what_rtx_runs_on_is_what_it_says() -> None:
    pytest.importorskip("tensorrt_rtx")
    assert supported_targets(find_flavour("tensorrt_rtx")) == RTX_TARGETS


def test_a_gpu_that_cuda_13_has_dropped_is_not_tried(findings: Findings) -> None:
    auto = by_subject(findings("pascal"))["auto"]
    check_facts(auto.detail, "torch", GTX_1080.name, "6.1", "7.5", "CPU")


def test_what_is_judged_for_a_processor_is_not_run_on_a_gpu() -> None:
    with running_on(MACHINES["h200, torch"]):
        assert not (kind := processor_backend("fp32")).needs_gpu and kind.name != "torch"


def test_the_document_names_the_same_commands_and_gpus() -> None:
    text = (ROOT / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    assert install_flavour("tensorrt") in text
    assert ", ".join(f"{target.major}.{target.minor}" for target in RTX_TARGETS) in text
    check_facts(text, *(f"{gpu.target.major}.{gpu.target.minor}" for gpu in (H200, B200, B300)))
