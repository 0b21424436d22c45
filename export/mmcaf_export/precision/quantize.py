"""Adds lower precisions to a bundle, each behind the accuracy gate."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mmcaf_engine.bundle.accuracy import ACCURACY_NAME, Accuracy, write_accuracy
from mmcaf_engine.bundle.bundle import Bundle, check_output, load_bundle, write_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, open_golden, own_probabilities
from mmcaf_engine.bundle.sealed import is_signed
from mmcaf_engine.cancel import Progress
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import ExportError, RecordError, Remedy, StudyError, UsageError
from mmcaf_engine.evaluation.cases import Cohort
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.cohort_table import columns_of
from mmcaf_engine.evaluation.compare import evaluate
from mmcaf_engine.manifest import PRECISIONS, Manifest, Precision, ReportParts, between, types_in
from mmcaf_engine.outputs import scratch_beside
from mmcaf_engine.record.tokenizer import open_tokenizer
from mmcaf_kernels.cpu.openvino.placement import ENDING

from ..golden import write_golden
from ..text_parts import parts_without, remove_parts
from .attempts import Attempts, Int8Attempts, TypedAttempts
from .calibration import METHODS, Window
from .costs import Family, family_for
from .course import Course, Tell
from .effects import LOGIT_BUDGETS
from .gate import Verdict, sessions, try_first
from .int8 import Int8Plan, Processor, int8_judge
from .report import QuantizeReport, comparisons
from .self_tests import here, kinds_for, own_cases, simulated, tested_parts
from .spared import SparedPlan

CALIBRATION = "demo:50000-50031"
"""Studies that ranges are taken from unless others are named: synthetic patients of seeds used for nothing else."""

WINDOWS_PER_STUDY = 4

_NOT_A_COHORT = "the labels of calibration studies do not count; name labelled studies with --cohort"

QUANTISED: tuple[Precision, ...] = tuple(precision for precision in PRECISIONS if "int8" in types_in(precision))
"""Those with layers in INT8."""

_Name = TypeVar("_Name", bound=str)


def quantize_bundle(
    path: str | Path,
    output: str | Path | None = None,
    *,
    precisions: Sequence[str] = ("int8",),
    calibration: str | None = None,
    cohort: str | None = None,
    method: str | None = None,
    logit_budget: float | None = None,
    processor: str = "cpu",
    force: bool = False,
    tell: Tell = lambda _line: None,
    progress: Progress | None = None,
) -> QuantizeReport:
    """Add precisions to a bundle; what fails the manifest's bounds is not written.

    Args:
        path: the bundle.
        output: where the new bundle goes; by default it replaces the old one.
        precisions: of fp16, bf16 and int8.
        calibration: studies that INT8's ranges are taken from, as `open_cohort` reads them; CALIBRATION by default.
        cohort: studies that every precision is compared with FP32 on; by default those of
            `calibration`, whose labels then do not count: AUROC is for a cohort that was chosen for it.
        method: "minmax", "percentile" or "entropy"; by default the one that is measured to be best.
        logit_budget: root mean square of the logit error that a precision may be expected to add; the layers that
            exceed it stay FP32. By default those of LOGIT_BUDGETS in turn until the bounds are kept. FP16 and BF16 are
            tried in all layers first. With infinity all that save time are taken, and the bounds alone decide.
        processor: what INT8's layers are chosen for: a family of processors of `costs.families`, by its peaks; "cpu",
            which is DEFAULT_FAMILY whatever the machine at hand is; or "gpu", by their arithmetic.
        force: replace what stands at `output`.
        tell: called with a line of text at each step.
        progress: called with (phase, done, total) in every phase that takes long.

    What was measured outlives an interruption or a kill: the same call goes on from there, to the same bytes.

    Raises:
        BundleError: the bundle is refused.
        UsageError: an unknown precision, method or processor, a cohort cannot be used, the network does not read
            CALIBRATION and no other is named, the budget is not positive, or nothing may be written at `output`.
        StudyError: none of the studies can be used.
        ExportError: no precision passed; nothing is written.
    """
    chosen = _lower(precisions)
    ranges_by = None if method is None else _one_of(METHODS, method, "calibration method")
    family = family_for(processor)
    made_for: Processor = "gpu" if family is None else "cpu"
    bundle = load_bundle(path)
    target = Path(path if output is None else output)
    signed = bundle.origin.key is not None
    source_bundle = None if output is None else path
    replaces = force or output is None
    place = check_output(target, inputs=[calibration, cohort, source_bundle], force=replaces)
    if logit_budget is not None and not logit_budget > 0:
        raise UsageError(f"A logit budget of {logit_budget} came; it must be above 0.", f"Try {LOGIT_BUDGETS[0]}.")
    manifest = bundle.manifest
    source = open_cohort(calibration or CALIBRATION, manifest)
    judges = source.unlabelled(_NOT_A_COHORT) if cohort is None else open_cohort(cohort, manifest)
    check_output(target, inputs=[*source.files, *judges.files], force=replaces)
    if calibration is None and (any("int8" in types_in(one) for one in chosen) or cohort is None):
        _expect_fit(source, bundle)
    try_first(bundle, int8_judge(made_for))
    course = Course.of(bundle, tell, progress)
    with scratch_beside(place) as scratch:
        folder = scratch / "bundle"
        for name in manifest.files.keys() - {ACCURACY_NAME}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with bundle.open(name) as source_file, (folder / name).open("xb") as copy:
                shutil.copyfileobj(source_file, copy, 1 << 20)
        models = {held: folder / file for held, file in manifest.models.items()}
        windows = cache(lambda: _windows(bundle, source, course))

        def attempts(precision: Precision) -> Attempts:
            models[precision] = folder / f"model.{precision}.onnx"
            _remove(models[precision])
            network = models["fp32"], models[precision], manifest, windows
            if precision == "fp16" or precision == "bf16":
                return TypedAttempts(*network, precision, budget=logit_budget, course=course)
            return Int8Attempts(
                *network, precision, method=ranges_by, budget=logit_budget, family=family, course=course
            )

        made = {precision: attempts(precision) for precision in chosen}
        golden = _golden(bundle)
        accuracy, parts = _judged(bundle, models, made, judges, made_for, golden, scratch, course)
        failed = {name: facts.reasons for name, facts in accuracy.precisions.items() if not facts.passed}
        failed = {name: (*reasons, *_most(made.get(name))) for name, reasons in failed.items()}
        if set(failed) >= set(chosen):
            course.journal.finish()
            for line in comparisons(accuracy):
                tell(line)
            raise ExportError(
                f"No precision of {manifest.name} stays within the manifest's bounds: {_sentence(failed)}. "
                "Nothing was written.",
                Remedy(
                    "Change the manifest's accuracy_bounds, or name studies like those it will see",
                    option="calibration",
                ),
            )
        for precision in failed:
            _remove(models.pop(precision))
            parts = None if parts is None else parts_without(parts, precision)
        write_accuracy(accuracy, folder / ACCURACY_NAME)
        write_golden(folder / GOLDEN_NAME, golden)
        document = manifest.model_dump(mode="json", exclude={"files"})
        document["models"] = {held: file.name for held, file in models.items()}
        if manifest.text is not None:
            document["text"]["parts"] = None if parts is None else parts.model_dump(mode="json")
        plans = {precision: made[precision].plan for precision in made if precision in models}
        document["provenance"] |= {
            precision.replace("-", "_"): _provenance(plans.get(precision), source, family, between(precision), manifest)
            for precision in chosen
        }
        tell(f"sealing {target}")
        sealed = write_bundle(folder, document, target, force=replaces)
    course.journal.finish()
    return QuantizeReport(
        output=target,
        sha256=sealed.sha256,
        accuracy=accuracy,
        written=tuple(held for held in models if held != "fp32"),
        refused=failed,
        plans=plans,
        sizes={file: facts.size for file, facts in sealed.manifest.files.items()},
        signature_dropped=signed and not is_signed(target),
    )


def _judged(
    bundle: Bundle,
    models: Mapping[Precision, Path],
    made: Mapping[Precision, Attempts],
    judges: Cohort,
    made_for: Processor,
    golden: dict[str, Any],
    scratch: Path,
    course: Course,
) -> tuple[Accuracy, ReportParts | None]:
    """Compare every precision with FP32, and have it pass the self-test; what does not is made again while it can be.

    The own answers of what has layers in INT8 go into `golden`. Of a network that reads a report, the two parts are
    written and tested too, and given back as the manifest says them.

    Where none is left to make, INT8 that passes in the backend that judges is kept for the backends that it passes in.
    The backends of a CPU need not pass an INT8 network whose layers were chosen for a GPU, but for the one that judges.
    """
    judge = int8_judge(made_for)
    manifest, raw = bundle.manifest, check_raw_case(bundle)
    verdicts: dict[Precision, Verdict] = {}
    parts: ReportParts | None = None
    pending = list(made.values())
    while pending := [one for one in pending if one.write()]:
        again = {"fp32", *(one.precision for one in pending)}
        asked = {name: model for name, model in models.items() if not verdicts or name in again}
        course.tell(f"comparing with FP32 on {judges.source} ({len(judges)} studies)")
        on_gpu = [precision for precision in QUANTISED if _is_for_gpu(precision, manifest, made, made_for)]
        with sessions(bundle, asked, _kept(manifest, made), judge, on_gpu, scratch, course) as panel:
            accuracy, outcome = evaluate(judges, panel.first, others=panel.further, progress=course.progress)
            judged = panel.judged(accuracy, outcome, bundle)
            for precision in panel.first.keys() & {*QUANTISED}:
                session = panel.first[precision]
                inputs = {spec.name: golden[spec.name] for spec in manifest.inputs}
                answers = session.run(inputs, optional=True)
                golden |= {f"{name}@{precision}": array for name, array in answers.items()}
                if raw is not None:
                    golden[own_probabilities(precision)] = raw.probabilities(session.run)
            failing: dict[Precision, tuple[str, ...]] = {
                precision: simulated(manifest, precision, session.run, own_cases(golden, manifest, precision))
                for precision, session in panel.first.items()
                if precision in ("fp16", "bf16")
            }
        parts = tested_parts(manifest, models, golden, course.tell)
        for done, (precision, verdict) in enumerate(judged.items(), start=1):
            course.tell(f"running the self-test of {precision} in the backends of this machine")
            kinds = [
                kind
                for kind in kinds_for(precision)
                if precision not in on_gpu or kind is judge or (kind.needs_gpu or kind.auto_needs_gpu)
            ]
            cases = own_cases(golden, manifest, precision)
            verdict.facts = verdict.facts.failing(*failing.get(precision, ()))
            for backend, reasons in here(manifest, precision, models[precision], cases, kinds, parts).items():
                verdict.fail(backend, *reasons)
            verdicts[precision] = verdict
            course.progress("self-tests", done, len(judged))
        pending = [one for one in pending if not verdicts[one.precision].everywhere().passed]
        for one in pending:
            course.tell(f"{one.precision}: {', '.join(verdicts[one.precision].everywhere().reasons)}")
    found = {precision: verdict.where_it_passed() for precision, verdict in verdicts.items()}
    return accuracy.model_copy(update={"precisions": found}), parts


def _is_for_gpu(
    precision: Precision, manifest: Manifest, made: Mapping[Precision, Attempts], made_for: Processor
) -> bool:
    """Whether the INT8 layers of a network are chosen for a GPU: now, or when the bundle got it."""
    held = manifest.provenance.quantised().get(precision)
    return (made_for if precision in made or held is None else held.processor) == "gpu"


def _expect_fit(cohort: Cohort, bundle: Bundle) -> None:
    """Refuse a network that does not read the studies which ranges are taken from where none are named.

    They are all of one form, so that the first speaks for all.

    Raises:
        UsageError: it does not.
    """
    try:
        next(iter(cohort)).load(bundle.manifest, open_tokenizer(bundle))
    except (StudyError, RecordError) as failure:
        raise UsageError(
            f"{bundle.manifest.name} does not read {CALIBRATION}, the demonstration's studies, which are used where "
            f"none are named: {failure.problem}",
            _name_studies(bundle.manifest),
        ) from None


def _name_studies(manifest: Manifest) -> Remedy:
    """To calibrate with others: the form of a table of studies as this network reads them."""
    return Remedy(
        f"Name studies like those that it will see: a CSV table whose first line is {columns_of(manifest)}, and each "
        "further line one study, with paths from the table's own folder",
        option="calibration",
        value="COHORT.csv",
    )


def _windows(bundle: Bundle, cohort: Cohort, course: Course) -> list[Window]:
    """Windows of the golden cases and of the studies, at most WINDOWS_PER_STUDY of each, evenly spread.

    Raises:
        StudyError: none of the studies can be used.
    """
    manifest = bundle.manifest
    names = [spec.name for spec in manifest.inputs]
    golden, tokenizer = _golden(bundle), open_tokenizer(bundle)
    windows: list[Window] = [{name: golden[name][at : at + 1] for name in names} for at in range(len(golden[names[0]]))]
    stored, refused = len(windows), ""
    for done, case in enumerate(cohort, start=1):
        course.progress("calibration studies", done, len(cohort))
        try:
            prepared = case.load(manifest, tokenizer)
        except (StudyError, RecordError) as failure:
            course.tell(f"{case.id} is left out of the calibration: {failure}")
            refused = refused or f"The first, {case.id}: {failure.problem}"
            continue
        for at in np.unique(np.linspace(0, len(prepared) - 1, WINDOWS_PER_STUDY).round().astype(int)):
            windows.append({name: array.copy() for name, array in prepared.inputs(int(at), manifest).items()})
    if len(windows) == stored:
        raise StudyError(
            f"{cohort.source}: none of {len(cohort)} studies can be calibrated with. {refused}",
            _name_studies(manifest),
        )
    return windows


def _golden(bundle: Bundle) -> dict[str, Any]:
    """Everything but what a precision answered of its own."""
    with open_golden(bundle) as arrays:
        return {name: arrays[name] for name in arrays if "@" not in name}


def _lower(wanted: Sequence[str]) -> tuple[Precision, ...]:
    """The precisions of these names, in order, each once.

    Raises:
        UsageError: none, an unknown one, or FP32.
    """
    lower = [name for name in PRECISIONS if name != "fp32"]
    choose = Remedy(f"Choose of {', '.join(lower)}", option="precision")
    if not wanted or "fp32" in wanted:
        raise UsageError("fp32 is what the others are compared with.", choose)
    if unknown := [name for name in wanted if name not in lower]:
        raise UsageError(f"Unknown lower precision {unknown[0]!r}.", choose)
    return tuple(name for name in lower if name in wanted)


def _one_of(known: tuple[_Name, ...], wanted: str, what: str) -> _Name:
    for name in known:
        if name == wanted:
            return name
    raise UsageError(f"Unknown {what} {wanted!r}.", f"Choose one of: {', '.join(known)}.")


def _provenance(
    plan: Int8Plan | SparedPlan | None, cohort: Cohort, family: Family | None, between: Precision, manifest: Manifest
) -> dict[str, Any] | None:
    if plan is None:
        return None
    facts = {"layers": len(plan.layers), "kept": plan.kept}
    if isinstance(plan, SparedPlan):
        return facts
    made = {
        "processor": "gpu" if family is None else "cpu",
        "calibration": cohort.source,
        "method": plan.method,
        **facts,
    }
    if family is not None and manifest.format_version > 1:
        made["family"] = family.name
    return made if between == "fp32" else {**made, "between": between}


def _kept(manifest: Manifest, made: Mapping[Precision, Attempts]) -> dict[Precision, Collection[str]]:
    """Layers that FP16 and BF16 leave in FP32: of those that the bundle holds already, and of the new ones."""
    held = manifest.provenance.spared()
    plans = {precision: one.plan for precision, one in made.items()}
    return {**held, **{precision: () if plan is None else plan.kept for precision, plan in plans.items()}}


def _most(made: Attempts | None) -> list[str]:
    """Which layers move the logit most, where that was measured."""
    most = None if made is None else made.most()
    return [] if most is None else [most]


def _sentence(failed: dict[Precision, tuple[str, ...]]) -> str:
    return "; ".join(f"{precision}: {', '.join(reasons)}" for precision, reasons in failed.items())


def _remove(model: Path) -> None:
    model.unlink(missing_ok=True)
    for beside in (".data", ENDING):
        model.with_name(f"{model.name}{beside}").unlink(missing_ok=True)
    remove_parts(model)
