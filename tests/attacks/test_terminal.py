"""Nothing that came from elsewhere steers the terminal: no escape sequence, hidden or reordered text, no forged line.

A bundle, record, study, setting, variable or path holds such in every string that it can; all commands then run on it.
"""

import copy
import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from pydicom.dataset import Dataset

from command import Command, Outcome
from dicom_factory import ct_series, hounsfield, save, save_zip
from mmcaf_cli.console import to_json
from mmcaf_engine.backends.tensorrt.signature import read_package
from mmcaf_engine.errors import MmcafError, Remedy, UsageError, escaped
from tiny_bundle import make_tiny_bundle, tiny_manifest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as at import, which pytest undoes

EVIL = "\x1b]0;owned\x07\x9b2J\x9d0;x\x9c\r\x7f\x08\u202etxt.exe\u202c\u2066a\u2069\u200b\u2028\U000e0041"
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what is not shown."""

RECORD: dict[str, Any] = {"patient_id": "PHI-4711", "sex": "F", "age": 63}
FHIR: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "fullUrl": "urn:uuid:1",
            "resource": {
                "resourceType": "Patient",
                "id": "1",
                "gender": "female",
                "birthDate": "1950-01-01",
                "identifier": [{"system": "urn:x", "value": "PHI-4711"}],
            },
        },
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "subject": {"reference": "urn:uuid:1"},
                "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "weight"}]},
                "valueQuantity": {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
            }
        },
    ],
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """As the usual one, and fails where what was printed, by C code too, steers a terminal or is a bug of ours."""
    command = Command(monkeypatch, capfd)

    def checked(*arguments: object) -> Outcome:
        outcome = command(*arguments)
        wrong = sorted(
            {repr(one) for one in outcome.out + outcome.err if unicodedata.category(one) in HIDDEN} - {r"'\n'", r"'\t'"}
        )
        assert not wrong, (wrong, outcome)
        assert outcome.code != 1 and "Traceback" not in outcome.err, outcome
        return outcome

    return checked


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return save(ct_series(hounsfield(4, 16, 16)), tmp_path / "series")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(RECORD))
    return file


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """Where a document holds a string: the way there, and whether it is a key."""
    if isinstance(document, str):
        yield path, False
    elif isinstance(document, dict):
        for key, value in document.items():
            yield (*path, key), True
            yield from places(value, (*path, key))
    elif isinstance(document, list | tuple):
        for at, value in enumerate(document):
            yield from places(value, (*path, at))


def spoilt(document: Any) -> Iterator[Any]:
    """The document with the escapes behind each of its strings in turn, and once in the place of each."""
    for path, is_key in places(document):
        for text in (EVIL, f"{path[-1]}{EVIL}"):
            copied = copy.deepcopy(document)
            holder = copied
            for step in path[:-1]:
                holder = holder[step]
            if is_key:
                holder[text] = holder.pop(path[-1])
            else:
                holder[path[-1]] = text if text == EVIL else f"{holder[path[-1]]}{EVIL}"
            yield copied


def test_every_string_of_a_manifest(run: Callable[..., Outcome], tiny_bundle: Path) -> None:
    manifest = tiny_bundle / "manifest.json"
    document = json.loads(manifest.read_text())
    document |= {"description": "d", "version": "1.0", "module_titles": {"a.b": "title"}}
    document["label_codes"] = {"quiet": {"scheme": "SCT", "value": "1", "meaning": "quiet"}}
    document["provenance"]["rewrites"] = [{"name": "fold", "description": "d", "flops_saved": 1, "parameters_saved": 1}]
    manifest.write_text(json.dumps(document))
    assert run("mmcaf", "inspect", tiny_bundle).code == 0
    tried = 0
    for changed in spoilt(document):
        manifest.write_text(json.dumps(changed))
        outcome = run("mmcaf", "inspect", tiny_bundle)
        assert outcome.code == 5, changed
        tried += 1
    assert tried > 200


@pytest.mark.parametrize("command", ["inspect", "verify", "infer", "record-template", "studies", "profile", "tune"])
@pytest.mark.parametrize("field", ["name", "licence", "intended_use", "labels"])
def test_a_manifest_at_every_command(
    run: Callable[..., Outcome], tiny_bundle: Path, series: Path, record: Path, command: str, field: str
) -> None:
    manifest = tiny_bundle / "manifest.json"
    document = json.loads(manifest.read_text())
    document[field] = [EVIL, "x"] if field == "labels" else EVIL
    manifest.write_text(json.dumps(document))
    calls: dict[str, list[object]] = {
        "infer": ["mmcaf-infer", series, record, "--bundle", tiny_bundle],
        "record-template": ["mmcaf", "record-template", "--bundle", tiny_bundle, "-o", "-"],
        "studies": ["mmcaf", "studies", series, "--bundle", tiny_bundle],
    }
    outcome = run(*calls.get(command, ["mmcaf", command, tiny_bundle]))
    outcome.refused(5, field)


def test_a_line_that_was_forged_in_a_manifest(run: Callable[..., Outcome], tiny_bundle: Path) -> None:
    manifest = tiny_bundle / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"licence": "MIT\n  file  x, hash matches"}))
    run("mmcaf", "inspect", tiny_bundle).refused(5, "licence")


def test_a_text_of_a_manifest_without_end(run: Callable[..., Outcome], tiny_bundle: Path) -> None:
    manifest = tiny_bundle / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"description": "x" * 10_001, "y" * 5000: 1}))
    outcome = run("mmcaf", "inspect", tiny_bundle)
    outcome.refused(5, "description", 10_000)
    assert len(outcome.err) < 1000


def test_names_within_a_network(run: Callable[..., Outcome], tmp_path: Path, series: Path, record: Path) -> None:
    """ONNX takes any name; what a runtime says of a node reaches nobody's terminal."""
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    network = onnx.load(draft / "model.onnx")
    for node in network.graph.node:
        node.name += EVIL
        node.doc_string = EVIL
    network.producer_name = network.graph.name = EVIL
    _seal(network, draft, tmp_path / "sound.mmcaf")
    network.graph.node[0].op_type = f"No{EVIL}"
    _seal(network, draft, tmp_path / "broken.mmcaf")
    for bundle, code in ((tmp_path / "sound.mmcaf", 0), (tmp_path / "broken.mmcaf", 6)):
        for backend in ("onnxruntime", "openvino", "auto"):
            arguments = ("mmcaf-infer", series, record, "--bundle", bundle, "--backend", backend)
            assert run(*arguments, "-v").code == code
        assert run("mmcaf", "verify", bundle).code == code
        assert run("mmcaf", "profile", bundle, "--runs", "2", "--concurrency", "1").code in (0, 6)


