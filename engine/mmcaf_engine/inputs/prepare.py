"""A study and a record made ready for any session of one bundle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..cancel import Progress
from ..errors import Remedy, UsageError
from ..image import open_image
from ..manifest import REGRESSION, ImageSpec, Manifest
from ..record.clinical import Clinical, expect_clinical, read_clinical
from ..record.document import RecordSource
from ..record.record import Record
from ..record.report import ReportSource
from ..record.slices import NamedSlices, Slices, SliceSpan
from ..record.tokenizer import Tokenizer
from ..study import Duplicates, Gaps, InputSeries, Oblique, Policies, Series, StudySource, Tilt, open_inputs
from ..timing import span
from ..volume import Arrays, PatientHeader, Placement, Study, StudyFacts, Volume
from ..workers import Scratch
from .image import image_input
from .scope import Scope, remark_on, scope_of, slices_asked
from .windows import Preprocessor, Values, Windows


@dataclass(frozen=True)
class PreparedSeries:
    """What one volume input will see, of which series.

    source: the series' SeriesInstanceUID, or the file's name. chosen: why this one, in words.
    placement: where the volume lies in the patient; None where it was made without one.
    """

    input: str
    facts: StudyFacts | Study
    windows: Windows
    source: str = ""
    chosen: str = ""
    placement: Placement | None = None


@dataclass(frozen=True)
class PreparedImage:
    """What the image input will see, float32 [1, C, H, W], of which file.

    source: the image's SOPInstanceUID, or the file's name. chosen: why this one, in words.
    """

    input: str
    facts: StudyFacts
    values: NDArray[np.float32]
    source: str = ""
    chosen: str = ""


@dataclass(frozen=True)
class Prepared:
    """What the network will see: a series for each volume input or one image, and the record and the report.

    Every series has the same number of windows; of several series each is one. Whatever has no series is one window.
    """

    series: tuple[PreparedSeries, ...]
    clinical: Clinical = field(default_factory=Clinical)
    image: PreparedImage | None = None

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.starts)

    @property
    def starts(self) -> tuple[int, ...]:
        """First slice of each window."""
        return self.series[0].windows.starts if self.series else (0,)

    @property
    def studied(self) -> tuple[PreparedSeries | PreparedImage, ...]:
        """The series, or the image; empty where the network reads no study."""
        return self.series if self.image is None else (self.image,)

    @property
    def record(self) -> Record | None:
        """The validated record."""
        return self.clinical.record

    @property
    def record_warnings(self) -> tuple[str, ...]:
        """Warnings on the record and the report."""
        return self.clinical.warnings

    @property
    def study_warnings(self) -> tuple[str, ...]:
        """Warnings on the series or image; of several, each says which one it is about."""
        return self._of_each([entry.facts.warnings for entry in self.studied])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is merely absent from the study, the record or the report."""
        return (*self._of_each([entry.facts.remarks for entry in self.studied]), *self.clinical.remarks)

    def _of_each(self, said: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """Sentences on each series or image; of several, each says which one it is about."""
        several = len(self.studied) > 1
        return tuple(
            f"{entry.input}: {text}" if several else text
            for entry, texts in zip(self.studied, said, strict=True)
            for text in texts
        )

    def inputs(self, window: int, manifest: Manifest) -> Arrays:
        """All that the network takes for one window: input name -> array [1, ...]; volumes are read-only."""
        arrays = {entry.input: entry.windows.window(window) for entry in self.series}
        if self.image is not None:
            arrays[self.image.input] = self.image.values
        return arrays | self.clinical.inputs(manifest)


def prepare(
    study: StudySource | None,
    record: RecordSource | None,
    manifest: Manifest,
    *,
    report: ReportSource | None = None,
    tokenizer: Tokenizer | None = None,
    series: Series | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    oblique: Oblique | None = None,
    stride: int | None = None,
    slices: Slices | None = None,
    lesion: NamedSlices | None = None,
    row: int | None = None,
    allow_id_mismatch: bool = False,
    progress: Progress | None = None,
    accepted: Callable[[], None] | None = None,
) -> Prepared:
    """Read a study and a record as a bundle's manifest wants them; arguments as for `pipeline.infer`.

    Each slice is preprocessed by the thread that decoded it, while it is at hand.

    Args:
        study: None for a network that reads none.
        tokenizer: of the bundle, by `text.open_tokenizer`; needed where the network reads text.
        lesion: the slices of the lesion, in place of those that the record names.
        accepted: called once, when all that can be told without decoding pixels is in order: the study's
            headers and geometry, the record, and how the windows will lie.

    Raises:
        StudyError, RecordError: that part is refused; the message says why.
        UsageError: an argument is out of range.
    """
    asked = slices_asked(slices)
    expect_clinical(record, report, manifest)
    usual = manifest.preprocessing.oblique if manifest.preprocessing is not None else "refuse"
    policies = Policies(gaps, tilt, duplicates, usual if oblique is None else oblique)

    def clinical_of(patient: PatientHeader) -> Clinical:
        with span("record"):
            return read_clinical(
                record, report, manifest, tokenizer, patient, row=row, allow_id_mismatch=allow_id_mismatch
            )

    if manifest.preprocessing is None:
        _refuse_options_of_volumes(manifest, policies, stride, asked)
        if manifest.image is not None:
            return _with_image(
                _given(study, manifest), manifest, manifest.image, series, clinical_of, progress, accepted
            )
        if study is not None:
            raise UsageError(f"{manifest.name} reads no study, but one was given.", "Give the record alone.")
        alone = Prepared((), clinical_of(PatientHeader()))
        if accepted is not None:
            accepted()
        return alone
    _refuse_other_stride(manifest, stride)
    with open_inputs(_given(study, manifest), manifest, series=series, policies=policies, progress=progress) as opened:
        clinical = clinical_of(_patient(opened))
        if lesion is None and clinical.record is not None:
            lesion = clinical.record.lesion
        scope = scope_of(asked, lesion, manifest, opened[0].opened, called(opened[0]))
        clinical = replace(clinical, warnings=(*clinical.warnings, *scope.warnings))
        with span("preprocess"):
            preprocessors = [
                Preprocessor(
                    entry.opened.shape, manifest.of_volumes, stride=stride, span=scope.span, name=called(entry)
                )
                for entry in opened
            ]
        if accepted is not None:
            accepted()
        counting = _Counting(progress, [entry.opened.shape[0] for entry in opened])
        read = []
        for entry, preprocessor in zip(opened, preprocessors, strict=True):
            read.append(_remarked(prepared_series(entry, preprocessor, counting), scope, manifest))
            counting.done_before += entry.opened.shape[0]
    return Prepared(tuple(read), clinical)


def _given(study: StudySource | None, manifest: Manifest) -> StudySource:
    if study is None:
        raise UsageError(f"{manifest.name} reads a study; none was given.", Remedy("Give one", option="study"))
    return study


def _patient(opened: Sequence[InputSeries]) -> PatientHeader:
    """Of the first series that says whose it is, since not all need say it; those that do are of one patient."""
    headers = [entry.opened.patient for entry in opened]
    return next((header for header in headers if header.patient_id is not None), headers[0])


def _remarked(read: PreparedSeries, scope: Scope, manifest: Manifest) -> PreparedSeries:
    """The same, with a remark on what was scored of it, if there is anything to say of that."""
    if (spec := manifest.of_volumes.windows) is None:
        return read
    remarks = remark_on(scope, read.windows, spec, count=read.facts.slices, images=read.facts.images)
    return replace(read, facts=replace(read.facts, remarks=(*read.facts.remarks, *remarks))) if remarks else read


def _refuse_options_of_volumes(
    manifest: Manifest, policies: Policies, stride: int | None, asked: SliceSpan | None
) -> None:
    given = [*policies.accepting]
    given += ["stride"] if stride is not None else []
    given += ["slices"] if asked is not None else []
    if given:
        read = "one 2D image" if manifest.image is not None else "no study"
        raise UsageError(
            f"{', '.join(given)}: for networks that read volumes; {manifest.name} reads {read}.",
            *(Remedy("Leave it out", option=name) for name in given),
        )


def _refuse_other_stride(manifest: Manifest, stride: int | None) -> None:
    """A regression that counts windows is of as many as it was fitted with."""
    windows = manifest.of_volumes.windows
    if manifest.aggregation.method == REGRESSION and windows is not None and stride not in (None, windows.stride):
        raise UsageError(
            f"stride: {stride} slices came; {manifest.name} counts windows every {windows.stride} slices, and the "
            "coefficients of its logistic regression are of as many.",
            Remedy("Leave it out", option="stride"),
        )


def _with_image(
    study: StudySource,
    manifest: Manifest,
    spec: ImageSpec,
    series: Series | None,
    clinical_of: Callable[[PatientHeader], Clinical],
    progress: Progress | None,
    accepted: Callable[[], None] | None,
) -> Prepared:
    name = manifest.input("image").name
    if isinstance(study, Volume | Study | Mapping):
        raise UsageError(
            f"{manifest.name} reads one 2D image, but a volume was given.", "Give a file, or pydicom data sets."
        )
    with open_image(study, spec, input=name, series=series, body_part=manifest.body_part, progress=progress) as opened:
        clinical = clinical_of(opened.patient)
        if accepted is not None:
            accepted()
        plane, facts = opened.read(progress)
    with span("preprocess"):
        values = image_input(plane, spec)
    return Prepared((), clinical, PreparedImage(name, facts, values, opened.source, opened.choice.why))


def called(entry: InputSeries) -> str:
    """What messages call an input's series."""
    return f"{entry.input}: {entry.source}" if entry.source else f"{entry.input}: the volume given"


def prepared_series(entry: InputSeries, preprocessor: Preprocessor, progress: Progress | None = None) -> PreparedSeries:
    """Decode one series; the thread that decoded a slice preprocesses it.

    Raises:
        StudyError: pixels that cannot be decoded, would give a wrong volume, or hold nothing to be seen.
    """

    def receive(index: int, values: Values, scratch: Scratch) -> None:
        with span("preprocess"):
            preprocessor.put(index, values, scratch)

    facts = entry.opened.stream(receive, progress)
    preprocessor.extremes.refuse_one_value()
    facts = replace(facts, warnings=(*facts.warnings, *preprocessor.extremes.warnings(entry.opened.intensity)))
    with span("preprocess"):
        windows = preprocessor.windows()
    return PreparedSeries(entry.input, facts, windows, entry.source, entry.why, entry.opened.placement)


class _Counting:
    """Tells of the slices of all series together."""

    def __init__(self, progress: Progress | None, slices: list[int]) -> None:
        self._progress = progress
        self._slices = slices
        self.done_before = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._progress is not None and len(self._slices) == 1:
            self._progress(stage, done, total)
        elif self._progress is not None:
            everything = sum(self._slices)
            self._progress(stage, min(self.done_before + done, everything), everything)
