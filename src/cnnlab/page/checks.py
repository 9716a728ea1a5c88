"""Which figures belong to the settings: those of another budget, recipe, seed or data set are named, never mixed in."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.core.params import Params
from cnnlab.page.sources import Network, Row, Sources, Vae

STATED = ("budget", "recipe", "dataset", "seed")  # settings that metrics may name


def foreign_network(network: Network, settings: Params, pictures: int) -> str:
    """What in a network's training is not of these settings, in words, or ""; `pictures` are in the training part."""
    train = network.train
    run = settings.run(network.name)
    stated = _stated(train, settings, STATED)
    if stated:
        return stated
    if train["n_train"] + train["n_validation"] != pictures:
        return f"{train['n_train'] + train['n_validation']:,} training pictures where the data set has {pictures:,}"
    if (train["n_validation"] == 0) != (settings.recipe == "plain"):
        return f"another recipe than {settings.recipe}"
    step = 1 / math.ceil(train["n_train"] / run.batch_size)
    if abs(train["epochs"] - run.epochs) > step:
        return f"{train['epochs']:g} epochs where params.yaml has {run.epochs:g}"
    return ""


def foreign_test(network: Network, sources: Sources) -> str:
    """What in a network's test is not of this data set, in words, or ""."""
    n = len(sources.test.labels)
    if network.test and network.test["n"] != n:
        return f"its test has {network.test['n']:,} pictures where the data set has {n:,}"
    if network.answers and not answers_fit(network.answers, sources):
        return "its answers are to other test pictures"
    return ""


def answers_fit(answers: Sequence[Row], sources: Sources) -> bool:
    """Whether answers are to the test pictures of this data set, picture by picture."""
    names = sources.info.class_names
    if len(answers) != len(sources.test.labels) or not {row["predicted"] for row in answers} <= set(names):
        return False
    return all(row["actual"] == names[label] for row, label in zip(answers, sources.test.labels, strict=True))


def foreign_ablation(figures: Mapping[str, Any], settings: Params) -> str:
    """What in an ablation's metrics is not of these settings, in words, or ""; its protocol has a recipe of its own."""
    return _stated(figures, settings, ("budget", "dataset"))


def foreign_vae(vae: Vae, settings: Params) -> str:
    """What in the VAE's training is not of these settings, in words, or ""."""
    stated = _stated(vae.train, settings, ("budget", "seed"))
    if stated:
        return stated
    run = settings.vae.at(settings.budget)
    steps = round(vae.train["epochs"] * math.ceil(vae.train["n_train"] / run.batch_size))
    return "" if abs(steps - run.steps) <= 1 else f"{steps:,} steps where params.yaml has {run.steps:,}"


def _stated(figures: Mapping[str, Any], settings: Params, names: Sequence[str]) -> str:
    for name in names:
        if name in figures and figures[name] != getattr(settings, name):
            return f"{name} {figures[name]} where params.yaml has {getattr(settings, name)}"
    return ""
