"""`mmcaf inspect | verify | doctor | export`: what they print, and the exit codes."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from backends_here import ON_PROCESSOR
from command import Command
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.torch.backend import TorchBackend
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.machine.installation import install_command, install_package
from mmcaf_kernels.cpu.library import KernelsMissingError
from refusals import Fact
from tiny_bundle import make_tiny_bundle, tiny_manifest


def test_inspect_shows_the_contract(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "inspect", tiny_bundle)
    assert outcome.code == 0
    for said in ("tiny", "image float32 [N, 1, 4, 16, 16]", "sex: M, F", "0 to 120 years", "label 1 from 0.5"):
        assert said in outcome.out


def test_inspect_shows_what_version_2_added(run: Command, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(
        tmp_path / "tiny.mmcaf",
        release=4,
        version="4.0-rc1",
        identity="required",
        body_part={"accepted": ["CHEST", "LUNG"], "refused": ["HEAD"]},
        label_codes={"loud": {"scheme": "99LAB", "value": "L", "meaning": "Loud"}},
    )
    lines = run("mmcaf", "inspect", bundle).out.splitlines()
    for line in (
        "  model         release 4, version 4.0-rc1",
        "  identity      study and record must say whose they are",
        "  body part     accepted: CHEST, LUNG",
        "  body part     refused: HEAD",
        "  code          loud: 99LAB L",
    ):
        assert line in lines
    assert not any("warned" in line for line in lines)
    plain = run("mmcaf", "inspect", make_tiny_bundle(tmp_path / "plain.mmcaf")).out
    assert not any(word in plain for word in ("release", "identity", "body part", "  code"))


def test_what_is_said_of_a_lesions_slices(run: Command, tmp_path: Path) -> None:
    fields = tiny_manifest()["preprocessing"]
    fields["windows"] |= {"trained_on": "lesion", "lesion_field": "lesion_slices"}
    bundle = make_tiny_bundle(tmp_path / "lesion.mmcaf", preprocessing=fields)
    shown = run("mmcaf", "inspect", bundle).out
    assert "trained on those at a lesion" in shown and "lesion_slices: slices of the lesion" in shown
    filled = run("mmcaf", "record-template", "--bundle", bundle, "-o", tmp_path / "record.json")
    assert filled.code == 0 and "40-52" in filled.out, filled.err
    assert json.loads((tmp_path / "record.json").read_text())["lesion_slices"] is None
    assert "lesion_slices" in json.loads((tmp_path / "record.schema.json").read_text())["properties"]


def test_inspect_lists_the_exact_rewrites(run: Command, tmp_path: Path) -> None:
    saving = {"name": "merged_key", "description": "Two in one.", "flops_saved": 3_500_000_000, "parameters_saved": 12}
    provenance = {**tiny_manifest()["provenance"], "rewrites": [saving], "flops": 1_500_000_000}
    outcome = run("mmcaf", "inspect", make_tiny_bundle(tmp_path / "tiny.mmcaf", provenance=provenance))
    assert outcome.code == 0
    assert "1.5 GFLOP per window, 5.0 before exact rewrites" in outcome.out
    assert "merged_key" in outcome.out and "3.50 GFLOP, 12 values saved" in outcome.out


def test_inspect_as_json_holds_the_manifest(run: Command, tiny_bundle: Path) -> None:
    shown = json.loads(run("mmcaf", "inspect", tiny_bundle, "--json").out)
    assert shown["manifest"] == json.loads((tiny_bundle / "manifest.json").read_text())
    assert list(shown) == ["schema_version", "model", "signature", "manifest", "accuracy"]


def test_verify_tests_every_backend(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "verify", tiny_bundle)
    assert outcome.code == 0
    assert all(f"{backend} fp32: 2 golden cases within" in outcome.out for backend in ON_PROCESSOR)


def test_verify_refuses_a_wrong_answer(run: Command, tmp_path: Path) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as archive:
        np.savez(draft / "golden.npz", **{**archive, "logit": archive["logit"] - 1})
    write_bundle(draft, tiny_manifest(), tmp_path / "wrong.mmcaf")
    outcome = run("mmcaf", "verify", tmp_path / "wrong.mmcaf")
    assert outcome.code == 6 and "fails the self-test" in outcome.err


def test_verify_damaged(run: Command, tiny_bundle: Path) -> None:
    (tiny_bundle / "golden.npz").write_bytes(b"")
    outcome = run("mmcaf", "verify", tiny_bundle)
    outcome.refused(5, "golden.npz", "0 bytes")


def test_verify_unknown_backend(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "verify", tiny_bundle, "--backend", "abacus")
    assert outcome.code == 2 and "Unknown backend 'abacus'" in outcome.err


def test_doctor_is_well_here(run: Command) -> None:
    outcome = run("mmcaf", "doctor", "--all")
    assert outcome.code == 0, outcome.out
    for said in ("openvino", "onnxruntime", "JPEG2000Lossless", "HTJ2K", "RLELossless", "all hashes match"):
        assert said in outcome.out
    assert "PROBLEM" not in outcome.out


def test_doctor_says_why_there_are_no_processor_kernels(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = KernelsMissingError(
        "built for openvino 1.2.3, not for 1.2.4", "Install it.", "pip install openvino==1.2.3"
    )
    monkeypatch.setattr("mmcaf_kernels.cpu.extension.fault", lambda: missing)
    outcome = run("mmcaf", "doctor", "--all")
    assert outcome.code == 0
    said = " ".join(outcome.out.split())
    assert "note backend processor kernels: built for openvino 1.2.3, not for 1.2.4; OpenVINO's own operators" in said
    assert "pip install openvino==1.2.3" in said


def test_doctor_as_json(run: Command) -> None:
    findings = json.loads(run("mmcaf", "doctor", "--json").out)["findings"]
    assert {"area", "subject", "status", "detail", "remedies"} == set(findings[0])


def test_doctor_without_any_backend(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in (OpenVinoBackend, OnnxRuntimeBackend, TorchBackend):
        monkeypatch.setattr(backend, "availability", classmethod(lambda cls: Availability(False, "broken")))
    outcome = run("mmcaf", "doctor")
    assert outcome.code == 6 and "PROBLEM" in outcome.out and "2 problem(s)" in outcome.err


def test_doctor_where_another_backend_answers(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "availability", classmethod(lambda cls: Availability(False, "broken")))
    outcome = run("mmcaf", "doctor", "--json")
    found = {(one["area"], one["subject"]): one for one in json.loads(outcome.out)["findings"]}
    missing = found["backend", "onnxruntime"]
    assert outcome.code == 0 and (missing["status"], missing["detail"]) == ("note", "broken")


def test_doctor_with_a_damaged_default_bundle(run: Command, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    (tiny_bundle / "model.onnx").unlink()
    monkeypatch.setenv("MMCAF_BUNDLE", str(tiny_bundle))
    outcome = run("mmcaf", "doctor")
    assert outcome.code == 6 and "model.onnx is missing" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["export", "absent.pth", "-o", "out.mmcaf"], 5, ("absent.pth", "no such file")),
        (["export", "absent.pth", "-o", "out.mmcaf", "--set", "threshold"], 2, ("'threshold'", "KEY=VALUE")),
        (["inspect", "absent.mmcaf"], 5, ("absent.mmcaf", "no such")),
        (["verify", "absent.mmcaf"], 5, ("absent.mmcaf", "no such")),
    ],
    ids=["absent-checkpoint", "set-without-value", "inspect-absent", "verify-absent"],
)
def test_refused(run: Command, arguments: list[str], code: int, facts: tuple[Fact, ...]) -> None:
    outcome = run("mmcaf", *arguments)
    outcome.refused(code, *facts)


@pytest.mark.parametrize("arguments", [["inspect"], ["nonsense"], ["inspect", "x", "--nonsense"], ["demo"]])
def test_wrong_usage(run: Command, arguments: list[str]) -> None:
    outcome = run("mmcaf", *arguments)
    assert outcome.code == 2 and outcome.out == "" and "Usage: mmcaf" in outcome.err


def test_a_bug_is_said_to_be_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise KeyError("boom")

    monkeypatch.setattr("mmcaf_cli.inspect.load_bundle", broken)
    outcome = run("mmcaf", "inspect", "x")
    assert outcome.code == 1 and "internal error: KeyError" in outcome.err and "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("package", "said", "install"),
    [
        ("numpy", "not installed", install_package("numpy")),
        ("torch", "not installed; export needs it", install_command("export")),
        ("tokenizers", "not installed; networks that read a report need it", install_command("text")),
    ],
    ids=["numpy", "torch", "tokenizers"],
)
def test_doctor_says_how_to_install_what_is_missing(
    run: Command, package: str, said: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("mmcaf_engine.checkup.doctor.version", version)
    listed = " ".join(run("mmcaf", "doctor", "--all").out.split())
    assert f" package {package}: {said} Install it: {install} " in listed
    assert install in run("mmcaf", "doctor").out


def test_doctor_lists_every_finding_or_one_screen(run: Command) -> None:
    """What is not well, and its commands, stands in both."""
    listed, screen = run("mmcaf", "doctor", "--all").out, run("mmcaf", "doctor").out
    findings = json.loads(run("mmcaf", "doctor", "--json").out)["findings"]
    of_a_finding = [line for line in listed.splitlines() if not line.startswith("    ")]
    assert len(of_a_finding) == len(findings) > len(screen.splitlines())
    assert all(len(line) <= 100 or len(line.split()) <= 2 for line in [*listed.splitlines(), *screen.splitlines()])
    words, in_full = (" ".join(text.split()) for text in (screen, run("mmcaf", "doctor", "-v").out))
    for one in findings:
        if one["status"] != "ok" and one["area"] != "precision":
            assert " ".join(one["detail"].split()) in words
            assert " ".join(f"{one['subject']}: {one['detail']}".split()) in in_full
    run("mmcaf", "doctor", "--all", "--quick-check").refused(2, "--all")
