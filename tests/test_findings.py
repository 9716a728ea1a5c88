"""docs/findings.md is what the recorded runs and the written rules give."""

import json
from pathlib import Path

import pytest

from benchmarks.findings import CLAIMS, NOT_RUN, Runs, points, render

ROOT = Path(__file__).parent.parent


def records(run: str, tests: list[float], train: float = 0.9) -> list[dict]:
    return [
        {
            "run": run,
            "seed": seed,
            "test_accuracy": test,
            "train_accuracy": train,
            "train_loss": 0.3,
            "n_test": 10,
            "device": "cpu",
            "torch": "2",
        }
        for seed, test in enumerate(tests)
    ]


def verdict_of(text: str, runs: list[dict]) -> str:
    claim = next(claim for claim in CLAIMS if claim.text.startswith(text))
    return claim.answer(Runs(runs))[1]


def test_the_page_is_what_the_records_give():
    recorded = json.loads((ROOT / "benchmarks/results/full_scale.json").read_text())
    page = (ROOT / "docs/findings.md").read_text()
    assert page == render(recorded), "run `python benchmarks/findings.py`"


def test_verdicts_follow_from_the_figures():
    sigmoid = records("lenet", [0.80, 0.81, 0.82])
    assert verdict_of("ReLU does better", [*sigmoid, *records("relu", [0.85, 0.86, 0.88])]) == "holds"
    assert verdict_of("ReLU does better", [*sigmoid, *records("relu", [0.70, 0.81, 0.95])]) == "open"
    assert verdict_of("ReLU does better", [*sigmoid, *records("relu", [0.70, 0.71, 0.725])]) == "refuted"
    assert (
        verdict_of("Batch normalisation over-fits", [*sigmoid, *records("batch-norm", [0.80, 0.81, 0.82])]) == "refuted"
    )
    overfit = records("batch-norm", [0.80, 0.81, 0.82], train=0.99)
    assert verdict_of("Batch normalisation over-fits", [*sigmoid, *overfit]) == "holds"


def test_two_seeds_settle_nothing():
    pair = [*records("lenet", [0.80, 0.81]), *records("max-pool", [0.90, 0.91])]
    page = render(pair)
    assert "| **open** |" in next(line for line in page.splitlines() if line.startswith("| Max pooling does better"))


def test_what_was_not_run_says_so():
    page = render(records("lenet", [0.8, 0.9]))
    assert page.count(f"**{NOT_RUN}**") == sum(bool(claim.needs) for claim in CLAIMS)
    assert f"| `relu` | {NOT_RUN} |" in page


def test_differences_are_paired_by_seed_not_by_place():
    runs = Runs([*records("lenet", [0.1, 0.8, 0.9]), *records("relu", [0.2, 0.9, 1.0])[1:]])
    assert runs.paired("relu", "lenet")["mean"] == pytest.approx(0.1)
    assert runs.paired("relu", "lenet")["n"] == 2
    assert points(None).startswith("too few")
