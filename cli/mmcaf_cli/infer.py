"""`mmcaf-infer STUDY [RECORD]`: the answer on stdout, everything else on stderr."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import App, Backend, Device, Force, Json, OldOutput, Output, Precision, Threads, on_device
from .run import ends_at_once, few_collections, run

if TYPE_CHECKING:
    from mmcaf_engine.outputs import Output as Place

app = App()

IN_WORDS = {"attention", "record"}
"""What the text and the JSON have room for; other methods of --explain make nothing but maps."""

_EPILOG = (
    "Exit codes: 0 answered; 2 wrong usage; 3 study refused; 4 record refused; 5 bundle refused; 6 backend or "
    "precision unavailable; 7 refused by --strict; 124 not done in time; 130 interrupted; 1 a bug. Not a medical "
    "device."
)


@app.command(epilog=_EPILOG)
def infer(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="DICOM file (also multi-frame), directory, zip, or DICOMDIR; or NIfTI files; for a 2D network also "
            "PNG or JPEG. A network that reads no study takes the record here.",
        ),
    ],
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORD",
            help="Clinical record: a flat JSON object, a FHIR R4 Bundle, or a CSV table with a row for the study's "
            "patient; - is stdin; or a .txt file where only a report is read.",
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.txt", help="The report as plain text in UTF-8, if the record does not hold it; - is stdin."
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE", help="Bundle to answer with. Default: $MMCAF_BUNDLE, the user's config, the demo."
        ),
    ] = None,
    backend: Backend = "auto",
    device: Device = None,
    precision: Precision = "auto",
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[INPUT=]SERIES",
            help="SeriesInstanceUID, number from the list of series, or path. For a network of several: INPUT=SERIES, "
            "such as t2=4 or t2=t2.nii.gz; may be repeated.",
        ),
    ] = None,
    gaps: Annotated[
        Literal["refuse", "interpolate"], typer.Option(help="Missing slices: refuse, or interpolate a few.")
    ] = "refuse",
    tilt: Annotated[
        Literal["refuse", "resample"], typer.Option(help="A tilted gantry: refuse, or undo its shear.")
    ] = "refuse",
    duplicates: Annotated[
        Literal["refuse", "first"], typer.Option(help="Slices at one position: refuse, or keep the first.")
    ] = "refuse",
    oblique: Annotated[
        Literal["refuse", "accept"] | None,
        typer.Option(help="MR slices 5 to 20 degrees off axial: refuse or accept. Default: the manifest's."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(metavar="N", help="Slices between windows. Default: the manifest's.")
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="A-B", help="Score slices A to B only, counted from 1 at the feet. Default: all."),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(metavar="N", help="Row of a CSV record, from 1. Default: that of the study's patient."),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    output: Output = None,
    out: OldOutput = None,
    explain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="What moved the answer: a map by attention, gradcam or occlusion, which hides one part after the "
            "other and takes long; or record, each of its fields. May be repeated.",
        ),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Also draw the map over the slices, to this file. Default: of the attention, else of Grad-CAM.",
        ),
    ] = None,
    heatmap_over: Annotated[
        str | None,
        typer.Option(metavar="INPUT", help="Input to draw the heat map over. Default: what it is about."),
    ] = None,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write the answer as DICOM objects, into this folder: a structured report and a picture, and a "
            "heat map that is asked for.",
        ),
    ] = None,
    dicom_objects: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Which ones: sr, sc, pm (Parametric Map of a heat map), seg (the same as Segmentation), gsps (key "
            "slices with text), ko (key slices), with commas between them. Default: sr,sc, and pm with a heat map.",
            show_default=False,
        ),
    ] = "default",
    replaces: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.dcm", help="A structured report of this study that the new one names as its predecessor."
        ),
    ] = None,
    fhir_out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Also write the answer as a FHIR R4 Bundle, to this file."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write the answer as one page to read or print, to this file."),
    ] = None,
    created: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When the answer says that it was made, such as 2026-11-30T09:08:48Z. Default: now."
        ),
    ] = None,
    force: Force = False,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give up after so many seconds (exit code 124).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to answer with warnings (exit code 7).")] = False,
    allow_id_mismatch: Annotated[
        bool, typer.Option("--allow-id-mismatch", help="Accept a record whose patient id differs from the study's.")
    ] = False,
    without_patient: Annotated[
        bool, typer.Option("--deidentify", help="Leave nothing of the patient in the answer; UIDs become others.")
    ] = False,
) -> None:
    """Answer one study with a multimodal fusion network."""
    from mmcaf_engine.cancel import CancelToken, limited
    from mmcaf_engine.errors import Remedy, UsageError
    from mmcaf_engine.outputs import Output, scratch_beside, within
    from mmcaf_engine.timing import Stopwatch

    from .progress import ProgressBar
    from .report import Report, one_output, png

    watch = Stopwatch()

    wanted = Report(json, one_output(output, out), force)
    if heatmap is None and heatmap_over is not None:
        raise UsageError("--heatmap-over belongs to --heatmap.", Remedy("Add it, or leave both out", option="heatmap"))
    if set(explain or ()) - IN_WORDS and heatmap is None and dicom_out is None and html is None:
        raise UsageError(
            "--explain: nothing is written that shows a map.",
            Remedy("Draw it", option="heatmap", value="FILE.png"),
        )
    drawings = [] if heatmap is None else [png("heatmap", heatmap)]
    named = [value.partition("=")[2] or value for value in series or []]
    if dicom_out is None and dicom_objects != "default":
        raise UsageError("--dicom-objects belongs to --dicom-out.", Remedy("Say where to", option="dicom_out"))
    if dicom_out is None and replaces is not None:
        raise UsageError("--replaces belongs to --dicom-out.", Remedy("Say where to", option="dicom_out"))
    if dicom_out is not None and without_patient:
        raise UsageError(
            "--dicom-out names the patient as the study does, and --deidentify does not.",
            Remedy("Leave one of both out", option="dicom_out"),
        )
    objects = [] if dicom_out is None else [_folder_of_objects(dicom_out, dicom_objects, bool(explain or heatmap))]
    documents = [] if fhir_out is None else [Output("fhir_out", fhir_out)]
    pages = [] if html is None else [Output("html", html)]
    wanted.check(*drawings, *objects, *documents, *pages, inputs=[study, record, report, bundle, replaces, *named])
    beside = [scratch_beside(drawing) for drawing in drawings]  # The heat map, until all can be written.

    from mmcaf_engine.session.background import open_beside

    with limited(CancelToken(), deadline), ExitStack() as stack, ProgressBar() as progress:
        drawn = [stack.enter_context(scratch) / "heatmap.png" for scratch in beside]
        chosen: dict[str, Any] = {"backend": on_device(backend, device), "precision": precision, "threads": threads}
        opening, notice = open_beside(bundle, **chosen, progress=progress, watch=watch, leave_open=ends_at_once())
        stack.enter_context(opening)
        opening.wait_until_loading()

        from mmcaf_engine.pipeline import Answerer  # Beside the opening, since both take long.

        from .console import detail, note, to_json, warn
        from .inputs import given_inputs
        from .text import render

        given = given_inputs(study, record, report)
        answer = Answerer(opening, notice=notice).answer(
            given.study,
            given.record,
            report=given.report,
            series=series,
            gaps=gaps,
            tilt=tilt,
            duplicates=duplicates,
            oblique=oblique,
            stride=stride,
            slices=slices,
            row=row,
            allow_id_mismatch=allow_id_mismatch,
            strict=strict,
            explain=explain,
            heatmap=drawn[0] if drawn else None,
            heatmap_over=heatmap_over,
            created=created,
            dicom_objects=dicom_objects if objects else None,
            replaces=replaces,
            announce=progress.between(note),
            progress=progress,
            watch=watch,
        )
        others: list[tuple[Output, str | bytes]] = [
            (drawing, file.read_bytes()) for drawing, file in zip(drawings, drawn, strict=True)
        ]
    result, fhir = answer.result, answer.to_fhir
    detail("timing_ms", result.timing_ms)
    if without_patient:
        from mmcaf_engine.result.deidentify import deidentify
        from mmcaf_engine.result.writers.fhir import to_fhir

        read = [*(path for path in named if Path(path).exists()), study, record, report]
        result = deidentify(result, *(path for path in read if path is not None))
        fhir = partial(to_fhir, result)
    for folder in objects:
        from mmcaf_engine.result.writers.dicom import is_named_so

        others += within(folder, answer.to_dicom(dicom_objects, replaces=replaces), belong=is_named_so)
    others += [(document, f"{to_json(fhir())}\n") for document in documents]
    others += [(page, replace(answer, result=result).to_html()) for page in pages]
    if wanted.json_on_stdout:
        for warning in result.warnings:
            warn(warning)
    wanted.give(lambda: render(result), lambda: result.to_json(indent=2), printed=result.to_json, others=others)


def _folder_of_objects(folder: Path, kinds: str, maps: bool) -> "Place":
    """Where DICOM objects go.

    Raises:
        UsageError: no such objects, or highdicom is not installed.
    """
    from mmcaf_engine.outputs import Output
    from mmcaf_engine.result.writers.kinds import chosen_kinds, room_for
    from mmcaf_engine.result.writers.objects import highdicom

    room = room_for(chosen_kinds(kinds, maps=maps, volume=True))
    highdicom()
    return Output("dicom_out", folder, kind="folder", room=room)


def main() -> None:
    """Entry point of `mmcaf-infer`."""
    with few_collections():
        run(app, "mmcaf-infer")
