"""All DICOM objects of all four kinds of networks: the same bytes again, codes, and what validators say."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes

from answered_objects import NETWORKS, answered, objects_of
from counterparts import need
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.codes import PRIVATE_SCHEME, private_code
from mmcaf_engine.result.key_slices import key_slices

SECONDS = 60
KINDS = {
    "structured-report": "Comprehensive3DSR",
    "secondary-capture": "SCImage",
    "parametric-map": "ParametricMap",
    "segmentation": "Segmentation",
    "presentation-state": "GrayscaleSoftcopyPresentationState",
    "key-objects": "KeyObjectSelectionDocument",
}
"""Beginning of a file's name -> what dciodvfy calls it."""
LONGER = ("MR of three phases", "CT, report and record")
"""With more objects, or like another."""


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=pytest.mark.full) if one in LONGER else one for one in NETWORKS]
)
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Answer]:
    return request.param, answered(request.param, tmp_path_factory.mktemp("answered"))


@pytest.fixture(scope="module")
def objects(answer: tuple[str, Answer]) -> dict[str, bytes]:
    return objects_of(*answer)


def read(data: bytes) -> Dataset:
    return dcmread(BytesIO(data))


def kind_of(name: str) -> str:
    return next(kind for kind in KINDS if name.startswith(kind))


def test_the_same_answer_gives_the_same_bytes(answer: tuple[str, Answer], objects: dict[str, bytes]) -> None:
    network, made = answer
    slower = replace(made, result=replace(made.result, timing_ms={"total": 9.0}))
    assert objects_of(network, slower) == objects
    assert {kind_of(name) for name in objects} == set(KINDS) - (
        {"parametric-map", "segmentation"} if network == "radiograph" else set()
    )


def test_each_object_has_a_uid_of_its_own_and_each_kind_a_series(objects: dict[str, bytes]) -> None:
    found = {name: read(data) for name, data in objects.items()}
    assert len({one.SOPInstanceUID for one in found.values()}) == len(found)
    series = {(kind_of(name), one.SeriesInstanceUID, one.SeriesNumber) for name, one in found.items()}
    assert len(series) == len({kind for kind, *_ in series})
    for one in found.values():
        assert "RESEARCH" in one.SeriesDescription and one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
        assert any("DeviceUID" in item for item in one.ContributingEquipmentSequence)


def test_a_file_is_that_of_its_elements(objects: dict[str, bytes]) -> None:
    for name, data in objects.items():
        again = BytesIO()
        read(data).save_as(again)
        assert again.getvalue() == data, name


def test_another_map_gives_other_objects(answer: tuple[str, Answer], objects: dict[str, bytes]) -> None:
    """Of the same result: what shows the map has another UID, what does not is the same."""
    network, made = answer
    brighter = tuple(replace(one, values=one.values * 2, floor=one.floor * 2) for one in made.maps)
    for name, data in objects_of(network, replace(made, maps=brighter)).items():
        same = read(data).SOPInstanceUID == read(objects[name]).SOPInstanceUID
        assert same == (kind_of(name) not in ("secondary-capture", "parametric-map")), name
        assert same == (data == objects[name])


def test_key_objects_name_the_key_slices_and_no_purpose(answer: tuple[str, Answer], objects: dict[str, bytes]) -> None:
    """TID 2010 has none."""
    items = [item for item in read(objects["key-objects.dcm"]).ContentSequence if item.ValueType == "IMAGE"]
    keys = key_slices(answer[1].prepared, answer[1].score.deciding, answer[1].maps)
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items]
    assert named == [key.image.sop_instance_uid for key in keys if key.image is not None]
    assert not any("ConceptNameCodeSequence" in item for item in items)


HOSTILE = "a\\b <script> " + "u" * 180
"""As long as a manifest's names may be; it holds no line breaks and no control characters."""


def test_names_and_labels_of_any_characters(answer: tuple[str, Answer], tmp_path: Path) -> None:
    """None is two values, or too long."""
    network, made = answer
    result = replace(
        made.result,
        model=replace(made.result.model, name=HOSTILE, version=HOSTILE),
        label=HOSTILE,
        labels={HOSTILE: private_code(HOSTILE)},
        probabilities={HOSTILE: 0.5},
        findings=tuple(replace(one, label=HOSTILE) for one in made.result.findings),
    )
    maps = tuple(replace(one, title=HOSTILE, label=HOSTILE) for one in made.maps)
    for name, data in objects_of(network, replace(made, result=result, maps=maps)).items():
        for element in elements(read(data)):
            assert element.VR not in ("LO", "ST") or "\\" not in str(element.value), (name, element)
            assert element.VR != "LO" or element.VM <= 1 or element.keyword == "SoftwareVersions", (name, element)
        (tmp_path / name).write_bytes(data)
        assert "Error" not in judged(need("dciodvfy"), tmp_path / name), name


def elements(data_set: Dataset) -> Iterator[DataElement]:
    """At any depth."""
    for element in data_set:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


