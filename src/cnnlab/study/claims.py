"""The fixed list of the reports' claims: what each compares, and the rule of its verdict. No torch.

The list, the thresholds and the figures were fixed before these records were made, but not in ignorance: an earlier
edition of this project had made some of the runs already (docs/findings.md says which). Accuracy is the mean of the
test accuracy over the last five epochs, since a constant rate makes single epochs jump. Runs of LeNet's variants share
the order of the pictures and are paired by seed; all others are compared without pairing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from cnnlab.ablation.statistics import estimate, paired, unpaired
from cnnlab.study.evidence import NO_REFUTATION, Claim, Look, Part, spread
from cnnlab.study.records import TSNE_MAPS, USUAL_MAP

ACCURACY = "tail_test_accuracy"
LENET_RATES = tuple(f"lenet-rates@{rate:g}" for rate in (0.3, 0.9, 1.5, 2.5, 4))
RELU_RATES = tuple(f"relu-rates@{rate:g}" for rate in (0.03, 0.05, 0.1, 0.2, 0.3, 0.9))
MAPPED = ("lenet-report-50", "mynet-report-100")
SHIRT = "Shirt"  # the class that report A's maps show in pink

Parts = Callable[[Look], list[Part]]


def compare(
    run: str, other: str, figure: str = ACCURACY, *, pair: bool = True, above: bool = True, threshold: float = 0.0,
    **more: Any,
) -> Parts:  # fmt: skip
    """Two runs: the first one's figure minus the other's lies above the threshold, or below."""

    def parts(look: Look) -> list[Part]:
        values = look.pairs(run, other, figure) if pair else (look.values(run, figure), look.values(other, figure))
        found = paired(*values) if pair else unpaired(*values)
        words = {ACCURACY: "accuracy", "gap": "gap"}.get(figure, figure)
        text = f"{words} of {run}{_failure(look, run)} {spread(values[0])}, of {other} {spread(values[1])}"
        return [Part(text, found, threshold, above, **more)]

    return parts


def _failure(look: Look, run: str) -> str:
    """A remark on a run of which every seed learned nothing."""
    return " (which learned nothing)" if look.failed(run) == len(look.records[run]) else ""


def together(*several: Parts) -> Parts:
    """The parts of several comparisons."""
    return lambda look: [part for parts in several for part in parts(look)]


def single(text: str, values: Sequence[float], threshold: float, above: bool, unit: Any, margin: float = 0.0) -> Part:
    """One sample: its mean lies above the threshold, or below."""
    return Part(f"{text} (n = {len(values)})", estimate(values), threshold, above, margin, unit)


def _close(look: Look) -> list[Part]:
    """The difference between ReLU at 20 and sigmoid at 50 epochs is smaller than two points, either way."""
    (above,) = compare("relu", "lenet-report-50", threshold=-0.02, margin=0.0)(look)
    return [above, replace(above, threshold=0.02, above=False)]


def _unfair(look: Look) -> list[Part]:
    """What each activation gains over the rate that the report gave it, by every other rate that was tried."""
    return [
        part
        for runs, given in ((LENET_RATES, "lenet-rates@0.9"), (RELU_RATES, "relu-rates@0.1"))
        for run in runs
        if run != given
        for part in compare(run, given)(look)
    ]


def _dead(look: Look) -> list[Part]:
    """The share of ReLUs that stay at 0 for 5,000 training pictures, rate by rate."""
    return [
        single(f"dead at {run}{_failure(look, run)}", look.values(run, "dead_relus"), 0.01, True, "share")
        for run in RELU_RATES
    ]


def _ten_times(look: Look) -> list[Part]:
    """How many times as many epochs mynet needs without batch normalisation, to three accuracies on the test set.

    An accuracy that it does not reach without counts as reached one epoch after the end. The ratio is at least that, so
    it can refute nothing. With the normalisation it must reach it.
    """
    parts = []
    for level in (0.88, 0.90, 0.91):
        with_norm, without = (
            [math.log(_first_epoch(record["curve"], level)) for _, record in sorted(look.records[run].items())]
            for run in ("mynet-report-100", "mynet-plain-100")
        )
        curves = [record["curve"]["test_accuracy"] for record in look.records["mynet-plain-100"].values()]
        censored = sum(max(curve) < level for curve in curves)
        text = f"epochs to an accuracy of {level:.2f}, without by with (n = {len(without)})"
        if censored:
            text += f" (not reached without by {censored} seeds, whose ratio is at least this)"
        margin = NO_REFUTATION if censored else 0.0
        ratio = replace(unpaired(without, with_norm), wins=None)
        parts.append(Part(text, ratio, math.log(10), True, margin, "factor"))
    return parts


def _first_epoch(curve: dict[str, list[float]], level: float) -> float:
    reached = (epoch for epoch, value in zip(curve["epoch"], curve["test_accuracy"], strict=True) if value >= level)
    return next(reached, curve["epoch"][-1] + 1)


def _converged(look: Look) -> list[Part]:
    """After epoch 20 the training accuracy of each run gains less than one point."""
    found = []
    for run, seeds in look.records.items():
        curves = [record["curve"]["train_accuracy"] for _, record in sorted(seeds.items())]
        gains = [curve[-1] - curve[19] for curve in curves]
        found.append(single(f"training accuracy of {run} after epoch 20", gains, 0.01, False, "points"))
    return found


def _outline(look: Look) -> list[Part]:
    """The picture and its edges explain most of the first convolution's maps, and less than half of the second's."""
    first, second = (look.values("lenet-report-50", f"outline_{layer}") for layer in ("conv1", "conv2"))
    return [
        single("explained share of the first convolution's maps", first, 0.5, True, "share"),
        single("of the second's", second, 0.5, False, "share"),
    ]


def _maps(look: Look, name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """One map of each network and layer, of each seed."""
    return [
        (f"{run} {layer}", [record["maps"][layer][name] for _, record in sorted(look.records[run].items())])
        for run in MAPPED
        for layer in ("conv2", "fc1", "final")
    ]


def _tsne_better(look: Look) -> list[Part]:
    """10-NN accuracy on the map: t-SNE's minus PCA's."""
    parts = []
    for (label, tsne), (_, pca) in zip(_maps(look, USUAL_MAP), _maps(look, "pca"), strict=True):
        values = [[each["accuracy"] for each in maps] for maps in (tsne, pca)]
        text = f"10-NN accuracy on maps of {label}: t-SNE {spread(values[0])}, PCA {spread(values[1])}"
        parts.append(Part(text, paired(*values)))
    return parts


def _shirt(names: Sequence[str], kind: str) -> Parts:
    """Shirt's silhouette on the best of these maps, seed by seed. Below 0, its pictures lie nearer to another class."""

    def parts(look: Look) -> list[Part]:
        maps = [_maps(look, name) for name in names]
        found = []
        for group in zip(*maps, strict=True):
            best = [
                max(each["silhouettes"][SHIRT] for each in seed) for seed in zip(*(m for _, m in group), strict=True)
            ]
            found.append(single(f"silhouette of {SHIRT}, {kind} of {group[0][0]}", best, 0.0, False, "share"))
        return found

    return parts


