"""The study's long runs: what params.yaml declares, the records, and sessions that are stopped and continued."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.core import params
from cnnlab.core.datasets import DatasetInfo, Split, save_dataset
from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.study import layers, records, session
from cnnlab.study import make as making
from cnnlab.study.layers import _edges, _explained
from cnnlab.study.make import Place, make
from cnnlab.study.plan import choose, plan
from cnnlab.training.steps import DivergenceError

ROOT = Path(__file__).parent.parent
CLASSES = tuple("abcdefghij")
INFO = DatasetInfo("fashion_mnist", CLASSES, 1, 28, 28, "MIT", "the sample that ships", light_on_dark=True)
CLOCK = ("train_seconds", "examples_per_second", "seconds", "load")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """The shipped settings, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return params.load(ROOT / "params.yaml")


def place() -> Place:
    train, test = load_sample()
    few = Split(train.images[:300], train.labels[:300]), Split(test.images[:100], test.labels[:100])
    return Place(INFO, *few, "float32", torch.device("cpu"))


def short(settings: params.Params, name: str, epochs: float = 12):
    run = plan(settings)[name]
    return replace(run, epochs=epochs, run=run.run.model_copy(update={"batch_size": 16}))


def record(run: str, seed: int, settings: params.Params, **figures) -> dict:
    planned = plan(settings)[run]
    defaults = dict.fromkeys(
        ("test_accuracy", "tail_test_accuracy", "seconds", "examples_per_second", "evaluated_train_accuracy"), 0.5
    )
    return {"run": run, "seed": seed, "settings": planned.settings, "curve": {"epoch": [1.0]}, **defaults, **figures}


# What is declared


def test_every_run_has_its_settings_written_out(settings):
    runs = plan(settings)
    assert runs["relu"].settings == {
        "dataset": "fashion_mnist", "network": "lenet", "recipe": "plain", "epochs": 20.0, "batch_size": 256,
        "options": {**settings.study.options["lenet"], "act": "relu"}, "learning_rate": 0.1, "weight_decay": 0.0,
        "momentum": 0.0, "label_smoothing": 0.0, "flip": False, "shift": 0, "erase": 0.0, "held_out": 0.0,
    }  # fmt: skip
    assert runs["relu"].in_steps(60_000).steps == 4700
    assert runs["googlenet-report"].options == {"relu": "report", "norm": "none"}
    assert (runs["relu"].seeds, runs["relu"].seeds_if_open) == (5, 10)
    assert (runs["vgg-report"].seeds, runs["vgg-report"].seeds_if_open) == (3, 3)


def test_a_run_of_several_rates_is_a_run_for_each_with_pictures_held_out_to_choose_by(settings):
    runs = plan(settings)
    assert [run.run.learning_rate for run in choose(runs, ["lenet-rates"])] == [0.3, 0.9, 1.5, 2.5, 4]
    assert runs["lenet-rates@2.5"].held_out == 0.1
    assert choose(runs, ["lenet-rates@4"])[0].name == "lenet-rates@4"


def test_a_modern_run_has_the_settings_of_its_network_at_budget_full(settings):
    run, full = plan(settings)["vgg-modern"], settings.models["vgg"].modern.full
    assert run.settings["steps"] == full.steps == run.in_steps(54_000).steps
    assert run.settings["weight_decay"] == full.weight_decay
    assert run.held_out == settings.study.validation_share


def test_the_switches_at_the_top_never_reach_the_study(settings):
    changed = settings.model_copy(update={"act": "gelu", "pool": "max", "recipe": "plain", "seed": 7})
    assert plan(changed) == plan(settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "lenet", "epochs": 20.0}, "epochs and either rate or rates"),
        ({"network": "lenet", "epochs": 20.0, "rate": 0.1, "rates": [0.1]}, "either rate or rates"),
        ({"network": "vgg", "recipe": "modern", "rate": 0.1}, "models.NETWORK.modern.full"),
        ({"network": "alexnet", "epochs": 20.0, "rate": 0.1}, "'alexnet'"),
        ({"network": "vgg", "change": {"pool": "max"}, "epochs": 20.0, "rate": 0.1}, "changes 'pool'; vgg has dropout"),
    ],
)
def test_a_run_that_is_declared_wrongly_is_refused(settings, change, words):
    raw = settings.model_dump()
    raw["study"]["runs"]["wrong"] = change
    with pytest.raises(ValueError, match=words):
        params.Params.model_validate(raw)


