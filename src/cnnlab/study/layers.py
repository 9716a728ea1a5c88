"""What the reports claim about inner layers, as figures: maps of three layers, and how much of the picture is left."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cnnlab.core.datasets import Split
from cnnlab.embedding import features
from cnnlab.embedding.pca import fit_pca
from cnnlab.embedding.quality import measure
from cnnlab.embedding.tsne import fit_tsne
from cnnlab.models.blocks import embed_layers
from cnnlab.models.classifier import Classifier
from cnnlab.study.records import TSNE_MAPS

MAPPED = 1000  # test pictures on a map, drawn with seed 0: the same for every network
OUTLINED = 500  # test pictures, the first ones


@torch.inference_mode()
def map_figures(classifier: Classifier, test: Split, device: torch.device, mapped: int = MAPPED) -> dict[str, Any]:
    """The 10-NN accuracy and each class's silhouette on maps of three layers, by PCA and by several t-SNEs.

    Keys are LAYER, then "pca" or a name of records.TSNE_MAPS.
    """
    chosen = features.choose(test.labels, mapped, 0)
    outputs = classifier.taps(torch.tensor(test.images[chosen], device=device))
    labels, names = test.labels[chosen], classifier.meta["class_names"]
    found = {}
    for layer in embed_layers(list(outputs)):
        rows = outputs[layer].flatten(1).float().cpu().numpy()
        reduced = fit_pca(rows, 0)[1]
        maps = {"pca": reduced[:, :2]}
        for name, (perplexity, iterations) in TSNE_MAPS.items():
            maps[name], _ = fit_tsne(reduced, perplexity=perplexity, iterations=iterations, seed=0)
        found[layer] = {name: _quality(rows, points, labels, names) for name, points in maps.items()}
    return found


def _quality(rows: np.ndarray, points: np.ndarray, labels: np.ndarray, names: list[str]) -> dict[str, Any]:
    quality = measure(rows, points, labels)
    by_class = {str(row["class"]): round(float(row["silhouette"]), 4) for row in quality.by_class(names)}
    return {"accuracy": round(quality.overall()["accuracy"], 4), "silhouettes": by_class}


@torch.inference_mode()
def outline_figures(classifier: Classifier, test: Split, device: torch.device) -> dict[str, float]:
    """How much of LeNet's two convolutions is the picture and its edges: outline_conv1 and outline_conv2.

    Each channel's raw map of a picture is fitted by least squares with a constant, the picture, and the size of its
    gradient (Sobel), all at the map's resolution. The figure is the share of the map's variance that the fit explains,
    R², averaged over channels and pictures: 1 is a map that shows the picture and its outline and nothing else. Maps
    of one value everywhere count as 0.
    """
    images = torch.tensor(test.images[:OUTLINED], device=device)
    outputs = classifier.taps(images)
    pictures = images[:, :1].float() / 255
    return {f"outline_{layer}": _explained(outputs[layer], pictures) for layer in ("conv1", "conv2")}


def _explained(maps: Tensor, pictures: Tensor) -> float:
    """Mean R² of maps [n, k, i, j] by what is seen at the same place of pictures [n, 1, h, w]."""
    seen = torch.cat([torch.ones_like(pictures), pictures, _edges(pictures)], 1)
    seen = _at_resolution(seen, maps.shape[2]).flatten(2).transpose(1, 2).double()  # [n, i*j, 3]
    values = maps.flatten(2).transpose(1, 2).double()  # [n, i*j, k]
    fitted = seen @ (torch.linalg.pinv(seen) @ values)
    total = (values - values.mean(1, keepdim=True)).square().sum(1)
    left = (values - fitted).square().sum(1)
    return float(torch.where(total > 1e-9, 1 - left / total.clamp(min=1e-9), 0.0).mean())


def _edges(pictures: Tensor) -> Tensor:
    """The size of the gradient, by Sobel's filters; [n, 1, h, w]."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=pictures.device)
    filters = torch.stack([across, across.T])[:, None]
    return F.conv2d(pictures, filters, padding=1).square().sum(1, keepdim=True).sqrt()


def _at_resolution(seen: Tensor, side: int) -> Tensor:
    """The part of pictures of 28 pixels a side that LeNet's maps of `side` pixels look at, at their resolution.

    The first convolution keeps every pixel. The second sees half as many, without the border that it cannot reach.
    """
    half = seen.shape[2] // 2
    if side > half:
        return seen
    border = half - side
    inner = seen[:, :, border : seen.shape[2] - border, border : seen.shape[3] - border]
    return F.adaptive_avg_pool2d(inner, side)


def layer_figures(classifier: Classifier, test: Split, device: torch.device, maps: bool) -> Mapping[str, Any]:
    """The figures of inner layers that a run's record has: the outline of LeNet's maps, and maps where asked for."""
    is_lenet = classifier.meta["architecture"] == "lenet"
    outline = outline_figures(classifier, test, device) if is_lenet else {}
    return outline | ({"maps": map_figures(classifier, test, device)} if maps else {})
