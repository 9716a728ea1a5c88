"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Pictures = Annotated[
    list[str],
    typer.Argument(help="Files, folders, globs, or - for one picture on standard input.", metavar="PICTURE…"),
]
ModelFile = Annotated[
    Path | None,
    typer.Option("--model", help="An exported .onnx file. Default: models/swift.onnx, else the shipped network."),
]
Grid = Annotated[Path, typer.Option("--grid", metavar="PNG", help="The PNG file to write.")]
NoInvert = Annotated[bool, typer.Option("--no-invert", help="Do not invert pictures on a light background.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