def test_an_unknown_run_lists_the_known(settings):
    with pytest.raises(UserError, match=r"no run 'alexnet'.*lenet, relu"):
        choose(plan(settings), ["alexnet"])


# What is recorded


def test_a_record_has_what_was_measured_at_the_end_and_along_the_way(settings):
    run = short(settings, "relu")
    ((found, checkpoint),) = make(run, [1], place())
    curve = found["curve"]
    assert len(curve["epoch"]) == len(curve["test_accuracy"]) == len(curve["train_loss"]) == 12
    assert found["tail_test_accuracy"] == pytest.approx(np.mean(curve["test_accuracy"][-5:]), abs=1e-5)
    assert found["test_accuracy"] == pytest.approx(curve["test_accuracy"][-1], abs=1e-5)
    assert found["train_accuracy"] == pytest.approx(curve["train_accuracy"][-1], abs=1e-5)
    assert records.hits(found).mean() == found["test_accuracy"]
    assert 0 <= found["evaluated_train_accuracy"] <= 1
    assert found["precision"] == "float32"
    assert found["seconds"] > found["train_seconds"]
    assert found["settings"] == run.settings
    assert found["n_train"] == 300
    json.dumps(found, allow_nan=False)
    checkpoint.remove()


def test_training_figures_at_the_end_are_of_evaluation_mode(settings):
    run = short(settings, "vgg-report", 1)  # with dropout the two differ
    ((found, checkpoint),) = make(run, [0], place())
    checkpoint.remove()
    assert found["evaluated_train_loss"] != pytest.approx(found["train_loss"])


def test_a_seed_that_is_stopped_goes_on_to_the_same_record(settings, monkeypatch):
    run, where = short(settings, "batch-norm"), place()
    ((whole, checkpoint),) = make(run, [0], where)
    checkpoint.remove()
    points = []

    def stopped(test):
        measure = measurement(test)

        def count(task):
            points.append(1)
            if len(points) == 9:
                raise KeyboardInterrupt
            return measure(task)

        return count

    measurement = making._measurement
    monkeypatch.setattr(making, "_measurement", stopped)
    monkeypatch.setattr("cnnlab.training.checkpoint.PAUSE", 0)
    with pytest.raises(KeyboardInterrupt):
        make(run, [0], where)
    ((resumed, checkpoint),) = make(run, [0], where)
    checkpoint.remove()
    assert len(points) == 9 + 4  # 8 finished, the one that was stopped, and the last four
    assert {k: v for k, v in resumed.items() if k not in CLOCK} == {k: v for k, v in whole.items() if k not in CLOCK}


def test_records_are_read_by_run_and_seed(settings):
    for seed in (10, 2, 0):
        records.write(record("relu", seed, settings))
    found = records.read(plan(settings))
    assert list(found) == ["relu"]
    assert list(found["relu"]) == [0, 2, 10]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("learning_rate", 0.2, "made with learning_rate 0.2, but params.yaml declares 0.1"),
        ("epochs", 10.0, "epochs 10.0"),
        ("options", {"act": "relu"}, "options"),
        ("clipping", 0.9, "made with clipping 0.9, but params.yaml declares None"),
    ],
)
def test_a_record_of_other_settings_is_refused_and_never_averaged(settings, key, value, words):
    strange = record("relu", 0, settings)
    records.write(strange | {"settings": strange["settings"] | {key: value}})
    with pytest.raises(UserError, match=words):
        records.read(plan(settings))


def test_a_record_under_another_name_is_refused(settings):
    path = records.write(record("relu", 0, settings))
    path.rename(path.with_name("seed-1.json"))
    with pytest.raises(UserError, match="another run or seed"):
        records.read(plan(settings))


# Inner layers


def test_a_map_that_is_the_picture_is_explained_wholly_and_noise_is_not():
    images = load_sample()[1].images[:20]
    pictures = torch.tensor(images).float() / 255
    maps = torch.cat([2 * pictures - 1, _edges(pictures), pictures + 3 * _edges(pictures)], 1)
    assert _explained(maps, pictures) == pytest.approx(1, abs=1e-6)
    noise = torch.randn(20, 6, 28, 28, generator=torch.Generator().manual_seed(0))
    assert _explained(noise, pictures) < 0.02
    assert _explained(torch.ones(20, 1, 28, 28), pictures) == 0
    small = torch.nn.functional.avg_pool2d(pictures, 2)[:, :, 2:-2, 2:-2]  # as a second convolution of 5×5 that copies
    assert _explained(small, pictures) == pytest.approx(1, abs=1e-6)


