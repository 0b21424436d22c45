"""`mmcaf`: make, look at and check bundles, and the demonstration."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import (
    App,
    Backend,
    Bundle,
    BundleOption,
    Device,
    Force,
    Json,
    OldOutput,
    Output,
    Threads,
    on_device,
    on_devices,
)
from .run import run
from .serve_app import serve

app = App(group=True, help="Make, look at and check bundles. To answer a study: mmcaf-infer.")

cache = App(group=True, completion=False, help="Look at and clear what is kept between runs.")
app.add_typer(cache, name="cache")
app.add_typer(serve, name="serve")


@app.command()
def export(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="PyTorch checkpoint, .safetensors, index of shards, or MONAI bundle; several become an ensemble.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle to write: NAME.mmcaf, or a .zip.")
    ],
    network: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="Network of the checkpoint. Default: recognised.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a manifest entry, e.g. preprocessing.intensity=stored."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Where in the file the weights are, as in ema.state_dict.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Take only names that begin so, without it, as in student.")
    ] = None,
    weights: Annotated[
        Literal["ema", "raw"] | None,
        typer.Option(help="Averaged weights or those of the last step, of a file with both."),
    ] = None,
    allow_extra: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out entries the network lacks, as aux_head.*; may be repeated."),
    ] = None,
    no_explain: Annotated[
        bool, typer.Option("--no-explain", help="Leave out the graph of heat maps, nearly as large as the network.")
    ] = False,
    json: Json = False,
    force: Force = False,
) -> None:
    """Turn a checkpoint, or several as an ensemble, into a verified bundle (needs the export extra)."""
    from .export import export_command
    from .report import Report

    export_command(
        checkpoints,
        output,
        network,
        settings or [],
        not no_explain,
        Report(json, force=force),
        key=key,
        prefix=prefix,
        weights=weights,
        allow_extra=allow_extra or (),
    )


@app.command("new-network")
def new_network(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the network and its package, such as lung-airway.")],
    kind: Annotated[
        Literal["volume", "image", "table"],
        typer.Option(
            help="What it reads: volume: CT and a record; image: a radiograph and a record; table: a record alone."
        ),
    ] = "volume",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to. Default: NAME.")
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a package with a network of your own to begin with (needs the export extra)."""
    from .new_network import new_network_command
    from .report import Report

    new_network_command(name, kind, output, Report(json, force=force))


@app.command()
def quantize(
    bundle: Bundle,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle to write. Default: replaces BUNDLE."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="PRECISION", help="fp16, bf16, int8 or int8-bf16; may be repeated. Default: int8."),
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="COHORT", help="Studies for INT8's ranges: COHORT.csv, or demo:FIRST-LAST.")
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(metavar="COHORT", help="Studies to compare with FP32 on. Default: the calibration's.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="minmax, percentile or entropy. Default: what is measured to be best."),
    ] = None,
    logit_budget: Annotated[
        float | None,
        typer.Option(
            metavar="ERROR", help="Logit error to allow; layers that add more stay FP32. Default: what the gate passes."
        ),
    ] = None,
    processor: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="PROCESSOR",
            help="What INT8's layers are chosen for: cpu (avx512-vnni), avx2, amx, neon, or gpu.",
        ),
    ] = "cpu",
    json: Json = False,
    force: Force = False,
) -> None:
    """Add lower precisions to a bundle, each behind the accuracy gate (needs the export extra)."""
    from .quantize import quantize_command
    from .report import Report

    wanted = precision or ["int8"]
    report = Report(json, force=force)
    quantize_command(bundle, output, wanted, calibration, cohort, method, logit_budget, processor, report)


@app.command()
def place(
    bundle: Bundle,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="BUNDLE", help="The bundle to write. Default: replaces BUNDLE."),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write into a bundle where this project's kernels go, for programs without Python (needs the export extra)."""
    from .place import place_command
    from .report import Report

    place_command(bundle, output, Report(json, force=force))


@app.command()
def inspect(
    bundle: Bundle,
    engine: Annotated[
        bool, typer.Option("--engine", help="Show instead in which types TensorRT computes it (needs TensorRT).")
    ] = False,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="PRECISION", help="With --engine: this network only; may be repeated. Default: all."),
    ] = None,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Show what a bundle holds, after checking every hash."""
    from .inspect import inspect_command
    from .report import Report

    inspect_command(bundle, engine, precision or [], Report(json, output, force))


@app.command()
def build(
    bundle: Bundle,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="SM", help="GPU to build for, such as sm_86; may be repeated. Default: the GPU at hand."),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="PRECISION", help="fp32, fp16, bf16, int8 or int8-bf16, if the bundle holds it.")
    ] = "fp32",
    flavour: Annotated[
        Literal["tensorrt_rtx", "tensorrt"] | None, typer.Option(help="Which TensorRT. Default: what is installed.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Also write engine and signature to this folder."),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Build an engine for NVIDIA GPUs before its first use (needs the tensorrt extra)."""
    from .build import build_command
    from .report import Report

    build_command(bundle, target or [], precision, flavour, output, Report(json, force=force))


