"""How true a map is to its features, and how well it separates the classes.

Every measure is exact: distances between all pairs of pictures, a block of rows at a time. Ten neighbours count, or
fewer where there are no more than 20 pictures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

K = 10
BLOCK_VALUES = 4_000_000  # distances held at a time
DOUBLE_UP_TO = 4096  # features: wider layers are held in float32

# What is measured for each picture, and averaged over a class and over the map; in the order of display.
MEASURES = ("trustworthiness", "knn_recall", "accuracy", "accuracy_features", "silhouette", "silhouette_features")


@dataclass(frozen=True)
class Quality:
    """One value for each picture, float64 [n], of each of MEASURES; a figure for a class or a map is their mean.

    trustworthiness: 1 if the K nearest on the map are also the K nearest by features; less the farther they rank by
        features (Venna and Kaski 2001, one picture at a time, so that a single value may be below 0).
    knn_recall: the share of the k nearest by features that are among the k nearest on the map.
    accuracy: 1 where the k nearest other pictures on the map vote for the picture's own class; accuracy_features
        the same vote among the features.
    silhouette: (b - a) / max(a, b), with a and b the mean distances on the map to the own and to the nearest other
        class (Rousseeuw 1987); silhouette_features the same among the features.
    """

    values: dict[str, np.ndarray]
    labels: np.ndarray
    k: int = K

    def overall(self) -> dict[str, float]:
        """Each measure's mean over all pictures."""
        return {name: float(values.mean()) for name, values in self.values.items()}

    def by_class(self, class_names: Sequence[str]) -> list[dict[str, str | float]]:
        """One row for each class that occurs: its name and each measure's mean over its pictures."""
        rows = []
        for index, name in enumerate(class_names):
            members = self.labels == index
            if members.any():
                means = {measure: float(values[members].mean()) for measure, values in self.values.items()}
                rows.append({"class": name, **means})
        return rows


def worst_class(rows: list[dict[str, str | float]], measure: str) -> str:
    """The class with the lowest figure."""
    return str(min(rows, key=lambda row: float(row[measure]))["class"])


def neighbours(pictures: int) -> int:
    """How many neighbours of each of so many pictures count: ten, but under half of the pictures and at least one."""
    return max(1, min(K, (pictures - 1) // 2))


def measure(features: np.ndarray, points: np.ndarray, labels: np.ndarray) -> Quality:
    """Measure a map of two pictures or more: features [n, features], points [n, 2], labels int64 [n]."""
    total = len(points)
    if total < 2:
        raise ValueError("one picture has no neighbours")
    k = neighbours(total)
    near_map, silhouette = _neighbours(points, labels, k)
    near_features = np.empty((total, k), np.int64)
    silhouette_features = np.empty(total)
    strangeness = np.empty(total)
    for rows, squares in _squared_distances(features):
        near_features[rows] = _nearest(squares, k)
        silhouette_features[rows] = _silhouettes(squares, labels, rows)
        # The rank of a map neighbour among the features is one more than the pictures that are nearer.
        reached = np.take_along_axis(squares, near_map[rows], axis=1)
        ranks = 1 + np.stack([(squares < reached[:, [i]]).sum(axis=1) for i in range(k)], axis=1)
        strangeness[rows] = np.maximum(ranks - k, 0).sum(axis=1)
    shared = (near_map[:, :, None] == near_features[:, None, :]).any(axis=2)
    values = {
        "trustworthiness": 1 - strangeness * 2 / (k * max(1, 2 * total - 3 * k - 1)),  # of two, neither is a stranger
        "knn_recall": shared.mean(axis=1),
        "accuracy": _votes(near_map, labels),
        "accuracy_features": _votes(near_features, labels),
        "silhouette": silhouette,
        "silhouette_features": silhouette_features,
    }
    return Quality(values, labels, k)


def no_quality(labels: np.ndarray) -> Quality:
    """The quality of a layer that gives the same features for every picture: every figure is 0, except accuracies.

    All pictures are equally near, so all of them vote, and the largest class wins.
    """
    largest = np.bincount(labels).argmax()
    values = {name: np.zeros(len(labels)) for name in MEASURES}
    values |= {name: (labels == largest).astype(np.float64) for name in ("accuracy", "accuracy_features")}
    return Quality(values, labels, neighbours(len(labels)))


def nearest_rows(new: np.ndarray, features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of features [n, d] nearest to each row of new [m, d]: indices [m, k] and distances, nearest first."""
    squares = np.empty((len(new), len(features)))
    step = max(1, BLOCK_VALUES // features.shape[1])
    for start in range(0, len(features), step):
        block = features[start : start + step].astype(np.float64)
        for row, picture in enumerate(new):
            squares[row, start : start + step] = ((block - picture) ** 2).sum(axis=1)
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(np.take_along_axis(squares, order, axis=1))


def _neighbours(points: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest others of each point, nearest first, and each point's silhouette."""
    near = np.empty((len(points), k), np.int64)
    silhouette = np.empty(len(points))
    for rows, squares in _squared_distances(points):
        near[rows] = _nearest(squares, k)
        silhouette[rows] = _silhouettes(squares, labels, rows)
    return near, silhouette


def _squared_distances(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances, float64 [rows, n], of a block of rows to all; infinite from a picture to itself."""
    # Centred, so that |a|² + |b|² - 2ab loses few digits; float32 where a wide layer would take too much memory.
    kind = np.float64 if values.shape[1] <= DOUBLE_UP_TO else np.float32
    centred = np.array(values, kind)
    centred -= centred.mean(axis=0, dtype=np.float64).astype(kind)
    norms = np.einsum("ij,ij->i", centred, centred)
    step = max(1, BLOCK_VALUES // len(values))
    for start in range(0, len(values), step):
        rows = slice(start, min(start + step, len(values)))
        squares = (norms[rows, None] + norms - 2 * (centred[rows] @ centred.T)).astype(np.float64)
        np.maximum(squares, 0, out=squares)
        squares[np.arange(rows.stop - rows.start), np.arange(rows.start, rows.stop)] = np.inf
        yield rows, squares


def _nearest(squares: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k least of each row, the least first."""
    near = np.argpartition(squares, k, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(squares, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)


def _votes(near: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where most of the neighbours [n, k] are of the picture's own class; the first class wins a tie."""
    classes = labels.max() + 1
    votes = np.stack([(labels[near] == index).sum(axis=1) for index in range(classes)], axis=1)
    return (votes.argmax(axis=1) == labels).astype(np.float64)


def _silhouettes(squares: np.ndarray, labels: np.ndarray, rows: slice) -> np.ndarray:
    """The silhouette of each row; 0 for a picture alone in its class, and where there is one class only."""
    distances = np.sqrt(squares)
    distances[np.isinf(distances)] = 0
    classes, own, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) == 1:
        return np.zeros(len(distances))
    sums = distances @ np.eye(len(classes))[own]
    mine, every = own[rows], np.arange(len(distances))
    inside = sums[every, mine] / np.maximum(sizes[mine] - 1, 1)
    means = sums / sizes
    means[every, mine] = np.inf
    outside = means.min(axis=1)
    widest = np.maximum(inside, outside)
    result = np.divide(outside - inside, widest, out=np.zeros(len(widest)), where=widest > 0)
    return np.where(sizes[mine] == 1, 0, result)
