"""What is answered while it is measured: a given study, a synthetic one that fits the bundle, or golden cases."""

import json
from dataclasses import dataclass
from pathlib import Path

from ..bundle.bundle import Bundle
from ..bundle.golden import one_window
from ..errors import RecordError, StudyError, UsageError
from ..evaluation.synthetic import reads_chest, reads_liver, reads_lung
from ..files import require_file
from ..inputs.prepare import prepare
from ..manifest import Manifest
from ..record.tokenizer import open_tokenizer
from ..volume import Arrays
from .report import Subject, SubjectFacts


@dataclass(frozen=True)
class Measured:
    """A study with its record, both None for golden cases, and one window of it, N = 1, for the network alone.

    note: why it is not a study, or "".
    """

    study: Path | None
    record: Path | None
    window: Arrays
    facts: SubjectFacts
    note: str = ""

    @property
    def is_study(self) -> bool:
        """Whether there is something to answer from end to end."""
        return self.facts.kind != "golden cases"


def given_study(bundle: Bundle, study: Path | None, record: Path | None) -> Measured:
    """A study, a record, or both, as the bundle's network takes them.

    Raises:
        StudyError, RecordError: refused; the message says why.
        UsageError: one of the two is missing.
    """
    if isinstance(record, str | Path):  # It is read once for each answer: what is gone when it is read will not do.
        require_file(Path(record), error=RecordError, if_there=True)
    return _prepared(bundle, study, record, "given study")


def synthetic_study(bundle: Bundle, folder: Path) -> Measured:
    """The study that `mmcaf demo` writes, written to a folder, if there is one for the network; else a golden case."""
    manifest = bundle.manifest
    readers = {_write_lung: reads_lung, _write_liver: reads_liver, _write_chest: reads_chest}
    writer = next((writer for writer, reads in readers.items() if reads(manifest)), None)
    if writer is None:
        return _golden(bundle, f"There is no synthetic study for {manifest.network.name}")
    study, record = writer(folder, manifest)
    try:
        return _prepared(bundle, study, record, "synthetic study")
    except (StudyError, RecordError, UsageError) as failure:
        return _golden(bundle, f"The synthetic study does not fit the bundle ({failure.problem.rstrip('.')})")


def _golden(bundle: Bundle, why: str) -> Measured:
    window = one_window(bundle)
    facts = SubjectFacts("golden cases", None, 1, {name: array.shape for name, array in window.items()})
    note = f"{why}, so that no answer was measured from end to end; a study of your own is."
    return Measured(None, None, window, facts, note)


def _prepared(bundle: Bundle, study: Path | None, record: Path | None, kind: Subject) -> Measured:
    manifest = bundle.manifest
    prepared = prepare(study, record, manifest, tokenizer=open_tokenizer(bundle))
    window = prepared.inputs(len(prepared) // 2, manifest)
    slices = prepared.series[0].facts.slices if prepared.series else None
    shapes = {name: tuple(array.shape) for name, array in window.items()}
    return Measured(study, record, window, SubjectFacts(kind, slices, len(prepared), shapes))


def _write_lung(folder: Path, manifest: Manifest) -> tuple[Path, Path]:
    from ..demo.phantom import make_phantom, record
    from ..demo.write_dicom import write_series

    phantom = make_phantom(0)
    write_series(phantom, folder / "series")
    (folder / "record.json").write_text(json.dumps(record(phantom.patient)), encoding="utf-8")
    return folder / "series", folder / "record.json"


def _write_liver(folder: Path, manifest: Manifest) -> tuple[Path, None]:
    from ..demo.liver import liver_study
    from ..demo.write_mr import write_mr_series

    write_mr_series(liver_study(0), folder / "dicom")
    return folder / "dicom", None


def _write_chest(folder: Path, manifest: Manifest) -> tuple[Path, Path | None]:
    """The record holds what the network reads beside the image: the fields of its table, and the report."""
    from ..demo.radiograph import chest_record, chest_study
    from ..demo.write_dx import write_dx

    study = chest_study(0)
    record: dict[str, object] = {}
    if manifest.table is not None:
        record |= chest_record(study.patient)
    if manifest.text is not None:
        record |= study.report.fields(manifest.text.fields)
    write_dx(study, folder / "study.dcm")
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder / "study.dcm", folder / "record.json" if record else None
