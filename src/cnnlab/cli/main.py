"""The command `cnnlab`. Each subcommand imports what it needs only when it runs, so that help comes at once."""

from typing import Annotated

import typer

from cnnlab.cli.check import check
from cnnlab.cli.explain import explain
from cnnlab.cli.export import export
from cnnlab.cli.features import features
from cnnlab.cli.interpolate import interpolate
from cnnlab.cli.models import models
from cnnlab.cli.predict import predict
from cnnlab.cli.project import project
from cnnlab.cli.reconstruct import reconstruct
from cnnlab.cli.sample import sample
from cnnlab.cli.serve import serve
from cnnlab.cli.study import study
from cnnlab.cli.sweep import sweep
from cnnlab.core.errors import run_app

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    predict,
    explain,
    project,
    features,
    sample,
    reconstruct,
    interpolate,
    models,
    export,
    serve,
    study,
    sweep,
    check,
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cnnlab {version('cnnlab')}")
        raise typer.Exit


@app.callback()
def cnnlab(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A laboratory for convolutional networks. `dvc repro` trains them; these commands use the results."""


def main() -> None:
    """Entry point of the console script."""
    run_app(app)
