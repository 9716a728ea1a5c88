"""The command `cnnlab`: what its subcommands need is imported only when they are called, so that help comes at once."""

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
from cnnlab.cli.sweep import sweep
from cnnlab.core.errors import run_app

app = typer.Typer(
    help="A laboratory for convolutional networks. `dvc repro` runs it; these commands use what it made.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
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
    sweep,
    check,
):
    app.command()(command)


def main() -> None:
    """Entry point of the console script."""
    run_app(app)
