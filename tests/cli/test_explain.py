"""The command line where it says what moved an answer: the map, what is said before, and what is refused."""

from pathlib import Path

import pytest

from command import Command
from dicom_factory import ct_series, hounsfield, save
from tiny_bundle import SIZE


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "record.json").write_text('{"sex": "F", "age": 63}')
    return save(ct_series(hounsfield(4, SIZE, SIZE)), folder / "dicom")


def test_how_long_it_takes_is_said_and_the_map_drawn(
    run: Command, study: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    given = ("mmcaf-infer", study, study.parent / "record.json", "--bundle", tiny_bundle, "--backend", "onnxruntime")
    outcome = run(*given, "--explain", "occlusion", "--heatmap", tmp_path / "map.png")
    assert outcome.code == 0 and outcome.err.startswith("occlusion: 256 more windows, about ")
    assert len(outcome.err.splitlines()) == 1
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    quiet = run(*given, "-q", "--explain", "occlusion", "--heatmap", tmp_path / "again.png")
    assert quiet.err == "" and (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()


def test_the_records_fields_need_no_picture(run: Command, study: Path, tiny_bundle: Path) -> None:
    given = ("mmcaf-infer", study, study.parent / "record.json", "--bundle", tiny_bundle, "--backend", "onnxruntime")
    outcome = run(*given, "--explain", "record")
    assert outcome.code == 0 and outcome.err.startswith("record: 2 more windows, about ")
    assert "\n  moved         " in outcome.out
    hidden = run(*given, "--explain", "record", "--deidentify")
    assert hidden.code == 0 and "moved" not in hidden.out


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (("--explain", "occlusion"), ("--heatmap",)),
        (("--explain", "attention", "--heatmap", "m.png"), ("attention", "--explain", "occlusion")),
        (("--explain", "everything", "--heatmap", "m.png"), ("'everything'", "--explain", "occlusion")),
        (("--heatmap", "m.png"), ("attention", "--explain", "occlusion")),
    ],
    ids=["shown-nowhere", "not-of-this-network", "unknown", "no-usual-map"],
)
def test_what_cannot_be_explained_is_refused_before_the_work(
    options: tuple[str, ...], facts: tuple[str, ...], run: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    named = [str(tmp_path / one) if one == "m.png" else one for one in options]
    run("mmcaf-infer", tmp_path / "missing", "--bundle", tiny_bundle, *named).refused(2, *facts)
