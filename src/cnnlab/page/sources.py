"""What the page is made from: every metrics file, table and picture that is there, read into plain values."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.params import Params
from cnnlab.embedding.maps import METHODS, Method
from cnnlab.inference import Model
from cnnlab.study import findings, records
from cnnlab.study.plan import plan

Figures = dict[str, Any]
Row = dict[str, str]


@dataclass(frozen=True)
class Network:
    """All that there is of one network; what is not there is empty."""

    name: str
    meta: Figures  # the metadata of its exported file
    taps: list[str]
    train: Figures
    test: Figures
    export: Figures
    timing: Figures
    export_timing: Figures
    curve: list[Row]
    answers: list[Row]  # actual and predicted class of each test picture, in the order of the test set
    mistakes: bytes
    feature_maps: dict[str, bytes]
    maps: dict[Method, dict[str, list[Row]]]  # method: layer: a row for each embedded picture
    map_figures: dict[Method, Figures]  # method: its figures

    @property
    def title(self) -> str:
        """Its name as the field writes it."""
        return self.meta.get("title", self.name)


@dataclass(frozen=True)
class Vae:
    """All that there is of the variational autoencoder; `dataset` is the title of what it was trained on."""

    dataset: str
    train: Figures
    test: Figures
    timing: Figures
    curve: list[Row]
    pictures: dict[str, bytes]


@dataclass(frozen=True)
class Ablation:
    """The metrics of each baseline and variant by name, and the table that compares them."""

    metrics: dict[str, Figures]
    rows: list[Row]


@dataclass(frozen=True)
class Study:
    """The study's records by run and seed, a sentence for each run whose records are refused, and measured speeds."""

    records: dict[str, dict[int, Figures]]
    refused: list[str]
    speeds: Figures


@dataclass(frozen=True)
class Sources:
    """Everything that the page shows, before anything is picked."""

    info: DatasetInfo
    training_pictures: int
    test: Split
    networks: list[Network]
    vae: Vae
    baselines: Figures
    classes: list[Row]
    ablation: Ablation
    study: Study
    inference: Figures

    def predicted(self, network: Network) -> np.ndarray:
        """What a network took each test picture for, as class numbers, int64 [n]; empty without its answers."""
        number = {name: place for place, name in enumerate(self.info.class_names)}
        return np.array([number[row["predicted"]] for row in network.answers], np.int64)


def read(settings: Params) -> Sources:
    """Read what the tree holds for the networks and ablations of params.yaml; UserError without the data set."""
    ablation = {name: _figures(artifacts.metrics_path("ablation", name)) for name in settings.ablations}
    return Sources(
        datasets.load_info(settings.dataset),
        len(artifacts.read_array(artifacts.dataset_dir(settings.dataset) / "train" / "labels.npy")),
        datasets.load_split(settings.dataset, "test"),
        [_network(name) for name in settings.models],
        _vae(settings.vae_dataset),
        _figures(artifacts.metrics_path("test", "baselines")),
        _table(artifacts.classes_path()),
        Ablation(
            {name: figures for name, figures in ablation.items() if figures},
            _table(artifacts.ablation_table_path("csv")),
        ),
        Study(*records.read_valid(plan(settings)), findings.speeds()),
        _figures(artifacts.benchmark_path("inference")) | _figures(artifacts.benchmark_path("web_speed")),
    )


def _network(name: str) -> Network:
    folder, maps = artifacts.test_plots_dir(name), artifacts.embedding_plots_dir()
    meta, taps = _exported(name)
    return Network(
        name=name,
        meta=meta,
        taps=taps,
        train=_figures(artifacts.metrics_path("train", name)),
        test=_figures(artifacts.metrics_path("test", name)),
        export=_figures(artifacts.metrics_path("export", name)),
        timing=_figures(artifacts.metrics_path("timing", name)),
        export_timing=_figures(artifacts.metrics_path("timing", f"export-{name}")),
        curve=_table(artifacts.curve_path(name)),
        answers=_table(folder / "confusion.csv"),
        mistakes=_bytes(folder / "worst_mistakes.png"),
        feature_maps=_pictures(artifacts.feature_plots_dir(name)),
        maps={
            method: {path.stem: _table(path) for path in sorted((maps / f"{name}-{method}").glob("*.csv"))}
            for method in METHODS
        },
        map_figures={method: _figures(artifacts.metrics_path("embed", f"{name}-{method}")) for method in METHODS},
    )


def _vae(dataset: str) -> Vae:
    folder = artifacts.vae_plots_dir()
    described = (artifacts.dataset_dir("vae") / "dataset.json").is_file()
    return Vae(
        dataset=datasets.load_info("vae").title if described else dataset,
        train=_figures(artifacts.metrics_path("vae", "train")),
        test=_figures(artifacts.metrics_path("vae", "test")),
        timing=_figures(artifacts.metrics_path("timing", "vae")),
        curve=_table(folder / "curve.csv"),
        pictures=_pictures(folder / "pictures"),
    )


def _figures(path: Path) -> Figures:
    return artifacts.read_json(path) if path.is_file() else {}


def _table(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _pictures(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def _exported(name: str) -> tuple[Figures, list[str]]:
    """The metadata of a network's exported file, and the names of its taps; empty where it was not exported."""
    path = artifacts.onnx_path(name, "features")
    if not path.is_file():
        return {}, []
    model = Model.load(path, threads=1)
    return model.meta, [output for output in model.output_names if output != "logits"]
