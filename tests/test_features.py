"""Inner features: which pictures, how they are stored, what `cnnlab features` writes."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from cnnlab.cli.features import features as command
from cnnlab.core import datasets
from cnnlab.core.errors import UserError
from cnnlab.embedding import features
from cnnlab.inference import Model
from cnnlab.inference.session import encode

SIDE = 8
META = {
    "class_names": ["Shirt", "Sneaker", "Bag"],
    "dataset": "fashion_mnist",
    "architecture": "tiny",
    "title": "Tiny",
    "shape": [1, SIDE, SIDE],
    "temperature": 1.0,
    "novelty": {},
    "object_share": 0.9,
    "embed_layers": ["conv1", "pooled", "final"],
    "map_layers": ["conv1"],
}


def tiny_network(path, taps=("conv1", "pooled", "final")):
    """An ONNX file in the project's form: one 3×3 convolution of 4 filters, their means, 3 logits."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(4, 1, 3, 3)).astype(np.float32)
    last = generator.normal(size=(4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "weights"], ["conv1"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["conv1", "sides"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "last"], ["final"]),
        helper.make_node("Identity", ["final"], ["logits"]),
    ]
    values = {"weights": weights, "last": last, "sides": np.array([2, 3])}
    shapes = {"conv1": ["batch", 4, SIDE, SIDE], "pooled": ["batch", 4], "final": ["batch", 3], "logits": ["batch", 3]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in ("logits", *taps)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, encode(META))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return weights


