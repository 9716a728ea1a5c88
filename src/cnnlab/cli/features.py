"""`cnnlab features`: what a layer of a network makes of the user's own pictures, as a file of numbers."""

from pathlib import Path
from typing import Annotated

import typer


def features(
    pictures: Annotated[
        list[str],
        typer.Argument(help="files, folders, globs, or - for one picture on standard input", metavar="PICTURE…"),
    ],
    layer: Annotated[str, typer.Option(help="the layer whose output is wanted, such as conv2; `final` is the logits")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the file to write: .npz or .parquet")],
    model: Annotated[Path, typer.Option(help="an exported features file")] = Path("models/mynet.features.onnx"),
    batch: Annotated[int, typer.Option(min=1, max=4096, help="pictures that go through the network at a time")] = 64,
    no_invert: Annotated[
        bool, typer.Option("--no-invert", help="leave pictures on a light background as they are")
    ] = False,
) -> None:
    """Write a layer's output for each picture; bad files are named and the others done (exit code 1)."""
    from cnnlab.cli.inputs import read_pictures
    from cnnlab.core.errors import UserError
    from cnnlab.embedding.features import FORMATS, export, tap_shape
    from cnnlab.inference.session import Model

    if output.suffix not in FORMATS:
        raise UserError(f"{output}: the features go to a file that ends in {' or '.join(FORMATS)}.")
    network = Model.load(model)
    shape = tap_shape(network, layer, str(model))
    found = read_pictures(network, pictures, invert=not no_invert)
    batches = (part[layer] for part in network.outputs(found.images, [layer], batch))
    export(output, found.names, batches, layer, shape)
    told = f"{'×'.join(map(str, shape))} features of layer {layer}"
    print(f"{output}: {told} for {len(found.names)} picture{'s' if len(found.names) > 1 else ''}.")
    if found.failed:
        raise typer.Exit(1)
