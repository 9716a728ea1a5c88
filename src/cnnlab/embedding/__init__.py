"""Two-dimensional maps of a layer's features by PCA and t-SNE, and how good they are. Never imports torch."""
