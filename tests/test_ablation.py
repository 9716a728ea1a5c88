"""The ablation: what it concludes from figures, what it trains, and what it may choose by."""

import inspect
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from cnnlab import models
from cnnlab.ablation import runs
from cnnlab.ablation.runs import Setting, Variant, choose_rate, dead_rectifiers, run_variant
from cnnlab.ablation.statistics import holm, mcnemar, mean_and_spread, paired_difference
from cnnlab.ablation.table import table
from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo
from cnnlab.core.errors import UserError
from cnnlab.core.schema import Protocol
from cnnlab.core.split import stratified_split
from cnnlab.data.sample import load_sample
from cnnlab.figures.ablation import differences
from cnnlab.models.classifier import Classifier

CLASSES = tuple("abcdefghij")
INFO = DatasetInfo("fashion_mnist", CLASSES, 1, 28, 28, "MIT", "the sample that ships", light_on_dark=True)
LENET = {"act": "relu", "norm": "none", "pool": "max", "kernel_size": 5, "channels": [6, 16]}


def test_mean_and_spread_are_the_samples():
    assert mean_and_spread("x", [1.0, 2.0, 6.0]) == {"x_mean": 3.0, "x_std": pytest.approx(7**0.5)}


def test_the_paired_difference_is_students():
    variant, baseline = [0.84, 0.86, 0.85], [0.82, 0.85, 0.80]
    found, expected = paired_difference(variant, baseline), stats.ttest_rel(variant, baseline)
    interval = expected.confidence_interval(0.95)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert found["mean"] == pytest.approx(np.mean(variant) - np.mean(baseline))


