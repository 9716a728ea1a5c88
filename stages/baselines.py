"""Measure what every network is compared with, on the test set: `python stages/baselines.py`."""

from cnnlab.baselines.classifiers import fit_baselines
from cnnlab.core import artifacts, datasets, params
from cnnlab.core.errors import run_command


def main() -> None:
    """Write metrics/test/baselines.json, and plots/baselines.csv with the classes' sizes and recalls."""
    settings = params.load()
    names = datasets.load_info(settings.dataset).class_names
    train, test = (datasets.load_split(settings.dataset, part) for part in ("train", "test"))
    found = fit_baselines(train, test, settings.seed)
    figures = found.figures(names)
    artifacts.write_json(artifacts.metrics_path("test", "baselines"), figures | {"seed": settings.seed})
    artifacts.write_csv(artifacts.classes_path(), found.by_class(names))
    print(
        f"baselines: test accuracy {figures['largest_class_accuracy']:.4f} of the largest class "
        f"({figures['largest_class']}), {figures['neighbours_accuracy']:.4f} of {figures['neighbours']} nearest "
        f"neighbours, {figures['svm_accuracy']:.4f} of a support vector machine on {figures['components']} principal "
        f"components (n={figures['n']}, fitted to {figures['n_train']:,} pictures)."
    )


if __name__ == "__main__":
    run_command(main)
