"""`cnnlab project` from the stages that make its maps to what it prints and draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_features import META, SIDE, tiny_network
from typer import Typer
from typer.testing import CliRunner

from cnnlab.cli.project import project as command
from cnnlab.core import artifacts, params
from cnnlab.core.errors import UserError
from stages.embed import embed_by
from stages.embed import main as embed_stage

ROOT = Path(__file__).parent.parent
PICTURES = 120


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with a tiny network, its stored features, both maps of each layer, and pictures 5, 6 and 7."""
    folder = tmp_path_factory.mktemp("lab")
    images = np.random.default_rng(0).integers(0, 256, (PICTURES, 1, SIDE, SIDE), np.uint8)
    tiny_network(folder / "models" / "tiny.features.onnx")
    (folder / "data" / "fashion_mnist" / "test").mkdir(parents=True)
    np.save(folder / "data" / "fashion_mnist" / "test" / "images.npy", images)
    np.save(folder / "data" / "fashion_mnist" / "test" / "labels.npy", np.arange(PICTURES) % 3)
    text = (ROOT / "params.yaml").read_text().replace("budget: quick", "budget: smoke")
    (folder / "params.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        embed_stage("tiny")
    (folder / "new").mkdir()
    (folder / "empty").mkdir()
    for i in (5, 6, 7):
        Image.fromarray(images[i, 0]).save(folder / "new" / f"{i}.png")
    return folder


def run(lab, monkeypatch, *arguments):
    monkeypatch.chdir(lab)
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [*arguments, "--arch", "tiny", "--no-invert"])
    if isinstance(result.exception, UserError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("layer", META["embed_layers"])
def test_a_test_picture_is_its_own_nearest(lab, monkeypatch, method, layer):
    code, output = run(lab, monkeypatch, "new", "--layer", layer, "--method", method, "--near", "2", "--json")
    assert code == 0, output
    told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [place["picture"] for place in told] == ["new/5.png", "new/6.png", "new/7.png"]
    assert [place["nearest"][0]["test_picture"] for place in told] == [5, 6, 7]
    assert [place["nearest"][0]["class"] for place in told] == ["Bag", "Shirt", "Sneaker"]
    assert all(len(place["nearest"]) == 2 and sum(place["around"].values()) == 10 for place in told)
    if method == "pca":
        points = np.load(lab / "features" / "tiny" / "pca" / layer / "points.npy")
        places = np.array([[place["x"], place["y"]] for place in told])
        np.testing.assert_allclose(places, points[5:8], rtol=1e-3, atol=1e-2 * np.abs(points).max())


def test_the_map_is_drawn_and_the_stored_one_stays(lab, monkeypatch):
    stored = sorted((lab / "features" / "tiny" / "tsne" / "pooled").iterdir())
    before = [path.read_bytes() for path in stored]
    code, output = run(lab, monkeypatch, "new/5.png", "-o", "here.PNG")
    assert code == 0
    assert "new/5.png: at (" in output
    assert "nearest test pictures by their features (distance): 5 Bag (0)" in output
    with Image.open(lab / "here.PNG") as drawn:
        assert drawn.size == (800, 660)
    assert [path.read_bytes() for path in stored] == before


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["new", "--layer", "conv9"], 2, "tiny has no map of a layer 'conv9'; it has maps of conv1, pooled, final."),
        (["new", "-o", "map.jpg"], 2, "map.jpg: the file to draw into must end in .png."),
        (["empty"], 1, "empty: holds no pictures"),
        (["new/9.png"], 1, "9.png"),
    ],
)
def test_a_mistake_gives_one_sentence(lab, monkeypatch, arguments, code, told):
    got, output = run(lab, monkeypatch, *arguments)
    assert got == code
    assert told in output


def test_a_bad_picture_among_good_ones(lab, monkeypatch):
    code, output = run(lab, monkeypatch, "new/5.png", "params.yaml")
    assert code == 1
    assert "new/5.png: at" in output
    assert "Error: params.yaml" in output


def test_a_perplexity_that_the_pictures_do_not_bear_is_lowered_and_said(lab, monkeypatch, tmp_path):
    shutil.copytree(lab / "features" / "tiny", tmp_path / "features" / "tiny")
    text = (lab / "params.yaml").read_text().replace("perplexity: 30", "perplexity: 50")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    embed_by("tiny", "tsne", json.loads((lab / "features/tiny/features.json").read_text()), params.load())
    figures = artifacts.read_json(artifacts.metrics_path("embed", "tiny-tsne"))
    assert figures["perplexity"] == pytest.approx((PICTURES - 1) / 3, rel=1e-5)
