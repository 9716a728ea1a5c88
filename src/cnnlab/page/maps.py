"""The embeddings as dots to point at: places on a grid, answers, and one sheet of thumbnails for all maps."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from cnnlab.embedding.maps import TITLES
from cnnlab.page.sources import Network, Row, Sources

MOST_POINTS = 4000  # of a map that are drawn: more hide each other, and each costs a thumbnail
MOST_BYTES = 4_000_000  # of all thumbnails, before compression: PNG makes photographs hardly smaller
THUMBNAIL = 32  # pixels a side at most
GRID = 9999  # places along the longer side of a map


def data_uri(png: bytes) -> str:
    """A PNG file as the address of a picture in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def maps(networks: Sequence[Network], sources: Sources) -> dict[str, Any]:
    """The maps of all networks for the page; {} where there is none.

    All maps are of the same test pictures, here evenly thinned to MOST_POINTS and to what thumbnails may weigh.
    """
    index = next(
        (_index(rows) for network in networks for layers in network.maps.values() for rows in layers.values()), []
    )
    if not index:
        return {}
    images = sources.test.images
    channels, height, width = images.shape[1:]
    most = MOST_BYTES // (min(height, THUMBNAIL) * min(width, THUMBNAIL) * (3 if channels == 3 else 1))
    shown = np.linspace(0, len(index) - 1, min(len(index), MOST_POINTS, most)).round().astype(int)
    chosen = np.array(index)[shown]
    return {
        "networks": {
            network.name: {
                "methods": _maps_of(network, shown),
                "predicted": sources.predicted(network)[chosen].tolist() if network.answers else None,
            }
            for network in networks
            if any(network.maps.values())
        },
        "titles": dict(TITLES),
        "pictures": len(index),
        "index": chosen.tolist(),
        "labels": sources.test.labels[chosen].tolist(),
        "sprite": sprite(images[chosen]),
    }


def sprite(images: np.ndarray) -> dict[str, Any]:
    """Pictures uint8 [n, c, h, w] on one sheet: its address, its columns, and the size of a tile, at most THUMBNAIL."""
    tiles = [_thumbnail(image) for image in images]
    width, height = tiles[0].size
    columns = math.ceil(math.sqrt(len(tiles)))
    sheet = Image.new(tiles[0].mode, (columns * width, math.ceil(len(tiles) / columns) * height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * width, place // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return {"uri": data_uri(buffer.getvalue()), "columns": columns, "width": width, "height": height}


def on_grid(points: np.ndarray) -> list[list[int]]:
    """Points [n, 2] as whole numbers from 0 to GRID, both axes by one scale, y downwards: [xs, ys]."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    placed = (points - middle) / span(points) * GRID + GRID / 2
    placed[:, 1] = GRID - placed[:, 1]
    return placed.round().astype(int).T.tolist()


def span(points: np.ndarray) -> float:
    """The longer side of the points' box; 1 where they are all on one spot."""
    return float(np.ptp(points, axis=0).max()) or 1.0


def _index(rows: Sequence[Row]) -> list[int]:
    return [int(row["index"]) for row in rows]


def _maps_of(network: Network, shown: np.ndarray) -> dict[str, Any]:
    """The maps of one network, method: layer: {x, y, figures}."""
    entry: dict[str, Any] = {}
    for method, layers in network.maps.items():
        for layer, rows in layers.items():
            x, y = on_grid(np.array([[float(row["x"]), float(row["y"])] for row in rows]))
            figures = {
                key.removeprefix(f"{layer}."): value
                for key, value in network.map_figures[method].items()
                if key.startswith(f"{layer}.")
            }
            figures |= {key: value for key, value in network.map_figures[method].items() if key == "perplexity"}
            entry.setdefault(method, {})[layer] = {
                "x": [x[place] for place in shown], "y": [y[place] for place in shown], "figures": figures,
            }  # fmt: skip
    return entry


def _thumbnail(image: np.ndarray) -> Image.Image:
    """A picture uint8 [c, h, w]; of two or four channels, their mean in grey."""
    pixels = image.transpose(1, 2, 0) if len(image) == 3 else image.mean(axis=0).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return picture
