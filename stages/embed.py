"""Embed a network's three layers in the plane and measure the maps: `python stages/embed.py mynet tsne`."""

import os

import typer
from tqdm import tqdm

from cnnlab import artifacts, embedding, params
from cnnlab.errors import run_command
from cnnlab.figures.embeddings import Panel, embedding_map, variance_axes


def main(
    architecture: str = typer.Argument(help="as in params.yaml under models"),
    method: embedding.Method = typer.Argument(help="the projection"),
) -> None:
    """From features/ARCH: maps as tables and pictures, their quality, and what new pictures need to join them."""
    # Threads that wait leave the core to others: where cores are shared, spinning makes t-SNE many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings, name = params.load(), f"{architecture}-{method}"
    run = settings.embed.at(settings.budget)
    folder, plots = artifacts.features_dir(architecture), artifacts.embedding_plots_dir()
    about = artifacts.read_json(folder / "features.json")
    labels, index = artifacts.read_array(folder / "labels.npy"), artifacts.read_array(folder / "index.npy")
    figures, by_class = {"pictures": len(labels)}, []
    for layer in about["layers"]:
        rows = artifacts.read_array(folder / f"{layer}.npy")
        told = {"features": rows.shape[1], "constant_features": embedding.constant_features(rows, layer)}
        steps = embedding.early_iterations(len(rows)) + run.iterations
        with tqdm(total=steps, desc=f"{name} {layer}", disable=None if method == "tsne" else True) as bar:
            made = embedding.embed(
                rows, method, perplexity=settings.embed.perplexity, iterations=run.iterations, seed=settings.seed,
                progress=lambda step, _, bar=bar: bar.update(step - bar.n),
            )  # fmt: skip
        quality = embedding.measure(rows, made.points, labels)
        told |= embedding.summary(made, quality, about["class_names"])
        figures |= {f"{layer}.{key}": value for key, value in told.items()}
        by_class += [{"layer": layer, **row} for row in quality.by_class(about["class_names"])]
        embedding.save(artifacts.embedding_dir(architecture, method) / layer, made)
        table = embedding.point_rows(made.points, labels, index, about["class_names"])
        artifacts.write_csv(plots / name / f"{layer}.csv", table)
        axes = variance_axes(made.pca.shares) if method == "pca" else None
        panel = Panel(made.points, labels, f"{about['title']}, {layer}: {embedding.TITLES[method]}", axes)
        figure = embedding_map(panel, about["class_names"], embedding.caption(told, len(labels)))
        artifacts.write_figure(plots / name / f"{layer}.png", figure)
    artifacts.write_json(artifacts.metrics_path("embed", name), figures)
    artifacts.write_csv(plots / f"{name}.csv", by_class)
    print(f"{name}: {', '.join(about['layers'])} → {plots / name}; figures → metrics/embed/{name}.json.")


if __name__ == "__main__":
    run_command(main)
