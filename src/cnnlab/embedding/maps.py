"""The embedding of one layer: compute it, and store it so that new pictures can be added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from cnnlab.core.artifacts import read_array, write_array
from cnnlab.embedding.pca import Pca, fit_pca
from cnnlab.embedding.quality import Quality, worst_class
from cnnlab.embedding.tsne import Progress, fit_tsne, place

Method = Literal["pca", "tsne"]
METHODS: tuple[Method, ...] = get_args(Method)
TITLES: dict[Method, str] = {"pca": "PCA", "tsne": "t-SNE"}


@dataclass(frozen=True)
class Embedding:
    """A map: its projection, the rows projected float32 [n, kept], the points [n, 2], t-SNE's divergence in nats."""

    method: Method
    pca: Pca
    reduced: np.ndarray
    points: np.ndarray
    divergence: float | None = None

    def project(self, features: np.ndarray) -> np.ndarray:
        """Place new pictures, given their features [m, features], on the unchanged map: [m, 2]."""
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
    """Embed features [n, features] in the plane; perplexity, iterations and progress are t-SNE's (see fit_tsne).

    Where every feature is the same for all pictures, all points lie at the origin.
    """
    if not np.ptp(features, axis=0).any():
        pca = Pca(np.array(features[0], np.float32), np.zeros((2, features.shape[1]), np.float32), np.zeros(2))
        nothing = np.zeros((len(features), 2), np.float32)
        return Embedding(method, pca, nothing, nothing, None if method == "pca" else 0.0)
    pca, reduced = fit_pca(features, seed)
    if method == "pca":
        return Embedding(method, pca, reduced, reduced[:, :2])
    points, divergence = fit_tsne(reduced, perplexity=perplexity, iterations=iterations, seed=seed, progress=progress)
    return Embedding(method, pca, reduced, points, divergence)


def summary(embedding: Embedding, quality: Quality, class_names: Sequence[str]) -> dict[str, float | int | str]:
    """A map in figures: quality overall and how many neighbours it counts, the worst class, the shares
    of the variance of the first two and of all kept components, t-SNE's divergence."""
    classes = quality.by_class(class_names)
    shares = embedding.pca.shares
    figures: dict[str, float | int | str] = {
        **quality.overall(),
        "neighbours": quality.k,
        "worst_class": worst_class(classes, "accuracy"),
        "worst_class_silhouette": worst_class(classes, "silhouette"),
        "variance_2": float(shares[:2].sum()),
        "variance_kept": float(shares.sum()),
    }
    return figures if embedding.divergence is None else figures | {"kl_divergence": embedding.divergence}


def caption(figures: Mapping[str, float | int | str], pictures: int) -> str:
    """What stands under a map's title: how many pictures, and the figures of `summary` that matter most.

    A layer that gives every picture the same features has a sentence that says so.
    """
    if figures["constant_features"] == figures["features"]:
        return f"every feature is the same for all {pictures:,} test pictures: the layer is dead, or they are one"
    return (
        f"{pictures:,} test pictures · {figures['neighbours']}-NN accuracy {figures['accuracy']:.2f} here and "
        f"{figures['accuracy_features']:.2f} among the features · trustworthiness {figures['trustworthiness']:.2f}"
    )


def point_rows(
    points: np.ndarray, labels: np.ndarray, index: np.ndarray, class_names: Sequence[str]
) -> list[dict[str, int | str | float]]:
    """A map as a table, a row for each picture: its index in the test set, its class by number and name, its place.

    Places have four digits, enough for drawing and small in Git; points.npy has all of them.
    """
    names = list(class_names)
    return [
        {
            "index": int(picture),
            "class": int(label),
            "label": names[int(label)],
            "x": float(f"{x:.4g}"),
            "y": float(f"{y:.4g}"),
        }
        for picture, label, (x, y) in zip(index, labels, points, strict=True)
    ]


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
