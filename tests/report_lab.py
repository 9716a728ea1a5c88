"""A small laboratory on disk, every figure of it made up, for the tests of the page."""

from pathlib import Path

import numpy as np
from PIL import Image

from cnnlab.core import artifacts, datasets, params, schema
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.study import records
from cnnlab.study.plan import plan

ROOT = Path(__file__).parent.parent
NETWORKS = ("lenet", "mynet")
TEST, TRAIN = 24, 60  # pictures


def settings(networks: tuple[str, ...] = NETWORKS, **changes) -> params.Params:
    """The settings of params.yaml with few networks and a small ablation."""
    loaded = params.load(ROOT / "params.yaml")
    chosen = {
        "models": {name: loaded.models[name] for name in networks},
        "baselines": {"lenet": loaded.baselines["lenet"]},
        "ablations": {name: loaded.ablations[name] for name in ("lenet", "relu")},
        "budget": "quick",
        "recipe": "modern",
        "seed": 0,
        "study": loaded.study.model_copy(update={"runs": of_two_networks(loaded)}),
    }
    return loaded.model_copy(update=chosen | changes)


def of_two_networks(loaded: params.Params) -> dict:
    """The study's runs whose networks the laboratory has."""
    return {name: run for name, run in loaded.study.runs.items() if run.network in NETWORKS}


def build(used: params.Params, class_names: tuple[str, ...] = ("shoe", "hat", "bag"), channels: int = 1) -> None:
    """Write the laboratory into the current folder: a data set, every network of `used`, an ablation, a VAE."""
    data_set(used, class_names, channels)
    trained(used, class_names)


def data_set(used: params.Params, names: tuple[str, ...], channels: int) -> None:
    """Pictures of noise in classes of equal size."""
    generator = np.random.default_rng(0)
    info = DatasetInfo(used.dataset, names, channels, 8, 8, "made up", "nowhere", False, "Noise")
    parts = [
        Split(generator.integers(0, 256, (n, channels, 8, 8), dtype=np.uint8), np.arange(n) % len(names))
        for n in (TRAIN, TEST)
    ]
    datasets.save_dataset(info, *parts)


def trained(used: params.Params, names: tuple[str, ...]) -> None:
    """What the stages after `download` write, for a data set of these classes."""
    generator = np.random.default_rng(1)
    for name in used.models:
        network(name, used, names, generator)
    ablation(used)
    study(used)
    vae(used)


def study(used: params.Params) -> None:
    """Records of three runs: five seeds of two, and two of the third."""
    runs = plan(used)
    for name, seeds, accuracy in (("lenet", 5, 0.80), ("max-pool", 5, 0.85), ("relu-rates@0.1", 2, 0.86)):
        for seed in range(seeds):
            found = accuracy + 0.001 * seed + 0.0003 * (seed % 2 if name == "max-pool" else 0)
            curve = {"epoch": [1.0, 2.0], "train_loss": [0.9, 0.5], "test_loss": [0.9, 0.6]}
            curve |= {"train_accuracy": [0.7, 0.8], "test_accuracy": [0.7, found]}
            figures = dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "evaluated_train_accuracy"), 0.5)
            figures |= {
                "test_accuracy": found,
                "tail_test_accuracy": found,
                "epochs": 20.0,
                "seconds": 60.0,
                "n_train": 60_000,
            }
            machine = {
                "device": "a machine",
                "precision": "float32",
                "torch": "2",
                "examples_per_second": 9.0,
                "load": 1.5,
            }
            records.write(
                {"run": name, "seed": seed, "settings": runs[name].settings, "curve": curve} | figures | machine
            )