def _seal(network: onnx.ModelProto, draft: Path, output: Path) -> None:
    from mmcaf_engine.bundle.bundle import write_bundle

    folder = Path(shutil.copytree(draft, f"{output}.draft"))
    onnx.save(network, folder / "model.onnx")
    write_bundle(folder, tiny_manifest(), output)


@pytest.mark.parametrize("document", [RECORD, FHIR], ids=["flat", "fhir"])
def test_every_string_of_a_record(
    run: Callable[..., Outcome], tiny_bundle: Path, series: Path, tmp_path: Path, document: dict[str, Any]
) -> None:
    file = tmp_path / "spoilt.json"
    for at, changed in enumerate(spoilt(document)):
        file.write_text(json.dumps(changed, ensure_ascii=at % 2 == 0))
        run(
            "mmcaf-infer", series, file, "--bundle", tiny_bundle, *(["--json", "--allow-id-mismatch"] if at % 2 else [])
        )


def test_every_text_of_a_header(run: Callable[..., Outcome], tiny_bundle: Path, record: Path, tmp_path: Path) -> None:
    def names(image: Dataset) -> list[str]:
        return [
            one.keyword for one in image if one.VR in ("AE", "AS", "CS", "DA", "DS", "IS", "LO", "PN", "SH", "TM", "UI")
        ]

    for keyword in names(ct_series(hounsfield(4, 16, 16))[0]):
        images = ct_series(hounsfield(4, 16, 16))
        for image in images:
            element = image[keyword]
            element.validation_mode = 0
            image.SpecificCharacterSet = "ISO_IR 192" if keyword != "SpecificCharacterSet" else EVIL
            image[keyword]._value = str(element.value) + EVIL[:30]
        folder = tmp_path / keyword
        try:
            save(images, folder)
        except (ValueError, TypeError, AttributeError):
            continue  # Nothing that writes DICOM would write that.
        run("mmcaf", "studies", folder)
        run("mmcaf-infer", folder, record, "--bundle", tiny_bundle, "--json")
    assert len([one for one in tmp_path.iterdir() if one.is_dir()]) > 15


