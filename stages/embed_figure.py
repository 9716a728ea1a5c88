"""Draw a network's maps by both methods side by side: `python stages/embed_figure.py mynet`."""

import typer

from cnnlab import artifacts, embedding
from cnnlab.errors import run_command
from cnnlab.figures.embeddings import Panel, embedding_grid


def main(architecture: str = typer.Argument(help="as in params.yaml under models")) -> None:
    """Read the maps of both embed stages; write plots/embed/ARCH.png."""
    folder = artifacts.features_dir(architecture)
    about, labels = artifacts.read_json(folder / "features.json"), artifacts.read_array(folder / "labels.npy")
    rows = []
    for method in embedding.METHODS:
        figures = artifacts.read_json(artifacts.metrics_path("embed", f"{architecture}-{method}"))
        rows.append([])
        for layer in about["layers"]:
            points = embedding.load(artifacts.embedding_dir(architecture, method) / layer, method).points
            heading = f"{layer}: 10-NN accuracy {figures[f'{layer}.accuracy']:.2f}"
            rows[-1].append(Panel(points, labels, heading))
    text = f"{about['title']}: {len(labels):,} test pictures in three layers"
    figure = embedding_grid(rows, list(embedding.TITLES.values()), text, about["class_names"])
    path = artifacts.embedding_plots_dir() / f"{architecture}.png"
    artifacts.write_figure(path, figure)
    print(f"{architecture}: both methods side by side → {path}.")


if __name__ == "__main__":
    run_command(main)
