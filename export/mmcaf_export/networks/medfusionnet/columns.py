"""The clinical columns and labels of the two data sets that MedFusionNet was published on, and how to write them down.

ChestX-ray14: Wang and others, CVPR 2017. Cervical: Fernandes and others, "Cervical cancer (risk factors)", UCI, 2017.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

YES_NO = {"no": 0.0, "yes": 1.0}


@dataclass(frozen=True)
class Column:
    """One clinical column.

    name: as in a record; description: for people; unit, units: of a number, and others with how many of `unit` each is;
    minimum, maximum: what is plausible; codes: of a category, its names and what training wrote for them.
    """

    name: str
    description: str
    unit: str = "1"
    units: Mapping[str, float] = field(default_factory=dict)
    minimum: float = 0.0
    maximum: float = 100.0
    codes: Mapping[str, float] | None = None
    synonyms: Mapping[str, str] = field(default_factory=dict)
    dicom: Literal["PatientSex", "PatientAge"] | None = None
    fhir: Literal["gender", "birthDate"] | None = None


@dataclass(frozen=True)
class DataSet:
    """Labels and clinical columns in the order of training."""

    labels: tuple[str, ...]
    columns: tuple[Column, ...]


AGE = Column(
    "age",
    "Age at the study",
    "years",
    {"a": 1.0, "months": 1 / 12, "mo": 1 / 12},
    maximum=99.0,  # training left out those of 100 and more
    dicom="PatientAge",
    fhir="birthDate",
)
CHEST = DataSet(
    (
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    ),
    (
        AGE,
        Column(
            "sex",
            "Sex",
            codes={"M": 1.0, "F": 0.0},
            synonyms={"male": "M", "female": "F"},
            dicom="PatientSex",
            fhir="gender",
        ),
        Column("view_position", "View position", codes={"PA": 0.0, "AP": 1.0}),
        Column("follow_up_number", "Number of earlier radiographs", "radiographs", maximum=500.0),
    ),
)


def _years(name: str, description: str) -> Column:
    return Column(name, description, "years")


def _count(name: str, description: str) -> Column:
    return Column(name, description, "times")


def _flag(name: str, description: str) -> Column:
    return Column(name, description, codes=YES_NO)


CERVICAL = DataSet(
    ("Hinselmann", "Schiller", "Citology", "Biopsy"),
    (
        AGE,
        _count("number_of_sexual_partners", "Number of sexual partners"),
        Column("first_sexual_intercourse", "Age at first sexual intercourse", "years"),
        _count("num_of_pregnancies", "Number of pregnancies"),
        _flag("smokes", "Smokes"),
        _years("smokes_years", "Years of smoking"),
        Column("smokes_packs_per_year", "Packs smoked per year", "packs"),
        _flag("hormonal_contraceptives", "Takes hormonal contraceptives"),
        _years("hormonal_contraceptives_years", "Years of hormonal contraceptives"),
        _flag("iud", "Has an intrauterine device"),
        _years("iud_years", "Years with an intrauterine device"),
        _flag("stds", "Sexually transmitted diseases"),
        _count("stds_number", "Number of sexually transmitted diseases"),
        *(
            _flag(f"stds_{name.lower().replace(' ', '_').replace('-', '_')}", f"Sexually transmitted: {name}")
            for name in (
                "condylomatosis",
                "cervical condylomatosis",
                "vaginal condylomatosis",
                "vulvo-perineal condylomatosis",
                "syphilis",
                "pelvic inflammatory disease",
                "genital herpes",
                "molluscum contagiosum",
                "AIDS",
                "HIV",
                "Hepatitis B",
                "HPV",
            )
        ),
        _count("stds_number_of_diagnosis", "Diagnoses of sexually transmitted diseases"),
        _years("stds_time_since_first_diagnosis", "Years since the first of these diagnoses"),
        _years("stds_time_since_last_diagnosis", "Years since the last of these diagnoses"),
        _flag("dx_cancer", "Earlier diagnosis: cancer"),
        _flag("dx_cin", "Earlier diagnosis: cervical intraepithelial neoplasia"),
        _flag("dx_hpv", "Earlier diagnosis: human papillomavirus"),
        _flag("dx", "Any earlier diagnosis"),
    ),
)

DATA_SETS: Mapping[str, DataSet] = {"chestxray14": CHEST, "cervical": CERVICAL}
KNOWN: Mapping[str, Column] = {column.name: column for known in (CERVICAL, CHEST) for column in known.columns}
"""By name, in either data set."""
