"""What must agree within a manifest; each violation is a ValueError that says what does not."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from unicodedata import normalize

from .activation import OF_THE_FORMAT, provided
from .aggregation import REGRESSION, AggregationSpec
from .attention import PARTS_OF, AgreementSpec, AttentionSpec, weighed_input
from .ensemble import EnsembleSpec, score_shape
from .explain import ExplainSpec
from .image import ImageSpec
from .parts import ReportParts
from .preprocessing import PreprocessingSpec
from .series import SeriesSpec
from .table import TableSpec
from .tensors import TEXT_KINDS, OutputKind, Precision, TensorSpec
from .text import TextSpec

_AFTER_THE_SCORE: tuple[OutputKind, ...] = ("attention", "branch_score", "diagnostic")
_AT_MOST_ONE = ("image", "table", *TEXT_KINDS)
_PARTS = {"volume": "preprocessing", "image": "image", "table": "table", "tokens": "text", "token_mask": "text"}
"""Kind of input -> the part of the manifest that tells how it is made; each needs the other."""


def check_version(version: int, newer: Iterable[str]) -> None:
    """A manifest of the first version holds none of the fields that the second added.

    Raises:
        ValueError: it does; so all functions here.
    """
    if version < 2 and (found := sorted(newer)):
        raise ValueError(f"format version 2 added {', '.join(found[:4])}; this manifest says version {version}")


_LONGEST_NAME = 200
"""Bytes of a file's name with its folders, so that folder and name stay below what systems take."""
MOST_FILES = 1000
SEALS = ("manifest.json", "manifest.json.minisig")
"""What lies beside the files of a bundle: their list, and the signature of that."""
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{at}" for port in ("COM", "LPT") for at in range(10))}
"""Names that Windows keeps for devices, in any folder and with any ending (learn.microsoft.com, Naming Files)."""


def check_files(
    files: Collection[str],
    models: Mapping[Precision, str],
    text: TextSpec | None,
    parts: ReportParts | None,
    explain: ExplainSpec | None = None,
) -> None:
    """Every file that another part of the manifest names is listed, under a name that stays within the bundle."""
    vocabulary = [] if text is None else [text.vocabulary]
    cut = [] if parts is None else [file for part in parts.models.values() for file in (part.text, part.rest)]
    maps = [] if explain is None else [explain.file]
    if repeated := sorted({*maps} & {*models.values(), *cut, "golden.npz", *vocabulary}):
        raise ValueError(f"explain.file, {repeated[0]}, is a file of its own")
    for file in (*models.values(), *cut, "golden.npz", *vocabulary, *maps):
        if file not in files:
            raise ValueError(f"files does not list {file}")
    if "fp32" not in models:
        raise ValueError("models has no fp32 entry")
    if len(files) > MOST_FILES:
        raise ValueError(f"files lists {len(files)}; at most {MOST_FILES} are expected")
    if len({folded(name) for name in files}) != len(files):
        raise ValueError("files lists two names that differ in case, or in how an accent is written, alone")
    for name in files:
        if not _is_plain_name(name):
            raise ValueError(f"file name {name!r} is not a plain name")
        if folded(name) in SEALS:
            raise ValueError(f"files lists {name}, which seals them")


def check_inputs(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], sources: Mapping[str, object]) -> None:
    """Names are told apart, and inputs come in the kinds and numbers that an answer can be made with.

    Args:
        sources: name of each part of the manifest that tells how an input is made -> that part, or None.
    """
    names = [spec.name for spec in (*inputs, *outputs)]
    if len(set(names)) != len(names):
        raise ValueError("two inputs or outputs share a name")
    kinds: list[str] = [spec.kind for spec in inputs]
    if unknown := sorted(set(kinds) - set(_PARTS)):
        raise ValueError(f"no input can be of the kind {', '.join(unknown)}")
    if repeated := [kind for kind in _AT_MOST_ONE if kinds.count(kind) > 1]:
        raise ValueError(f"there is more than one input of the kind {repeated[0]}")
    if "volume" in kinds and "image" in kinds:
        raise ValueError("inputs must hold volumes or one image, not both")
    for kind, part in _PARTS.items():
        if (kind in kinds) != (sources[part] is not None):
            raise ValueError(f"inputs of the kind {kind} and the manifest's {part} must come together")


_OF_A_RECORD = {"patient_id", "patientid"}
_OF_A_COHORT = {"study", "record", "report", "label", "id"}
"""Columns of a cohort's table, where the slices of a lesion may be named too."""


def check_lesion(field: str | None, table: TableSpec | None, text: TextSpec | None) -> None:
    """The field that names a lesion's slices is one of a record, and of nothing else."""
    if field is None:
        return
    if table is None and text is None:
        raise ValueError("lesion_field is of networks that read a record; this one reads neither table nor text")
    others = {name for spec in (() if table is None else table.fields) for name in (spec.name,)}
    others |= set(() if table is None else table.ignored) | set(() if text is None else text.fields)
    taken = {name.casefold().replace("-", "_").replace(" ", "_") for name in others}
    if field in taken | _OF_A_RECORD | _OF_A_COHORT:
        raise ValueError(f"{field}: lesion_field needs a name of its own")


