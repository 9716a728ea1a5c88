"""The command `cnnlab`: its subcommands are imported only when they are called, so that help comes at once."""

import typer

from cnnlab.commands.check import check
from cnnlab.commands.features import features
from cnnlab.commands.models import models
from cnnlab.commands.predict import predict
from cnnlab.commands.project import project
from cnnlab.errors import run_app

app = typer.Typer(
    help="A laboratory for convolutional networks. `dvc repro` runs it; these commands use what it made.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in (predict, features, project, models, check):
    app.command()(command)


def main() -> None:
    """Entry point of the console script."""
    run_app(app)
