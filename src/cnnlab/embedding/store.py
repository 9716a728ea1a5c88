"""An embedding of one layer: how it is made, and how it is kept so that new pictures can join it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from cnnlab.artifacts import read_array, write_array
from cnnlab.embedding.pca import Pca, fit_pca
from cnnlab.embedding.tsne import Progress, fit_tsne, place

Method = Literal["pca", "tsne"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Embedding:
    """A map: its projection, the rows projected float32 [n, kept], the points [n, 2], t-SNE's divergence in nats."""

    method: Method
    pca: Pca
    reduced: np.ndarray
    points: np.ndarray
    divergence: float | None = None

    def project(self, features: np.ndarray) -> np.ndarray:
        """Place new pictures, by their features [m, features], in the map as it is: [m, 2]."""
        reduced = self.pca.transform(features)
        return reduced[:, :2] if self.method == "pca" else place(reduced, self.reduced, self.points)


def embed(
    features: np.ndarray,
    method: Method,
    *,
    perplexity: float,
    iterations: int,
    seed: int,
    progress: Progress | None = None,
) -> Embedding:
    """Embed features [n, features] in the plane; perplexity, iterations and progress are t-SNE's (see fit_tsne)."""
    pca, reduced = fit_pca(features, seed)
    if method == "pca":
        return Embedding(method, pca, reduced, reduced[:, :2])
    points, divergence = fit_tsne(
        reduced, perplexity=perplexity, iterations=iterations, seed=seed, progress=progress
    )
    return Embedding(method, pca, reduced, points, divergence)


def save(folder: Path, embedding: Embedding) -> None:
    """Write what `load` and `Embedding.project` need: plain .npy files in FOLDER."""
    for name in ("mean", "components", "shares"):
        write_array(folder / f"{name}.npy", getattr(embedding.pca, name))
    write_array(folder / "reduced.npy", embedding.reduced)
    write_array(folder / "points.npy", embedding.points)


def load(folder: Path, method: Method) -> Embedding:
    """Read an embedding; UserError where a file is missing or not whole."""
    mean, components, shares, reduced, points = (
        read_array(folder / f"{name}.npy") for name in ("mean", "components", "shares", "reduced", "points")
    )
    return Embedding(method, Pca(mean, components, shares), reduced, points)
