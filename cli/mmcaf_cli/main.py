"""`mmcaf`: make, look at and check bundles, and the demonstration."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .run import run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make, look at and check bundles. To answer a study: mmcaf-infer.",
)

cache = typer.Typer(no_args_is_help=True, help="Look at and clear what is kept between runs.")
app.add_typer(cache, name="cache")

BundleArgument = Annotated[Path, typer.Argument(help="Bundle directory or zip.", metavar="BUNDLE")]


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="PyTorch checkpoint (.pth, .pth.tar) or .safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write: NAME.mmcaf, or a .zip.")],
    network: Annotated[str | None, typer.Option(help="Network of the checkpoint. Default: recognised.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a manifest entry, e.g. preprocessing.intensity=stored."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
) -> None:
    """Turn a checkpoint into a verified bundle (needs the export extra)."""
    from .export import export_command

    export_command(checkpoint, output, network, settings or [], force)


@app.command()
def quantize(
    bundle: BundleArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle to write. Default: replaces BUNDLE.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp16, bf16 or int8; may be repeated. Default: int8.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Studies for INT8's ranges: COHORT.csv, or demo:FIRST-LAST.", metavar="COHORT")
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Studies to compare with FP32 on. Default: the calibration's.", metavar="COHORT")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="minmax, percentile or entropy. Default: what is measured to be best.")
    ] = None,
    logit_budget: Annotated[
        float | None,
        typer.Option(help="Logit error to allow; layers that add more stay FP32. Default: what the gate lets pass."),
    ] = None,
    processor: Annotated[
        str, typer.Option("--for", help="What INT8's layers are chosen for: cpu, by its clock, or gpu, by arithmetic.")
    ] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUTPUT.")] = False,
) -> None:
    """Add lower precisions to a bundle, each behind the accuracy gate (needs the export extra)."""
    from .quantize import quantize_command

    quantize_command(bundle, output, precision or ["int8"], calibration, cohort, method, logit_budget, processor, force)


@app.command()
def inspect(
    bundle: BundleArgument,
    engine: Annotated[
        bool, typer.Option("--engine", help="Show instead in which types TensorRT computes it (needs TensorRT).")
    ] = False,
    precision: Annotated[
        list[str] | None, typer.Option(help="With --engine: this network only; may be repeated. Default: all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: the manifest, or with --engine the table.")] = False,
) -> None:
    """Show what a bundle holds, after checking every hash."""
    from .inspect import inspect_command

    inspect_command(bundle, engine, precision or [], json)


@app.command()
def build(
    bundle: BundleArgument,
    target: Annotated[
        list[str] | None,
        typer.Option(help="GPU to build for, such as sm_86; may be repeated. Default: the GPU at hand.", metavar="SM"),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8, if the bundle holds it.")] = "fp32",
    flavour: Annotated[
        Literal["tensorrt_rtx", "tensorrt"] | None, typer.Option(help="Which TensorRT. Default: what is installed.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write engine and signature to this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build an engine for NVIDIA GPUs before its first use (needs the tensorrt extra)."""
    from .build import build_command

    build_command(bundle, target or [], precision, flavour, output, json)


@app.command()
def trust(
    folder: Annotated[Path, typer.Argument(help="Engine and signature, as mmcaf build --output wrote them.")],
    sha256: Annotated[
        str | None, typer.Option(help="Fingerprint that mmcaf build printed; without it, the engine is only shown.")
    ] = None,
) -> None:
    """Look at an engine that another machine built, and have it used here."""
    from .build import trust_command

    trust_command(folder, sha256)


