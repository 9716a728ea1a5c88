"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Pictures = Annotated[
    list[str],
    typer.Argument(help="Files, folders, globs, or - for one picture on standard input.", metavar="PICTURE…"),
]
NoInvert = Annotated[bool, typer.Option("--no-invert", help="Do not invert pictures on a light background.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
