"""Two-dimensional maps of a layer's features by PCA and t-SNE, and how good they are. Never imports torch."""

from cnnlab.embedding.pca import constant_features
from cnnlab.embedding.quality import MEASURES, K, Quality, measure, nearest_rows, neighbours, no_quality, worst_class
from cnnlab.embedding.store import (
    METHODS,
    TITLES,
    Embedding,
    Method,
    caption,
    embed,
    load,
    point_rows,
    save,
    summary,
)
from cnnlab.embedding.tsne import early_iterations, fit_tsne, fitting_perplexity

__all__ = [
    "MEASURES",
    "METHODS",
    "TITLES",
    "Embedding",
    "K",
    "Method",
    "Quality",
    "caption",
    "constant_features",
    "early_iterations",
    "embed",
    "fit_tsne",
    "fitting_perplexity",
    "load",
    "measure",
    "nearest_rows",
    "neighbours",
    "no_quality",
    "point_rows",
    "save",
    "summary",
    "worst_class",
]
