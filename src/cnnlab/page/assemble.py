"""The page's data, section by section, ready for JSON. What was not run yet is empty, and its section says so."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cnnlab.core import metrics
from cnnlab.core.params import Params
from cnnlab.core.schema import OWN_PICTURES
from cnnlab.figures.style import COLOURS, MARKERS, colour, marker
from cnnlab.page import reported
from cnnlab.page.ablation import ablation
from cnnlab.page.maps import data_uri, maps
from cnnlab.page.sources import Network, Row, Sources, Vae
from cnnlab.page.study import study


def assemble(sources: Sources, settings: Params) -> dict[str, Any]:
    """All that the page shows, ready for JSON."""
    trained = [network for network in sources.networks if network.train]
    own = sources.info.name == OWN_PICTURES
    counts = {"n_train": sources.training_pictures, "n_test": len(sources.test.labels)}
    return {
        "settings": _settings(settings, sources),
        "dataset": asdict(sources.info) | counts,
        "colours": COLOURS,
        "markers": MARKERS,
        "networks": [_network(network, sources, settings) for network in trained],
        "not_run": [network.title for network in sources.networks if not network.train],
        "maps": maps(trained, sources),
        "ablation": ablation(sources.ablation, settings),
        "baselines": sources.baselines,
        "classes": sources.classes,
        # The reports and the study are of published data sets, and mean nothing next to somebody's own pictures.
        "reported": [] if own else reported.join(reported.reported(), sources.study.records),
        "study": None if own else study(sources.study, settings),
        "vae": _vae(sources.vae, settings),
        "benchmark": {
            key: sources.inference[key] for key in ("machine", "onnxruntime", "torch") if key in sources.inference
        },
    }


def _settings(settings: Params, sources: Sources) -> dict[str, Any]:
    chosen = {name: getattr(settings, name) for name in ("budget", "recipe", "seed")}
    return chosen | {"perplexity": settings.embed.perplexity, "vae_title": sources.vae.dataset}


def _network(network: Network, sources: Sources, settings: Params) -> dict[str, Any]:
    """One network's figures, curve, confusion matrix and pictures."""
    place = list(settings.models).index(network.name)
    return {
        "name": network.name,
        "title": network.title,
        "colour": colour(place),
        "marker": marker(place),
        "train": network.train,
        "test": network.test,
        "export": network.export,
        "timing": network.timing,
        "export_timing": network.export_timing,
        "curve": columns(network.curve),
        "confusion": _confusion(network, sources),
        "mistakes": data_uri(network.mistakes) if network.mistakes else None,
        "features": [{"layer": layer, "uri": data_uri(png)} for layer, png in network.feature_maps.items()],
        "speed": speed(sources.inference, network),
    }


def columns(rows: Sequence[Row]) -> dict[str, list[float]]:
    """A table of numbers by its columns."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def speed(inference: dict[str, Any], network: Network) -> dict[str, Any]:
    """Of the benchmark, each engine at its best number of threads: microseconds a picture, and pictures a second.

    {} where it was not measured, or on a network of other multiply-adds than this one's.
    """
    name = network.name
    if not network.export or inference.get(f"{name} multiply_adds") != network.export["multiply_adds"]:
        return {}
    found = {}
    for engine in ("eager", "compile", "onnxruntime", "onnxruntime int8"):
        figures = {}
        for batch, figure in ((1, "p50_microseconds"), (256, "pictures_per_second")):
            best = inference.get(f"{name} {engine} batch {batch} best")
            if best:
                threads = best.split(", ")[-1]
                figures[figure] = inference[f"{name} {engine} batch {batch} {threads} {figure}"]
        if figures:
            found[engine] = figures
    return found


def _confusion(network: Network, sources: Sources) -> dict[str, Any] | None:
    """Counts [actual][predicted] and precision, recall and F1 of each class."""
    if not network.answers:
        return None
    classes = len(sources.info.class_names)
    counts = metrics.confusion_matrix(sources.predicted(network), sources.test.labels, classes)
    figures = zip(("precision", "recall", "f1"), metrics.precision_recall_f1(counts), strict=True)
    return {"counts": counts.tolist()} | {name: [round(float(v), 4) for v in values] for name, values in figures}


def _vae(vae: Vae, settings: Params) -> dict[str, Any]:
    if not vae.train:
        return {}
    return {
        "train": vae.train,
        "test": vae.test,
        "timing": vae.timing,
        "curve": columns(vae.curve),
        "z_dim": settings.vae.z_dim,
        "pictures": {name: data_uri(png) for name, png in vae.pictures.items()},
    }