# Codes

TWO_SOURCES = {
    ("RFC5646", "en-US"): "English (United States)",  # PS3.16 CID 5000; IANA's registry of subtags: en, US
}
"""What pydicom's dictionary does not hold."""


def coded(data_set: Dataset) -> Iterator[tuple[str, str, str]]:
    """Scheme, value and meaning of every code, at any depth."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                if "CodingSchemeDesignator" in item:
                    yield item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning
                yield from coded(item)


def known_meanings() -> dict[tuple[str, str], set[str]]:
    """Of all that pydicom's dictionary holds, and of the codes above."""
    found = {code: {meaning} for code, meaning in TWO_SOURCES.items()}
    for scheme, by_keyword in concepts.items():
        for of_keyword in by_keyword.values():
            for value, (meaning, _) in of_keyword.items():
                found.setdefault((scheme, value), set()).add(meaning)
    return found


KNOWN = known_meanings()


def foreign(code: tuple[str, str, str]) -> bool:
    """Whether a code of another scheme than ours has no such meaning in the dictionary."""
    scheme, value, meaning = code
    return scheme != PRIVATE_SCHEME and meaning not in KNOWN.get((scheme, value), set())


def test_every_code_is_known_with_its_meaning(objects: dict[str, bytes]) -> None:
    found = {code for data in objects.values() for code in coded(read(data))}
    assert len(found) > 10 and {code for code in found if foreign(code)} == set()


def test_a_code_with_another_meaning_is_found() -> None:
    absent = codes.SCT.Absent
    assert not foreign(("SCT", absent.value, absent.meaning))
    assert foreign(("SCT", absent.value, "Present")) and foreign(("SCT", "1", "Absent")) and foreign(("99X", "1", "x"))


# Validators


def test_dciodvfy_finds_no_error(objects: dict[str, bytes], tmp_path: Path) -> None:
    dciodvfy = need("dciodvfy")
    for name, data in objects.items():
        (tmp_path / name).write_bytes(data)
        said = judged(dciodvfy, tmp_path / name)
        assert KINDS[kind_of(name)] in said and "Error" not in said, f"{name}: {said}"


BREAKING: dict[str, Callable[[Dataset], None]] = {
    "structured-report": lambda one: delattr(one, "CompletionFlag"),
    "secondary-capture": lambda one: delattr(one, "ConversionType"),
    "parametric-map": lambda one: delattr(one, "ContentQualification"),
    "segmentation": lambda one: delattr(one, "SegmentSequence"),
    "presentation-state": lambda one: delattr(one, "DisplayedAreaSelectionSequence"),
    "key-objects": lambda one: delattr(one, "CurrentRequestedProcedureEvidenceSequence"),
}


def test_dciodvfy_finds_what_is_broken(objects: dict[str, bytes], tmp_path: Path) -> None:
    dciodvfy = need("dciodvfy")
    for name, data in objects.items():
        broken = read(data)
        BREAKING[kind_of(name)](broken)
        broken.save_as(tmp_path / name)
        assert "Error" in judged(dciodvfy, tmp_path / name), name


def judged(dciodvfy: str, file: Path) -> str:
    ran = subprocess.run([dciodvfy, "-new", str(file)], capture_output=True, text=True, timeout=SECONDS, check=False)
    return ran.stdout + ran.stderr


NOT_LISTED = re.compile(r"Warning: .*: Content Item not in template")
"""TID 1501 is extensible; what we add to it: the label as a qualitative evaluation, and a comment."""


@pytest.mark.full
def test_pixelmed_finds_no_error(answer: tuple[str, Answer], objects: dict[str, bytes], tmp_path: Path) -> None:
    """In templates; and finds what is broken."""
    validator, (network, _) = need("DicomSRValidator"), answer
    for name in ("structured-report.dcm", "key-objects.dcm"):
        (tmp_path / name).write_bytes(objects[name])
        said = by_pixelmed(validator, tmp_path / name)
        assert "Root Template Validation Complete" in said and "Error" not in said, said
        assert all(NOT_LISTED.fullmatch(line) for line in said.splitlines() if "Warning" in line), said
        if network != NETWORKS[0]:
            continue
        broken = read(objects[name])
        broken.ContentSequence[-1].RelationshipType = "HAS PROPERTIES"
        broken.save_as(tmp_path / name)
        assert "Error" in by_pixelmed(validator, tmp_path / name)


def by_pixelmed(validator: str, file: Path) -> str:
    """Java's limits on XPath are below what its templates take; it optimises longer than the program lives."""
    limits = [f"-Djdk.xml.{name}=0" for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")]
    options = " ".join([*limits, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
    ran = subprocess.run(
        [validator, str(file)],
        capture_output=True,
        text=True,
        timeout=4 * SECONDS,
        check=False,
        env={**os.environ, "JAVA_TOOL_OPTIONS": options},
    )
    return ran.stdout + ran.stderr.replace("Picked up JAVA_TOOL_OPTIONS", "")
