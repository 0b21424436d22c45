"""FHIR values: quantities with their units, and coded answers by code, display and text."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.record.test_fhir import SPEC, STUDY_DATE, bundle, coded
from mmcaf_engine.errors import RecordError
from mmcaf_engine.record.codings.tables import _load
from mmcaf_engine.record.fhir_values import contradict
from mmcaf_engine.record.record import Record, read_record
from refusals import refused

FEW = settings(max_examples=80, deadline=None, derandomize=True, database=None)
MANY = settings(FEW, max_examples=600)

UCUM, SNOMED, LOINC, AJCC = (
    "http://unitsofmeasure.org",
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://cancerstaging.org",
)
KILOGRAMS = {
    **dict.fromkeys(("kg", "KG", "kgs", "kilograms", " kg "), 1.0),
    **dict.fromkeys(("g", "gm", "grams"), 0.001),
    **dict.fromkeys(("lb", "lbs", "pounds", "[lb_av]", "Pound"), 0.45359237),
}


def read(*changed: dict[str, Any], without: tuple[str, ...]) -> Record:
    return read_record(bundle(*changed, without=without), SPEC, study_date=STUDY_DATE)


def weighed(**quantity: Any) -> dict[str, Any]:
    return coded("29463-7", {"valueQuantity": quantity})


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ({"value": 154}, "no unit"),
        ({"value": 154, "unit": " "}, "no unit"),
        ({"value": 154, "code": "kg", "system": "urn:local"}, "no unit"),
        ({"value": 154, "code": "258683005", "system": SNOMED}, "no unit"),
        ({"value": 154, "unit": "kg", "system": UCUM, "code": "[lb_av]"}, "another"),
        ({"value": 154, "unit": "lbs", "system": UCUM, "code": "kg"}, "another"),
        ({"value": 154, "unit": "kg", "system": UCUM, "code": "[stone_av]"}, "another"),
        ({"value": 200, "comparator": "<", "unit": "kg"}, "bound"),
        ({"value": 20, "comparator": "ad", "unit": "kg", "code": "kg"}, "bound"),
    ],
    ids=str,
)
def test_a_quantity_that_is_never_taken_for_kilograms(quantity: dict[str, Any], said: str) -> None:
    with refused(RecordError, "weight", "missing", said):
        read(weighed(**quantity), without=("29463-7",))
    beside = read(weighed(**quantity), without=())
    assert beside.values["weight"] == pytest.approx(70) and said in " ".join(beside.warnings)


@pytest.mark.parametrize("value", [{"valueInteger": 70}, {"valueRange": {"low": {"value": 70, "unit": "kg"}}}], ids=str)
def test_other_forms_of_a_number(value: dict[str, Any]) -> None:
    with refused(RecordError, "weight", "missing", "left out"):
        read(coded("29463-7", value), without=("29463-7",))


def check_quantity(number: float, unit: str | None, code: str | None, system: str | None) -> None:
    """A code counts where its system is UCUM's or none; it must not contradict the unit; without either, nothing is."""
    quantity = {"value": number, "unit": unit, "code": code, "system": system}
    counted = code if system in (None, UCUM) else None
    factors = {KILOGRAMS[one] for one in (unit, counted) if one is not None}
    given = coded("29463-7", {"valueQuantity": {key: one for key, one in quantity.items() if one is not None}})
    if len(factors) == 1:
        kilograms = number * factors.pop()
        if 25 <= kilograms <= 300:
            assert read(given, without=("29463-7",)).values["weight"] == pytest.approx(kilograms, rel=1e-12)
            return
    with pytest.raises(RecordError, match="weight"):
        read(given, without=("29463-7",))


UNITS = st.one_of(st.none(), st.sampled_from(sorted(KILOGRAMS)))
QUANTITIES = (st.floats(1, 100_000), UNITS, UNITS, st.sampled_from((None, UCUM, "urn:local", SNOMED)))


@FEW
@given(*QUANTITIES)
def test_units_codes_and_systems(number: float, unit: str | None, code: str | None, system: str | None) -> None:
    check_quantity(number, unit, code, system)


@pytest.mark.full
@MANY
@given(*QUANTITIES)
def test_many_units_codes_and_systems(number: float, unit: str | None, code: str | None, system: str | None) -> None:
    check_quantity(number, unit, code, system)


ANSWERS = _load("smoking")["answers"]
ADDRESS = {"snomed": SNOMED, "loinc": LOINC}


