"""The page's data: what belongs to the settings is shown, what does not is named; the reports' figures with ours."""

import base64
import io
import json
import re
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.page import reported
from cnnlab.page.assemble import assemble
from cnnlab.page.maps import GRID, MOST_POINTS, on_grid, sprite
from cnnlab.page.render import render
from cnnlab.page.sources import read
from cnnlab.study.plan import plan
from tests import report_lab
from tests.report_lab import ROOT, TEST

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "]]></title>&amp; ½")


@pytest.fixture
def used(tmp_path, monkeypatch) -> params.Params:
    """A laboratory in an empty folder, and its settings."""
    monkeypatch.chdir(tmp_path)
    settings = report_lab.settings()
    report_lab.build(settings)
    return settings


def page_data(settings: params.Params) -> dict:
    return assemble(read(settings), settings)


def test_a_whole_laboratory_is_shown(used):
    data = page_data(used)
    assert data["not_run"] == []
    lenet = data["networks"][0]
    assert [network["name"] for network in data["networks"]] == ["lenet", "mynet"]
    assert lenet["confusion"]["counts"] == [[7, 1, 0], [0, 8, 0], [0, 0, 8]]
    assert lenet["confusion"]["recall"] == [0.875, 1.0, 1.0]
    assert lenet["curve"]["epoch"] == [1.0, 2.0, 3.0, 4.0]
    assert [feature["layer"] for feature in lenet["features"]] == ["conv1"]
    assert data["vae"]["pictures"].keys() == {"samples"}


def test_maps_know_each_dots_class_and_answer(used):
    maps = page_data(used)["maps"]
    assert maps["index"] == list(range(TEST))
    assert maps["labels"][:4] == [0, 1, 2, 0]
    assert maps["networks"]["lenet"]["predicted"][:4] == [1, 1, 2, 0]
    layer = maps["networks"]["mynet"]["methods"]["tsne"]["final"]
    assert len(layer["x"]) == len(layer["y"]) == TEST
    measured = {"accuracy": 0.75, "accuracy_features": 0.8, "worst_class": "shoe", "neighbours": 7}
    assert layer["figures"] == measured | {"perplexity": 5.5}


def test_a_network_that_was_not_trained_yet_is_named_and_the_others_are_shown(used):
    artifacts.metrics_path("train", "mynet").unlink()
    data = page_data(used)
    assert [network["name"] for network in data["networks"]] == ["lenet"]
    assert data["not_run"] == ["mynet"]
    assert data["maps"]["networks"].keys() == {"lenet"}


def test_what_was_not_run_yet_is_empty(used):
    (artifacts.test_plots_dir("lenet") / "worst_mistakes.png").unlink()
    artifacts.curve_path("lenet").unlink()
    artifacts.ablation_table_path("csv").unlink()
    artifacts.metrics_path("vae", "train").unlink()
    data = page_data(used)
    lenet = data["networks"][0]
    assert (lenet["mistakes"], lenet["curve"], data["ablation"], data["vae"]) == (None, {}, [], {})


def test_the_ablation_has_a_row_for_each_variant_and_every_seed(used):
    (group,) = page_data(used)["ablation"]
    assert (group["baseline"], group["budget"], group["epochs"]) == ("lenet", "quick", 1.0)
    baseline, relu = group["rows"]
    assert (baseline["difference"], baseline["dead_relus"]) == (None, None)
    assert (relu["difference"], relu["low"], relu["high"], relu["p_holm"]) == (0.1, -0.1, 0.3, 0.04)
    assert relu["seeds"] == [0.7, 0.8]


def test_speeds_are_shown_only_of_a_network_of_the_same_size(used):
    figures = {"machine": "a machine", "lenet multiply_adds": 500, "mynet multiply_adds": 501}
    for name in ("lenet", "mynet"):
        figures |= {f"{name} onnxruntime batch 1 best": "threads 2"}
        figures |= {f"{name} onnxruntime batch 1 threads 2 p50_microseconds": 30.0}
    artifacts.write_json(artifacts.benchmark_path("inference"), figures)
    lenet, mynet = page_data(used)["networks"]
    assert lenet["speed"] == {"onnxruntime": {"p50_microseconds": 30.0}}
    assert mynet["speed"] == {}


def record(run: str, accuracy: float, **more) -> dict:
    figures = dict.fromkeys(reported.FIGURES, 0.5) | {"epochs": 20.0, "test_accuracy": accuracy, "device": "cpu"}
    return {"run": run} | figures | more


ROW = {"source": "report B", "title": "LeNet", "run": "a", "modern": "m", "epochs": "20", "note": ""}
ROW |= {"figure": "test_accuracy", "value": "0.840", "high": ""}


def test_reported_figures_are_shown_with_mean_and_spread_of_ours():
    found = {"a": {0: record("a", 0.80, load=8.0), 1: record("a", 0.90, load=4.0)}, "m": {0: record("m", 0.93)}}
    (entry,) = reported.join([ROW], found)
    assert entry["reported"] == {"test_accuracy": ["0.840"]}
    assert entry["ours"]["n"] == 2
    assert entry["ours"]["test_accuracy"] == [pytest.approx(0.85), pytest.approx(0.0707107)]
    assert entry["ours"]["load"][0] == 6
    assert entry["modern"]["test_accuracy"] == [0.93, None]


