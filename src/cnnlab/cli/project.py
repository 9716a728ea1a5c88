"""`cnnlab project`: where new pictures fall on a stored map of a layer, and what lies near them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnlab.cli.arguments import AsJson, NoInvert, Pictures

if TYPE_CHECKING:
    from cnnlab.embedding.placing import Placed, StoredMap

NAMED = 20  # new pictures whose names are written on the map; of more, only the places are marked


def project(
    pictures: Pictures,
    arch: Annotated[str, typer.Option(help="The network, as in params.yaml under models.", show_default="swift")] = "",
    layer: Annotated[
        str,
        typer.Option(
            help="An embedded layer: conv2, fc1 (pooled in NiN, GoogLeNet and ResNet) or final.",
            show_default="the middle one",
        ),
    ] = "",
    method: Annotated[Literal["tsne", "pca"], typer.Option(help="Which map to use.")] = "tsne",
    near: Annotated[int, typer.Option(min=1, max=50, help="How many of the nearest test pictures to name.")] = 5,
    output: Annotated[Path, typer.Option("--output", "-o", help="Draw the map with the new pictures here.")] = Path(
        "map.png"
    ),
    as_json: AsJson = False,
    no_invert: NoInvert = False,
) -> None:
    """Place pictures on a map that `dvc repro` made, and name the test pictures near them. The map stays as it is.

    Unreadable files are listed and the rest are processed; the exit code is then 1.
    """
    import numpy as np

    from cnnlab.cli.inputs import read_inputs
    from cnnlab.cli.output import check_png, json_line
    from cnnlab.core import artifacts
    from cnnlab.core.text import printable
    from cnnlab.embedding.placing import open_map
    from cnnlab.inference.session import Model

    check_png(output)
    arch = arch or artifacts.DEFAULT_NETWORK
    stored = open_map(artifacts.features_dir(arch), artifacts.embedding_dir(arch, method), layer, method)
    network = Model.load(artifacts.onnx_path(arch, "features"))
    found = read_inputs(network.meta, pictures, output, invert=not no_invert)
    parts = [part[stored.layer] for part in network.outputs(found.images, [stored.layer])]
    placed = stored.place(np.concatenate([part.reshape(len(part), -1) for part in parts]), near)
    for name, place in zip(found.names, placed, strict=True):
        typer.echo(json_line(_values(name, place)) if as_json else _text(printable(name), place))
    _draw(output, stored, found.names, placed)
    typer.echo(f"{printable(str(output))}: the map with the new pictures marked.", err=as_json)
    if found.failed:
        raise typer.Exit(1)


def _text(name: str, place: "Placed") -> str:
    nearest = ", ".join(f"{near.picture} {near.class_name} ({near.distance:.3g})" for near in place.nearest)
    around = ", ".join(f"{count} {class_name}" for class_name, count in place.around.items())
    return (
        f"{name}: at ({place.x:.1f}, {place.y:.1f}), among {around}\n"
        f"  nearest test pictures by their features (distance): {nearest}"
    )


def _draw(path: Path, stored: "StoredMap", names: list[str], placed: "list[Placed]") -> None:
    """Draw the map with a circle around each new picture, and its name where they are few."""
    import numpy as np

    from cnnlab.core.artifacts import write_figure
    from cnnlab.core.text import printable
    from cnnlab.figures.embeddings import Panel, embedding_map

    panel = Panel(stored.embedding.points, stored.labels, stored.heading)
    shown = [printable(Path(name).stem) if len(placed) <= NAMED else "" for name in names]
    new = f"circles: {len(placed)} new picture{'s' if len(placed) > 1 else ''}"
    subtitle = f"{len(stored.labels):,} test pictures · {new}"
    marked = np.array([(place.x, place.y) for place in placed])
    write_figure(path, embedding_map(panel, stored.class_names, subtitle, marked, shown))


def _values(name: str, place: "Placed") -> dict[str, object]:
    nearest = [
        {"test_picture": near.picture, "class": near.class_name, "distance": round(near.distance, 6)}
        for near in place.nearest
    ]
    return {
        "picture": name,
        "x": round(place.x, 4),
        "y": round(place.y, 4),
        "around": place.around,
        "nearest": nearest,
    }