@pytest.mark.parametrize("name", ["series", "record", "bundle", "output", "nowhere", "zip"])
def test_paths(
    run: Callable[..., Outcome], tiny_bundle: Path, series: Path, record: Path, tmp_path: Path, name: str
) -> None:
    at = tmp_path / f"at{EVIL}"
    arguments: list[object] = ["mmcaf-infer", series, record, "--bundle", tiny_bundle]
    if name == "series":
        arguments[1] = series.rename(at)
    elif name == "record":
        arguments[2] = record.rename(at)
        at.write_text("{")
    elif name == "bundle":
        arguments[4] = tiny_bundle.rename(at)
        (at / "model.onnx").write_bytes(b"")
    elif name == "output":
        at.write_text("")
        arguments += ["-o", at]
    elif name == "zip":
        arguments[1] = save_zip(series, tmp_path / "study.zip", prefix=f"{EVIL}/")
        (tmp_path / "study.zip").write_bytes((tmp_path / "study.zip").read_bytes().replace(b"DICM", b"XXXX"))
    else:
        arguments[1] = at
    run(*arguments)
    run(*arguments, "-v", "--json")
    for command in ("inspect", "verify", "studies", "trust", "export", "build", "quantize", "evaluate", "tune"):
        run("mmcaf", command, at, *(["-o", at] if command == "export" else []))
    run("mmcaf", "demo", "-o", at)
    run("mmcaf", "record-template", "-o", at)
    run("mmcaf", "record-template", "--bundle", at)


@pytest.mark.parametrize(
    "surplus", [EVIL, f"--{EVIL}", f"-{EVIL}", f"--threads={EVIL}"], ids=["word", "option", "letter", "value"]
)
@pytest.mark.parametrize("option", ["--backend", "--precision", "--gaps", "--deadline", "--series", None])
def test_arguments(
    run: Callable[..., Outcome], tiny_bundle: Path, series: Path, record: Path, surplus: str, option: str | None
) -> None:
    given = [surplus] if option is None else [f"{option}={EVIL}"]
    run("mmcaf-infer", series, record, "--bundle", tiny_bundle, *given)
    run("mmcaf", surplus)
    run("mmcaf", "inspect", tiny_bundle, *given)
    run("mmcaf", "export", "x", "-o", "y", "--set", EVIL, "--network", EVIL)


