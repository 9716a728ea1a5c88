"""`cnnlab features`: the output of a network's layer for the user's own pictures, as a file of numbers."""

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.cli.arguments import NoInvert, Pictures


def features(
    pictures: Pictures,
    layer: Annotated[str, typer.Option(help="The layer, such as conv2; final is the logits.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .npz or .parquet.")],
    model: Annotated[
        Path | None,
        typer.Option(help="An exported features file. Default: swift's.", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures that go through the network at a time.")] = 64,
    no_invert: NoInvert = False,
) -> None:
    """Write a layer's output for each picture.

    Unreadable files are listed and the rest are processed; the exit code is then 1.
    """
    from cnnlab.cli.inputs import read_inputs
    from cnnlab.core import artifacts
    from cnnlab.core.text import printable
    from cnnlab.embedding.features import check_ending, export, tap_shape
    from cnnlab.inference.session import Model

    check_ending(output)
    path = model or artifacts.onnx_path(artifacts.DEFAULT_NETWORK, "features")
    network = Model.load(path)
    shape = tap_shape(network, layer, str(path))
    found = read_inputs(network.meta, pictures, output, invert=not no_invert)
    batches = (part[layer] for part in network.outputs(found.images, [layer], batch))
    export(output, found.names, batches, layer, shape)
    count = f"{len(found.names)} picture{'s' if len(found.names) > 1 else ''}"
    print(f"{printable(str(output))}: {'×'.join(map(str, shape))} features of layer {layer} for {count}.")
    if found.failed:
        raise typer.Exit(1)
