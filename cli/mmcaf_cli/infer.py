"""`mmcaf-infer STUDY [RECORD]`: the answer on stdout, everything else on stderr."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .run import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

_EPILOG = (
    "Exit codes: 0 answered; 2 wrong usage; 3 study refused; 4 record refused; 5 bundle refused; 6 backend or "
    "precision unavailable; 7 refused by --strict; 1 a bug. Not a medical device."
)


@app.command(epilog=_EPILOG)
def infer(
    study: Annotated[
        str,
        typer.Argument(
            help="DICOM file (also multi-frame), directory, zip, or DICOMDIR; or NIfTI files; for a 2D network also "
            "PNG or JPEG. A network that reads no study takes the record here."
        ),
    ],
    record: Annotated[
        str | None,
        typer.Argument(
            help="Clinical record: a flat JSON object, or a FHIR R4 Bundle; a .txt file where only a report is read."
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE.txt", help="The report as plain text in UTF-8, if the record does not hold it."),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Bundle to answer with. Default: $MMCAF_BUNDLE, the user's config, the demo.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino or onnxruntime.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16 or int8, as the bundle holds.")] = "auto",
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
    stride: Annotated[int | None, typer.Option(help="Slices between windows. Default: the manifest's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores to use. Default: all that the process may.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON object to this file.")] = None,
    heatmap: Annotated[
        Path | None, typer.Option(help="Also draw the network's attention over the slices, to this PNG file.")
    ] = None,
    heatmap_over: Annotated[
        str | None, typer.Option(metavar="INPUT", help="Input whose slices the heat map shows. Default: the first.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to answer with warnings (exit code 7).")] = False,
    allow_id_mismatch: Annotated[
        bool, typer.Option("--allow-id-mismatch", help="Accept a record whose patient id differs from the study's.")
    ] = False,
    without_patient: Annotated[
        bool, typer.Option("--deidentify", help="Leave nothing of the patient in the answer but UIDs.")
    ] = False,
) -> None:
    """Answer one study with a multimodal fusion network."""
    from mmcaf_engine.outputs import Output, check_writable, write_all
    from mmcaf_engine.pipeline import infer as answer

    from .progress import ProgressBar

    _check_heatmap(heatmap, heatmap_over)
    outputs = [Output(name, path) for name, path in (("out", out), ("heatmap", heatmap)) if path is not None]
    named = [value.partition("=")[2] or value for value in series or []]
    check_writable(outputs, inputs=[study, record, report, bundle, *named], force=True)
    with ProgressBar() as progress:
        result = answer(
            study,
            record,
            report=report,
            bundle=bundle,
            backend=backend,
            precision=precision,
            series=series,
            gaps=gaps,
            tilt=tilt,
            duplicates=duplicates,
            stride=stride,
            threads=threads,
            allow_id_mismatch=allow_id_mismatch,
            strict=strict,
            heatmap=heatmap,
            heatmap_over=heatmap_over,
            progress=progress,
        )
    if without_patient:
        from mmcaf_engine.result.deidentify import deidentify

        others = [path for path in named if Path(path).exists()]
        result = deidentify(result, study, *others, *(path for path in (record, report) if path is not None))
    if out is not None:
        write_all([(outputs[0], result.to_json(indent=2) + "\n")], force=True)
    if json:
        for warning in result.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(result.to_json())
    else:
        from .text import render

        print(render(result))


def _check_heatmap(heatmap: Path | None, over: str | None) -> None:
    from mmcaf_engine.errors import UsageError

    if heatmap is None and over is not None:
        raise UsageError("--heatmap-over belongs to --heatmap.", "Add --heatmap FILE.png, or leave it out.")
    if heatmap is not None and heatmap.suffix.lower() != ".png":
        raise UsageError(f"{heatmap}: the heat map is a PNG file.", f"Name it {heatmap.with_suffix('.png').name}.")


def main() -> None:
    """Entry point of `mmcaf-infer`."""
    run(app)