@app.command()
def verify(
    bundle: BundleArgument,
    backend: Annotated[str | None, typer.Option(help="Test this backend only. Default: all that can run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every hash, then run the golden self-test on the backends of this machine."""
    from .verify import verify_command

    verify_command(bundle, backend, json)


@app.command()
def tune(
    bundle: BundleArgument,
    runs: Annotated[int, typer.Option(help="Timed runs of each backend and precision.")] = 10,
    threads: Annotated[int | None, typer.Option(help="Cores to use. Default: all that the process may.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time what this machine offers for a bundle; auto then takes the fastest that passes."""
    from .tune import tune_command

    tune_command(bundle, runs, threads, json)


@app.command()
def profile(
    bundle: BundleArgument,
    study: Annotated[
        Path | None, typer.Option(help="Study to answer. Default: a synthetic one, where one fits the bundle.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="The study's record.")] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="auto, all, or a backend's name; may be repeated. Default: auto.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="auto, all, or one of the bundle's; may be repeated. Default: auto.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Measured runs of each figure, after the warm-up.")] = 20,
    threads: Annotated[int | None, typer.Option(help="Cores to use. Default: all that the process may.")] = None,
    batch: Annotated[int, typer.Option(help="Windows in one call.")] = 1,
    concurrency: Annotated[
        list[int] | None, typer.Option(help="Callers at a time, for throughput; may be repeated. Default: 1, 2, 4.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(help="Write the report as JSON; - prints it instead of the tables.", metavar="FILE")
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="Write trace events, for ui.perfetto.dev.", metavar="FILE")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page with drawings.", metavar="FILE")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with a report that --json wrote.", metavar="FILE")
    ] = None,
    fail_over: Annotated[
        str | None,
        typer.Option(help="With --baseline: exit code 7 if certainly slower by more than this.", metavar="PERCENT"),
    ] = None,
) -> None:
    """Measure where the time goes: cold and warm, stage by stage, layer by layer."""
    from .profile import Measuring, Writing, profile_command

    measuring = Measuring(study, record, backend or [], precision or [], runs, threads, batch, concurrency or [])
    profile_command(bundle, measuring, Writing(json, trace, html), baseline, fail_over)


@app.command()
def evaluate(
    cohort: Annotated[
        str,
        typer.Argument(help="CSV with the columns study,record[,label][,id], or demo:FIRST-LAST.", metavar="COHORT"),
    ],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to evaluate. Default: as mmcaf-infer.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Compare this one with fp32; may be repeated. Default: all that can run.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, or a backend's name.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Cores to use. Default: all that the process may.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON object to this file.")] = None,
    roc: Annotated[Path | None, typer.Option(help="Draw the ROC curves to this PNG (needs the plot extra).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many studies.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 7 if a bound fails or a study was refused.")
    ] = False,
) -> None:
    """Compare every precision of a bundle with FP32 on a cohort of studies."""
    from .evaluate import evaluate_command

    evaluate_command(cohort, bundle, precision or [], backend, threads, json, out, roc, limit, strict)


@app.command()
def studies(
    path: Annotated[
        Path, typer.Argument(help="DICOM or NIfTI file, directory, zip, or DICOMDIR; PNG or JPEG.", metavar="PATH")
    ],
    modality: Annotated[str | None, typer.Option(help="Rank series of this modality only, such as CT.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Match the series to this bundle's inputs.", metavar="BUNDLE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the series of a study, which one would be read, and why."""
    from .studies import studies_command

    studies_command(path, modality, bundle, json)


@app.command()
def doctor(
    quick_check: Annotated[
        bool, typer.Option("--quick-check", help="Ten seconds: is it healthy? Exit code 0 if so, else 6.")
    ] = False,
    bundle: Annotated[Path | None, typer.Option(help="With --quick-check: this one. Default: as mmcaf-infer.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what this installation can do and what it lacks."""
    from .doctor import doctor_command

    doctor_command(json, quick_check, bundle)


@cache.command("list")
def cache_list(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List kept engines, passed self-tests, tunings, kernel caches and unpacked bundles."""
    from .cache import list_command

    list_command(json)


@cache.command("clear")
def cache_clear(
    kind: Annotated[
        Literal["engines", "self-tests", "tuning", "kernels", "bundles"] | None,
        typer.Option(help="Remove only these. Default: all."),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove only what was not used for so many days.")
    ] = None,
) -> None:
    """Remove what is kept between runs; it is made again when it is needed."""
    from .cache import clear_command

    clear_command(kind, older_than)


@app.command()
def demo(
    save: Annotated[Path, typer.Option(help="Folder to write to.", metavar="DIR")],
    kind: Annotated[
        Literal["lung", "liver", "chest"],
        typer.Option(
            help="lung: chest CT with a record; liver: MR of eight phases, as DICOM and NIfTI; chest: a radiograph "
            "with a report and a record."
        ),
    ] = "lung",
    seed: Annotated[int, typer.Option(min=0, help="Which synthetic patient.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier demo.")] = False,
) -> None:
    """Write a synthetic study to try mmcaf-infer on."""
    from .demo import demo_command

    demo_command(save, kind, seed, force)


@app.command("record-template")
def record_template(
    output: Annotated[Path, typer.Option("--output", "-o", help="The record to write.")] = Path("record.json"),
    bundle: Annotated[Path | None, typer.Option(help="Bundle to write it for. Default: as mmcaf-infer.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Write a record to fill in, and its JSON Schema."""
    from .record_template import record_template_command

    record_template_command(bundle, output, force)


@app.command()
def version() -> None:
    """Print the version."""
    from mmcaf_engine import __version__

    print(__version__)


def main() -> None:
    """Entry point of `mmcaf`."""
    run(app)