def answered(**concept: Any) -> dict[str, Any]:
    return coded("72166-2", {"valueCodeableConcept": concept})


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: one["code"])
def test_a_smoking_answer_is_found_by_code_display_and_text(answer: dict[str, str]) -> None:
    address, display = ADDRESS[answer["system"]], answer["display"]
    for concept in (
        {"coding": [{"system": address, "code": answer["code"]}]},
        {"coding": [{"system": f"{address}|20230901", "code": answer["code"], "display": "as told by the patient"}]},
        {"coding": [{"system": "urn:local", "code": "x", "display": f"{display} (finding)"}]},
        {"text": display.upper()},
        {"coding": [{"system": "urn:local", "code": "7"}], "text": f"  {display} "},
    ):
        if answer["meaning"] == "unknown":
            with refused(RecordError, "smoking_history", "missing", "unknown"):
                read(answered(**concept), without=("72166-2",))
        else:
            found = read(answered(**concept), without=("72166-2",))
            assert found.values["smoking_history"] == answer["meaning"], concept
            assert found.warnings == ()


@pytest.mark.parametrize(
    "coding",
    [
        {"system": "urn:local", "code": "8517006"},
        {"system": LOINC, "code": "8517006"},
        {"system": SNOMED, "code": "LA18978-9"},
        {"system": "urn:local", "code": "LA18978-9"},
        {"system": "urn:local", "code": "0"},
    ],
    ids=str,
)
def test_a_code_of_another_system_is_not_taken_by_its_number(coding: dict[str, str]) -> None:
    with refused(RecordError, "smoking_history", "never", "former", "current"):
        read(answered(coding=[coding]), without=("72166-2",))


@pytest.mark.parametrize(
    "concept",
    [
        {"coding": [{"system": SNOMED, "code": "266919005"}, {"system": LOINC, "code": "LA15920-4"}]},
        {"coding": [{"system": SNOMED, "code": "266919005", "display": "Ex-smoker (finding)"}]},
        {"coding": [{"system": SNOMED, "code": "266919005"}], "text": "Unknown if ever smoked"},
    ],
    ids=["codes", "display", "unknown"],
)
def test_codes_and_texts_that_contradict_each_other_are_left_out(concept: dict[str, Any]) -> None:
    with refused(RecordError, "smoking_history", "missing", "contradict"):
        read(answered(**concept), without=("72166-2",))


@pytest.mark.parametrize(("earlier", "warned"), [("LA15920-4", 1), ("LA18976-3", 1), ("LA18978-9", 0)])
def test_never_after_having_smoked_is_warned_of(earlier: str, warned: int) -> None:
    def at(code: str, when: str) -> dict[str, Any]:
        value = {"valueCodeableConcept": {"coding": [{"system": LOINC, "code": code}]}}
        return coded("72166-2", value, effectiveDateTime=when)

    found = read(at("LA18978-9", "2024-01-01"), at(earlier, "2021-01-01"), without=("72166-2",))
    assert found.values["smoking_history"] == "never" and len(found.warnings) == warned
    back = read(at(earlier, "2024-01-01"), at("LA18978-9", "2021-01-01"), without=("72166-2",))
    assert back.warnings == ()


STAGES = _load("tnm")["answers"]
QUESTIONS = _load("tnm")["questions"]
ACCEPTED = {
    "T": ("is", "1", "1a", "1b", "1c", "2", "2a", "2b", "3", "4"),
    "N": "0123",
    "M": ("0", "1", "1a", "1b", "1c"),
}
FIELD = {"T": ("t_stage", "21905-5"), "N": ("n_stage", "21906-3"), "M": ("m_stage", "21907-1")}


@pytest.mark.parametrize("answer", STAGES, ids=lambda one: one["code"])
def test_a_stage_of_snomed_is_found_by_code_display_and_text(answer: dict[str, str]) -> None:
    letter = next(one for one in answer["meaning"] if one in "TNM")
    field, loinc = FIELD[letter]
    category = answer["meaning"].partition(letter)[2]
    for value in (
        {"coding": [{"system": SNOMED, "code": answer["code"]}]},
        {"coding": [{"system": SNOMED, "code": "1", "display": f"{answer['display']} (qualifier value)"}]},
        {"text": answer["display"]},
        {"text": answer["meaning"]},
        {"coding": [{"system": AJCC, "code": answer["meaning"], "display": "a sentence of its definition"}]},
    ):
        changed = coded(loinc, {"valueCodeableConcept": value})
        if category == "1mi":
            found = read(changed, without=(loinc,))
            assert found.values[field] == "1" and "T1mi" in " ".join(found.remarks)
        elif category in ACCEPTED[letter]:
            assert read(changed, without=(loinc,)).values[field] == category, value
        else:
            with refused(RecordError, field, "could not be assessed" if category == "X" else "not known"):
                read(changed, without=(loinc,))


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda one: one["loinc"])
def test_a_question_of_snomed_is_that_of_loinc(asked: dict[str, Any]) -> None:
    field, loinc = FIELD[asked["letter"]]
    observation = coded("x", {"valueCodeableConcept": {"text": f"{asked['letter']}1"}})
    for system, code in ((LOINC, asked["loinc"]), (SNOMED, asked["snomed"][0])):
        observation["resource"]["code"] = {"coding": [{"system": system, "code": code}]}
        assert read(observation, without=(loinc,)).values[field] == "1"
    observation["resource"]["code"] = {"coding": [{"system": "urn:local", "code": asked["snomed"][0]}]}
    with refused(RecordError, field, "missing"):
        read(observation, without=(loinc,))