@app.command()
def sign(
    bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="Bundle directory or zip.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Secret key, as minisign or --new-key writes it.")
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Make a key instead: the secret half in FILE, the public one in NAME.pub."),
    ] = None,
    password: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File whose first line is the key's password; - is stdin. Default: asked."),
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="With --new-key: whoever reads FILE can sign with it.")
    ] = False,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Sign a bundle, so that others know where it comes from (needs the sign extra)."""
    from .report import Report
    from .sign import check_sign_options, new_key_command, sign_command

    check_sign_options(bundle, key, new_key, password, no_password)
    report = Report(json, output, force)
    report.check(inputs=[bundle, key, password])
    if new_key is not None:
        new_key_command(new_key, password, no_password, report)
    elif bundle is not None and key is not None:
        sign_command(bundle, key, password, report)


@app.command()
def trust(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="KEY.pub|DIR",
            help="Public key of whose bundles are to be taken; or an engine, as mmcaf build --output wrote it.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call the key. Default: its file's name.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option(metavar="NAME|KEY", help="Trust this key no longer, by its name or id.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the trusted keys, and the releases seen of each.")] = False,
    sha256: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256",
            help="Of an engine: the fingerprint that mmcaf build printed; without it, the engine is only shown.",
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Take the bundles that a key signs, or an engine that another machine built."""
    from .report import Report
    from .trust import trust_command

    trust_command(path, name, remove, show, sha256, Report(json, force=force))


@app.command()
def verify(
    bundle: Bundle,
    backend: Annotated[
        str | None, typer.Option(metavar="BACKEND", help="Test this backend only. Default: all that can run.")
    ] = None,
    device: Device = None,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Check every hash, then run the golden self-test on the backends of this machine."""
    from .report import Report
    from .verify import verify_command

    verify_command(bundle, backend, device, Report(json, output, force))


@app.command()
def tune(
    bundle: Bundle,
    runs: Annotated[int, typer.Option(metavar="N", help="Timed runs of each backend and precision.")] = 10,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Cores to use; the times count for this number. Default: all that the process may."
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE", help="OpenVINO on this device; may be repeated. Default: on every one that it finds."
        ),
    ] = None,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Time what this machine offers for a bundle; auto then takes the fastest that passes."""
    from .report import Report
    from .tune import tune_command

    tune_command(bundle, runs, threads, device or [], Report(json, output, force))


@app.command(context_settings={"allow_extra_args": True})
def profile(
    context: typer.Context,
    bundle: Bundle,
    study: Annotated[
        Path | None,
        typer.Option(metavar="STUDY", help="Study to answer. Default: a synthetic one, where one fits the bundle."),
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="RECORD", help="The study's record.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="BACKEND", help="auto, all, or a backend's name; may be repeated. Default: auto."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="OpenVINO on this device: cpu, gpu, gpu.N or npu; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="PRECISION", help="auto, all, or one of the bundle's; may be repeated. Default: auto."),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", help="Measured runs of each figure, after the warm-up.")] = 20,
    threads: Threads = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Windows in one call.")] = 1,
    concurrency: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Callers at a time, for throughput; may be repeated. Default: 1, 2, 4."),
    ] = None,
    json: Json = False,
    output: Output = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write trace events, for ui.perfetto.dev.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one page with drawings.")] = None,
    force: Force = False,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with a report that --output wrote.")
    ] = None,
    fail_over: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="With --baseline: exit code 7 if certainly slower by more than this."),
    ] = None,
) -> None:
    """Measure where the time goes: cold and warm, stage by stage, layer by layer."""
    from .profile import Comparing, Measuring, profile_command
    from .report import Report, refuse_extra

    refuse_extra(context.args, json)
    backends = on_devices(backend or [], device or [])
    measuring = Measuring(study, record, backends, precision or [], runs, threads, batch, concurrency or [])
    files = {"trace": trace, "html": html}
    profile_command(bundle, measuring, Comparing(baseline, fail_over), files, Report(json, output, force))


