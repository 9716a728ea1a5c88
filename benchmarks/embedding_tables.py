"""Write the tables of docs/embeddings.md from measured figures: `python benchmarks/embedding_tables.py`.

Reads metrics/embed/ (of `dvc repro`), benchmarks/results/perplexity.csv and tsne.csv, and
replaces the text of the document between `<!-- NAME -->` and `<!-- end -->`.
"""

import csv
import re
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from cnnlab.core import artifacts, params
from cnnlab.core.errors import UserError, run_command
from cnnlab.embedding.maps import METHODS, TITLES, Method
from cnnlab.embedding.quality import worst_class

Row = dict[str, Any]
MEASURED = ("divergence", "trustworthiness", "knn_recall")


def read_csv(path: Path) -> list[Row]:
    """Rows of a CSV, numbers as float."""
    if not path.is_file():
        raise UserError(f"{path} is not here: run what makes it first.")
    with path.open(newline="") as file:
        return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def methods(networks: list[str]) -> str:
    """PCA and t-SNE for each network and layer: accuracy, silhouette, trustworthiness, and the worst class."""
    rows = []
    for network in networks:
        measured = {
            method: artifacts.read_json(artifacts.metrics_path("embed", f"{network}-{method}")) for method in METHODS
        }
        for layer in artifacts.read_json(artifacts.features_dir(network) / "features.json")["layers"]:
            cells = [f"{network} {layer}", f"{measured['pca'][f'{layer}.accuracy_features']:.3f}"]
            for measure in ("accuracy", "silhouette", "trustworthiness"):
                cells += [f"{measured[method][f'{layer}.{measure}']:.3f}" for method in METHODS]
            cells += [str(measured[method][f"{layer}.worst_class"]) for method in METHODS]
            rows.append(cells)
    measures = ("10-NN accuracy", "silhouette", "trustworthiness", "worst class")
    titles = [f"{measure}, {title}" for measure in measures for title in TITLES.values()]
    return markdown(["layer", "10-NN accuracy, features", *titles], rows)


def worst(networks: list[str]) -> str:
    """How many of the maps each class is the worst of, by accuracy and by silhouette."""
    counts: dict[tuple[Method, str], Counter[str]] = defaultdict(Counter)
    for network in networks:
        for method in METHODS:
            measured = artifacts.read_json(artifacts.metrics_path("embed", f"{network}-{method}"))
            for layer in artifacts.read_json(artifacts.features_dir(network) / "features.json")["layers"]:
                counts[method, "accuracy"][measured[f"{layer}.worst_class"]] += 1
                counts[method, "silhouette"][measured[f"{layer}.worst_class_silhouette"]] += 1
    keys: list[tuple[Method, str]] = [(method, measure) for method in METHODS for measure in ("accuracy", "silhouette")]
    classes = sorted(set().union(*counts.values()), key=lambda name: -sum(counts[key][name] for key in keys))
    head = ["worst class by", *(f"{TITLES[method]}, {measure}" for method, measure in keys)]
    return markdown(head, [[name, *(str(counts[key][name]) for key in keys)] for name in classes])


def perplexities(table: list[Row]) -> str:
    """Means over all maps at each perplexity, and of the class that is worst in most of them."""
    values = sorted({row["perplexity"] for row in table})
    lowest: Counter[str] = Counter()
    worst_of: dict[float, Counter[str]] = {value: Counter() for value in values}
    for value in values:
        maps = defaultdict(list)
        for row in table:
            if row["perplexity"] == value and row["class"] != "all":
                maps[row["network"], row["layer"]].append(row)
        for rows in maps.values():
            worst_of[value][worst_class(rows, "accuracy")] += 1
        lowest += worst_of[value]
    name = lowest.most_common(1)[0][0]
    rows = []
    for value in values:
        chosen = {
            kind: [row for row in table if row["perplexity"] == value and row["class"] == kind]
            for kind in ("all", name)
        }
        cells = [
            f"{value:g}",
            *(
                f"{_mean(chosen['all'], key):.3f}"
                for key in ("accuracy", "silhouette", "trustworthiness", "knn_recall")
            ),
        ]
        cells += [f"{_mean(chosen[name], key):.3f}" for key in ("accuracy", "silhouette")]
        rows.append([*cells, f"{worst_of[value][name]} of {worst_of[value].total()}"])
    features_row = [
        "features",
        f"{_mean(chosen['all'], 'accuracy_features'):.3f}",
        f"{_mean(chosen['all'], 'silhouette_features'):.3f}",
        "",
        "",
    ]
    features_row += [
        f"{_mean(chosen[name], 'accuracy_features'):.3f}",
        f"{_mean(chosen[name], 'silhouette_features'):.3f}",
        "",
    ]
    head = ["perplexity", "10-NN accuracy", "silhouette", "trustworthiness", "kNN recall"]
    return markdown(
        [*head, f"{name}: accuracy", f"{name}: silhouette", f"maps where {name} is worst"], [*rows, features_row]
    )


def speed(table: list[Row]) -> str:
    """The contenders of benchmarks/tsne.py."""
    rows = [
        [f"{row['rows']:,.0f}, {row['by']}", f"{row['seconds']:.1f}", *(f"{row[key]:.4f}" for key in MEASURED)]
        for row in table
    ]
    return markdown(["rows, by", "seconds", "KL divergence", "trustworthiness", "kNN recall"], rows)


def main(document: Path = typer.Option(Path("docs/embeddings.md"), help="where the tables stand")) -> None:
    """Rewrite the tables between their marks."""
    networks = list(params.load().models)
    results = Path("benchmarks/results")
    tables = {
        "methods": methods(networks),
        "worst": worst(networks),
        "perplexity": perplexities(read_csv(results / "perplexity.csv")),
        "speed": speed(read_csv(results / "tsne.csv")),
    }
    text = document.read_text(encoding="utf-8")
    for name, table in tables.items():
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, t=table: f"{found[1]}{t}\n{found[2]}",
            text,
            flags=re.S,
        )
        if count != 1:
            raise UserError(f"{document} must have the mark <!-- {name} --> once, and has it {count} times.")
    artifacts.write_text(document, text)
    print(f"{len(tables)} tables → {document}")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _mean(rows: list[Row], key: str) -> float:
    return fmean(row[key] for row in rows)


if __name__ == "__main__":
    run_command(main)
