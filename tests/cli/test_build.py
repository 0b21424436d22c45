"""`mmcaf build`, `mmcaf trust` and `mmcaf inspect --engine`: what they print, and what every wrong input is told."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from all_precisions import add_all_precisions
from command import Command
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.checkup.kept import cached_items
from refusals import Fact
from small_networks import make_convolution_bundle

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions in every precision, the first in INT8; read it, do not change it."""
    folder = tmp_path_factory.mktemp("small")
    return add_all_precisions(make_convolution_bundle(folder / "plain.mmcaf"), folder / "small.mmcaf", int8_share=0.5)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


def test_build(run: Command, bundle: Path) -> None:
    outcome = run("mmcaf", "build", bundle, "--target", "sm_120", "--target", "sm_86", "--precision", "fp16")
    assert outcome.code == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"tiny fp16 for sm_86, sm_120, by tensorrt_rtx {find_flavour().version}: ")
    assert lines[1].split() == ["convolutions", "FP16", "100.0%"]
    kept = [line.split()[1] for line in lines[2:]]
    assert sorted(kept) == sorted(str(item.path) for item in cached_items(("engines",))) and len(kept) == 2
    listed = run("mmcaf", "cache", "list").out
    assert "tiny, tensorrt_rtx fp16, sm_86" in listed and "tiny, tensorrt_rtx fp16, sm_120" in listed


@pytest.mark.parametrize(("precision", "fed"), [("fp16", 0), ("int8", 2)])
def test_build_for_sm_75_says_what_was_changed(run: Command, bundle: Path, precision: str, fed: int) -> None:
    changed = f"{fed} FP32 layers fed FP16, 2 FP32 matrix products as multiplications and sums"
    outcome = run("mmcaf", "build", bundle, "--target", "sm_75", "--precision", precision)
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out.splitlines()[2].split(maxsplit=1) == ["changed", f"for sm_75: {changed}"]
    document = json.loads(run("mmcaf", "build", bundle, "--target", "sm_75", "--precision", precision, "--json").out)
    assert document["changed"] == changed and document["targets"] == ["sm_75"]


def test_build_json(run: Command, bundle: Path) -> None:
    document = json.loads(run("mmcaf", "build", bundle, "--target", "sm_89", "--precision", "int8", "--json").out)
    assert document["model"] == load_bundle(bundle).summary.to_dict()
    assert (document["precision"], document["targets"], document["package"]) == ("int8", ["sm_89"], None)
    assert document["changed"] is None
    assert (document["runtime"], document["version"]) == ("tensorrt_rtx", find_flavour().version)
    flops = document["convolution_flops"]
    assert set(flops) == {"INT8", "FP32"}
    assert document["convolution_share"] == pytest.approx(flops["INT8"] / sum(flops.values()))
    assert document["bytes"] == (Path(document["kept"][0]) / "engine.bin").stat().st_size


def test_an_engine_travels_and_is_trusted_by_its_fingerprint(
    run: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    built = run("mmcaf", "build", bundle, "--target", "sm_86", "--target", "sm_89", "--output", package)
    fingerprint = next(line.split()[1] for line in built.out.splitlines() if "fingerprint" in line)
    assert built.out.splitlines()[-1].split() == ["mmcaf", "trust", "package", "--sha256", fingerprint]
    engines = {item.path.name: (item.path / "engine.bin").read_bytes() for item in cached_items(("engines",))}
    assert len(engines) == 2

    elsewhere = Path(shutil.copytree(package, tmp_path / "copied"))
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "other-machine"))
    shown = run("mmcaf", "trust", elsewhere)
    assert shown.code == 0 and fingerprint in shown.out and "Not trusted" in shown.out and not cached_items()
    assert "tiny fp32 for sm_86, sm_89, an engine of tensorrt_rtx" in shown.out.splitlines()[0]
    document = json.loads(run("mmcaf", "trust", elsewhere, "--json").out)
    assert document["trusted"] is False and document["targets"] == ["sm_86", "sm_89"] and not cached_items()
    assert document["package"] == {"folder": str(elsewhere), "sha256": fingerprint}
    assert document["created"].endswith("Z") and document["model"]["bundle_sha256"] == load_bundle(bundle).sha256
    trusted = run("mmcaf", "trust", elsewhere, "--sha256", fingerprint)
    assert trusted.code == 0 and trusted.out.splitlines()[-1].startswith("trusted: ")
    assert {item.path.name: (item.path / "engine.bin").read_bytes() for item in cached_items(("engines",))} == engines
    entry = json.loads((cached_items(("engines",))[0].path / "entry.json").read_text())
    assert entry["origin"] == f"package {fingerprint}"


def test_a_package_is_replaced_by_force_alone(run: Command, bundle: Path, tmp_path: Path) -> None:
    arguments = ("mmcaf", "build", bundle, "--target", "sm_86", "-o", tmp_path / "package")
    assert run(*arguments).code == 0
    refused = run(*arguments)
    refused.refused(2, str(tmp_path / "package"), "--force")
    (tmp_path / "package" / "signature.json").write_text("{}")
    assert run(*arguments, "--force").code == 0 and run("mmcaf", "trust", tmp_path / "package").code == 0