@pytest.mark.parametrize(
    ("value", "category"),
    [
        ({"text": "cT2a (m)"}, "2a"),
        ({"text": "ycT2a(s)"}, "2a"),
        ({"text": "rpT3"}, "3"),
        ({"text": "Tis (AIS)"}, "is"),
        ({"text": "AJCC T4"}, "4"),
        ({"coding": [{"system": "urn:nci", "code": "C1", "display": "T2a Stage Finding"}]}, "2a"),
        ({"coding": [{"system": "urn:nci", "code": "C1", "display": "cT2a TNM Finding"}]}, "2a"),
        ({"text": "Tumor stage T3"}, "3"),
        ({"coding": [{"system": AJCC, "code": "cT2a"}] * 101}, None),
        ({"text": "clinical T category 2a", "coding": [{"system": AJCC, "code": "cT2a"}]}, "2a"),
        ({"text": "T2", "coding": [{"system": AJCC, "code": "cT2a"}]}, "2a"),
        ({"text": "cT1b", "coding": [{"system": AJCC, "code": "T1"}]}, "1b"),
        ({"coding": [{"system": "urn:local", "code": "cT1b"}]}, "1b"),
        ({"text": "T1b", "coding": [{"system": AJCC, "code": "cT3"}]}, None),
        ({"text": "N1"}, None),
        ({"text": "T2a(weird)"}, None),
        ({"text": "T2d"}, None),
        ({"coding": [{"system": "urn:local", "code": "2"}]}, None),
    ],
    ids=str,
)
def test_spellings_of_a_stage(value: dict[str, Any], category: str | None) -> None:
    changed = coded("21905-5", {"valueCodeableConcept": value})
    if category is None:
        with refused(RecordError, "t_stage"):
            read(changed, without=("21905-5",))
    else:
        found = read(changed, without=("21905-5",))
        assert found.values["t_stage"] == category and found.warnings == ()


@pytest.mark.parametrize(("system", "code"), [(LOINC, "3141-9"), (SNOMED, "27113001")])
def test_other_codes_of_a_weight_compete_by_date(system: str, code: str) -> None:
    quantity = {"valueQuantity": {"value": 90, "unit": "kg", "code": "kg"}}
    other = coded("x", quantity, effectiveDateTime="2024-02-01")
    other["resource"]["code"] = {"coding": [{"system": system, "code": code}]}
    older = coded("29463-7", {"valueQuantity": {"value": 60, "unit": "kg"}}, effectiveDateTime="2023-02-01")
    assert read(other, older, without=("29463-7",)).values["weight"] == 90
    other["resource"]["effectiveDateTime"] = "2022-01-01"
    assert read(other, older, without=("29463-7",)).values["weight"] == 60


@pytest.mark.parametrize("name", ["smoking", "tnm", "weight", "systems"])
def test_every_table_says_where_it_is_from(name: str) -> None:
    document = _load(name)
    assert document["source"] and document["version"]
    codes = [(one["system"], one["code"]) for one in document.get("answers", ())]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("one", "other", "both_right"),
    [
        (60, 60, True),
        (60, 66.6, True),
        (60, 66.7, False),
        (60, {"value": 66600, "unit": "g"}, True),
        (60, "heavy", True),
    ],
)
def test_how_far_two_values_of_one_field_may_be_apart(one: Any, other: Any, both_right: bool) -> None:
    """By a tenth of the larger; what cannot be read contradicts nothing."""
    weight = next(entry for entry in SPEC.fields if entry.name == "weight")
    assert contradict(weight, one, other) == contradict(weight, other, one) == (not both_right)
