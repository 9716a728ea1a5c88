"""The command `cnnlab`: what its subcommands need is imported only when they are called, so that help comes at once."""

import typer

from cnnlab.commands.check import check
from cnnlab.commands.features import features
from cnnlab.commands.interpolate import interpolate
from cnnlab.commands.models import models
from cnnlab.commands.predict import predict
from cnnlab.commands.project import project
from cnnlab.commands.reconstruct import reconstruct
from cnnlab.commands.sample import sample
from cnnlab.commands.sweep import sweep
from cnnlab.errors import run_app

app = typer.Typer(
    help="A laboratory for convolutional networks. `dvc repro` runs it; these commands use what it made.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in (predict, project, features, sample, reconstruct, interpolate, models, sweep, check):
    app.command()(command)


def main() -> None:
    """Entry point of the console script."""
    run_app(app)