def network(name: str, used: params.Params, names: tuple[str, ...], generator: np.random.Generator) -> None:
    """One trained and tested network, wrong on the first picture alone; its maps are of all."""
    actual = [names[i % len(names)] for i in range(TEST)]
    predicted = [names[1], *actual[1:]]
    hits = sum(a == p for a, p in zip(actual, predicted, strict=True)) / TEST
    metric = artifacts.metrics_path
    artifacts.write_json(metric("train", name), train_figures(name, used))
    test = {"accuracy": hits, "accuracy_95_low": hits - 0.1, "accuracy_95_high": min(1.0, hits + 0.03), "n": TEST}
    artifacts.write_json(metric("test", name), test | {"int8_accuracy": hits, "int8_agreement": 1.0, "seed": 0})
    sizes = {"onnx_bytes": 4000, "int8_bytes": 1000, "multiply_adds": 500, "parity_largest_difference": 1e-6}
    artifacts.write_json(metric("export", name), sizes)
    artifacts.write_json(metric("timing", name), {"device": "a machine", "train_seconds": 12.5})
    artifacts.write_json(metric("timing", f"export-{name}"), {"milliseconds_batch_1": 0.5})
    measured = ("train", "validation") if used.recipe == "modern" else ("train",)
    curve = [
        {f"{part}_{kind}": 0.5 + step / 9 for part in measured for kind in ("loss", "accuracy")} | {"epoch": 1.0 + step}
        for step in range(4)
    ]
    artifacts.write_csv(artifacts.curve_path(name), curve)
    folder = artifacts.test_plots_dir(name)
    pairs = [{"actual": a, "predicted": p} for a, p in zip(actual, predicted, strict=True)]
    artifacts.write_csv(folder / "confusion.csv", pairs)
    picture(folder / "worst_mistakes.png")
    picture(artifacts.feature_plots_dir(name) / "conv1.png")
    for method in ("pca", "tsne"):
        places = generator.normal(size=(TEST, 2))
        rows = [
            {"index": i, "class": i % len(names), "label": actual[i], "x": x, "y": y} for i, (x, y) in enumerate(places)
        ]
        for layer in ("conv2", "final"):
            artifacts.write_csv(artifacts.embedding_plots_dir() / f"{name}-{method}" / f"{layer}.csv", rows)
        figures: dict = {"final.accuracy": 0.75, "final.accuracy_features": 0.8, "final.worst_class": names[0]}
        figures |= {"final.neighbours": 7} | ({"perplexity": 5.5} if method == "tsne" else {})
        artifacts.write_json(metric("embed", f"{name}-{method}"), figures)


def train_figures(name: str, used: params.Params) -> dict:
    """What training writes, by the settings."""
    held_out = 6 if used.recipe == "modern" else 0
    run = used.run(name).fitted(TRAIN - held_out)
    epochs = run.steps / schema.steps_in_pass(TRAIN - held_out, run.batch_size)
    figures = {"epochs": epochs, "best_epoch": 1.0, "parameters": 1000, "train_accuracy": 0.9}
    counts = {"n_train": TRAIN - held_out, "n_validation": held_out, "seed": used.seed}
    return figures | counts | {"train_loss": 0.3} | ({"validation_accuracy": 0.8} if held_out else {})


def ablation(used: params.Params, budget: str = "quick") -> None:
    """lenet and its variant relu, and the table that compares them."""
    rows = []
    for name, change in (("lenet", ""), ("relu", "act=relu")):
        stated = {"baseline": "lenet", "change": change, "budget": budget, "dataset": used.dataset}
        protocol = {"recipe": "modern", "epochs": 1.0, "n_test": TEST}
        seeds = {"test_accuracy_seed_0": 0.7, "test_accuracy_seed_1": 0.8}
        artifacts.write_json(artifacts.metrics_path("ablation", name), stated | protocol | seeds)
        compared = {"difference": 0.1, "low": -0.1, "high": 0.3, "p": 0.04, "p_holm": 0.04, "mcnemar_p": 0.5}
        row = {"name": name, "baseline": "lenet", "change": change, "rate": "usual", "learning_rate": 0.02, "n": 2}
        row |= {"test_accuracy": 0.75, "std": 0.07, "train_accuracy": 0.8, "gap": 0.05, "dead_relus": ""}
        rows.append(row | (compared if change else dict.fromkeys(compared, "")))
    artifacts.write_csv(artifacts.ablation_table_path("csv"), rows)


def vae(used: params.Params) -> None:
    """A VAE trained for as many steps as the settings say."""
    run = used.vae.at(used.budget).fitted(54)
    epochs = run.steps / -(-54 // run.batch_size)
    artifacts.write_json(
        artifacts.metrics_path("vae", "train"), {"epochs": epochs, "n_train": 54, "seed": 0, "parameters": 10}
    )
    test = {"n": TEST, "seed": 0, "reconstruction": 5.0, "kl": 1.0, "loss": 6.0, "active_units": 2, "mse": 0.1}
    test |= {"psnr_db": 10.0, "importance_weighted_loss": 5.5, "importance_weighted_draws": 5}
    artifacts.write_json(
        artifacts.metrics_path("vae", "test"),
        test | {"importance_weighted_n": 3, "importance_weighted_plain_loss": 6.1},
    )
    losses = [{"epoch": step, "train_loss": 9.0 - step, "validation_loss": 9.5 - step} for step in range(1, 4)]
    artifacts.write_csv(artifacts.vae_plots_dir() / "curve.csv", losses)
    picture(artifacts.vae_plots_dir() / "pictures" / "samples.png")


def picture(path: Path) -> None:
    """A small grey PNG."""
    with artifacts.atomic_write(path) as temporary:
        Image.new("L", (40, 30), 128).save(temporary, format="PNG")
