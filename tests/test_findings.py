"""Verdicts: what follows from made-up records, and docs/findings.md from those in Git, computed again another way."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnnlab.ablation.statistics import Estimate, estimate, paired, unpaired
from cnnlab.core import params
from cnnlab.study import findings, records
from cnnlab.study.claims import ACCURACY, CLAIMS
from cnnlab.study.evidence import find
from cnnlab.study.plan import plan

ROOT = Path(__file__).parent.parent
RUNS = plan(params.load(ROOT / "params.yaml"))


def seeds(values, **more) -> dict:
    """Records of one run, a seed for each accuracy; the training accuracy is .9 unless said otherwise."""
    base = {"evaluated_train_accuracy": 0.9, "device": "cpu", "precision": "float32", "torch": "2", "seconds": 60.0}
    base |= {"epochs": 20.0, "n_train": 60_000}
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
    assert found.closes == "to be run: seed 4 of relu"
    # Seeds beyond the first look do not count until the second is complete.
    more = {"lenet": seeds([*SIGMOID, 0.1, 0.1]), "relu": seeds(shifted(0.03))}
    assert verdict("relu", more).parts[0].estimate.mean == pytest.approx(0.03)


def test_the_second_look_takes_all_ten_seeds_and_shows_the_later_ones_alone():
    twice = {"lenet": seeds(SIGMOID * 2), "relu": seeds(shifted(0.03) + shifted(0.02))}
    found = verdict("relu", twice)
    assert found.n == 10
    assert "+2.50 points" in found.shown()[0]
    assert "the seeds of the second look alone +2.00 points" in found.shown()[0]


def test_a_verdict_of_the_first_look_stays_when_shared_runs_get_more_seeds():
    clear = {"lenet": seeds(SIGMOID), "relu": seeds(shifted(0.03, 0.0005))}
    assert verdict("relu", clear).verdict == "holds"
    blurred = {"lenet": seeds(SIGMOID * 2), "relu": seeds(shifted(0.03, 0.0005) + shifted(0.0, 0.05))}
    assert verdict("relu", blurred).verdict == "holds"
    assert verdict("relu", blurred).n == 10


def test_the_table_counts_the_seeds_of_a_second_look_once_it_is_planned():
    def planned(relu):
        recorded = {"lenet": seeds(SIGMOID), "relu": relu}
        rows = findings.table(find(CLAIMS, RUNS, recorded), RUNS, recorded, {})
        return next((row["n"], row["planned"]) for row in rows if row["run"] == "relu")

    assert planned(seeds(shifted(0.03))) == (5, 5)
    assert planned(seeds(shifted(0.004, 0.004))) == (5, 10)  # open
    assert planned(seeds(shifted(0.03) * 2)) == (10, 10)


def test_a_verdict_never_rests_on_runs_that_learned_nothing():
    failed = seeds([0.1, 0.1001, 0.0999], evaluated_train_accuracy=0.1)
    found = verdict("nin", {"lenet": seeds(SIGMOID), "nin-report": failed})
    assert found.verdict == "open"
    assert found.closes.startswith("training stayed at chance in 3 of 3 seeds of nin-report")


def test_an_interval_that_the_correction_overrules_says_so():
    found = verdict("relu", {"lenet": seeds(SIGMOID), "relu": seeds(shifted(0.01, 0.006))})
    low, _ = found.parts[0].estimate.interval()
    assert (found.verdict, low > 0) == ("open", True)
    assert found.closes.startswith("the 95 % interval speaks for the claim, the corrected p does not")


def test_what_was_not_run_says_so_and_what_it_would_take():
    found = verdict("vgg", {"lenet-report-50": seeds(SIGMOID)})
    assert found.verdict == "not run"
    assert found.closes == "to be run: seeds 0 to 2 of vgg-report"
    assert verdict("dead", {}).closes == "to be run: seeds 0 to 4 of relu-rates at 6 rates"


def test_an_open_claim_without_another_look_says_that_it_stays_so():
    found = verdict("vgg", {"lenet-report-50": seeds(SIGMOID), "vgg-report": seeds([0.80, 0.83, 0.86])})
    assert (found.verdict, found.closes) == ("open", "every planned seed is in")


def test_the_gap_compares_evaluation_with_evaluation():
    plain = seeds(SIGMOID, evaluated_train_accuracy=0.85, train_accuracy=0.1)
    norm = seeds(shifted(0.0), evaluated_train_accuracy=0.95, train_accuracy=0.1)
    found = verdict("norm-overfits", {"lenet": plain, "batch-norm": norm})
    assert found.verdict == "holds"
    assert found.parts[0].estimate.mean == pytest.approx(0.1, abs=1e-3)


def test_dead_units_at_one_rate_are_enough():
    def run(share, noise):
        found = seeds([0.8] * 5)
        for seed, record in found.items():
            record["dead_relus"] = share + noise * (seed - 2)
        return found

    rates = ("0.03", "0.05", "0.1", "0.2", "0.3", "0.9")
    alive = {f"relu-rates@{rate}": run(0.001, 0.0001) for rate in rates}
    assert verdict("dead", alive).verdict == "refuted"
    assert verdict("dead", alive | {"relu-rates@0.9": run(0.5, 0.01)}).verdict == "holds"
    assert verdict("dead", alive | {"relu-rates@0.9": run(0.0, 0.0)}).verdict == "open"  # nothing is known of the error
    failed = run(0.9, 0.01)  # training that failed because they died is the answer, not a fault
    for record in failed.values():
        record["evaluated_train_accuracy"] = 0.1
    assert verdict("dead", alive | {"relu-rates@0.9": failed}).verdict == "holds"


def test_a_run_of_which_every_seed_learned_nothing_is_named_so():
    failed = seeds([0.1, 0.1001, 0.0999], evaluated_train_accuracy=0.1)
    found = verdict("nin", {"lenet": seeds(SIGMOID), "nin-report": failed})
    assert "of nin-report" in found.shown()[0]
    assert "learned nothing" not in found.shown()[0]  # it is the second of the two: the sentence beside it says so
    dead = {f"relu-rates@{rate}": seeds([0.1] * 5) for rate in ("0.03", "0.05", "0.1", "0.2", "0.3", "0.9")}
    dead |= {"relu-rates@0.9": seeds([0.1] * 5, evaluated_train_accuracy=0.1)}
    assert [("learned nothing" in line) for line in verdict("dead", dead).shown()] == [False] * 5 + [True]


def growing(by: float) -> dict:
    """Records of five seeds whose training accuracy gains so much, in the mean, after epoch 20."""
    found = seeds(SIGMOID)
    for seed, record in found.items():
        record["curve"] = {"train_accuracy": [0.9] * 20 + [0.9 + by + 0.0005 * (seed - 2)] * 30}
    return found


def test_what_needs_all_networks_is_refuted_by_the_first_that_fails_and_holds_only_with_all():
    found = verdict("all-converged", {"vgg-report": growing(0.05)})
    assert (found.verdict, len(found.parts), found.side) == ("refuted", 1, "against")
    assert found.closes.startswith("decided without what is still to be run: seeds 0 to 4 of lenet-report-50")
    # Its p counts the three networks that are not in.
    p = stats.ttest_1samp([0.05 + 0.0005 * (seed - 2) for seed in range(3)], 0.01).pvalue
    assert found.p == pytest.approx(4 * p)
    names = ("lenet-report-50", "vgg-report", "resnet-report", "googlenet-report")
    three = {name: growing(0.0) for name in names[:3]}
    assert verdict("all-converged", three).verdict == "not run"
    assert verdict("all-converged", three | {names[3]: growing(0.0)}).verdict == "holds"


def rate_runs(best: str) -> dict:
    """LeNet at every rate, the report's a point ahead, and `best` of sigmoid's three points ahead of that."""
    means = {f"lenet-rates@{rate}": 0.84 for rate in ("0.3", "0.9", "1.5", "2.5", "4")}
    means |= {f"relu-rates@{rate}": 0.85 for rate in ("0.03", "0.05", "0.1", "0.2", "0.3", "0.9")}
    means |= {"lenet-rates@0.9": 0.85, "relu-rates@0.1": 0.86} | ({f"lenet-rates@{best}": 0.88} if best else {})
    noise = np.random.default_rng(0).normal(0, 0.0003, (len(means), 5))
    return {run: seeds((mean + row).tolist()) for (run, mean), row in zip(means.items(), noise, strict=True)}


def test_rates_are_unfair_if_another_rate_gains():
    assert verdict("unfair", rate_runs("1.5")).verdict == "holds"
    assert verdict("unfair", rate_runs("")).verdict == "refuted"
    assert len(verdict("unfair", rate_runs("")).parts) == 4 + 5


def reaching(*epochs: int) -> dict:
    """Records whose accuracy on the test set comes to .95 at these epochs of 100."""
    found = seeds([0.9] * len(epochs))
    for record, first in zip(found.values(), epochs, strict=True):
        accuracy = [0.95 if epoch >= first else 0.5 for epoch in range(1, 101)]
        record["curve"] = {"epoch": [float(epoch) for epoch in range(1, 101)], "test_accuracy": accuracy}
    return found


def test_ten_times_compares_epochs_to_the_same_accuracy():
    without = {"mynet-plain-100": reaching(90, 91, 92)}
    found = verdict("ten-times", without | {"mynet-report-100": reaching(2, 2, 2)})
    assert [math.exp(part.estimate.mean) for part in found.parts] == pytest.approx([45.5] * 3, rel=1e-3)
    assert found.verdict == "holds"
    assert verdict("ten-times", without | {"mynet-report-100": reaching(30, 30, 30)}).verdict == "refuted"
    # The seeds are not paired: the interval is Welch's, of the logarithms.
    epochs = [90, 91, 92], [20, 25, 30]
    ratio = verdict("ten-times", without | {"mynet-report-100": reaching(*epochs[1])}).parts[0].estimate
    expected = stats.ttest_ind(*np.log(epochs), equal_var=False).confidence_interval(0.95)
    assert ratio.interval() == pytest.approx(tuple(expected))


def test_an_accuracy_that_is_never_reached_without_normalisation_refutes_nothing():
    found = verdict("ten-times", {"mynet-plain-100": reaching(99, 101, 101), "mynet-report-100": reaching(30, 30, 30)})
    assert found.verdict == "open"
    assert "not reached without by 2 seeds" in found.parts[0].text


def test_what_a_run_would_cost_follows_from_its_own_records_then_from_its_networks():
    def cost(recorded):
        return findings.cost(RUNS["lenet-report-400"], RUNS, recorded, {"lenet": {"examples_per_second": 10_000}})

    pictures = RUNS["lenet-report-400"].in_steps(60_000).steps * 256
    others = {"lenet": seeds([0.8], epochs=20.0, n_train=60_000)}  # 60 seconds each
    assert cost(others | {"lenet-report-400": seeds([0.9], seconds=7.0)}) == 7
    assert cost(others) == pytest.approx(pictures * 60 / (20 * 60_000))
    assert cost({}) == pytest.approx(pictures / 10_000)


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


def test_two_seeds_prove_nothing_and_nor_do_values_without_a_spread():
    assert Estimate(0.5, 0.001, 1, 2).p_beyond(0, above=True) == 1
    assert Estimate(0.5, 0.0, 2, 3).p_beyond(0, above=True) == 1


def test_two_looks_at_half_the_level_keep_the_error_at_what_holm_asks_for():
    values, level = np.random.default_rng(0).normal(size=(400_000, 10)), 0.05 / len(CLAIMS)

    def errors(share: float) -> float:
        """How often one of the two t-tests, each at this share of the level, rejects what is true."""
        found = False
        for n in (5, 10):
            part = values[:, :n]
            t = part.mean(axis=1) / (part.std(axis=1, ddof=1) / n**0.5)
            found |= abs(t) > stats.t.ppf(1 - share * level / 2, n - 1)
        return np.mean(found)

    assert errors(1 / 2) < 1.05 * level
    assert errors(0.0294 / 0.05) > 1.05 * level  # Pocock's level for two looks


def test_holms_correction_counts_every_claim_of_the_list():
    recorded = {"lenet": seeds(SIGMOID), "relu": seeds(shifted(0.03, 0.008))}
    raw = stats.ttest_rel(shifted(0.03, 0.008), SIGMOID).pvalue * 2  # looks
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
    assert found.p == pytest.approx(min(1.0, 2 * min(p_holds, p_refuted)), rel=0.02)
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
            figures = {"test_accuracy": curve[-1], ACCURACY: sum(curve[-5:]) / 5, "evaluated_train_accuracy": 0.9}
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