@pytest.fixture
def network(tmp_path):
    tiny_network(tmp_path / "models" / "tiny.features.onnx")
    return Model.load(tmp_path / "models" / "tiny.features.onnx", threads=1)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (23, 1, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_the_choice_keeps_each_class_share(order):
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    if order == "shuffled":
        labels = np.random.default_rng(0).permutation(labels)
    chosen = features.choose(labels, 101, seed=0)
    assert len(set(chosen)) == 101
    assert (np.diff(chosen) > 0).all()
    assert np.abs(np.bincount(labels[chosen]) - [50.5, 30.3, 20.2]).max() < 1
    assert (chosen == features.choose(labels, 101, seed=0)).all()
    assert (chosen != features.choose(labels, 101, seed=1)).any()


def test_all_pictures_are_chosen_where_there_are_no_more():
    labels = np.array([2, 0, 1])
    assert features.choose(labels, 3, seed=0).tolist() == [0, 1, 2]
    assert features.choose(labels, 1000, seed=0).tolist() == [0, 1, 2]


def test_one_picture_of_each_class_is_the_first():
    assert features.one_of_each_class(np.array([3, 0, 3, 1, 0])).tolist() == [1, 3, 0]


def test_the_most_varied_channels_are_found():
    maps = np.random.default_rng(0).normal(size=(5, 6, 4, 4)) * np.array([1, 9, 2, 8, 7, 1])[None, :, None, None]
    assert features.most_varied(maps + 100, 3).tolist() == [1, 3, 4]


def test_first_filters_are_the_weights(tmp_path):
    weights = tiny_network(tmp_path / "tiny.onnx")
    assert (features.first_filters(tmp_path / "tiny.onnx") == weights).all()


def test_stored_features_are_the_layers_outputs_in_order(network, images, tmp_path):
    layers = ["conv1", "pooled", "final"]
    features.store(tmp_path / "out", network.outputs(images, layers, batch=5), layers, len(images))
    whole = next(network.outputs(images, layers, batch=len(images)))
    for layer in layers:
        stored = np.load(tmp_path / "out" / f"{layer}.npy", mmap_mode="r", allow_pickle=False)
        assert stored.dtype == np.float32
        np.testing.assert_allclose(stored, whole[layer].reshape(len(images), -1), rtol=1e-5, atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["conv1.npy", "final.npy", "pooled.npy"]


def test_a_stage_that_dies_leaves_no_file_that_looks_whole(network, images, tmp_path):
    def dying():
        yield from network.outputs(images[:10], ["conv1"], batch=5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.store(tmp_path, dying(), ["conv1"], 20)
    with pytest.raises(ValueError, match="10 rows were written, not 20"):
        features.store(tmp_path, network.outputs(images[:10], ["conv1"]), ["conv1"], 20)
    assert not list(tmp_path.glob("*.npy"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_feature_that_is_not_finite_is_named(tmp_path):
    batches = [{"fc1": np.zeros((4, 3), np.float32)}, {"fc1": np.array([[0, 1, np.inf]], np.float32)}]
    with pytest.raises(UserError, match="layer fc1: feature 2 of picture 4 is not a finite number"):
        features.store(tmp_path, batches, ["fc1"], 5)
    assert not list(tmp_path.glob("*.npy"))


def run(tmp_path, monkeypatch, *arguments):
    """The command in tmp_path; an error that a user made is its sentence and exit code 2, as the entry point has it."""
    monkeypatch.chdir(tmp_path)
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        return 2, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def pictures(images, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(images[:7]):
        Image.fromarray(image[0]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("ending", [".npz", ".parquet"])
def test_the_command_writes_what_the_network_gives(network, images, pictures, tmp_path, monkeypatch, ending):
    arguments = ("pictures", "--layer", "conv1", "-o", f"out{ending}", "--model", "models/tiny.features.onnx")
    code, output = run(tmp_path, monkeypatch, *arguments, "--batch", "3", "--no-invert")
    assert code == 0, output
    assert "4×8×8 features of layer conv1 for 7 pictures" in output
    if ending == ".npz":
        with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
            names, rows = file["pictures"].tolist(), file["features"]
            assert str(file["layer"]) == "conv1"
    else:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
        names = table["picture"].to_pylist()
        rows = np.array(table["features"].to_pylist(), np.float32).reshape(-1, 4, SIDE, SIDE)
        assert table.schema.metadata == {b"layer": b"conv1", b"shape": b"4 8 8"}
    assert names == [f"pictures/{i}.png" for i in range(7)]
    expected = next(network.outputs(images[:7], ["conv1"]))["conv1"]
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)


def test_a_bad_picture_is_named_and_the_others_are_done(network, pictures, tmp_path, monkeypatch):
    (pictures / "3.png").write_bytes(b"")
    arguments = ("pictures", "--layer", "final", "-o", "out.npz", "--model", "models/tiny.features.onnx")
    code, output = run(tmp_path, monkeypatch, *arguments)
    assert code == 1
    assert "3.png: is empty" in output
    with np.load(tmp_path / "out.npz") as file:
        assert len(file["features"]) == len(file["pictures"]) == 6


def test_the_files_hold_each_pictures_own_name(network, pictures, tmp_path, monkeypatch):
    import pyarrow.parquet

    names = [f"pictures/{name}.png" for name in ("9.41\u202fAM", "a\nb", "back\\u202fslash", "猫")]
    for old, new in zip(sorted(pictures.iterdir()), names, strict=False):
        old.rename(tmp_path / new)
    arguments = ("pictures", "--layer", "final", "--model", "models/tiny.features.onnx")
    for output in ("out.npz", "out.parquet"):
        code, told = run(tmp_path, monkeypatch, *arguments, "-o", output)
        assert code == 0, told
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        held = file["pictures"].tolist()
    assert held == pyarrow.parquet.read_table(tmp_path / "out.parquet")["picture"].to_pylist()
    assert all((tmp_path / name).is_file() for name in held)
    assert set(names) <= set(held)
    (pictures / "caf\udce9.png").write_bytes((pictures / "6.png").read_bytes())
    code, told = run(tmp_path, monkeypatch, *arguments, "-o", "out.npz")
    assert code == 0, told
    code, told = run(tmp_path, monkeypatch, *arguments, "-o", "out.parquet")
    assert code == 2
    assert "the name 'pictures/caf\\udce9.png' is not UTF-8, which .parquet needs" in told


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"--layer": "conv9"}, 2, "has no layer 'conv9'; it has conv1, pooled, final"),
        ({"-o": "out.csv"}, 2, "out.csv: the features go to a file that ends in .npz or .parquet"),
        ({"--model": "models/none.onnx"}, 2, "models/none.onnx is not here"),
        ({"--model": "lean.onnx"}, 2, "lean.onnx gives no layers but its logits"),
        ({"": "empty"}, 1, "empty: holds no pictures"),
    ],
)
def test_a_mistake_gives_one_sentence(network, pictures, tmp_path, monkeypatch, change, code, told):
    (tmp_path / "empty").mkdir()
    tiny_network(tmp_path / "lean.onnx", taps=())
    options = {"--layer": "conv1", "-o": "out.npz", "--model": "models/tiny.features.onnx", "": "pictures"} | change
    source = options.pop("")
    arguments = [word for pair in options.items() for word in pair]
    got, output = run(tmp_path, monkeypatch, source, *arguments)
    assert got == code
    assert told in output
    assert not (tmp_path / "out.npz").exists()


def test_the_stage_writes_features_maps_and_filters(images, tmp_path, monkeypatch):
    from stages.embed import draw_feature_maps, store_features

    monkeypatch.chdir(tmp_path)
    tiny_network(tmp_path / "models" / "tiny.features.onnx")
    labels = np.arange(len(images)) % 3
    for name, array in (("images", images), ("labels", labels)):
        (tmp_path / "data" / "fashion_mnist" / "test").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / "fashion_mnist" / "test" / f"{name}.npy", array)
    test = datasets.load_split("fashion_mnist", "test")
    model = Model.load(tmp_path / "models" / "tiny.features.onnx")
    store_features("tiny", model, test, np.arange(len(labels)), "fashion_mnist")
    draw_feature_maps("tiny", model, test)
    folder = tmp_path / "features" / "tiny"
    assert np.load(folder / "conv1.npy").shape == (23, 4 * SIDE * SIDE)
    assert (np.load(folder / "labels.npy") == labels[np.load(folder / "index.npy")]).all()
    about = json.loads((folder / "features.json").read_text())
    assert about["layers"] == META["embed_layers"]
    assert about["class_names"] == META["class_names"]
    pictures = sorted(path.name for path in (tmp_path / "plots" / "features" / "tiny").iterdir())
    assert pictures == ["conv1.png", "filters.png"]
