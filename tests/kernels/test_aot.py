"""Ahead-of-time compilation of every Triton kernel, without a GPU."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from mmcaf_kernels import ahead, aot, cross_attention, groupnorm_act, kan, msca_attention, msdc, upsample_dw
from mmcaf_kernels.compiled import Binary, compile_launch
from mmcaf_kernels.launch import Launch
from mmcaf_kernels.network import calls
from mmcaf_kernels.targets import TARGETS

KERNELS = {
    "msdc_kernel",
    "upsample_dw_kernel",
    "kan_kernel",
    "fusion_head_kernel",
    "paired_kernel",
    "scores_kernel",
    "gather_kernel",
    "channel_statistics_kernel",
    "channel_gate_kernel",
    "whole_group_kernel",
    "coefficients_kernel",
    "apply_kernel",
    "position_statistics_kernel",
    "position_gate_kernel",
    "apply_gates_kernel",
}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))


def test_every_kernel_compiles_for_one_target(compiled: tuple[Path, str]) -> None:
    folder, printed = compiled
    listed: list[dict[str, object]] = json.loads((folder / "kernels.json").read_text(encoding="utf-8"))
    for entry in listed:
        assert (folder / str(entry["file"])).read_bytes().startswith(b"\x7fELF")
        assert entry["spills"] == 0
    assert {entry["kernel"] for entry in listed} == KERNELS
    assert len(printed.splitlines()) == len(listed) + 1


@pytest.mark.full
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_compiles_for_every_target(target: str) -> None:
    one_of_each = {job.launch.kernel.__name__: job.launch for job in ahead.jobs(["bf16"])}
    assert set(one_of_each) == KERNELS
    for launch in one_of_each.values():
        binary = compile_launch(launch, target)
        assert (binary.target, binary.spills) == (target, 0)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def odd_msdc(shape: tuple[int, ...]) -> list[Launch]:
    x = meta(*shape, dtype=torch.float16)
    return msdc.launches(x, meta(shape[1], 153), meta(shape[1], 3), None, x)


def odd_upsample_dw(shape: tuple[int, ...]) -> list[Launch]:
    out = meta(*shape[:2], *(2 * n for n in shape[2:]))
    return upsample_dw.launches(meta(*shape), meta(shape[1], 27), meta(shape[1]), out)


def odd_groupnorm_act(shape: tuple[int, ...]) -> list[Launch]:
    x, weight = meta(*shape), meta(shape[1])
    gate = meta(1, shape[1]), meta(1), meta(shape[1], 1), weight
    whole = groupnorm_act.launches(x, 1, weight, weight, 1e-5, 1.0, x, None, x)
    return whole + groupnorm_act.launches(x, 1, weight, weight, 1e-5, 1.0, x, gate, x)


def odd_msca_attention(shape: tuple[int, ...]) -> list[Launch]:
    x = meta(*shape, dtype=torch.bfloat16)
    return msca_attention.launches(x, meta(1, shape[1]), meta(shape[1], 1), meta(2, 7, 7, 7), x)


def odd_kan(shape: tuple[int, ...]) -> list[Launch]:
    samples, inputs = shape[:2]
    out = meta(samples, 1)
    return kan.launches(meta(samples, inputs), meta(inputs, 5), meta(inputs, 1), meta(inputs, 1, 1), out)


def odd_cross_attention(shape: tuple[int, ...]) -> list[Launch]:
    batch, heads, _, n, m = shape
    six = tuple(meta(batch, heads, length, 300) for length in (n, n, n, m, m, m))
    return cross_attention.launches(six, 0.5, meta(batch, n, dtype=torch.bool), None, (six[0], six[3]))


@pytest.mark.parametrize(
    "shape",
    [pytest.param((1, 1, 1, 1, 1), id="ones", marks=pytest.mark.full), pytest.param((3, 5, 12, 63, 100), id="odd")],
)
@pytest.mark.parametrize(
    "make",
    [odd_msdc, odd_upsample_dw, odd_groupnorm_act, odd_msca_attention, odd_kan, odd_cross_attention],
    ids=lambda f: f.__name__,
)
def test_odd_shapes_compile(make: Callable[[tuple[int, ...]], list[Launch]], shape: tuple[int, ...]) -> None:
    for launch in make(shape):
        assert compile_launch(launch, "sm_86").spills == 0


def test_spills_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def spilling(launch: Launch, target: str) -> Binary:
        return Binary(launch.kernel.__name__, target, b"", 255, 0, 8 if "kan" in launch.kernel.__name__ else 0)

    monkeypatch.setattr(ahead, "compile_launch", spilling)
    assert aot.main(["--out", str(tmp_path / "made"), "--target", "sm_90", "--precision", "fp32"]) == 1
    assert "kan_kernel (fp32) for sm_90." in capsys.readouterr().err


def test_too_much_shared_memory_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "compile_launch", lambda launch, target: Binary("big", target, b"", 32, 65537, 0))
    assert aot.main(["--out", str(tmp_path / "made"), "--target", "sm_75", "--precision", "fp32"]) == 1
    assert aot.main(["--out", str(tmp_path / "made"), "--target", "sm_80", "--precision", "fp32", "--force"]) == 0


def test_an_empty_path_is_not_the_folder_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        aot.main(["--out", "", "--force"])
    assert "--out: expected a path, got ''" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_unknown_target_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        aot.main(["--out", str(tmp_path), "--target", "sm_30"])
    assert "sm_30" in capsys.readouterr().err
    launch = next(calls(torch.float32))[2]()[0]
    with pytest.raises(ValueError, match=r"target is 'sm_30'; expected one of sm_75"):
        compile_launch(launch, "sm_30")


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def full(path: Path) -> None:
    path.mkdir()
    (path / "kernels.json").write_text("precious")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.touch, "not a file or link"),
        (dangling, "not a file or link"),
        (full, "not empty; choose another, or give --force"),
        (None, "cannot be written, "),
    ],
    ids=["file", "link", "full", "unwritable"],
)
def test_a_folder_that_is_none_is_refused_before_the_work(
    make: Callable[[Path], None] | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ahead, "compile_launch", Mock(side_effect=AssertionError("nothing is compiled")))
    folder = tmp_path / "made" if make else Path("/proc/x")
    if make:
        make(folder)
    assert aot.main(["--out", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"--out {folder}: ") and why in said.err and said.err.count("\n") == 1
    assert said.out == "" and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("absent", ["torch", "triton"])
def test_without_triton_the_extra_is_named(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aot, "find_spec", lambda name: None if name == absent else name)
    monkeypatch.setattr(ahead, "compile_all", Mock(side_effect=AssertionError("something is compiled")))
    assert aot.main(["--out", str(tmp_path / "made")]) == 6
    said = capsys.readouterr().err
    assert said.startswith(f"{absent} cannot be imported") and "extra `kernels`" in said and said.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_native_build_has_the_same_targets() -> None:
    text = (Path(__file__).parents[2] / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.search(r"MMCAF_CUDA_TARGETS ([\d ]+)\)", text)
    assert listed is not None
    assert tuple(f"sm_{number}" for number in listed[1].split()) == TARGETS