def _shirt_everywhere(look: Look) -> list[Part]:
    return _shirt(["pca"], "PCA")(look) + _shirt([USUAL_MAP], "t-SNE")(look)


BEYOND = "the interval of the difference lies above 0"
NOT_BEYOND = "the interval of the difference lies below half a point"
CLAIMS = (
    Claim("relu", "ReLU does better than sigmoid (LeNet, 20 epochs)", "B5", BEYOND, ("relu", "lenet"),
          compare("relu", "lenet")),
    Claim("relu-20", "ReLU at 20 epochs comes close to sigmoid at 50", "B5",
          "the interval of the difference lies within two points of 0", ("relu", "lenet-report-50"), _close),
    Claim("unfair", "Unequal rates (0.9 and 0.1) make that comparison unfair", "B5",
          "one of the two gains by another rate: the interval lies above 0 at one of those tried",
          LENET_RATES + RELU_RATES, _unfair, needs="any", fails=True),
    Claim("dead", "Some ReLUs die", "B5", "at one of the rates the interval of their share lies above 1 %", RELU_RATES,
          _dead, needs="any", fails=True),
    Claim("norm-overfits", "Batch normalisation over-fits (LeNet)", "B6", f"for the gap: {BEYOND}",
          ("batch-norm", "lenet"), compare("batch-norm", "lenet", "gap")),
    Claim("channels", "Accuracy grows with the channels, without over-fitting", "B8",
          f"at every step {BEYOND}; for the gap of quadruple minus original {NOT_BEYOND}",
          ("channels-half", "lenet", "channels-double", "channels-quadruple"),
          together(*(compare(after, before) for before, after in
                     pairwise(("channels-half", "lenet", "channels-double", "channels-quadruple"))),
                   compare("channels-quadruple", "lenet", "gap", above=False, threshold=0.005))),
    Claim("max-pool", "Max pooling does better than average pooling", "B9", BEYOND, ("max-pool", "lenet"),
          compare("max-pool", "lenet")),
    Claim("kernels", "Larger kernels over-fit", "B7", f"for the gaps of 7×7 minus 5×5 and minus 3×3: {BEYOND}",
          ("kernel-7", "lenet", "kernel-3"),
          together(compare("kernel-7", "lenet", "gap"), compare("kernel-7", "kernel-3", "gap"))),
    Claim("third", "A third convolution or smaller kernels alone, without batch normalisation, do not help", "A2",
          f"LeNet with one more 3×3 convolution, and LeNet with 3×3 kernels: {NOT_BEYOND}",
          ("third-convolution", "kernel-3", "lenet"),
          together(compare("third-convolution", "lenet", above=False, threshold=0.005),
                   compare("kernel-3", "lenet", above=False, threshold=0.005))),
    Claim("six-points", "Batch normalisation is worth six points in mynet", "A1",
          "the interval of the difference lies above 5 points", ("mynet-report-100", "mynet-plain-100"),
          compare("mynet-report-100", "mynet-plain-100", pair=False, threshold=0.05)),
    Claim("mynet-overfits", "Batch normalisation over-fits (mynet)", "B6", f"for the gap: {BEYOND}",
          ("mynet-report-100", "mynet-plain-100"), compare("mynet-report-100", "mynet-plain-100", "gap", pair=False)),
    Claim("ten-times", "It makes mynet converge ten times faster", "A1",
          "at each of three accuracies the interval of the ratio of epochs lies above 10",
          ("mynet-report-100", "mynet-plain-100"), _ten_times),
    Claim("lenet-converged", "LeNet has converged by 20 epochs", "B10",
          "the interval of what the training accuracy gains after epoch 20 lies below one point", ("lenet-report-50",),
          _converged),
    Claim("all-converged", "All networks are near convergence by 20 epochs", "B10",
          "for each network of 50 epochs: the interval of what the training accuracy gains after epoch 20 lies below "
          "one point", ("lenet-report-50", "vgg-report", "resnet-report", "googlenet-report"),
          _converged, early=True),
    Claim("vgg", "VGG is better than LeNet", "B11", BEYOND, ("vgg-report", "lenet-report-50"),
          compare("vgg-report", "lenet-report-50", pair=False)),
    Claim("vgg-fits", "VGG does not over-fit", "B11", f"for the gap, minus LeNet's: {NOT_BEYOND}",
          ("vgg-report", "lenet-report-50"),
          compare("vgg-report", "lenet-report-50", "gap", pair=False, above=False, threshold=0.005)),
    Claim("resnet-overfits", "ResNet over-fits: 1.000 in training, 0.905 outside", "B14",
          f"for the gap, minus LeNet's at 50 epochs: {BEYOND}", ("resnet-report", "lenet-report-50"),
          compare("resnet-report", "lenet-report-50", "gap", pair=False)),
    Claim("nin", "NiN does badly", "B12", "LeNet minus NiN, both after 20 epochs: the interval lies above 0",
          ("lenet", "nin-report"), compare("lenet", "nin-report", pair=False)),
    Claim("googlenet", "GoogLeNet is no better than LeNet", "B13", NOT_BEYOND, ("googlenet-report", "lenet-report-50"),
          compare("googlenet-report", "lenet-report-50", pair=False, above=False, threshold=0.005)),
    Claim("outline", "The first convolution keeps the outline, the second is hard to read", "B",
          "the picture and its edges explain more than half of the variance of the first one's maps, and less than "
          "half of the second's", ("lenet-report-50",), _outline),
    Claim("tsne", "PCA separates the classes less well than t-SNE", "A3",
          f"10-NN accuracy on the map, t-SNE minus PCA, for three layers of both networks: {BEYOND}", MAPPED,
          _tsne_better),
    Claim("shirt", "One class (Shirt) clusters badly in every map", "A4",
          "its silhouette, the mean over seeds, lies below 0 on all maps of three layers of both networks, by PCA and "
          "t-SNE", MAPPED,
          _shirt_everywhere),
    Claim("shirt-choice", "No choice of perplexity or iterations changes that", "A4",
          f"its silhouette on the best of {len(TSNE_MAPS)} maps by t-SNE of each seed (perplexity 5, 30, 100; 250 to "
          "2,000 iterations), the mean over seeds, lies below 0 for each layer", MAPPED,
          _shirt(tuple(TSNE_MAPS), "the best t-SNE")),
)  # fmt: skip
