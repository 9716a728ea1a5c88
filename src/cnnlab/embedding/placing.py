"""Open a stored map and place new pictures on it. Reads arrays, no pickle."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnlab.core.artifacts import read_array, read_json
from cnnlab.core.errors import UserError
from cnnlab.embedding.maps import TITLES, Embedding, Method, load
from cnnlab.embedding.quality import K, nearest_rows


@dataclass(frozen=True)
class Neighbour:
    """A test picture near a new one: its index in the test set, its class, the distance between their features."""

    picture: int
    class_name: str
    distance: float


@dataclass(frozen=True)
class Placed:
    """A new picture's place, its nearest by features, and the classes of its K nearest on the map, counted."""

    x: float
    y: float
    nearest: tuple[Neighbour, ...]
    around: dict[str, int]


@dataclass(frozen=True)
class StoredMap:
    """A map of one layer with the features [n, features], labels [n] and test-set indices [n] that it was made from."""

    heading: str
    layer: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    index: np.ndarray
    features: np.ndarray
    embedding: Embedding

    def place(self, features: np.ndarray, near: int) -> list[Placed]:
        """Place new pictures by their features [m, features], and name the `near` nearest test pictures of each.

        Raises UserError where the features are not of the network that the map was made from.
        """
        if features.shape[1] != self.features.shape[1]:
            raise UserError(
                f"the network gives {features.shape[1]} features in layer {self.layer}, the stored map was made from "
                f"{self.features.shape[1]}: bring both up to date with `dvc repro`."
            )
        places = self.embedding.project(features)
        nearest, distances = nearest_rows(features, self.features, near)
        around, _ = nearest_rows(places, self.embedding.points, K)
        return [
            Placed(
                float(x),
                float(y),
                tuple(
                    Neighbour(int(self.index[row]), self.class_names[self.labels[row]], float(distance))
                    for row, distance in zip(rows, far, strict=True)
                ),
                dict(Counter(self.class_names[label] for label in self.labels[circle]).most_common()),
            )
            for (x, y), rows, far, circle in zip(places, nearest, distances, around, strict=True)
        ]


def open_map(features: Path, maps: Path, layer: str, method: Method) -> StoredMap:
    """Open the map of a layer: its features in the folder `features`, its embedding below the folder `maps`.

    An empty layer stands for the middle one. Raises UserError where there is no such map, naming the layers there are.
    """
    if not features.is_dir():
        there = sorted(path.parent.name for path in features.parent.glob("*/features.json"))
        known = (
            f"; there are those of {', '.join(there)}" if there else ": run `dvc repro` in the project's root folder"
        )
        raise UserError(f"no stored features of {features.name!r} are here{known}.")
    about = read_json(features / "features.json")
    layers = about["layers"]
    layer = layer or layers[len(layers) // 2]
    if layer not in layers:
        raise UserError(f"{features.name} has no map of a layer {layer!r}; it has maps of {', '.join(layers)}.")
    return StoredMap(
        f"{about['title']}, {layer}: {TITLES[method]}",
        layer,
        tuple(about["class_names"]),
        read_array(features / "labels.npy"),
        read_array(features / "index.npy"),
        read_array(features / f"{layer}.npy"),
        load(maps / layer, method),
    )