def test_inspect_engine(run: Command, bundle: Path) -> None:
    outcome = run("mmcaf", "inspect", bundle, "--engine", "--precision", "int8")
    lines = outcome.out.splitlines()
    assert outcome.code == 0 and lines[0].startswith("tiny int8, as tensorrt_rtx ")
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["first", "convolution", "INT8", "x", "INT8"],
        ["second", "convolution", "FP32", "x", "FP32"],
    ]
    assert lines[5].split()[0] == "convolutions" and "INT8 11.1%" in lines[5]


def test_inspect_engine_json(run: Command, bundle: Path) -> None:
    document = json.loads(run("mmcaf", "inspect", bundle, "--engine", "--json").out)
    assert [one["precision"] for one in document["networks"]] == ["fp32", "fp16", "bf16", "int8"]
    shares = {one["precision"]: one["convolution_share"] for one in document["networks"]}
    assert shares == {"fp32": 1.0, "fp16": 1.0, "bf16": 1.0, "int8": pytest.approx(1 / 9)}
    assert {product["operator"] for product in document["networks"][0]["products"]} == {"convolution", "matrix product"}


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["build", "nowhere.mmcaf", "--target", "sm_86"], 5, ("nowhere.mmcaf", "no such")),
        (["build", "TINY", "--target", "sm_86", "--precision", "fp16"], 6, ("tiny", "fp16", "fp32")),
        (["build", "BUNDLE", "--target", "sm_86", "--precision", "fp8"], 2, ("'fp8'",)),
        (["build", "BUNDLE", "--target", "rtx4090"], 2, ("'rtx4090'",)),
        (["build", "BUNDLE", "--target", "sm_90"], 2, ("sm_90", "sm_75", "sm_80", "sm_86")),
        (["build", "BUNDLE", "--target", "sm_75", "--target", "sm_86"], 2, ("sm_75", "sm_86", "engine")),
        (["build", "BUNDLE", "--target", "sm_75"], 6, ("sm_75", "--precision=fp16")),
        (["build", "BUNDLE", "--target", "sm_75", "--precision", "bf16"], 2, ("sm_75", "BF16", "--precision=fp16")),
        (["build", "BUNDLE", "--target", "sm_86", "--output", "HERE"], 2, ("signature.json", "--output")),
        (["build", "BUNDLE", "--target", "sm_86", "--output", "HERE/no/where"], 2, ("no such folder", "mkdir -p")),
        (["trust", "nowhere"], 6, ("nowhere", "no such folder")),
        (["trust", "BUNDLE"], 6, ("signature.json",)),
        (["inspect", "BUNDLE", "--precision", "fp16"], 2, ("--precision", "--engine")),
        (["inspect", "TINY", "--engine", "--precision", "int8"], 6, ("tiny", "int8", "fp32")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_input(
    run: Command,
    bundle: Path,
    tiny_bundle_source: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    facts: tuple[Fact, ...],
) -> None:
    places = {
        "BUNDLE": bundle,
        "TINY": tiny_bundle_source,
        "HERE": tmp_path,
        "HERE/no/where": tmp_path / "no" / "where",
    }
    outcome = run("mmcaf", *[places.get(one, one) for one in arguments])
    outcome.refused(code, *facts)


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["build", "BUNDLE", "--flavour", "tensorflow"],
        ["trust"],
        ["trust", "one", "two"],
    ],
    ids=" ".join,
)
def test_wrong_usage(run: Command, bundle: Path, arguments: list[str]) -> None:
    outcome = run("mmcaf", *[str(bundle) if one == "BUNDLE" else one for one in arguments])
    assert outcome.code == 2 and outcome.out == "" and f"mmcaf {arguments[0]}" in outcome.err


@pytest.mark.parametrize("arguments", [["build", "BUNDLE", "--target", "sm_86"], ["inspect", "BUNDLE", "--engine"]])
def test_without_tensorrt(run: Command, bundle: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt_rtx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)
    outcome = run("mmcaf", *[str(bundle) if one == "BUNDLE" else one for one in arguments])
    outcome.refused(6, "pip install tensorrt-rtx-cu13")


def test_without_the_one_that_was_named(run: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    outcome = run("mmcaf", "build", bundle, "--flavour", "tensorrt")
    outcome.refused(6, "pip install 'tensorrt-cu13>=10'")


def test_a_switched_off_cache(run: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", "0")
    run("mmcaf", "build", bundle, "--target", "sm_86").refused(2, "cache", "--output")
    made = run("mmcaf", "build", bundle, "--target", "sm_86", "--output", tmp_path / "package")
    assert made.code == 0 and "not kept" in made.out
    refused = run("mmcaf", "trust", tmp_path / "package", "--sha256", "0" * 64)
    refused.refused(2, "cache")