@pytest.mark.parametrize("variable", ["MMCAF_BUNDLE", "MMCAF_CACHE", "MMCAF_CACHE_LIMIT", "XDG_CONFIG_HOME"])
def test_variables(
    run: Callable[..., Outcome],
    series: Path,
    record: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # A cache is made where a relative path leads.
    (tmp_path / EVIL).write_text("")
    for value in (EVIL, str(tmp_path / EVIL), f"~{EVIL}"):
        monkeypatch.setenv(variable, value)
        run("mmcaf-infer", series, record)
        for command in (["doctor"], ["doctor", "--json"], ["cache", "list"], ["cache", "list", "--json"]):
            run("mmcaf", *command)


@pytest.mark.parametrize(
    "text",
    [
        *('bundle = "{}"', 'cache = "/tmp/{}"', 'cache_limit = "{}"', '"{}" = 1', "bundle = [", "cache_limit = {}"),
        '[{}]\nbundle = "x"',
    ],
)
def test_a_configuration(
    run: Callable[..., Outcome], series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "config" / "mmcaf-infer" / "config.toml"
    file.parent.mkdir(parents=True)
    spelled = json.dumps(EVIL[:-1])[1:-1]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for evil in (spelled, EVIL):
        file.write_text(text.replace("{}", evil), encoding="utf-8")
        run("mmcaf-infer", series)
        run("mmcaf", "doctor", "--all")
        run("mmcaf", "cache", "list")


def test_cached_things(run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    for kind, document in (
        ("engines", {"bundle": EVIL, "facts": {"runtime": EVIL, "precision": EVIL, "threads": EVIL}}),
        ("bundles", {"name": EVIL}),
    ):
        folder = tmp_path / "cache" / kind / ("0" * 64)
        folder.mkdir(parents=True, mode=0o700)
        (tmp_path / "cache" / kind).chmod(0o700)
        name = {"engines": "entry.json", "bundles": "manifest.json"}[kind]
        (folder / name).write_text(json.dumps(document))
    assert "owned" in run("mmcaf", "cache", "list").out
    run("mmcaf", "cache", "list", "--json")
    run("mmcaf", "cache", "clear")


@pytest.mark.parametrize(
    "forged", [EVIL, "builder\n  fingerprint   " + "0" * 64, "x" * 201], ids=["escape", "line", "long"]
)
@pytest.mark.parametrize("field", ["built_by", "bundle", "gpu", "driver", "unknown"])
def test_who_built_an_engine(run: Callable[..., Outcome], tmp_path: Path, field: str, forged: str) -> None:
    """What an attacker writes into a package must not look like the fingerprint that is to be compared."""
    engine: dict[str, Any] = {"runtime": "tensorrt", "version": "10.1", "precision": "fp32"}
    engine |= {"compute_capability": "sm_86", "inputs": [["image", 1]], "outputs": [["logit", 1]], "model": ["0"]}
    signature: dict[str, Any] = {
        "bundle": "tiny",
        "bundle_sha256": "0" * 64,
        "built_by": "mmcaf-infer 0.1",
        "engines": [engine],
        "files": {"engine.plan": {"sha256": "0" * 64, "size": 1}},
    }
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    assert read_package(tmp_path).signature.built_by == "mmcaf-infer 0.1"
    if field in ("gpu", "driver"):
        engine[field] = forged if len(forged) < 201 else forged * 100
    elif field == "unknown":
        signature[forged] = 1
    else:
        signature[field] = forged
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    outcome = run("mmcaf", "trust", tmp_path)
    assert outcome.code == 6 and "signature.json" in outcome.error() and len(outcome.err) < 2000
    assert "\n  fingerprint" not in outcome.out + outcome.err


def test_a_folder_whose_name_forges_a_line(run: Callable[..., Outcome], tmp_path: Path) -> None:
    engine: dict[str, Any] = {"runtime": "tensorrt", "version": "10.1", "precision": "fp32"}
    engine |= {"compute_capability": "sm_86", "inputs": [], "outputs": [], "model": ["0"]}
    files = {"engine.plan": {"sha256": "0" * 64, "size": 1}}
    folder = tmp_path / "x\n  fingerprint   0000"
    folder.mkdir()
    signature = {"bundle": "t", "bundle_sha256": "0" * 64, "built_by": "b", "engines": [engine], "files": files}
    (folder / "signature.json").write_text(json.dumps(signature))
    outcome = run("mmcaf", "trust", folder)
    assert outcome.code == 0 and outcome.out.count("\n  fingerprint") == 1


def test_an_error_says_what_it_quotes_without_steering() -> None:
    failure: MmcafError = UsageError(f"{EVIL}: not there.", Remedy(f"Look {EVIL}", command=f"ls {EVIL}"), EVIL)
    for text in (str(failure), json.dumps(failure.to_dict(), ensure_ascii=False), failure.problem, failure.remedy):
        assert text and not [one for one in text if unicodedata.category(one) in HIDDEN]
    assert r"\u001b]0;owned" in failure.problem


def test_json_keeps_the_values_that_it_spells_out() -> None:
    document = {EVIL: [EVIL, "\ud800", "two\nlines\tand a tab"]}
    assert json.loads(to_json(document)) == document
    assert escaped("Größe\n\t漢字 a\u00a0b") == "Größe\n\t漢字 a\u00a0b"


@pytest.mark.parametrize("command", ["inspect", "verify", "infer", "sign", "trust", "remove"])
def test_a_name_of_several_lines_forges_no_message(
    run: Callable[..., Outcome], tmp_path: Path, tiny_bundle: Path, command: str
) -> None:
    forged = tmp_path / "a\nerror: all is well\nwarning: b"
    tiny_bundle.rename(forged)
    (forged / "golden.npz").write_bytes(b"x")
    commands: dict[str, tuple[object, ...]] = {
        "inspect": ("mmcaf", "inspect", forged),
        "verify": ("mmcaf", "verify", forged),
        "infer": ("mmcaf-infer", "absent.dcm", "--bundle", forged),
        "sign": ("mmcaf", "sign", forged, "--key", forged / "manifest.json"),
        "trust": ("mmcaf", "trust", forged / "manifest.json"),
        "remove": ("mmcaf", "trust", "--remove", forged.name),
    }
    outcome = run(*commands[command])
    assert outcome.code != 0 and "all is well" in outcome.err
    lines = outcome.err.splitlines()
    assert [line for line in lines if line.startswith(("error: ", "warning: "))] == lines[:1]
