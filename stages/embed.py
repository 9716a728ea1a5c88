"""Store inner features of test pictures, embed them by PCA and t-SNE, and draw both: `python stages/embed.py mynet`."""

import sys
from typing import Any

import typer
from tqdm import tqdm

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.datasets import Split
from cnnlab.core.errors import run_command
from cnnlab.embedding import features
from cnnlab.embedding.maps import METHODS, TITLES, Method, caption, embed, point_rows, save, summary
from cnnlab.embedding.pca import constant_features
from cnnlab.embedding.quality import measure, no_quality
from cnnlab.embedding.tsne import early_iterations, fitting_perplexity
from cnnlab.figures.embeddings import Panel, embedding_grid, embedding_map, variance_axes
from cnnlab.figures.feature_maps import DPI, feature_maps, first_filters
from cnnlab.inference import Model

CHANNELS, ROWS = 16, 10  # of a convolution, and pictures, that are shown


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Run the features file; write three layers and their maps to features/, and pictures of them to plots/."""
    settings = params.load()
    test = datasets.load_split(settings.dataset, "test")
    model = Model.load(artifacts.onnx_path(architecture, "features"))
    chosen = features.choose(test.labels, settings.embed.at(settings.budget).pictures, settings.seed)
    about = store_features(architecture, model, test, chosen, settings.dataset)
    draw_feature_maps(architecture, model, test)
    rows = [embed_by(architecture, method, about, settings) for method in METHODS]
    text = f"{about['title']}: {len(chosen):,} test pictures in three layers"
    figure = embedding_grid(rows, list(TITLES.values()), text, about["class_names"])
    path = artifacts.embedding_plots_dir() / f"{architecture}.png"
    artifacts.write_figure(path, figure)
    asked, used = settings.embed.perplexity, fitting_perplexity(settings.embed.perplexity, len(chosen))
    if used < asked:
        note = f"{len(chosen)} test pictures allow a perplexity of at most {used:g}; the settings ask for {asked:g}."
        print(f"Note: {note}", file=sys.stderr)
    print(f"{architecture}: {', '.join(about['layers'])} of {len(chosen):,} test pictures, by PCA and t-SNE → {path}.")


def store_features(architecture: str, model: Model, test: Split, chosen: Any, dataset: str) -> dict[str, Any]:
    """Write the layers of the chosen test pictures to features/ARCH; return their description."""
    folder, layers = artifacts.features_dir(architecture), model.meta["embed_layers"]
    features.store(folder, model.outputs(test.images[chosen], layers), layers, len(chosen))
    artifacts.write_array(folder / "index.npy", chosen)
    artifacts.write_array(folder / "labels.npy", test.labels[chosen])
    about = {
        "title": model.meta["title"],
        "layers": layers,
        "class_names": model.class_names,
        "dataset": dataset,
    }
    artifacts.write_json(folder / "features.json", about)
    return about


def draw_feature_maps(architecture: str, model: Model, test: Split) -> None:
    """Draw the output of each convolution for one picture of each class, and the filters of the first."""
    plots, name = artifacts.feature_plots_dir(architecture), model.meta["title"]
    shown = features.one_of_each_class(test.labels)[:ROWS]
    names = [model.class_names[label] for label in test.labels[shown]]
    for layer, maps in next(model.outputs(test.images[shown], model.meta["map_layers"])).items():
        channels = features.most_varied(maps, CHANNELS)
        heading = f"{name}: {layer}, before its activation"
        figure = feature_maps(test.images[shown], maps[:, channels], channels, maps.shape[1], names, heading)
        artifacts.write_figure(plots / f"{layer}.png", figure, dpi=DPI)
    weights = features.first_filters(artifacts.onnx_path(architecture, "features"))
    filters = first_filters(weights, f"{name}: the filters of the first convolution")
    artifacts.write_figure(plots / "filters.png", filters, dpi=DPI)


def embed_by(architecture: str, method: Method, about: dict[str, Any], settings: params.Params) -> list[Panel]:
    """Embed every layer by one method; write maps and figures, and give the panels of the picture of both methods."""
    run, name = settings.embed.at(settings.budget), f"{architecture}-{method}"
    folder, plots = artifacts.features_dir(architecture), artifacts.embedding_plots_dir()
    labels, index = artifacts.read_array(folder / "labels.npy"), artifacts.read_array(folder / "index.npy")
    figures: dict[str, Any] = {"pictures": len(labels)}
    by_class, panels = [], []
    if method == "tsne":
        figures["perplexity"] = fitting_perplexity(settings.embed.perplexity, len(labels))
    for layer in about["layers"]:
        rows = artifacts.read_array(folder / f"{layer}.npy")
        measured = {"features": rows.shape[1], "constant_features": constant_features(rows, layer)}
        steps = early_iterations(len(rows)) + run.iterations
        with tqdm(total=steps, desc=f"{name} {layer}", disable=None if method == "tsne" else True) as bar:
            made = embed(
                rows, method, perplexity=settings.embed.perplexity, iterations=run.iterations, seed=settings.seed,
                progress=lambda step, _, bar=bar: bar.update(step - bar.n),
            )  # fmt: skip
        dead = measured["constant_features"] == rows.shape[1]
        quality = no_quality(labels) if dead else measure(rows, made.points, labels)
        measured |= summary(made, quality, about["class_names"])
        figures |= {f"{layer}.{key}": value for key, value in measured.items()}
        by_class += [{"layer": layer, **row} for row in quality.by_class(about["class_names"])]
        save(artifacts.embedding_dir(architecture, method) / layer, made)
        table = point_rows(made.points, labels, index, about["class_names"])
        artifacts.write_csv(plots / name / f"{layer}.csv", table)
        axes = variance_axes(made.pca.shares) if method == "pca" else None
        panel = Panel(made.points, labels, f"{about['title']}, {layer}: {TITLES[method]}", axes)
        line = caption(measured, len(labels))
        if dead and method == "pca":
            print(f"Warning: {architecture}, layer {layer}: {line}.", file=sys.stderr)
        figure = embedding_map(panel, about["class_names"], line)
        artifacts.write_figure(plots / name / f"{layer}.png", figure)
        heading = f"{layer}: {quality.k}-NN accuracy {quality.overall()['accuracy']:.2f}"
        panels.append(Panel(made.points, labels, heading))
    artifacts.write_json(artifacts.metrics_path("embed", name), figures)
    artifacts.write_csv(plots / f"{name}.csv", by_class)
    return panels


if __name__ == "__main__":
    run_command(main)
