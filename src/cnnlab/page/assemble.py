"""The page's data: from all that was read what belongs to the settings, section by section, and what is missing."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from cnnlab.core import metrics
from cnnlab.core.params import Params
from cnnlab.figures.style import COLOURS, MARKERS
from cnnlab.page import checks, reported
from cnnlab.page.ablation import ablation
from cnnlab.page.maps import data_uri, maps
from cnnlab.page.sources import Network, Row, Sources, Vae

Notes = dict[str, list[str]]  # section: sentences on what is missing or left out
OF_NETWORKS = ("size", "curves", "confusion", "mistakes", "features", "maps", "onnx")


def assemble(sources: Sources, settings: Params) -> dict[str, Any]:
    """All that the page shows, ready for JSON; figures of other settings than `settings` are named under `notes`."""
    notes: Notes = {}
    networks = _networks(sources, settings, notes)
    page_maps, notes_on_maps = maps(networks, sources, settings.embed.at(settings.budget).pictures)
    page_ablation, notes_on_ablation = ablation(sources.ablation, settings)
    notes.setdefault("maps", []).extend(notes_on_maps)
    notes.setdefault("ablation", []).extend(notes_on_ablation)
    counts = {"n_train": sources.training_pictures, "n_test": len(sources.test.labels)}
    return {
        "settings": _settings(settings, sources),
        "dataset": asdict(sources.info) | counts,
        "colours": COLOURS,
        "markers": MARKERS,
        "networks": [_network(network, sources, settings, notes) for network in networks],
        "maps": page_maps,
        "ablation": page_ablation,
        "reported": reported.join(reported.reported(), sources.full_scale),
        "vae": _vae(sources.vae, settings, notes),
        "benchmark": {
            key: sources.inference[key] for key in ("machine", "onnxruntime", "torch") if key in sources.inference
        },
        "notes": {section: sentences for section, sentences in notes.items() if sentences},
    }


def _settings(settings: Params, sources: Sources) -> dict[str, Any]:
    names = ("budget", "recipe", "seed", "dataset", "validation_share")
    chosen = {name: getattr(settings, name) for name in names}
    return chosen | {"perplexity": settings.embed.perplexity, "vae_title": sources.vae.dataset}


def _networks(sources: Sources, settings: Params, notes: Notes) -> list[Network]:
    """The networks that were trained by these settings; of the others, a sentence."""
    kept, left_out = [], []
    for network in sources.networks:
        if not network.train:
            notes.setdefault("run", []).append(
                f"{network.title} is missing: it was not trained here (no metrics/train/{network.name}.json)."
            )
        elif why := checks.foreign_network(network, settings, sources.training_pictures):
            notes.setdefault("run", []).append(f"{network.title} is left out: its metrics are of another run ({why}).")
        else:
            kept.append(_with_fitting_test(network, sources, notes))
            continue
        left_out.append(network.title)
    if left_out:
        for section in OF_NETWORKS:
            notes.setdefault(section, []).append(f"Without {_listed(left_out)}: section 1 says why.")
    return kept


def _with_fitting_test(network: Network, sources: Sources, notes: Notes) -> Network:
    """The network, without its test where that is of another data set."""
    why = checks.foreign_test(network, sources)
    if not why:
        return network
    notes.setdefault("run", []).append(f"The test of {network.title} is left out: {why}.")
    return replace(network, test={}, answers=[], mistakes=b"")


def _network(network: Network, sources: Sources, settings: Params, notes: Notes) -> dict[str, Any]:
    """One network's figures, curve, confusion matrix and pictures."""
    name = network.name
    _miss(notes, "size", network, network.test, f"test accuracy of {{}}: metrics/test/{name}.json")
    _miss(notes, "size", network, network.timing, f"training time of {{}}: metrics/timing/{name}.json")
    _miss(notes, "curves", network, network.curve, f"curve of {{}}: plots/train/{name}.csv")
    _miss(notes, "confusion", network, network.answers, f"confusion matrix of {{}}: plots/test/{name}/confusion.csv")
    _miss(notes, "mistakes", network, network.mistakes, f"mistakes of {{}}: plots/test/{name}/worst_mistakes.png")
    _miss(notes, "features", network, network.feature_maps, f"feature maps of {{}}: plots/features/{name}/")
    _miss(notes, "onnx", network, network.export, f"exported files of {{}}: metrics/export/{name}.json")
    return {
        "name": name,
        "title": network.title,
        "colour": COLOURS[list(settings.models).index(name) % len(COLOURS)],
        "marker": MARKERS[list(settings.models).index(name) % len(MARKERS)],
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


def _miss(notes: Notes, section: str, network: Network, value: Any, text: str) -> None:
    if not value:
        notes.setdefault(section, []).append(f"No {text.format(network.title)} is not here.")


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
                figures |= {
                    figure: inference[f"{name} {engine} batch {batch} {threads} {figure}"],
                    f"batch_{batch}": best,
                }
        if figures:
            found[engine] = figures
    return found


def _confusion(network: Network, sources: Sources) -> dict[str, Any] | None:
    """Counts [actual][predicted] and precision, recall and F1 of each class."""
    if not network.answers:
        return None
    number = {name: place for place, name in enumerate(sources.info.class_names)}
    predicted = np.array([number[row["predicted"]] for row in network.answers])
    counts = metrics.confusion_matrix(predicted, sources.test.labels, len(number))
    figures = zip(("precision", "recall", "f1"), metrics.precision_recall_f1(counts), strict=True)
    return {"counts": counts.tolist()} | {name: [round(float(v), 4) for v in values] for name, values in figures}


def _vae(vae: Vae, settings: Params, notes: Notes) -> dict[str, Any]:
    if not vae.train:
        notes["vae"] = ["The variational autoencoder was not trained here: metrics/vae/train.json is missing."]
        return {}
    if why := checks.foreign_vae(vae, settings):
        notes["vae"] = [f"The variational autoencoder is left out: its metrics are of another run ({why})."]
        return {}
    notes["vae"] = [
        f"No {text} is not here."
        for value, text in (
            (vae.test, "figures of its test: metrics/vae/test.json"),
            (vae.curve, "curve: plots/vae/curve.csv"),
            (vae.pictures, "pictures: plots/vae/pictures/"),
        )
        if not value
    ]
    return {
        "train": vae.train,
        "test": vae.test,
        "export": vae.export,
        "timing": vae.timing,
        "curve": columns(vae.curve),
        "z_dim": settings.vae.z_dim,
        "pictures": {name: data_uri(png) for name, png in vae.pictures.items()},
    }


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
