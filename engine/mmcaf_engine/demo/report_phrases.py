"""What synthetic reports say: sentences for each finding when it is seen, doubted or not seen."""

from __future__ import annotations

SIZES = {
    "Effusion": ("trace", "small", "moderate", "large"),
    "Pneumothorax": ("tiny apical", "small apical", "moderate", "large"),
    "Cardiomegaly": ("borderline", "mild", "moderate", "marked"),
    "Consolidation": ("subtle", "patchy", "focal", "dense"),
    "Mass": ("3 cm", "4 cm", "5 cm", "6 cm"),
    "Nodule": ("9 mm", "12 mm", "17 mm", "22 mm"),
}
"""From low to high severity."""

ZONES = ("upper", "mid", "lower")

SEEN = {
    "Cardiomegaly": (
        "There is {size} cardiomegaly.",
        "The heart is enlarged.",
        "The cardiac silhouette is enlarged, {size} in degree.",
        "Enlarged cardiomediastinal silhouette.",
    ),
    "Effusion": (
        "There is a {size} {side} pleural effusion.",
        "{Size} {side} pleural effusion is present.",
        "Blunting of the {side} costophrenic angle consistent with a {size} effusion.",
        "Pleural fluid is seen on the {side}, {size} in amount.",
    ),
    "Mass": (
        "There is a {size} mass in the {side} {zone} lung.",
        "A rounded mass of {size} projects over the {side} {zone} zone.",
        "Lobulated opacity of {size} in the {side} {zone} lung, suspicious for malignancy.",
    ),
    "Nodule": (
        "There is a {size} nodule in the {side} {zone} lung.",
        "A nodular opacity of {size} projects over the {side} {zone} zone.",
        "{Side} {zone} lung nodule measuring {size}.",
    ),
    "Pneumothorax": (
        "There is a {size} {side} pneumothorax.",
        "A visceral pleural line is seen on the {side}, consistent with a {size} pneumothorax.",
        "{Size} {side} pneumothorax is present.",
    ),
    "Consolidation": (
        "There is {size} consolidation in the {side} {zone} lung.",
        "{Size} airspace opacity in the {side} {zone} zone, consistent with pneumonia.",
        "Consolidation with air bronchograms in the {side} {zone} lung.",
    ),
}

DOUBTED = {
    "Cardiomegaly": (
        "The heart size is at the upper limits of normal.",
        "Heart size is difficult to assess and may be enlarged.",
        "The cardiac silhouette may be accentuated by technique.",
    ),
    "Effusion": (
        "A small {side} effusion cannot be excluded.",
        "Minimal blunting of the {side} costophrenic angle may represent fluid or scarring.",
        "Possible {side} pleural effusion.",
    ),
    "Mass": (
        "Prominence of the {side} hilum may represent a mass or vessels.",
        "A rounded opacity over the {side} {zone} zone is of uncertain significance.",
        "Possible {side} {zone} lung mass.",
    ),
    "Nodule": (
        "A small opacity over the {side} {zone} zone may represent a nodule or a nipple shadow.",
        "Possible {side} {zone} lung nodule.",
        "A nodule cannot be excluded in the {side} {zone} lung.",
    ),
    "Pneumothorax": (
        "A line over the {side} apex may represent a skin fold.",
        "A tiny {side} pneumothorax cannot be excluded.",
        "Possible {side} apical pneumothorax.",
    ),
    "Consolidation": (
        "Opacity at the {side} base may represent atelectasis or pneumonia.",
        "Early consolidation in the {side} {zone} lung cannot be excluded.",
        "Possible {side} {zone} airspace opacity.",
    ),
}

NOT_SEEN = {
    "Cardiomegaly": (
        "The heart size is normal.",
        "The cardiac silhouette is within normal limits.",
        "Heart size and mediastinal contours are normal.",
        "No cardiomegaly.",
    ),
    "Effusion": (
        "No pleural effusion.",
        "There is no effusion.",
        "The costophrenic angles are sharp.",
        "No pleural fluid is seen.",
    ),
    "Mass": ("No mass is seen.", "There is no suspicious mass.", "No hilar mass."),
    "Nodule": ("No nodule is seen.", "There is no suspicious nodule.", "No pulmonary nodule."),
    "Pneumothorax": ("No pneumothorax.", "There is no pneumothorax.", "No pneumothorax is seen."),
    "Consolidation": (
        "No focal consolidation.",
        "There is no airspace opacity.",
        "No consolidation is seen.",
    ),
}

NEITHER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("Effusion", "Pneumothorax"): ("No pleural effusion or pneumothorax.", "There is no effusion or pneumothorax."),
    ("Mass", "Nodule"): ("No suspicious nodule or mass.", "There is no nodule or mass."),
    ("Mass", "Nodule", "Consolidation"): ("The lungs are clear.", "Lungs are clear bilaterally."),
}
"""One sentence that denies several; the last that fits is taken in most reports."""

OPENINGS = {
    "PA": ("Frontal view of the chest.", "PA view of the chest.", "Upright frontal radiograph."),
    "AP": ("Portable AP view of the chest.", "Single portable view.", "Portable semi-upright radiograph."),
}
COMPARISONS = ("Comparison is made with XXXX.", "Compared with the prior study of XXXX.", "Comparison: XXXX.")
BESIDES = (
    "The osseous structures are intact.",
    "Degenerative changes of the spine.",
    "Lung volumes are low.",
    "The trachea is midline.",
    "Monitoring leads overlie the chest.",
    "The aorta is tortuous.",
    "No acute bony abnormality.",
)
SAYS_NOTHING = (
    "No significant interval change.",
    "Unchanged appearance of the chest since XXXX.",
    "Limited study. Clinical correlation is recommended.",
    "Lines and tubes are in expected position.",
)
IMPRESSION_NAMES = {
    "Cardiomegaly": "cardiomegaly",
    "Effusion": "pleural effusion",
    "Mass": "lung mass",
    "Nodule": "pulmonary nodule",
    "Pneumothorax": "pneumothorax",
    "Consolidation": "consolidation",
}
ALL_CLEAR = (
    "No acute cardiopulmonary abnormality.",
    "No acute disease.",
    "Normal chest radiograph.",
    "No acute cardiopulmonary process.",
)
ADVICE = {
    "Mass": "CT is recommended.",
    "Nodule": "Follow up CT is recommended.",
    "Pneumothorax": "Findings were discussed with Dr. XXXX.",
    "Consolidation": "Follow up to resolution is recommended.",
}
