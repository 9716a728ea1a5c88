"""Every stored layer embedded at several perplexities: `python benchmarks/perplexity.py`.

Reads what `dvc repro` stored under features/ (1,000 pictures at the budget quick, 10,000 at full) and writes a row for
each network, layer, perplexity and class, "all" being the mean over all pictures. `benchmarks/embedding_tables.py`
turns it into the tables of docs/embeddings.md.
"""

from pathlib import Path

import typer
from tqdm import tqdm

from cnnlab.core import artifacts, params
from cnnlab.core.errors import UserError, run_command
from cnnlab.embedding.pca import fit_pca
from cnnlab.embedding.quality import measure, worst_class
from cnnlab.embedding.tsne import fit_tsne, fitting_perplexity


def main(
    perplexities: str = typer.Option("5,10,30,50,100", help="separated by commas"),
    networks: str = typer.Option("", help="separated by commas [default: all of params.yaml]"),
    layers: str = typer.Option("", help="separated by commas [default: all three]"),
    output: Path = typer.Option(Path("benchmarks/results/perplexity.csv"), help="where the figures go"),
) -> None:
    """Embed, measure, and write one table."""
    settings = params.load()
    run = settings.embed.at(settings.budget)
    values = [float(text) for text in perplexities.split(",")]
    todo = [
        (network, layer, artifacts.read_json(artifacts.features_dir(network) / "features.json")["class_names"])
        for network in (networks.split(",") if networks else settings.models)
        for layer in artifacts.read_json(artifacts.features_dir(network) / "features.json")["layers"]
        if not layers or layer in layers.split(",")
    ]
    table = []
    for network, layer, names in tqdm(todo):
        folder = artifacts.features_dir(network)
        rows, labels = artifacts.read_array(folder / f"{layer}.npy"), artifacts.read_array(folder / "labels.npy")
        if fitting_perplexity(max(values), len(rows)) < max(values):
            raise UserError(f"{len(rows)} pictures are too few for perplexity {max(values):g}.")
        reduced = fit_pca(rows, settings.seed)[1]
        for perplexity in values:
            points, kl = fit_tsne(reduced, perplexity=perplexity, iterations=run.iterations, seed=settings.seed)
            quality = measure(rows, points, labels)
            head = {"network": network, "layer": layer, "perplexity": perplexity, "pictures": len(rows)}
            by_class = quality.by_class(names)
            table += [{**head, **row} for row in ({"class": "all", **quality.overall()}, *by_class)]
            worst = worst_class(by_class, "accuracy"), worst_class(by_class, "silhouette")
            accuracy = quality.overall()["accuracy"]
            tqdm.write(
                f"{network} {layer} {perplexity:g}: accuracy {accuracy:.3f}, divergence {kl:.3f}, "
                f"worst by accuracy {worst[0]}, by silhouette {worst[1]}"
            )
    artifacts.write_csv(output, table)
    print(f"{len(table)} rows → {output}")


if __name__ == "__main__":
    run_command(main)
