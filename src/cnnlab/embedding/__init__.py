"""Two-dimensional maps of a layer's features by PCA and t-SNE, and how good they are. Never imports torch."""

from cnnlab.embedding.pca import constant_features
from cnnlab.embedding.quality import MEASURES, K, Quality, measure, nearest_rows, worst_class
from cnnlab.embedding.store import METHODS, Embedding, Method, embed, load, save

__all__ = [
    "MEASURES",
    "METHODS",
    "Embedding",
    "K",
    "Method",
    "Quality",
    "constant_features",
    "embed",
    "load",
    "measure",
    "nearest_rows",
    "save",
    "worst_class",
]
