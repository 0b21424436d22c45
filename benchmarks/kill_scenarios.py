"""What is killed, and what must be whole afterwards: each command on small networks, in a folder of its own."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
_POINTS = "[mmcaf_export.networks]\ndensity = density_network:DensityEntry\n"


@dataclass(frozen=True)
class Scenario:
    """One command.

    argv: of its process, in a folder with the study, a bundle b.mmcaf or b.zip, and a cold cache. target: the bundle
    that must be whole, and is answered with. other: of a second process, which runs beside the one that is killed.
    backend: what answers afterwards, in FP32. torch: whether it needs the export extra.
    """

    name: str
    argv: tuple[str, ...]
    target: str = "b.mmcaf"
    other: tuple[str, ...] = ()
    backend: str = "onnxruntime"
    torch: bool = False


_RUNS_ON = ("--backend", "openvino", "--precision", "fp32")
"""The backend that keeps engines."""


def _infer(bundle: str, output: str) -> tuple[str, ...]:
    return ("mmcaf-infer", "study.dcm", "record.json", "--bundle", bundle, "-o", output, "--force", *_RUNS_ON)


SCENARIOS = (
    Scenario("replace", ("replace",)),
    Scenario("infer", _infer("b.zip", "o.json"), "b.zip", backend="openvino"),
    Scenario("two", _infer("b.zip", "o.json"), "b.zip", other=_infer("b.zip", "p.json"), backend="openvino"),
    Scenario("tune", ("mmcaf", "tune", "b.mmcaf", "--runs", "2", "-o", "t.json", "--force")),
    Scenario("build", ("mmcaf", "build", "b.mmcaf", "--target", "sm_86", "-o", "engine", "--force")),
    Scenario("export", ("mmcaf", "export", "w.safetensors", "-o", "b.mmcaf", "--force"), torch=True),
    Scenario(
        "quantize",
        ("mmcaf", "quantize", "b.mmcaf", "--precision", "fp16", "--calibration", "demo:50000-50001"),
        torch=True,
    ),
)
"""`replace` is `write_bundle` alone, over an older bundle: the end of `export` and `quantize`."""


def former_write_bundle(folder: Path, manifest: dict[str, Any], output: Path, *, force: bool = False) -> Any:
    """As it was in commit 50593ee, but for the format's version: the harness must see it lose a bundle."""
    from mmcaf_engine.bundle.bundle import MANIFEST_NAME, file_sha256, load_bundle
    from mmcaf_engine.bundle.parsing import manifest_of

    files = {
        str(file.relative_to(folder).as_posix()): {"sha256": file_sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_NAME
    }
    document = manifest_of({**manifest, "files": files}, shown=output)
    text = json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    if output.exists():
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    folder.rename(output)
    bundle = load_bundle(output)
    bundle.verify()
    return bundle


def import_all(scratch: Path, chosen: Iterable[Scenario]) -> None:
    """Import what the children need, so that none of them spends time on it, and start no thread."""
    sys.path.insert(0, str(TESTS))
    needed = ["onnxruntime", "mmcaf_engine.checkup.kept", "tiny_bundle"]
    if {scenario.name for scenario in chosen} != {"replace"}:
        needed += ["openvino", "mmcaf_cli.infer", "mmcaf_cli.main", "mmcaf_cli.tune"]
    for name in needed:
        import_module(name)
    if any(scenario.torch for scenario in chosen):
        _import_torch(scratch)


def _import_torch(scratch: Path) -> None:
    """And add the network that is exported, as of another package."""
    site = scratch / "site"
    metadata = site / "mmcaf_density-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(TESTS / "data" / "example_network" / "density_network.py", site)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mmcaf-density\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(_POINTS, encoding="utf-8")
    sys.path.insert(0, str(site))
    import torch as framework
    from density_network import DensityConfig, DensityEntry, DensityNet
    from safetensors.torch import save_file

    from mmcaf_export.onnx_export import export_onnx

    for name in ("mmcaf_cli.export", "mmcaf_cli.quantize", "mmcaf_export.precision.quantize"):
        import_module(name)
    framework.set_num_threads(1)
    framework.manual_seed(0)
    network, entry = DensityNet(DensityConfig()).eval(), DensityEntry()
    save_file(network.state_dict(), scratch / "w.safetensors")
    export_onnx(network, entry.example_inputs(DensityConfig(), 1, seed=0), scratch / "warm.onnx")  # Imports the rest.


def prepare(scenario: Scenario, scratch: Path, folder: Path) -> Callable[[], None]:
    """What makes the folder in which a scenario starts; to be called in a child."""

    def make() -> None:
        from mmcaf_engine.demo.phantom import make_phantom
        from mmcaf_engine.demo.write_dicom import write_multiframe

        folder.mkdir(parents=True)
        write_multiframe(make_phantom(1, size=64), folder / "study.dcm")
        _within(folder)
        if scenario.torch:
            shutil.copy(scratch / "w.safetensors", folder)
            _main(("mmcaf", "export", "w.safetensors", "-o", scenario.target, "--set", "threshold=0.4"))
        else:
            (folder / "record.json").write_text('{"sex": "F", "age": 50}', encoding="utf-8")
            _tiny(folder / scenario.target)
        shutil.rmtree(folder / "cache", ignore_errors=True)

    return make


def command(scenario: Scenario, folder: Path, argv: tuple[str, ...] = ()) -> Callable[[], int]:
    """The command, in a folder; to be called in a child."""

    def start() -> int:
        _within(folder)
        if scenario.name == "replace":
            _tiny(folder / scenario.target, threshold=0.4)
            return 0
        return _main(argv or scenario.argv)

    return start


def check(scenario: Scenario, folder: Path, report: Path, *, again: bool) -> Callable[[], int]:
    """What the next run finds, as JSON in the file `report`; to be called in a child."""

    def look() -> int:
        _within(folder)
        from mmcaf_engine.bundle.bundle import load_bundle
        from mmcaf_engine.checkup.kept import cached_items

        found: dict[str, Any] = {"wrong": []}
        bundle = load_bundle(Path(scenario.target))
        bundle.verify()
        found["before"] = bundle.sha256
        found["answer"] = _answer(scenario)
        for output in ("o.json", "p.json", "t.json"):
            if Path(output).exists():
                json.loads(Path(output).read_text(encoding="utf-8"))
        if Path("engine").exists():
            _check_package(Path("engine"))
        if again:
            if scenario.name == "replace":
                _tiny(Path(scenario.target), threshold=0.4)
            elif (code := _code(scenario.argv)) != 0:
                found["wrong"].append(f"the command again ended with {code}")
            found["after"] = load_bundle(scenario.target).sha256
            found["answer after"] = _answer(scenario)
            found["wrong"] += [f"{path.name} is left" for path in Path.cwd().glob(".mmcaf-*")]
            for output in ("o.json", "p.json"):
                if Path(output).exists() and _facts(Path(output).read_text()) != found["answer after"]:
                    found["wrong"].append(f"{output} holds another answer")
        found["wrong"] += [f"{item.path}: not recognised" for item in cached_items() if item.what == "not recognised"]
        report.write_text(json.dumps(found), encoding="utf-8")
        return 0

    return look


def _within(folder: Path) -> None:
    os.chdir(folder)
    os.environ["MMCAF_CACHE"] = str(folder / "cache")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    os.environ["MMCAF_OPEN_TIMEOUT"] = "0"  # So that all is written by the process that is killed.


def _tiny(output: Path, **changes: Any) -> None:
    from mmcaf_engine.bundle import bundle
    from mmcaf_engine.outputs import scratch_folder
    from tiny_bundle import make_draft, tiny_manifest

    with scratch_folder(output.parent) as scratch:
        bundle.write_bundle(make_draft(scratch / "bundle"), {**tiny_manifest(), **changes}, output, force=True)


def _main(argv: tuple[str, ...]) -> int:
    """With whole paths, so that calls of the system tell the folder."""
    import mmcaf_cli.infer
    import mmcaf_cli.main

    files = (".dcm", ".json", ".mmcaf", ".zip", ".safetensors")
    sys.argv = [str(Path.cwd() / word) if word.endswith(files) or word == "engine" else word for word in argv]
    (mmcaf_cli.infer if argv[0] == "mmcaf-infer" else mmcaf_cli.main).main()
    return 0


def _code(argv: tuple[str, ...]) -> int:
    try:
        return _main(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _answer(scenario: Scenario) -> str:
    """Of the demonstration's study, without what differs from run to run."""
    from mmcaf_engine import infer

    record = "record.json" if Path("record.json").exists() else None
    result = infer("study.dcm", record, bundle=scenario.target, backend=scenario.backend, precision="fp32")
    return _facts(result.to_json())


def _facts(text: str) -> str:
    document = json.loads(text)
    for name in ("created", "timing_ms"):
        document.pop(name, None)
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _check_package(folder: Path) -> None:
    from mmcaf_engine.backends.tensorrt.signature import read_package

    for name, entry in read_package(folder).signature.files.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != entry.sha256:
            raise ValueError(f"{folder}: {name} is not what is signed")
