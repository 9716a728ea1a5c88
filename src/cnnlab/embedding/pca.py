"""Principal components of a layer's features: the linear map, and the start of t-SNE."""

from dataclasses import dataclass

import numpy as np

from cnnlab.embedding.features import check_finite

KEPT = 50  # components that t-SNE works on, as Kobak and Berens 2019 do
_ROWS = 1024  # rows at a time, so that a wide layer is never copied as a whole


@dataclass(frozen=True)
class Pca:
    """A fitted projection: mean [features], components [kept, features], and each one's share of the variance."""

    mean: np.ndarray
    components: np.ndarray
    shares: np.ndarray

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Project features [n, features] to float32 [n, kept]."""
        parts = [
            (features[start : start + _ROWS] - self.mean) @ self.components.T
            for start in range(0, len(features), _ROWS)
        ]
        return np.concatenate(parts).astype(np.float32)


def fit_pca(features: np.ndarray, seed: int) -> tuple[Pca, np.ndarray]:
    """Fit scikit-learn's PCA to features [n, features]: the projection, and the features projected.

    Fewer components are kept where there are fewer features or rows, but always two: those that the data do not have
    are zero. One thread alone computes it: with more, the last bits depend on how many, and t-SNE turns a last bit
    into another picture.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    kept = min(KEPT, len(features) - 1, features.shape[1])
    lacking = max(0, 2 - kept)
    with threadpool_limits(limits=1):
        # PCA may centre this copy in place: a wide layer is then in memory once.
        fitted = PCA(kept, copy=False, random_state=seed).fit(np.array(features, np.float32))
        components = np.pad(np.asarray(fitted.components_), ((0, lacking), (0, 0)))
        pca = Pca(fitted.mean_, components, np.pad(fitted.explained_variance_ratio_, (0, lacking)))
        return pca, pca.transform(features)


def constant_features(features: np.ndarray, layer: str) -> int:
    """How many of the features [n, features] are the same for every picture: dead units, or a border's padding.

    They carry no information and change no distance. Raises UserError where a value is infinite or not a number,
    naming the layer and the feature.
    """
    low = np.full(features.shape[1], np.inf, np.float32)
    high = -low
    for start in range(0, len(features), _ROWS):
        rows = np.asarray(features[start : start + _ROWS])
        check_finite(rows, layer, start)
        np.minimum(low, rows.min(axis=0), out=low)
        np.maximum(high, rows.max(axis=0), out=high)
    return int((low == high).sum())
