"""`mmcaf serve` and its commands, as the command line names them."""

from pathlib import Path
from typing import Annotated

import typer

from .options import App, Force, Json, Output

serve = App(
    group=True,
    completion=False,
    help="Receive studies from scanners, answer them, and send the results on (needs the serve extra).",
)

_METAVAR, _HELP = "FILE.toml", "What is listened to, answered and sent: docs/serve.md."
Config = Annotated[Path, typer.Option("--config", metavar=_METAVAR, help=_HELP)]


@serve.alone
def run_service(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(metavar=_METAVAR, help=_HELP)] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look at ports, disk, bundles and destinations; start nothing.")
    ] = False,
    json: Json = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Run the service, or look whether it could run."""
    from .report import Report
    from .serve import alone_command, before_command

    if context.invoked_subcommand is None:
        alone_command(config, check, Report(json, output, force))
    else:
        context.default_map = before_command(context.invoked_subcommand, config, check, Report(json, output, force))


@serve.command()
def switch(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="The shadow's name in FILE.toml.")],
    config: Config,
    json: Json = False,
) -> None:
    """Let a shadow answer from now on, and what answered until now be its shadow; the service goes on running."""
    from .report import Report
    from .serve_bundles import switch_command

    switch_command(config, bundle, Report(json))


@serve.command()
def rollback(
    config: Config,
    bundle: Annotated[
        str | None, typer.Argument(metavar="[BUNDLE]", help="The one that is to go, where several were switched to.")
    ] = None,
    json: Json = False,
) -> None:
    """Take the last switch back: what answered before it answers again."""
    from .report import Report
    from .serve_bundles import rollback_command

    rollback_command(config, bundle, Report(json))


@serve.command()
def compare(config: Config, json: Json = False, output: Output = None, force: Force = False) -> None:
    """Say how far the answers of a shadow are those of the bundle that answers, and of which studies they are not."""
    from .report import Report
    from .serve_bundles import compare_command

    compare_command(config, Report(json, output, force))


@serve.command()
def backup(
    config: Config,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.tar", help="The archive to write.")],
    images: Annotated[
        bool, typer.Option("--images", help="With the images; without, studies in work are sent again after a restore.")
    ] = False,
    json: Json = False,
    force: Force = False,
) -> None:
    """Copy states, records and results to one archive, while the service runs; it holds patients' data."""
    from .report import Report
    from .serve_care import backup_command

    backup_command(config, output, images, Report(json, force=force))


@serve.command()
def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE.tar", help="What mmcaf serve backup wrote.")],
    config: Config,
    json: Json = False,
) -> None:
    """Bring a backup back, here or on another machine; what the spool holds is moved aside, and no service may run."""
    from .report import Report
    from .serve_care import restore_command

    restore_command(config, archive, Report(json))


@serve.command()
def purge(
    config: Config,
    study: Annotated[
        str | None, typer.Option(metavar="UID", help="Remove this study instead, and all that there is of it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --study: also one that has not arrived everywhere.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove now what retention would remove by itself, or one study for good."""
    from .report import Report
    from .serve_care import purge_command

    purge_command(config, study, force, Report(json))
