"""The pictures that show what a VAE has learned, as arrays: rows and columns of tiles and their captions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.latent import manifold, spherical, straight, traversal
from cnnlab.vae.measure import kl_by_dimension

ALPHAS = np.linspace(0, 1, 6)  # the course's task: 0, .2, .4, .6, .8, 1
SIDE = 10  # tiles a side of the sheets of samples
PAIRS = 24  # reconstructions shown
BAND = 8  # of them side by side
WAYS = 3  # pairs of each kind that are interpolated
TRAVERSED = 10  # dimensions
TRAVERSAL_VALUES = np.linspace(-3, 3, 9)
MANIFOLD_SIDE = 20


@dataclass(frozen=True)
class Sheet:
    """Tiles uint8 [rows, columns, c, h, w] (c is 1 or 3) and their captions; an empty tuple means none."""

    tiles: np.ndarray
    title: str
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def sheets(encoder: Encoder, decoder: Decoder, images: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, Sheet]:
    """All sheets of a VAE by name; images uint8 [n, c, h, w] and labels [n] are of the test set.

    Sheets of pairs that the test set does not have are left out: within a class of one picture, say.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    ends = decoder.prior.sample(2 * WAYS, generator)
    shown = images[np.sort(order[:PAIRS])]
    made = {
        "samples": samples(
            decoder, decoder.prior.sample(SIDE * SIDE, generator), f"Samples from the {decoder.meta['prior']} prior"
        ),
        "mixture_samples": samples(
            decoder, decoder.mixture().sample(SIDE * SIDE, generator), "Samples from the mixture fitted to the codes"
        ),
        "reconstructions": reconstructions(shown, decoder.images(encoder.codes(shown)[0])),
        "interpolation_prior": _ways(
            decoder, [(f"draws {2 * i + 1} and {2 * i + 2}", ends[2 * i + 1], ends[2 * i]) for i in range(WAYS)],
            "Between two draws from the prior, z = α·z₁ + (1 − α)·z₂",
        ),
        "traversal": traversals(encoder, decoder, images),
    }  # fmt: skip
    means, _ = encoder.codes(images)
    if decoder.class_names:
        made["class_samples"] = class_samples(decoder, generator)
        made |= _class_ways(decoder, means, labels, order)
    else:
        pairs = [
            ("two pictures", means[order[2 * i + 1]], means[order[2 * i]]) for i in range(min(WAYS, len(order) // 2))
        ]
        made |= _ways_if_any("interpolation_pictures", decoder, pairs, "Between the codes of two test pictures")
    if decoder.meta["z_dim"] == 2 and decoder.prior.is_standard:
        made["manifold"] = plane(decoder)
    return made


def samples(decoder: Decoder, z: np.ndarray, title: str) -> Sheet:
    """Codes [n, z_dim] decoded, as nearly a square as can be; the last row is filled up with the page's white."""
    images = decoder.images(z)
    columns = math.ceil(math.sqrt(len(images)))
    blank = np.full((-len(images) % columns, *images.shape[1:]), 255, np.uint8)
    return Sheet(np.concatenate([images, blank]).reshape(-1, columns, *images.shape[1:]), title)


def reconstructions(images: np.ndarray, rebuilt: np.ndarray) -> Sheet:
    """Pictures uint8 [n, c, h, w] above what their mean codes decode to, in bands of up to eight."""
    columns = min(BAND, len(images))
    blank = np.full((-len(images) % columns, *images.shape[1:]), 255, np.uint8)
    upper, lower = (np.concatenate([part, blank]).reshape(-1, columns, *part.shape[1:]) for part in (images, rebuilt))
    bands = np.stack([upper, lower], axis=1)
    rows = bands.reshape(-1, *bands.shape[2:])
    return Sheet(rows, "Pictures and their reconstructions", ("picture", "rebuilt") * len(bands))


def interpolation(decoder: Decoder, first: np.ndarray, second: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Tiles uint8 [2, len(alphas), c, h, w]: along the straight line, and along the great circle."""
    return np.stack([decoder.images(way(first, second, alphas)) for way in (straight, spherical)])


def class_samples(decoder: Decoder, generator: np.random.Generator) -> Sheet:
    """A row of samples for each class, from the Gaussian fitted to its codes."""
    rows = [decoder.images(gaussian.sample(SIDE, generator)) for gaussian in decoder.gaussians()]
    return Sheet(np.stack(rows), "Samples from the Gaussian of each class's codes", decoder.class_names)


def traversals(encoder: Encoder, decoder: Decoder, images: np.ndarray) -> Sheet:
    """One code with one dimension at a time going three of the prior's deviations to each side of its mean.

    The dimensions with the most KL come first. The code is that of the picture nearest the prior's mean, from which the
    ways stay longest among the data.
    """
    mean, logvar = encoder.codes(images)
    centre, deviation = decoder.prior.moments
    start = mean[np.argmin((((mean - centre) / deviation) ** 2).sum(axis=1))].astype(np.float64)
    kl = kl_by_dimension(decoder.prior, mean, logvar).mean(axis=0)
    dimensions = np.argsort(-kl, kind="stable")[:TRAVERSED]
    values = centre[dimensions, None] + deviation[dimensions, None] * TRAVERSAL_VALUES
    codes = traversal(start, dimensions, values)
    tiles = decoder.images(codes.reshape(-1, codes.shape[-1]))
    return Sheet(
        tiles.reshape(*codes.shape[:2], *tiles.shape[1:]),
        "One dimension of a test picture's code at a time, those with the most KL first",
        tuple(f"z{dimension}: {kl[dimension]:.2f} nats" for dimension in dimensions),
        tuple(f"{value:g}".replace("-", "−") for value in TRAVERSAL_VALUES),
    )


def plane(decoder: Decoder) -> Sheet:
    """The two-dimensional code space, decoded at quantiles of N(0, I)."""
    codes = manifold(MANIFOLD_SIDE)
    tiles = decoder.images(codes.reshape(-1, 2))
    return Sheet(
        tiles.reshape(MANIFOLD_SIDE, MANIFOLD_SIDE, *tiles.shape[1:]), "The code plane at quantiles of N(0, I)"
    )


def _class_ways(decoder: Decoder, means: np.ndarray, labels: np.ndarray, order: np.ndarray) -> dict[str, Sheet]:
    """Interpolation within a class, between two classes, and between class means; the pictures come in `order`."""
    names = decoder.class_names
    of_class = {label: order[labels[order] == label] for label in range(len(names))}
    present = order_of_first(labels[order])
    usable = [label for label in present if len(of_class[label]) >= 2]
    within = [(names[label], means[of_class[label][1]], means[of_class[label][0]]) for label in usable[:WAYS]]
    couples = list(zip(present[0::2], present[1::2], strict=False))[:WAYS]
    between = [(f"{names[a]} → {names[b]}", means[of_class[b][0]], means[of_class[a][0]]) for a, b in couples]
    centres = [gaussian.mean for gaussian in decoder.gaussians()]
    middles = [(f"{names[a]} → {names[b]}", centres[b], centres[a]) for a, b in couples]
    made = (
        ("interpolation_within", within, "Between the codes of two test pictures of one class"),
        ("interpolation_between", between, "Between the codes of two test pictures of two classes"),
        ("interpolation_means", middles, "Between the mean codes of two classes"),
    )
    return {
        key: sheet for name, pairs, title in made for key, sheet in _ways_if_any(name, decoder, pairs, title).items()
    }


def _ways_if_any(
    name: str, decoder: Decoder, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]], title: str
) -> dict[str, Sheet]:
    return {name: _ways(decoder, pairs, title)} if pairs else {}


def order_of_first(labels: np.ndarray) -> list[int]:
    """The labels that occur, in the order in which they first do."""
    found, first = np.unique(labels, return_index=True)
    return [int(label) for label in found[np.argsort(first)]]


def _ways(decoder: Decoder, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]], title: str) -> Sheet:
    """Two rows for each pair, the straight line and the great circle; pairs: (name, code at α = 1, at α = 0)."""
    rows = np.concatenate([interpolation(decoder, first, second, ALPHAS) for _, first, second in pairs])
    captions = [f"{name}\n{way}" for name, _, _ in pairs for way in ("straight", "spherical")]
    return Sheet(rows, title, tuple(captions), tuple(f"α = {alpha:.1f}" for alpha in ALPHAS))
