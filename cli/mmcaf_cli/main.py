"""`mmcaf`: make, look at and check bundles, and the demonstration."""

from pathlib import Path
from typing import Annotated

import typer

from .run import run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make, look at and check bundles. To answer a study: mmcaf-infer.",
)

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
def inspect(
    bundle: BundleArgument,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what a bundle holds, after checking every hash."""
    from .inspect import inspect_command

    inspect_command(bundle, json)


@app.command()
def verify(
    bundle: BundleArgument,
    backend: Annotated[str | None, typer.Option(help="Test this backend only. Default: all that can run.")] = None,
) -> None:
    """Check every hash, then run the golden self-test on the backends of this machine."""
    from .verify import verify_command

    verify_command(bundle, backend)


@app.command()
def studies(
    path: Annotated[Path, typer.Argument(help="DICOM file, directory, zip, or DICOMDIR.", metavar="PATH")],
    modality: Annotated[str | None, typer.Option(help="Rank series of this modality only, such as CT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the series of a study, which one would be read, and why."""
    from .studies import studies_command

    studies_command(path, modality, json)


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show what this installation can do and what it lacks."""
    from .doctor import doctor_command

    doctor_command(json)


@app.command()
def demo(
    save: Annotated[Path, typer.Option(help="Folder for study.dcm, series/ and record.json.", metavar="DIR")],
    seed: Annotated[int, typer.Option(min=0, help="Which synthetic patient.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier demo.")] = False,
) -> None:
    """Write a synthetic chest CT study and record to try mmcaf-infer on."""
    from .demo import demo_command

    demo_command(save, seed, force)


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
