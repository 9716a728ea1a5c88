"""Verdicts: what follows from made-up records, and docs/findings.md from those in Git, computed again another way."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnlab.core import params
from cnnlab.study import findings, records
from cnnlab.study.claims import ACCURACY, CLAIMS
from cnnlab.study.evidence import LEVEL, POCOCK, find
from cnnlab.study.plan import plan
from cnnlab.study.statistics import Estimate, estimate, paired, unpaired

ROOT = Path(__file__).parent.parent
RUNS = plan(params.load(ROOT / "params.yaml"))


def seeds(values, **more) -> dict:
    """Records of one run, a seed for each accuracy; the training accuracy is .9 unless said otherwise."""
    base = {"evaluated_train_accuracy": 0.9, "device": "cpu", "precision": "float32", "torch": "2", "seconds": 60.0}
    base |= {"dead_relus": 0.0, "outline_conv1": 0.8, "outline_conv2": 0.2, "curve": {"train_accuracy": [0.9] * 50}}
    return {seed: {"test_accuracy": value, ACCURACY: value, **base, **more} for seed, value in enumerate(values)}


def verdict(name: str, recorded: dict):
    return next(each for each in find(CLAIMS, RUNS, recorded) if each.claim.name == name)


SIGMOID = [0.800, 0.810, 0.820, 0.805, 0.815]


def shifted(by: float, noise: float = 0.0005) -> list[float]:
    return [value + by + noise * sign for value, sign in zip(SIGMOID, (1, -1, 0, 1, -1), strict=True)]


# The rule


@pytest.mark.parametrize(
    ("by", "noise", "expected"),
    [
        (0.03, 0.0005, "holds"),  # the interval lies above 0
        (-0.03, 0.0005, "refuted"),  # on the other side
        (0.001, 0.0002, "refuted"),  # above 0 by less than half a point
        (0.004, 0.004, "open"),  # holds both 0 and half a point
        (0.0, 0.03, "open"),  # wide
    ],
)
def test_a_verdict_has_three_values(by, noise, expected):
    found = verdict("relu", {"lenet": seeds(SIGMOID), "relu": seeds(shifted(by, noise))})
    assert found.verdict == expected
    assert found.n == 5
    assert (found.closes != "") == (expected == "open")


def test_no_better_is_the_same_rule_from_the_other_side():
    def of(by):
        small = {"lenet": seeds(SIGMOID), "third-convolution": seeds(shifted(by)), "kernel-3": seeds(shifted(-0.02))}
        return verdict("third", small).verdict

    assert of(-0.02) == "holds"
    assert of(0.001) == "holds"  # a gain of under half a point is no help
    assert of(0.03) == "refuted"


def test_before_a_planned_look_is_complete_there_is_no_verdict():
    recorded = {"lenet": seeds(SIGMOID), "relu": seeds(shifted(0.03)[:4])}
    found = verdict("relu", recorded)
    assert (found.verdict, found.parts, found.n) == ("not run", [], 0)
    assert found.closes == "to be run: relu (seeds: 1)"
    # Seeds beyond the first look do not count until the second is complete.
    more = {"lenet": seeds([*SIGMOID, 0.1, 0.1]), "relu": seeds(shifted(0.03))}
    assert verdict("relu", more).parts[0].estimate.mean == pytest.approx(0.03)


def test_the_second_look_takes_all_ten_seeds():
    twice = {"lenet": seeds(SIGMOID * 2), "relu": seeds(shifted(0.03) * 2)}
    assert verdict("relu", twice).n == 10


def test_what_was_not_run_says_so_and_what_it_would_take():
    found = verdict("vgg", {"lenet-report-50": seeds(SIGMOID)})
    assert found.verdict == "not run"
    assert found.closes == "to be run: vgg-report (seeds: 3)"


def test_an_open_claim_says_how_many_seeds_would_decide_it():
    found = verdict("vgg", {"lenet-report-50": seeds(SIGMOID), "vgg-report": seeds([0.80, 0.83, 0.86])})
    assert found.verdict == "open"
    assert "seeds would decide it" in found.closes


def test_the_gap_compares_evaluation_with_evaluation():
    plain = seeds(SIGMOID, evaluated_train_accuracy=0.85, train_accuracy=0.1)
    norm = seeds(shifted(0.0), evaluated_train_accuracy=0.95, train_accuracy=0.1)
    found = verdict("norm-overfits", {"lenet": plain, "batch-norm": norm})
    assert found.verdict == "holds"
    assert found.parts[0].estimate.mean == pytest.approx(0.1, abs=1e-3)


def test_dead_units_at_one_rate_are_enough():
    rates = ("0.03", "0.05", "0.1", "0.2", "0.3", "0.9")
    alive = {f"relu-rates@{rate}": seeds([0.8] * 3, dead_relus=0.0) for rate in rates}
    assert verdict("dead", alive).verdict == "refuted"
    assert verdict("dead", alive | {"relu-rates@0.9": seeds([0.1] * 3, dead_relus=0.94)}).verdict == "holds"


def rate_runs(sigmoid_best: str, gain: float = 0.03) -> dict:
    def run(value, validation):
        return seeds([value + noise for noise in (0.0, 0.001, -0.001)], curve={"validation_accuracy": [validation] * 9})

    sigmoid = {rate: run(0.85 + gain * (rate == sigmoid_best), 0.9 if rate == sigmoid_best else 0.5)
               for rate in ("0.3", "0.9", "1.5", "2.5", "4")}  # fmt: skip
    relu = {rate: run(0.86, 0.9 if rate == "0.1" else 0.5) for rate in ("0.03", "0.05", "0.1", "0.2", "0.3", "0.9")}
    named = {f"lenet-rates@{rate}": found for rate, found in sigmoid.items()}
    return named | {f"relu-rates@{rate}": found for rate, found in relu.items()}


def test_rates_are_unfair_if_the_best_one_gains_and_a_best_rate_at_the_edge_refutes_nothing():
    assert verdict("unfair", rate_runs("1.5")).verdict == "holds"
    assert verdict("unfair", rate_runs("0.9")).verdict == "refuted"
    assert verdict("unfair", rate_runs("4", gain=0.0)).verdict == "open"


def test_ten_times_compares_epochs_to_the_same_accuracy():
    def curves(first):
        curve = {
            "epoch": [float(e) for e in range(1, 101)],
            "test_accuracy": [0.95 if e >= first else 0.5 for e in range(1, 101)],
        }
        return seeds([0.9] * 3, curve=curve)

    slow = {"mynet-report-100": curves(2), "mynet-plain-100": curves(30)}
    found = verdict("ten-times", slow)
    assert [math.exp(part.estimate.mean) for part in found.parts] == pytest.approx([15, 15, 15])
    assert found.verdict == "holds"
    assert verdict("ten-times", slow | {"mynet-plain-100": curves(6)}).verdict == "refuted"


# The statistics, computed another way


def test_p_values_and_intervals_are_students_and_welchs():
    first, second = [0.84, 0.86, 0.85, 0.83], [0.82, 0.85, 0.80, 0.81]
    expected = stats.ttest_rel(first, second)
    assert paired(first, second).p_beyond(0, above=True) == pytest.approx(expected.pvalue)
    assert paired(first, second).interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))
    welch = stats.ttest_ind(first, second, equal_var=False)
    assert unpaired(first, second).p_beyond(0, above=True) == pytest.approx(welch.pvalue)
    assert unpaired(first, second).interval() == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert estimate(first).interval() == pytest.approx(tuple(stats.ttest_1samp(first, 0).confidence_interval(0.95)))
    assert paired(first, second).p_beyond(0, above=False) == 1
    assert unpaired(first, second).wins == pytest.approx(stats.mannwhitneyu(first, second).statistic / 16)
    assert paired(first, second).wins == 1


def test_two_seeds_prove_nothing_and_equal_differences_have_no_spread():
    assert Estimate(0.5, 0.001, 1, 2).p_beyond(0, above=True) == 1
    assert Estimate(0.5, 0.0, 2, 3).p_beyond(0, above=True) == 0


def test_pococks_level_keeps_the_error_of_two_looks_at_five_per_cent():
    generator = np.random.default_rng(0)
    first = generator.normal(size=200_000)
    second = (first + generator.normal(size=200_000)) / 2**0.5
    limit = stats.norm.ppf(1 - POCOCK / 2)
    assert np.mean((abs(first) > limit) | (abs(second) > limit)) == pytest.approx(0.05, abs=0.002)


def test_holms_correction_counts_every_claim_of_the_list():
    recorded = {"lenet": seeds(SIGMOID), "relu": seeds(shifted(0.03, 0.008))}
    raw = stats.ttest_rel(shifted(0.03, 0.008), SIGMOID).pvalue * LEVEL / POCOCK
    found = verdict("relu", recorded)
    assert found.p == pytest.approx(raw)
    assert found.p_holm == pytest.approx(min(1, len(CLAIMS) * raw))  # the only one with a look has the smallest p


# What is in Git


def test_every_run_of_a_claim_is_declared_and_claims_have_names_of_their_own():
    assert {run for claim in CLAIMS for run in claim.runs} <= set(RUNS)
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


def test_the_page_is_what_the_records_give(monkeypatch):
    monkeypatch.chdir(ROOT)
    recorded = records.read(RUNS)
    text = findings.render(find(CLAIMS, RUNS, recorded), RUNS, recorded, findings.speeds())
    assert (ROOT / "docs/findings.md").read_text() == text, "run `cnnlab study --findings`"


@pytest.mark.parametrize("source", ["Git", "holds", "refuted", "open"])
def test_a_verdict_is_what_an_independent_computation_gives_from_the_files(source, tmp_path, monkeypatch):
    # "Max pooling does better than average pooling": of the records in Git, and of made-up ones of each kind.
    folder = ROOT if source == "Git" else tmp_path
    monkeypatch.chdir(folder)
    if source != "Git":
        made_up(*{"holds": (0.02, 0.0), "refuted": (-0.02, 0.0), "open": (0.003, 0.02)}[source])
    found = verdict("max-pool", records.read(RUNS))
    files = {name: [folder / f"study/{name}/seed-{seed}.json" for seed in range(10)] for name in ("max-pool", "lenet")}
    complete = [n for n in (5, 10) if all(path.is_file() for paths in files.values() for path in paths[:n])]
    if not complete:
        assert (found.verdict in ("open", "not run"), found.parts) == (True, [])
        return
    values = [
        [np.mean(json.loads(path.read_text())["curve"]["test_accuracy"][-5:]) for path in paths[: max(complete)]]
        for paths in files.values()
    ]
    test, difference = stats.ttest_rel(*values), np.subtract(*values)
    assert found.parts[0].estimate.interval() == pytest.approx(tuple(test.confidence_interval(0.95)), abs=2e-5)
    p_holds = test.pvalue if difference.mean() > 0 else 1.0
    p_refuted = stats.ttest_1samp(difference, 0.005).pvalue if difference.mean() < 0.005 else 1.0
    assert found.p == pytest.approx(min(1.0, min(p_holds, p_refuted) * 0.05 / 0.0294), rel=0.02)
    if source != "Git":  # no other claim has a look here: Holm's correction is the length of the list
        corrected = min(1.0, found.p * len(CLAIMS))
        assert (
            found.verdict == source == ("open" if corrected >= 0.05 else "holds" if p_holds < p_refuted else "refuted")
        )


def made_up(by: float, swing: float) -> None:
    """Records of five seeds of LeNet with and without max pooling, written as `cnnlab study` writes them."""
    jumps = np.random.default_rng(0).normal(0, 0.004, (2, 5, 9))
    for run, shift, noise in (("lenet", 0.0, jumps[0]), ("max-pool", by, jumps[1])):
        for seed, base in enumerate(SIGMOID):
            shifted = base + shift + (swing * (-1) ** seed if run == "max-pool" else 0.0)
            curve = [round(shifted + value, 5) for value in noise[seed]]
            figures = {"test_accuracy": curve[-1], ACCURACY: sum(curve[-5:]) / 5}
            settings = {"run": run, "seed": seed, "settings": RUNS[run].settings}
            records.write(settings | figures | {"curve": {"test_accuracy": curve}})


def test_speeds_are_compared_with_a_margin_and_without_p():
    measured = {name: {"float32_examples_per_second": speed, "device": "cpu"} for name, speed in
                (("vgg", 100.0), ("lenet", 105.0), ("googlenet", 10.0))}  # fmt: skip
    assert [each["verdict"] for each in findings.speed_findings(measured)] == ["open", "holds"]
    assert [each["verdict"] for each in findings.speed_findings({})] == ["not run", "not run"]


def test_a_step_of_the_channels_that_is_open_leaves_the_claim_open():
    names = ("channels-half", "lenet", "channels-double", "channels-quadruple")
    growing = {name: seeds(shifted(0.02 * place, 0.0002 * (place + 1))) for place, name in enumerate(names)}
    assert len(verdict("channels", growing).parts) == len(list(pairwise(names))) + 1
    assert verdict("channels", growing).verdict == "holds"
    level = growing | {"channels-double": seeds(shifted(0.004, 0.006))}
    assert verdict("channels", level).verdict == "open"