def test_the_figures_of_inner_layers_are_those_of_its_maps(settings, monkeypatch):
    monkeypatch.setattr(layers, "TSNE_MAPS", {"tsne 5 50": (5, 50), "tsne 10 50": (10, 50)})
    where = place()
    run = replace(short(settings, "lenet-report-50", 1), run=short(settings, "relu").run)
    ((found, checkpoint),) = make(run, [0], where)
    checkpoint.remove()
    assert set(found["maps"]) == {"conv2", "fc1", "final"}
    assert set(found["maps"]["fc1"]) == {"pca", "tsne 5 50", "tsne 10 50"}
    assert set(found["maps"]["fc1"]["pca"]["silhouettes"]) == set(CLASSES)
    assert 0 <= found["outline_conv2"] <= 1


# Sessions


@pytest.fixture
def made(settings, monkeypatch):
    """The seeds that are made, none of which trains; seed 1 takes forever."""
    train, test = load_sample()
    save_dataset(INFO, train, test)
    seeds = []

    class Unsaved:
        def remove(self) -> None:
            pass

    def pretend(run, group, _):
        seeds.extend((run.name, seed) for seed in group)
        while 1 in group and len(seeds) < 100:
            time.sleep(0.01)
        return [(record(run.name, seed, settings), Unsaved()) for seed in group]

    monkeypatch.setattr(session, "make", pretend)
    monkeypatch.setattr(session, "find", lambda *_: [])  # no claim is open: no run has a second look
    return seeds


def test_after_its_minutes_it_stops_and_the_same_command_goes_on(settings, made, capsys):
    assert session.run_study(settings, ["vgg-report"], "cpu", 0.002) == 2
    assert "minutes are over" in capsys.readouterr().err
    made.clear()
    assert session.run_study(settings, ["vgg-report"], "cpu", 0.002) == 2
    assert made == [("vgg-report", 1)]  # what was finished is not made again


def one_seed_each(settings):
    one = {name: run.model_copy(update={"seeds": 1}) for name, run in settings.study.runs.items()}
    return settings.model_copy(update={"study": settings.study.model_copy(update={"runs": one})})


def test_a_run_that_diverges_stops_no_other(settings, made, monkeypatch, capsys):
    pretend, fewer = session.make, one_seed_each(settings)

    def make(run, seeds, place):
        if run.name == "relu":
            raise DivergenceError("study-relu-0: the loss is not finite")
        return pretend(run, seeds, place)

    monkeypatch.setattr(session, "make", make)
    assert session.run_study(fewer, [], "cpu", 0) == 1  # it is left
    assert [name for name, _ in made] == [name for name in plan(fewer) if name != "relu"]
    assert capsys.readouterr().err == "Warning: study-relu-0: the loss is not finite\n"


def test_the_runs_are_made_in_the_order_of_the_declaration(settings, made):
    fewer = one_seed_each(settings)
    assert session.run_study(fewer, [], "cpu", 0) == 0
    assert [name for name, _ in made] == list(plan(fewer))
    assert session.summary(plan(fewer)["relu"]) == "relu: test accuracy 0.5000 (n = 1)"


@pytest.mark.parametrize(("gain", "seeds"), [(0.05, []), (0.002, [5, 6, 7, 8, 9])])
def test_a_claim_that_is_open_after_the_first_look_has_a_second(settings, gain, seeds):
    runs = plan(settings)
    for seed in range(5):
        noise = 0.004 * (-1) ** seed
        for name, accuracy in (("max-pool", 0.8 + gain + noise), ("lenet", 0.8)):
            records.write(record(name, seed, settings, test_accuracy=accuracy, tail_test_accuracy=accuracy))
    todo = session.missing(choose(runs, ["max-pool", "lenet"]), runs)
    assert [(run.name, planned) for run, planned in todo] == [(name, seeds) for name in ("max-pool", "lenet") if seeds]


def test_a_device_that_cannot_train_is_refused_at_once(settings, made, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device is 'cuda'"):
        session.run_study(settings, [], "cuda", 0)
    assert made == []


def test_a_strange_record_stops_a_session_before_any_work(settings, made):
    strange = record("relu", 0, settings)
    records.write(strange | {"settings": strange["settings"] | {"epochs": 1.0}})
    with pytest.raises(UserError, match="epochs"):
        session.run_study(settings, [], "cpu", 0)
    assert made == []
