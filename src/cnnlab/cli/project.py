"""`cnnlab project`: where new pictures fall on a stored map of a layer, and what lies near them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cnnlab.embedding.stored import Placed

NAMED = 20  # new pictures whose names are written on the map; of more, only the places are marked


def project(
    pictures: Annotated[
        list[str],
        typer.Argument(help="files, folders, globs, or - for one picture on standard input", metavar="PICTURE…"),
    ],
    arch: Annotated[str, typer.Option(help="the network, as in params.yaml under models")] = "mynet",
    layer: Annotated[str, typer.Option(help="one of the three embedded layers [default: the middle one]")] = "",
    method: Annotated[Literal["tsne", "pca"], typer.Option(help="the map")] = "tsne",
    near: Annotated[int, typer.Option(min=1, max=50, help="how many of the nearest test pictures to name")] = 5,
    output: Annotated[Path, typer.Option("--output", "-o", help="the map with the new pictures marked")] = Path(
        "map.png"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    no_invert: Annotated[
        bool, typer.Option("--no-invert", help="leave pictures on a light background as they are")
    ] = False,
) -> None:
    """Place pictures on a map that `dvc repro` made, without moving it; bad files are named and the others done."""
    import numpy as np

    from cnnlab.cli.inputs import read_pictures
    from cnnlab.core import artifacts
    from cnnlab.core.errors import UserError
    from cnnlab.embedding.stored import open_map
    from cnnlab.figures.embeddings import Panel, embedding_map
    from cnnlab.inference.session import Model

    if output.suffix != ".png":
        raise UserError(f"{output}: the map is drawn as a file that ends in .png.")
    stored = open_map(artifacts.features_dir(arch), artifacts.embedding_dir(arch, method), layer, method)
    network = Model.load(artifacts.onnx_path(arch, "features"))
    found = read_pictures(network, pictures, invert=not no_invert)
    parts = [part[stored.layer] for part in network.outputs(found.images, [stored.layer])]
    placed = stored.place(np.concatenate([part.reshape(len(part), -1) for part in parts]), near)
    for name, place in zip(found.names, placed, strict=True):
        typer.echo(_json(name, place) if as_json else _text(name, place))
    panel = Panel(stored.embedding.points, stored.labels, stored.heading)
    names = [Path(name).stem for name in found.names] if len(placed) <= NAMED else [""] * len(placed)
    subtitle = (
        f"{len(stored.labels):,} test pictures · circles: {len(placed)} new picture{'s' if len(placed) > 1 else ''}"
    )
    marked = np.array([(place.x, place.y) for place in placed])
    artifacts.write_figure(output, embedding_map(panel, stored.class_names, subtitle, marked, names))
    typer.echo(f"{output}: the map with the new pictures marked.", err=as_json)
    if found.failed:
        raise typer.Exit(1)


def _text(name: str, place: "Placed") -> str:
    nearest = ", ".join(f"{near.picture} {near.class_name} ({near.distance:.3g})" for near in place.nearest)
    around = ", ".join(f"{count} {class_name}" for class_name, count in place.around.items())
    return (
        f"{name}: at ({place.x:.1f}, {place.y:.1f}), among {around}\n"
        f"  nearest test pictures by their features (distance): {nearest}"
    )


def _json(name: str, place: "Placed") -> str:
    import json

    nearest = [
        {"test_picture": near.picture, "class": near.class_name, "distance": round(near.distance, 6)}
        for near in place.nearest
    ]
    values = {
        "picture": name,
        "x": round(place.x, 4),
        "y": round(place.y, 4),
        "around": place.around,
        "nearest": nearest,
    }
    return json.dumps(values, ensure_ascii=False)