def check_record(table: TableSpec | None, text: TextSpec | None) -> None:
    """No field of the record is both the table's and the text's."""
    if table is not None and text is not None:
        both = sorted({field.name for field in table.fields} & set(text.fields))
        if both:
            raise ValueError(f"{', '.join(both)}: a field of the record is either the table's or the text's")


def check_parts(
    parts: ReportParts | None,
    models: Mapping[Precision, str],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> None:
    """A network in two parts is a network of this bundle, in files of its own."""
    if parts is None:
        return
    if unknown := sorted(parts.models.keys() - models.keys()):
        raise ValueError(f"text.parts are of {', '.join(unknown)}, of which models has no network")
    if parts.words.kind != "words":
        raise ValueError(f"text.parts.words is of the kind {parts.words.kind}; words is expected")
    if parts.words.name in [spec.name for spec in (*inputs, *outputs)]:
        raise ValueError(f"text.parts.words shares its name, {parts.words.name}, with an input or output")
    files = [*models.values(), *(file for part in parts.models.values() for file in (part.text, part.rest))]
    if repeated := sorted({file for file in files if files.count(file) > 1}):
        raise ValueError(f"{', '.join(repeated)}: each precision's network and its parts are files of their own")
    if all(spec.kind in TEXT_KINDS for spec in inputs):
        raise ValueError("text.parts are of networks that read more than a report")


def check_volumes(
    volumes: Sequence[TensorSpec], series: Sequence[SeriesSpec], preprocessing: PreprocessingSpec | None
) -> None:
    """Each volume input has its series rule, where there are any, and the size that its preprocessing gives."""
    matched, names = [entry.input for entry in series], [spec.name for spec in volumes]
    if matched != names and (matched or len(names) > 1):
        raise ValueError(f"series must tell which series each volume input is, in this order: {names}")
    if preprocessing is None:
        return
    windows, size = preprocessing.windows, preprocessing.size
    if windows is not None and len(names) > 1:
        raise ValueError("windows are of one series; a network of several takes each as a whole (windows: null)")
    for spec in volumes:
        at = 2 + preprocessing.slice_axis
        if windows is not None and spec.shape[at : at + 1] != (windows.slices,):
            raise ValueError("the volume input's depth differs from preprocessing.windows.slices")
        if size is not None and spec.shape[2:] != size:
            raise ValueError(f"the input {spec.name} is {spec.shape[2:]}; resize_volume gives {size}")


def check_shapes(inputs: Sequence[TensorSpec], image: ImageSpec | None, table: TableSpec | None) -> None:
    """The image and table inputs have the shapes that their parts of the manifest give."""
    for spec in inputs:
        if spec.kind == "image" and image is not None and spec.shape != (size := ("N", image.channels, *image.size)):
            raise ValueError(f"the input {spec.name} is {spec.shape}; channels and size of image give {size}")
        if spec.kind == "table" and table is not None and spec.shape != ("N", table.width):
            raise ValueError(f"the table input's width differs from the number of table fields and cuts, {table.width}")


def check_labels(activation: str, labels: Sequence[str], threshold: float | None, thresholds: Sequence[float]) -> None:
    """Labels, activation and thresholds fit each other; of other packages' decisions, that there is such a one."""
    if len(set(labels)) != len(labels):
        raise ValueError("two labels share a name")
    if activation not in OF_THE_FORMAT:
        if not provided(activation):
            raise ValueError(
                f"unknown output decision {activation!r} as activation: it is none of {', '.join(OF_THE_FORMAT)}, and "
                "no installed package provides it"
            )
        return
    if activation == "sigmoid" and len(labels) != 2:
        raise ValueError("activation sigmoid tells two labels apart; softmax is for more")
    if activation == "softmax" and len(labels) < 2:
        raise ValueError("activation softmax tells two labels or more apart; independent can be of one")
    if (activation == "sigmoid") != (threshold is not None):
        raise ValueError(
            "threshold belongs to activation sigmoid, which needs it; softmax takes the largest, and independent has "
            "thresholds"
        )
    if len(thresholds) != (len(labels) if activation == "independent" else 0):
        raise ValueError("thresholds belongs to activation independent, which needs one for each label")


def check_aggregation(spec: AggregationSpec, activation: str, preprocessing: PreprocessingSpec | None) -> None:
    """A regression over windows' scores has one score of each of several windows."""
    if spec.method != REGRESSION:
        return
    if activation != "sigmoid":
        raise ValueError(f"aggregation {REGRESSION} is of one logit, activation sigmoid, and not of {activation}")
    if preprocessing is None or preprocessing.windows is None:
        raise ValueError(f"aggregation {REGRESSION} is over the windows of a study; this network takes none")


def check_codes(labels: Collection[str], codes: Collection[str]) -> None:
    """What has a code is a label."""
    if unknown := sorted(set(codes) - set(labels)):
        raise ValueError(f"label_codes names {', '.join(unknown)}, which is no label")


def check_outputs(
    outputs: Sequence[TensorSpec], activation: str, labels: Sequence[str], ensemble: EnsembleSpec | None = None
) -> None:
    """One score of the right width comes first, of an ensemble one of each member; others in a fixed order after it."""
    score, kinds = outputs[0], [spec.kind for spec in outputs]
    if kinds != ["score", *(kind for kind in _AFTER_THE_SCORE for _ in range(kinds.count(kind)))]:
        told = ", ".join(f"{spec.name} is {spec.kind}" for spec in outputs)
        raise ValueError(
            f"outputs must hold one score, attention after it, and branch_score last, but for diagnostic ones: {told}"
        )
    if activation not in OF_THE_FORMAT:
        if score.shape != (wanted := score_shape(ensemble, score.shape[-1:])):
            raise ValueError(f"the output {score.name} must be {_in_words((*wanted[:-1], 'scores'))}")
        return
    scores = 1 if activation == "sigmoid" else len(labels)
    if score.shape != (wanted := score_shape(ensemble, [scores])):
        of = "" if ensemble is None else " and members"
        raise ValueError(f"the output {score.name} must be {_in_words(wanted)} for these labels{of}")


def _in_words(shape: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def check_attention(
    outputs: Sequence[TensorSpec],
    attention: Sequence[AttentionSpec],
    inputs: Sequence[TensorSpec],
    preprocessing: PreprocessingSpec | None,
    table: TableSpec | None = None,
) -> None:
    """Each attention output is told what it weighs, and weighs what is there."""
    weights = [spec for spec in outputs if spec.kind == "attention"]
    if [entry.output for entry in attention] != [spec.name for spec in weights]:
        raise ValueError("attention must tell what each attention output weighs, in their order")
    for entry, spec in zip(attention, weights, strict=True):
        weighed = weighed_input(entry, inputs)
        if weighed is None:
            which = "a volume input" if entry.input is None else f"{entry.input}, a volume, image, table or tokens"
            raise ValueError(f"attention weighs parts of {which}, and there is none")
        if weighed.kind not in PARTS_OF:
            _check_list(entry, spec, weighed, table)
            continue
        if entry.grid is None:
            raise ValueError(f"attention {entry.output} has no grid; parts of {weighed.name} need one")
        if spec.shape != ("N", entry.grid[0] * entry.grid[1]):
            raise ValueError(f"the output {spec.name} does not have one weight for each of {entry.grid} parts")
        if weighed.kind == "image" or preprocessing is None:
            if entry.slices is not None:
                raise ValueError(f"attention {entry.output}: an image has no slices")
            continue
        depth = weighed.shape[2 + preprocessing.slice_axis]
        if entry.slices is not None and not entry.slices[0] < entry.slices[1] <= int(depth):
            raise ValueError(f"attention {entry.output}: slices {entry.slices} are not within {depth}")


def _check_list(entry: AttentionSpec, spec: TensorSpec, weighed: TensorSpec, table: TableSpec | None) -> None:
    """Weights of word pieces or fields are one row, one of each."""
    if entry.grid is not None or entry.slices is not None:
        raise ValueError(f"attention {entry.output}: grid and slices are of volumes and images, not of {weighed.name}")
    expected = "L" if weighed.kind == "tokens" else 0 if table is None else len(table.fields)
    if spec.shape != ("N", expected):
        each = "word piece" if weighed.kind == "tokens" else "field of the table"
        raise ValueError(f"the output {spec.name} is {spec.shape}; one weight for each {each} is (N, {expected})")


def check_agreement(agreement: AgreementSpec | None, attention: Sequence[AttentionSpec]) -> None:
    """Two different outputs agree or not, which weigh the same parts of the same input."""
    if agreement is None:
        return
    known = {entry.output: entry for entry in attention if entry.grid is not None}
    if unknown := sorted(set(agreement.outputs) - known.keys()):
        raise ValueError(f"attention_agreement: {', '.join(unknown)} is no attention over a grid")
    first, second = (known[name] for name in agreement.outputs)
    if first is second:
        raise ValueError(f"attention_agreement: {first.output} is compared with itself")
    if (first.grid, first.slices, first.input) != (second.grid, second.slices, second.input):
        raise ValueError(f"attention_agreement: {first.output} and {second.output} weigh other parts, not the same")


def folded(name: str) -> str:
    """The same for all names that some file system takes for one (The Unicode Standard, 3.13, D145)."""
    return normalize("NFD", normalize("NFD", name).casefold())


def _is_plain_name(name: str) -> bool:
    """Whether every file system takes it as it is, and none as something else."""
    return len(name.encode(errors="replace")) <= _LONGEST_NAME and all(map(_is_plain_part, name.split("/")))


def _is_plain_part(part: str) -> bool:
    device = part.partition(".")[0].rstrip(" ").upper() in _DEVICES
    return part.isprintable() and not device and part[-1:] not in ("", ".", " ") and not set(part) & set('\\:<>"|?*')
