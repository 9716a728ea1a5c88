"""t-SNE by openTSNE: van der Maaten and Hinton 2008, with the advice of Kobak and Berens 2019.

Their advice (Nature Communications 10:5416): start from the first two principal components, scaled down; exaggerate
the attraction twelvefold at first; and let the learning rate grow with the number of points n, as n/12. The rate
here is n divided by the exaggeration in force, so n/12 while it lasts and n afterwards (Belkina et al. 2019, Nature
Communications 10:5415). The same settings give the same points to
the last bit, with any number of threads: the neighbours are searched exactly, not by a random forest of trees.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

EXAGGERATION = 12.0  # of the attraction, at first
START_SCALE = 1e-4  # standard deviation of the first coordinate of the start
# From this many points on, threads gain more than they cost; and the interpolated gradient (Linderman et al. 2019) is
# cheaper than Barnes and Hut's while the map is small. Later its grid grows with the map, and it is neither cheap nor
# exact. The early exaggeration of so many points may be shorter too (docs/log.md).
MANY = 4000
EARLY_FEW, EARLY_MANY = 250, 200  # iterations with the exaggeration
LEAST = 5  # pictures: of fewer, each one's neighbours are all the others

# A new point is drawn to its neighbours among the old ones alone (Policar, Strazar and Zupan 2023).
PLACE_PERPLEXITY = 5
PLACE_NEIGHBOURS = 25  # whose median position is where it starts

Progress = Callable[[int, float], object]


def neighbours_of(perplexity: float) -> int:
    """How many neighbours of each point carry its affinities."""
    return int(3 * perplexity)


def early_iterations(pictures: int) -> int:
    """How many iterations are made with the exaggeration, before those that are asked for."""
    return EARLY_MANY if pictures >= MANY else EARLY_FEW


def fitting_perplexity(perplexity: float, pictures: int) -> float:
    """The perplexity, or the largest that so many pictures allow: three neighbours each for every unit of it."""
    return perplexity if neighbours_of(perplexity) <= pictures - 1 else max(1.0, (pictures - 1) / 3)


def fit_tsne(
    reduced: np.ndarray,
    *,
    perplexity: float,
    iterations: int,
    seed: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, float]:
    """Embed principal components [n, kept] in the plane: float64 [n, 2], and the final KL divergence in nats.

    `iterations` come after the early exaggeration; `progress` is given every 50th iteration and its
    divergence. Few pictures have the largest perplexity that they allow; fewer than LEAST stay where PCA puts them,
    with a divergence of 0.
    """
    from openTSNE import TSNEEmbedding, initialization

    if len(reduced) < LEAST:
        return reduced[:, :2].astype(np.float64), 0.0
    perplexity = fitting_perplexity(perplexity, len(reduced))
    threads = threads or (available_threads() if len(reduced) >= MANY else 1)
    start = initialization.rescale(reduced[:, :2].astype(np.float64), target_std=START_SCALE)
    # Identical pictures would start, and stay, on one spot.
    start = initialization.jitter(start, random_state=seed)
    embedding = TSNEEmbedding(
        start, _affinities(reduced, perplexity, threads), n_jobs=threads, negative_gradient_method="bh"
    )
    early = "fft" if len(reduced) >= MANY else "bh"
    phases = ((early_iterations(len(reduced)), EXAGGERATION, early), (iterations, 1.0, "bh"))
    done = 0
    for count, exaggeration, gradient in phases:
        embedding.optimize(
            count,
            inplace=True,
            learning_rate=len(reduced) / exaggeration,
            exaggeration=exaggeration,
            momentum=0.8,
            negative_gradient_method=gradient,
            callbacks=_callbacks(progress, done),
        )
        done += count
    return np.array(embedding, np.float64), float(embedding.kl_divergence)


def place(new: np.ndarray, reduced: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Place new pictures in a finished map without moving it: float64 [m, 2].

    new [m, kept] and reduced [n, kept] are principal components of the same fit, points [n, 2] the map. Each new
    picture is placed by itself, whatever others come with it. In a map of fewer than LEAST pictures, or of pictures
    that are all the same, it is put where its nearest picture is.
    """
    from openTSNE import TSNEEmbedding

    if len(reduced) < LEAST or not np.ptp(reduced, axis=0).any():
        squares = ((new[:, None].astype(np.float64) - reduced) ** 2).sum(axis=2)
        return points[squares.argmin(axis=1)].astype(np.float64)
    perplexity = fitting_perplexity(PLACE_PERPLEXITY, len(reduced))
    affinities = _affinities(reduced, perplexity, threads=1)
    embedding = TSNEEmbedding(np.array(points, np.float64), affinities, negative_gradient_method="bh")
    # openTSNE moves the map's box to the origin before it places anything: the way back is ours.
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    near = min(PLACE_NEIGHBOURS, len(reduced) - 1)
    settings: Any = {"perplexity": perplexity, "k": near}  # openTSNE takes any number; only its default is an int
    placed = embedding.transform(new.astype(np.float64), **settings)
    return np.array(placed, np.float64) + centre


def available_threads() -> int:
    """The cores that this process may use, within its container's quota; joblib imports too slowly for `predict`."""
    import joblib

    return joblib.cpu_count()


def _affinities(reduced: np.ndarray, perplexity: float, threads: int) -> Any:
    from openTSNE.affinity import PerplexityBasedNN

    # openTSNE takes any number; only its default is an int.
    settings: Any = {"perplexity": perplexity, "method": "exact", "n_jobs": threads}
    return PerplexityBasedNN(reduced.astype(np.float64), **settings)


def _callbacks(progress: Progress | None, done: int) -> list[Callable[..., None]] | None:
    if progress is None:
        return None

    def tell(iteration: int, error: float, _: object) -> None:
        progress(done + iteration, float(error))  # what it gives back is dropped: openTSNE would stop on True

    return [tell]