def test_equal_differences_have_no_width():
    equal = [1.0, 2.0, 3.0]
    assert paired_difference(equal, equal) == {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_two_seeds_have_a_difference_and_no_interval():
    assert paired_difference([0.8, 0.9], [0.7, 0.7]) == {"mean": pytest.approx(0.15)}


def test_mcnemar_counts_the_pictures_that_only_one_has_right():
    # 121 discordant pairs, 59 against 62: the classic exact binomial.
    ours = np.array([True] * 59 + [False] * 62 + [True] * 100)
    theirs = np.array([False] * 59 + [True] * 62 + [True] * 100)
    found = mcnemar(ours, theirs)
    assert (found["only_variant"], found["only_baseline"]) == (59, 62)
    assert found["p"] == pytest.approx(stats.binomtest(59, 121).pvalue)
    assert mcnemar(ours, ours)["p"] == 1.0


def test_holm_steps_down():
    # Holm 1979: the smallest times 3, the next times 2, the largest as it is, never less than the one before.
    assert holm({"a": 0.03, "b": 0.01, "c": 0.04}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == pytest.approx({"a": 1.0, "b": 1.0})


def result(accuracies: list[float], budget: str = "quick", change: str = "act=relu") -> dict:
    """The figures of a variant with these test accuracies, one for each seed."""
    seeds = {f"test_accuracy_seed_{seed}": accuracy for seed, accuracy in enumerate(accuracies)}
    stated = {"baseline": "lenet", "change": change, "budget": budget, "n": len(accuracies)}
    return stated | {"test_accuracy_mean": 0.8} | seeds


HITS = {name: np.ones((1, 3, 4), bool) for name in ("lenet", "relu", "tanh")}


def test_the_table_pairs_by_seed_and_corrects_for_the_number_of_variants():
    figures = {"lenet": [0.7, 0.8, 0.75], "relu": [0.75, 0.86, 0.79], "tanh": [0.7, 0.81, 0.76]}
    lenet, relu, tanh = table(
        {name: result(values, change="" if name == "lenet" else "x=y") for name, values in figures.items()},
        HITS,
        "quick",
    )
    assert lenet["difference"] == lenet["p_holm"] == ""
    assert relu["difference"] == pytest.approx(0.05)
    assert relu["p"] == pytest.approx(stats.ttest_rel(figures["relu"], figures["lenet"]).pvalue)
    assert (relu["p_holm"], tanh["p_holm"]) == pytest.approx((2 * relu["p"], max(2 * relu["p"], tanh["p"])))
    assert relu["mcnemar_p"] == 1


def test_with_two_seeds_the_table_and_the_picture_have_no_intervals():
    rows = table({"lenet": result([0.7, 0.8], change=""), "relu": result([0.8, 0.9])}, HITS, "quick")
    assert [rows[1][key] for key in ("low", "high", "p", "p_holm")] == [""] * 4
    (axes,) = differences(rows[1:], "two seeds").axes
    assert sum(len(line.get_xdata()) == 2 and line.get_linewidth() == 2 for line in axes.lines) == 0


def test_results_of_another_budget_are_not_mixed():
    with pytest.raises(UserError, match="relu are not of budget quick"):
        table({"lenet": result([0.7, 0.8], change=""), "relu": result([0.7, 0.8], budget="smoke")}, HITS, "quick")


def test_the_picture_ends_an_interval_wider_than_itself_in_arrows():
    rows = [{"name": "relu", "baseline": "lenet", "difference": 0.01, "low": -2.0, "high": 2.0}]
    (axes,) = differences(rows, "one variant").axes
    assert {"<", ">"} <= {line.get_marker() for line in axes.lines}
    left, right = axes.get_xlim()
    assert right - left < 10


@pytest.fixture
def setting(tmp_path, monkeypatch) -> Setting:
    monkeypatch.chdir(tmp_path)
    train, _ = load_sample()
    protocol = Protocol(recipe="modern", steps=9, batch_size=32, seeds=2, rates=[0.001, 0.01])
    return Setting(INFO, train, protocol, 0.1, torch.device("cpu"))


def test_every_seed_is_trained_and_measured_at_both_rates(setting):
    test = load_sample()[1]
    found = run_variant(Variant("tried", "lenet", LENET), setting, test)
    assert found.hits().shape == (2, 2, len(test.labels))
    figures = found.figures()
    assert figures["n"] == 2
    assert figures["test_accuracy_seed_0"] == found.hits()[0, 0].mean()
    assert figures["fair_learning_rate"] in setting.protocol.rates
    assert 0 <= figures["dead_relus_mean"] <= 1
    seeds = {(row["rate"], row["seed"]) for row in found.curves()}
    assert seeds == {("usual", 0), ("usual", 1), ("own best", 0), ("own best", 1)}


def test_the_gap_is_of_pictures_that_trained_the_network(setting, monkeypatch):
    measured, measure = [], runs.measure_split

    def remember(classifier, split, device):
        loss, hits = measure(classifier, split, device)
        measured.append((split, hits))
        return loss, hits

    monkeypatch.setattr(runs, "measure_split", remember)
    (run,) = runs.run_seeds(Variant("tried", "lenet", LENET), setting, load_sample()[1], [3])
    (_, test_hits), (seen, train_hits) = measured
    trained_on = stratified_split(setting.train.labels, 0.1, 3)[0]
    np.testing.assert_array_equal(seen.images, setting.train.images[trained_on])
    assert run.figures["gap"] == train_hits.mean() - test_hits.mean()


@pytest.mark.parametrize("rate", [0.02, 0.01])
def test_the_usual_rate_is_trained_once_if_it_is_the_best(setting, rate, monkeypatch):
    """Few pictures take small batches and a lower rate: which rate it is does not depend on that."""
    small = replace(setting, protocol=setting.protocol.model_copy(update={"batch_size": 256, "steps": 3, "seeds": 1}))
    used, train = [], runs.run_seeds
    monkeypatch.setattr(runs, "choose_rate", lambda *_: (rate, []))
    monkeypatch.setattr(runs, "run_seeds", lambda *a: used.append(a[4:]) or train(*a))
    run_variant(Variant("tried", "lenet", LENET | {"act": "sigmoid"}), small, load_sample()[1])  # its rate is .02
    assert used == [(), (0.01,)][: 1 if rate == 0.02 else 2]


def test_a_seed_that_was_finished_is_not_trained_again(setting, monkeypatch):
    test = load_sample()[1]
    variant = Variant("tried", "lenet", LENET)
    (first,) = runs.run_seeds(variant, setting, test, [0])
    monkeypatch.setattr("cnnlab.training.loop._train_segment", lambda *_: pytest.fail("it trained again"))
    (again,) = runs.run_seeds(variant, setting, test, [0])
    assert (again.hits == first.hits).all()
    assert again.figures == first.figures


def test_the_rate_is_chosen_without_test_pictures(setting, monkeypatch):
    assert "test" not in inspect.signature(choose_rate).parameters
    held: list[float] = []
    train = runs.train_seeds

    def trained(*arguments, **keywords):
        result = train(*arguments, **keywords)
        held.append(result[0].validation["accuracy"])
        return result

    monkeypatch.setattr(runs, "train_seeds", trained)
    rate, tries = choose_rate(Variant("tried", "lenet", LENET), setting)
    assert rate == setting.protocol.rates[int(np.argmax(held))]
    assert len(tries) == len(setting.protocol.rates)


def test_dead_rectifiers_are_counted():
    network = models.build("lenet", (1, 28, 28), 10, LENET)
    classifier = Classifier(network, [0.0], [1.0], {}).eval()
    images = load_sample()[0].images[:100]
    before = dead_rectifiers(classifier, images, torch.device("cpu"))["dead_relus"]
    with torch.no_grad():
        network.get_submodule("fc2").bias.fill_(-1000.0)
    after = dead_rectifiers(classifier, images, torch.device("cpu"))["dead_relus"]
    assert before < 84 / (6 + 16 + 120 + 84) <= after
    sigmoid = Classifier(models.build("lenet", (1, 28, 28), 10, LENET | {"act": "sigmoid"}), [0.0], [1.0], {})
    assert dead_rectifiers(sigmoid, images, torch.device("cpu")) == {}


ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_two_processes_train_one_network_to_the_same_accuracy(tmp_path):
    """torchrun with two gloo processes gives the accuracy of one, within what another seed changes."""
    accuracies = {processes: trained_with(processes, tmp_path / str(processes)) for processes in (1, 2)}
    assert min(accuracies.values()) > 0.7
    assert abs(accuracies[1] - accuracies[2]) < 0.05


def trained_with(processes: int, folder: Path) -> float:
    folder.mkdir()
    text = (ROOT / "params.yaml").read_text().replace("budget: quick", "budget: smoke")
    assert "act: sigmoid" in text
    text = text.replace("act: sigmoid", "act: relu", 1).replace("processes: 1", f"processes: {processes}")
    (folder / "params.yaml").write_text(text)
    here = Path.cwd()
    os.chdir(folder)
    try:
        datasets.save_dataset(INFO, *load_sample())
    finally:
        os.chdir(here)
    command = [sys.executable, str(ROOT / "stages/train.py"), "lenet", "--act", "relu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("validation accuracy") == 1  # one process speaks
    return artifacts.read_json(folder / "metrics/train/lenet.json")["validation_accuracy"]
