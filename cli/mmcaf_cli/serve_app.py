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