def test_the_study_is_shown_with_its_verdicts_whatever_the_own_run_is(used):
    shown = page_data(used)["study"]
    (claim,) = (each for each in shown["claims"] if each.get("name") == "max-pool")
    assert claim["verdict"] == "holds"
    assert "+5.01 points" in claim["figures"][0]
    (rates,) = (run for run in shown["runs"] if run["run"] == "relu-rates@0.1")
    assert (rates["n"], rates["planned"], rates["figures"]["test_accuracy"]) == (2, 5, [0.86, 0.861])
    assert {curve["run"] for curve in shown["curves"]} == {"lenet", "max-pool", "relu-rates@0.1"}
    assert shown["refused"] == []


def test_records_of_other_settings_are_left_out_of_the_page_and_it_says_so(used):
    runs = {**used.study.runs, "lenet": used.study.runs["lenet"].model_copy(update={"rate": 0.5})}
    changed = used.model_copy(update={"study": used.study.model_copy(update={"runs": runs})})
    shown = page_data(changed)["study"]
    assert "made with learning_rate 0.9, but params.yaml declares 0.5" in shown["refused"][0]
    assert next(run for run in shown["runs"] if run["run"] == "lenet")["n"] == 0


def test_every_run_that_a_reported_row_names_is_declared():
    runs = plan(params.load(ROOT / "params.yaml"))
    named = {row[kind] for row in reported.reported() for kind in ("run", "modern") if row[kind]}
    assert named <= set(runs)


def test_what_was_not_run_differs_from_what_cannot_be_run():
    (entry,) = reported.join([ROW | {"modern": ""}], {})
    assert (entry["ours"], entry["modern"]) == ({}, None)


def test_every_reported_row_is_one_known_figure():
    rows = reported.reported()
    assert {row["figure"] for row in rows} == set(reported.FIGURES)
    keys = [(row["source"], row["title"], row["epochs"], row["figure"]) for row in rows]
    assert len(keys) == len(set(keys))
    for row in rows:
        assert all(float(text) >= 0 for text in (row["value"], row["high"], row["epochs"]) if text)
        assert row["value"] or row["note"]


def embedded(page: str) -> dict:
    return json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_hostile_class_names_stay_inside_the_data(used):
    report_lab.build(used, HOSTILE, channels=3)
    data = page_data(used)
    page = render(data)
    assert embedded(page)["dataset"]["class_names"] == list(HOSTILE)
    assert page.count("</script>") == 3
    assert "<img" not in page.split("<body>")[1].split("<script>")[0]


def test_the_page_asks_nothing_of_the_network_and_is_the_same_twice(used):
    page = render(page_data(used))
    assert page == render(page_data(used))
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)|url\(|@import|fetch\(""", page)


def test_the_stage_writes_the_page_for_a_tree_without_networks(used, monkeypatch, capsys):
    artifacts.write_text("params.yaml", (ROOT / "params.yaml").read_text())
    for path in artifacts.metrics_path("train", "lenet").parent.glob("*.json"):
        path.unlink()
    monkeypatch.setattr(sys, "argv", ["page.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "stages" / "page.py"), run_name="__main__")
    assert ended.value.code == 0
    assert "0 networks" in capsys.readouterr().out
    data = embedded(artifacts.report_path().read_text())
    assert data["networks"] == []
    assert data["maps"] == {}


def test_without_the_data_set_the_stage_ends_with_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    artifacts.write_text("params.yaml", (ROOT / "params.yaml").read_text())
    monkeypatch.setattr(sys, "argv", ["page.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "stages" / "page.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "dataset.json is not here" in capsys.readouterr().err


def test_thumbnails_lie_in_rows_on_one_sheet():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * 50 + np.zeros((5, 3, 40, 20), np.uint8)
    made = sprite(images)
    assert (made["columns"], made["width"], made["height"]) == (3, 16, 32)
    sheet = Image.open(io.BytesIO(base64.b64decode(made["uri"].split(",")[1])))
    assert (sheet.mode, sheet.size) == ("RGB", (48, 64))
    assert sheet.getpixel((16 + 3, 32 + 3)) == (200, 200, 200)


def test_places_on_the_grid_keep_the_maps_shape():
    x, y = on_grid(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0]]))
    assert (min(x), max(x)) == (0, GRID)
    assert y[0] - y[2] == pytest.approx(GRID / 2, abs=1)
    assert on_grid(np.ones((2, 2)))[0] == [round(GRID / 2)] * 2


@pytest.mark.slow
def test_the_page_of_the_committed_figures_is_under_twelve_megabytes(tmp_path, monkeypatch):
    """On made-up pictures of pure noise, which compress worst, as Git holds no data."""
    monkeypatch.chdir(tmp_path)
    for folder in ("metrics", "plots", "benchmarks", "docs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    settings = params.load(ROOT / "params.yaml")
    sources_of = artifacts.test_plots_dir(next(iter(settings.models))) / "confusion.csv"
    labels = [line.split(",")[0] for line in sources_of.read_text().splitlines()[1:]]
    rows = (artifacts.embedding_plots_dir() / "lenet-pca" / "final.csv").read_text().splitlines()[1:]
    names = dict(row.split(",")[1:3] for row in rows)
    ordered = tuple(names[number] for number in sorted(names, key=int))
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 28, 28), dtype=np.uint8)
    numbers = np.array([ordered.index(label) for label in labels])
    info = DatasetInfo(settings.dataset, ordered, 1, 28, 28, "", "", True)
    train = artifacts.read_json(artifacts.metrics_path("train", "lenet"))
    pictures = train["n_train"] + train["n_validation"]
    empty = Split(np.zeros((1, 1, 28, 28), np.uint8), np.zeros(pictures, np.int64))
    datasets.save_dataset(info, empty, Split(noise, numbers))
    data = page_data(settings)
    assert len(data["networks"]) == len(settings.models)
    assert len(data["maps"]["index"]) <= MOST_POINTS
    assert len(render(data)) < 12e6