@app.command()
def evaluate(
    cohort: Annotated[
        str,
        typer.Argument(metavar="COHORT", help="CSV with the columns study,record[,label][,id], or demo:FIRST-LAST."),
    ],
    bundle: BundleOption = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRECISION", help="Compare this one with fp32; may be repeated. Default: all that can run."
        ),
    ] = None,
    backend: Backend = "auto",
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
    output: Output = None,
    out: OldOutput = None,
    roc: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the ROC curves to this file (needs the plot extra).")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write every study's label and answers to this table.")
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[:CUTS]",
            help="Also by groups of studies: a column of the cohort, with cut points for numbers, as age:50,70. "
            "May be repeated.",
        ),
    ] = None,
    operating_point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Also with a threshold chosen by youden, sensitivity=SHARE or specificity=SHARE. May be repeated.",
        ),
    ] = None,
    choose_on: Annotated[
        str | None,
        typer.Option(metavar="COHORT", help="Choose these thresholds on this cohort, and try them on the other."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Compare with this bundle's FP32 on the same studies.")
    ] = None,
    force: Force = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first so many studies.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 7 if a bound fails or a study was refused.")
    ] = False,
) -> None:
    """Compare every precision of a bundle with FP32 on a cohort of studies."""
    from mmcaf_engine.evaluation.further import Further

    from .evaluate import evaluate_command
    from .report import Report, one_output

    report = Report(json, one_output(output, out), force)
    further = Further(tuple(subgroup or ()), tuple(operating_point or ()), choose_on, against)
    target = on_device(backend, device)
    evaluate_command(cohort, bundle, precision or [], target, threads, roc, limit, strict, report, rows, further)


@app.command()
def studies(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY", help="DICOM or NIfTI file, directory, zip, or DICOMDIR; PNG or JPEG.")
    ],
    modality: Annotated[
        str | None, typer.Option(metavar="MODALITY", help="Rank series of this modality only, such as CT.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Match the series to this bundle's inputs.")
    ] = None,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """List the series of a study, which one would be read, and why."""
    from .report import Report
    from .studies import studies_command

    studies_command(path, modality, bundle, Report(json, output, force))


@app.command(whatever_is_set=True)
def doctor(
    quick_check: Annotated[
        bool, typer.Option("--quick-check", help="Ten seconds: is it healthy? Exit code 0 if so, else 6.")
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="With --quick-check: this one. Default: as mmcaf-infer.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Only whether OpenVINO runs on this one, and what: cpu, gpu, gpu.N or npu."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every finding in full, instead of one screen.")] = False,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Show what this installation can do and what it lacks, on one screen; with -v in full."""
    from .doctor import doctor_command
    from .report import Report

    doctor_command(quick_check, bundle, device, every, Report(json, output, force))


@app.command(whatever_is_set=True, light=True)
def capi(
    cflags: Annotated[bool, typer.Option("--cflags", help="Print the compiler's arguments.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="Print the linker's arguments.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print the folder that holds include and lib.")] = False,
    cmake: Annotated[bool, typer.Option("--cmake", help="Print what -Dmmcaf_DIR is for find_package(mmcaf).")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="Print the files that a computer without Python needs, one a line.")
    ] = False,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Show where the C library is, and how a program is built with it."""
    from .capi import capi_command
    from .report import Report

    given = {"cflags": cflags, "libs": libs, "path": path, "cmake": cmake, "files": files}
    capi_command([name for name, wanted in given.items() if wanted], Report(json, output, force))


@cache.command("list")
def cache_list(json: Json = False, output: Output = None, force: Force = False) -> None:
    """List kept engines, passed self-tests, tunings, kernel caches, unpacked bundles and measurements."""
    from .cache import list_command
    from .report import Report

    list_command(Report(json, output, force))


@cache.command("clear")
def cache_clear(
    kind: Annotated[
        Literal["engines", "self-tests", "tuning", "kernels", "bundles", "measurements"] | None,
        typer.Option(help="Remove only these. Default: all."),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove only what was not used for so many days.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove what is kept between runs; it is made again when it is needed."""
    from .cache import clear_command
    from .report import Report

    clear_command(kind, older_than, Report(json))


@app.command()
def demo(
    save: Annotated[Path, typer.Option("--output", "-o", "--save", metavar="DIR", help="Folder to write to.")],
    kind: Annotated[
        Literal["lung", "liver", "chest"],
        typer.Option(
            help="lung: chest CT with a record; liver: MR of eight phases, as DICOM and NIfTI; chest: a radiograph "
            "with a report and a record."
        ),
    ] = "lung",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which synthetic patient.")] = 0,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a synthetic study to try mmcaf-infer on."""
    from .demo import demo_command
    from .report import Report

    demo_command(save, kind, seed, Report(json, force=force))


@app.command("record-template")
def record_template(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The record to write; - prints it.")
    ] = Path("record.json"),
    bundle: BundleOption = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Write a record to fill in, and its JSON Schema."""
    from .record_template import record_template_command
    from .report import Report

    record_template_command(bundle, output, Report(json, force=force))


@app.command(whatever_is_set=True, light=True)
def version(json: Json = False) -> None:
    """Print the version."""
    from mmcaf_engine import __version__

    from .console import to_json
    from .report import Report

    Report(json).give(lambda: __version__, lambda: to_json({"name": "mmcaf-infer", "version": __version__}))


def main() -> None:
    """Entry point of `mmcaf`."""
    run(app, "mmcaf")
