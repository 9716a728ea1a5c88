"""Our t-SNE and scikit-learn's compared in the same run: `python benchmarks/tsne.py --rows 2000,10000`.

Both embed the same rows: a layer's features of the test set, through PCA to 50 dimensions. Timed from these rows to the
points. The divergences are computed here, exactly and on the same affinities, so that they can be compared; neighbours
are compared with those among the 50 dimensions. A third contender has the learning rate n/12 in both phases.
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command
from cnnlab.embedding import features
from cnnlab.embedding.pca import fit_pca
from cnnlab.embedding.quality import measure
from cnnlab.embedding.tsne import EXAGGERATION, START_SCALE, available_threads, fit_tsne
from cnnlab.inference import Model

BLOCK = 500  # rows of distances held at a time


def ours(rows: np.ndarray, perplexity: float, iterations: int, seed: int) -> np.ndarray:
    """t-SNE as the stage runs it."""
    return fit_tsne(rows, perplexity=perplexity, iterations=iterations, seed=seed)[0]


def kobak_berens(rows: np.ndarray, perplexity: float, iterations: int, seed: int) -> np.ndarray:
    """The same with the learning rate n/12, at least 200, after the early exaggeration as well."""
    from openTSNE import TSNE, affinity, initialization

    threads = available_threads()
    nearest: Any = {"perplexity": perplexity, "method": "exact", "n_jobs": threads}
    affinities = affinity.PerplexityBasedNN(rows.astype(np.float64), **nearest)
    start = initialization.rescale(rows[:, :2].astype(np.float64), target_std=START_SCALE)
    rate: Any = max(200, len(rows) / EXAGGERATION)
    tsne = TSNE(learning_rate=rate, n_iter=iterations, negative_gradient_method="bh", n_jobs=threads)
    return np.asarray(tsne.fit(affinities=affinities, initialization=start))


def scikit_learn(rows: np.ndarray, perplexity: float, iterations: int, seed: int) -> np.ndarray:
    """scikit-learn with its defaults: PCA start, its own rate, 1,000 iterations."""
    from sklearn.manifold import TSNE

    return TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=available_threads()).fit_transform(rows)


CONTENDERS: dict[str, Callable[[np.ndarray, float, int, int], np.ndarray]] = {
    "cnnlab": ours,
    "rate n/12": kobak_berens,
    "scikit-learn": scikit_learn,
}


def divergence(rows: np.ndarray, points: np.ndarray, perplexity: float) -> float:
    """The Kullback-Leibler divergence in nats, with exact neighbours' affinities and an exact normalisation."""
    from openTSNE.affinity import PerplexityBasedNN

    settings: Any = {"perplexity": perplexity, "method": "exact", "n_jobs": available_threads()}
    joint: Any = PerplexityBasedNN(rows.astype(np.float64), **settings).P
    joint = joint.tocoo()
    points = points.astype(np.float64)
    total = -float(len(points))  # a point's attraction to itself, 1, is not one of the sum's
    for start in range(0, len(points), BLOCK):
        squares = ((points[start : start + BLOCK, None] - points[None]) ** 2).sum(axis=2)
        total += float((1 / (1 + squares)).sum())
    squares = ((points[joint.row] - points[joint.col]) ** 2).sum(axis=1)
    return float((joint.data * np.log(joint.data * total * (1 + squares))).sum())


def main(
    rows: str = typer.Option("2000,10000", help="how many, separated by commas"),
    arch: str = typer.Option("mynet", help="the network whose features are embedded"),
    layer: str = typer.Option("fc1", help="its layer"),
    repeats: int = typer.Option(1, min=1, help="runs of each; the fastest counts"),
    contenders: str = typer.Option(",".join(CONTENDERS), help="which, separated by commas"),
    output: Path = typer.Option(Path("benchmarks/results/tsne.csv"), help="where the figures go"),
) -> None:
    """Time all contenders on the same rows and compare what they reach."""
    settings = params.load()
    perplexity, iterations = settings.embed.perplexity, settings.embed.full.iterations
    test = datasets.load_split(settings.dataset, "test")
    model = Model.load(artifacts.onnx_path(arch, "features"))
    table = []
    for count in map(int, rows.split(",")):
        chosen = features.choose(test.labels, count, settings.seed)
        parts = [part[layer] for part in model.outputs(test.images[chosen], [layer])]
        reduced = fit_pca(np.concatenate([part.reshape(len(part), -1) for part in parts]), settings.seed)[1]
        for name in contenders.split(","):
            CONTENDERS[name](reduced[:100], 5, 50, settings.seed)  # so that imports are not timed
            seconds = []
            for _ in range(repeats):
                begun = time.perf_counter()
                points = CONTENDERS[name](reduced, perplexity, iterations, settings.seed)
                seconds.append(time.perf_counter() - begun)
            quality = measure(reduced, points, test.labels[chosen]).overall()
            row = {
                "rows": len(chosen),
                "by": name,
                "seconds": min(seconds),
                "divergence": divergence(reduced, points, perplexity),
                **{measure: quality[measure] for measure in ("trustworthiness", "knn_recall", "accuracy")},
            }
            table.append(row | {"perplexity": perplexity, "layer": f"{arch} {layer}", "machine": machine()})
            print(", ".join(f"{key} {value:.5g}" if key != "by" else value for key, value in row.items()), flush=True)
    artifacts.write_csv(output, table)
    print(f"→ {output}")


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.machine()}, {available_threads()} cores, {platform.system()}"


if __name__ == "__main__":
    run_command(main)
