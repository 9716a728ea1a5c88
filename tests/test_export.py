"""Export: the files' contract, their parity with torch, their bytes, int8, and what is fitted on validation."""

import ast
import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import typer
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from benchmarks import runtimes
from cnnlab import models
from cnnlab.cli.export import export as export_command
from cnnlab.core import artifacts
from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.export import variants
from cnnlab.export.bundle import Bundle, make_bundle
from cnnlab.export.convert import to_lean
from cnnlab.export.optimise import crop_kernels
from cnnlab.export.parity import check_parity
from cnnlab.export.portable import make_portable
from cnnlab.export.quantise import calibration_pictures, quantise
from cnnlab.export.variants import Variant, make_variant
from cnnlab.inference import Model, session_of
from cnnlab.inference.calibration import ALARM_RATE, fit_novelty, fit_temperature, is_novel
from cnnlab.models.classifier import Classifier
from cnnlab.page.card import model_card

ROOT = Path(__file__).parent.parent
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def make_classifier(
    architecture: str, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, **changes
) -> Classifier:
    """Untrained weights, drawn with a seed, and batch statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = models.build(architecture, shape, classes, changes.get("options", {}))
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
    mean, std = [0.29] * shape[0], [0.35] * shape[0]
    meta = {
        "architecture": architecture, "options": {}, "dataset": "fashion_mnist", "shape": list(shape),
        "class_names": [str(index) for index in range(classes)] if classes != 10 else NAMES, "mean": mean, "std": std,
        "settings": {"epochs": 1, "recipe": "modern"}, "validation_accuracy": 0.5, "validation_loss": 1.0,
        "licence": "MIT", "seed": 0, "validation_share": 0.2, "light_on_dark": True,
    }  # fmt: skip
    return Classifier(network, mean, std, meta | changes).eval()


def small_split(shape: tuple[int, int, int], classes: int, count: int = 120) -> Split:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split(images, np.arange(count, dtype=np.int64) % classes)


def open_model(data: bytes) -> Model:
    return Model.of(session_of(data, "test", threads=1), "test")


def assert_conservative(model: onnx.ModelProto) -> None:
    """Opset 13, an old IR, no other domain, none of the operators that old runtimes get wrong."""
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 13)]
    assert model.ir_version <= 8
    assert not {"ReduceMean", "Reshape"} & {node.op_type for node in model.graph.node}


@pytest.fixture(scope="module")
def split() -> Split:
    return load_sample()[0]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return make_classifier("lenet")


@pytest.fixture(scope="module")
def bundle(classifier: Classifier, split: Split) -> Bundle:
    return make_bundle(classifier, split)


def test_contract_of_the_files(bundle: Bundle):
    for data in (bundle.lean, bundle.features, bundle.int8):
        model = onnx.load_from_string(data)
        (image,) = model.graph.input
        kind = image.type.tensor_type
        dims = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        assert (image.name, kind.elem_type, dims) == ("image", onnx.TensorProto.UINT8, ["batch", 1, 28, 28])
        logits = model.graph.output[0]
        dims = [dim.dim_param or dim.dim_value for dim in logits.type.tensor_type.shape.dim]
        assert (logits.name, logits.type.tensor_type.elem_type) == ("logits", onnx.TensorProto.FLOAT)
        assert dims == ["batch", 10]
        assert not any(item.external_data for item in model.graph.initializer)
        meta = {item.key: item.value for item in model.metadata_props}
        assert json.loads(meta["class_names"]) == NAMES
        assert json.loads(meta["settings"]) == {"epochs": 1, "recipe": "modern"}
        assert meta["dataset"] == "fashion_mnist"
        assert meta["architecture"] == "lenet"
        assert meta["licence"] == "MIT"
        assert 0 <= float(meta["validation_accuracy"]) <= 1
        onnx.checker.check_model(model, full_check=True)


def test_files_are_conservative_and_say_who_made_them(bundle: Bundle):
    for data in (bundle.lean, bundle.features, bundle.int8):
        model = onnx.load_from_string(data)
        assert_conservative(model)
        assert model.producer_name == "cnnlab"
        assert "+" not in model.producer_version  # a build of torch's says so, such as 2.15.0+cu132
        meta = {item.key: item.value for item in model.metadata_props}
        assert ast.literal_eval(meta["names"]) == dict(enumerate(NAMES))  # as Ultralytics' readers do


def test_the_sidecar_says_what_a_program_needs(bundle: Bundle):
    said = bundle.sidecar
    assert said["class_names"] == NAMES
    assert said["input"]["shape"] == ["batch", 1, 28, 28]
    assert said["input"]["light_on_dark"] is True
    files = {"lenet.onnx": bundle.lean, "lenet.features.onnx": bundle.features, "lenet.int8.onnx": bundle.int8}
    assert set(said["files"]) == set(files)
    for name, data in files.items():
        entry, model = said["files"][name], open_model(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
        assert entry["temperature"] == model.temperature
        assert entry["novelty"] == model.meta["novelty"]
        low, high = entry["validation"]["interval_95"]
        assert low < entry["validation"]["accuracy"] == model.meta["validation_accuracy"] < high
    json.dumps(said)


def test_lean_and_int8_have_logits_only_and_features_every_tap(bundle: Bundle, classifier: Classifier):
    taps = list(classifier.taps(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)))
    assert open_model(bundle.lean).output_names == ("logits",)
    assert open_model(bundle.int8).output_names == ("logits",)
    assert open_model(bundle.features).output_names == ("logits", *taps)
    assert taps[-1] == "final"


def test_files_hold_no_paths_of_this_machine(bundle: Bundle):
    for data in (bundle.lean, bundle.features, bundle.int8):
        for path in (str(ROOT), "site-packages", "File ", str(Path.home())):
            assert path.encode() not in data or path == "/"


@pytest.mark.slow
def test_same_weights_give_the_same_bytes(bundle: Bundle, classifier: Classifier, split: Split):
    again = make_bundle(classifier, split)
    assert (again.lean, again.features, again.int8) == (bundle.lean, bundle.features, bundle.int8)
    assert again.metrics == bundle.metrics


def test_parity_refuses_a_file_of_other_weights(bundle: Bundle, classifier: Classifier, split: Split):
    lean, features = open_model(bundle.lean), open_model(bundle.features)
    images = split.images[:70]
    _, figures = check_parity(classifier, lean, features, images)
    assert figures["parity_largest_difference"] < 1e-5
    other = make_classifier("lenet")
    with torch.no_grad():
        next(other.network.parameters())[0, 0, 0, 0] += 0.05
    with pytest.raises(UserError, match="does not answer as torch does"):
        check_parity(other, lean, features, images)


def test_parity_refuses_what_is_not_a_number(bundle: Bundle, split: Split):
    broken = make_classifier("lenet")
    with torch.no_grad():
        next(broken.network.parameters())[:] = torch.nan
    lean, features = open_model(bundle.lean), open_model(bundle.features)
    with pytest.raises(UserError, match="logits differ by up to nan"):
        check_parity(broken, lean, features, split.images[:4])


def test_int8_weights_cannot_saturate_on_any_cpu(bundle: Bundle):
    model = onnx.load_from_string(bundle.int8)
    weights = [numpy_helper.to_array(item) for item in model.graph.initializer]
    eight = [weight for weight in weights if weight.dtype == np.int8 and weight.ndim > 1]
    assert len(eight) == 4  # two convolutions and two linear layers; the last stays float
    # vpmaddubsw adds two uint8·int8 products into 16 bits.
    assert all(2 * 255 * int(np.abs(weight.astype(int)).max()) < 2**15 for weight in eight)


def test_int8_is_small_and_near(bundle: Bundle, split: Split):
    assert len(bundle.int8) < 0.4 * len(bundle.lean)
    full, int8 = (open_model(data).logits(split.images[:300]) for data in (bundle.lean, bundle.int8))
    assert np.abs(full - int8).max() < 0.1 * np.abs(full).max()


def test_calibration_pictures_are_seeded_and_few(split: Split):
    first, again, other = (calibration_pictures(split.images, seed) for seed in (0, 0, 1))
    assert len(first) == 512
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_export_reads_validation_for_fitting_only(classifier: Classifier, bundle: Bundle, split: Split):
    assert bundle.metrics["n_validation"] == 300  # a fifth of the sample's 1,500
    assert bundle.metrics["parity_pictures"] == 300
    assert bundle.metrics["held_out"] is True
    assert bundle.metrics["novelty_alarms"] <= ALARM_RATE


@pytest.mark.slow
def test_without_held_out_pictures_the_files_say_so(split: Split):
    few = Split(split.images[::10], split.labels[::10])
    trained_on_all = make_bundle(make_classifier("lenet", validation_accuracy=None), few)
    assert trained_on_all.metrics["held_out"] is False
    assert open_model(trained_on_all.lean).meta["held_out"] is False


def test_temperature_undoes_a_scale():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(5, p=row) for row in chances])
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=1e-6)


def test_temperature_stays_finite_where_every_answer_is_right():
    assert 0.04 < fit_temperature(np.tile(np.eye(4) * 9, (300, 1)), np.tile(np.arange(4), 300)) < 1


def test_novelty_keeps_its_rate_and_catches_noise(split: Split):
    train, validation = split.images[:1000], split.images[1000:]
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (len(validation), 10)).astype(np.float32)
    rule = fit_novelty(train, validation, logits)
    json.dumps(rule)
    rate = is_novel(rule, validation, logits).mean()
    assert ALARM_RATE - 0.01 <= rate <= ALARM_RATE
    noise = generator.integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
    assert is_novel(rule, noise, logits[:200]).mean() > 0.99
    assert is_novel(rule, 255 - validation, logits).mean() > 0.95
    unsure = np.zeros_like(logits)
    assert is_novel(rule, validation, unsure).mean() == 1 or rule["energy_min"] < np.log(10)


TESTED = {"accuracy": 0.0123, "accuracy_95_low": 0.0101, "accuracy_95_high": 0.0145, "int8_accuracy": 0.0122, "n": 9000}


def test_card_puts_the_test_figure_first_and_says_how_much_harder_the_test_set_is(bundle: Bundle):
    meta, taps = open_model(bundle.lean).meta, ["conv1"]
    card = model_card(meta, taps, bundle.metrics, TESTED, {})
    assert "**0.0123**, 95 % interval 0.0101 to 0.0145, n = 9,000" in card
    assert card.index("test set, float32") < card.index("validation, float32")
    harder = 100 * (bundle.metrics["validation_accuracy"] - 0.0123)
    assert f"it is {harder:.1f} points lower than validation's" in card
    better = TESTED | {"accuracy": bundle.metrics["validation_accuracy"] + 0.01}
    assert "lower than validation's" not in model_card(meta, taps, bundle.metrics, better, {})
    assert "not measured yet" in model_card(meta, taps, bundle.metrics, {}, {})


def test_card_tells_the_facts(bundle: Bundle):
    card = model_card(open_model(bundle.lean).meta, ["conv1", "final"], bundle.metrics, TESTED, {})
    for fact in ("# LeNet", "61,706", "uint8 [batch, 1, 28, 28]", "Ankle boot", "MIT", f"{len(bundle.int8):,} bytes"):
        assert fact in card
    assert f"{bundle.metrics['validation_accuracy']:.4f}" in card


def test_card_recommends_float32_where_int8_is_slower(bundle: Bundle):
    speed = {"lenet onnxruntime batch 1 times_eager": 4.0, "lenet onnxruntime int8 batch 1 times_eager": 2.0}
    card = model_card(open_model(bundle.lean).meta, [], bundle.metrics, {}, speed)
    assert "a picture on a CPU 0.5 ×" in card
    assert "float32; int8 is slower everywhere" in card
    card = model_card(
        open_model(bundle.lean).meta, [], bundle.metrics, {}, speed | {"lenet web batch 1 int8_times_float32": 2.0}
    )
    assert "float32 for a picture on a CPU, where int8 is slower; else int8" in card


@pytest.mark.slow
@pytest.mark.parametrize("architecture", models.names())
@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 32, 32), 4)], ids=["grey28", "rgb32"])
def test_every_architecture_exports(architecture: str, shape: tuple[int, int, int], classes: int):
    bundle = make_bundle(make_classifier(architecture, shape, classes), small_split(shape, classes))
    assert bundle.metrics["parity_largest_difference"] < 1e-4
    for data in (bundle.lean, bundle.features, bundle.int8):
        assert_conservative(onnx.load_from_string(data))
    nodes = onnx.load_from_string(bundle.lean).graph.node
    maker = {name: node.op_type for node in nodes for name in node.output}
    # Normalisation is part of the layer before it, but for pooling: a maximum does not commute with a negative scale.
    assert {maker[node.input[0]] for node in nodes if node.op_type == "BatchNormalization"} <= {"MaxPool"}
    weights = [numpy_helper.to_array(item) for item in onnx.load_from_string(bundle.int8).graph.initializer]
    assert all(
        np.abs(weight.astype(int)).max() <= 64 for weight in weights if weight.dtype == np.int8 and weight.ndim > 1
    )


@pytest.mark.slow
def test_pooling_follows_the_activation_in_the_lean_file():
    kinds = [node.op_type for node in to_lean(make_classifier("vgg")).graph.node]
    assert "MaxPool" in kinds
    assert not any(pair == ("MaxPool", "Relu") for pair in itertools.pairwise(kinds))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_webgpu_finds_channels_in_fours_between_convolutions(norm: str, split: Split):
    # LeNet's first convolution has six.
    classifier = make_classifier("lenet", options={"norm": norm, "act": "relu", "pool": "max"})
    lean = make_bundle(classifier, split).lean
    for data, channels in ((lean, 6), (make_variant(lean, "lenet.onnx", Variant(webgpu=True), split.images[:64]), 8)):
        graph = onnx.load_from_string(data).graph
        weights = {item.name: list(item.dims) for item in graph.initializer}
        convolutions = [weights[node.input[1]] for node in graph.node if node.op_type == "Conv"]
        assert convolutions == [[channels, 1, 5, 5], [16, channels, 5, 5]]
    with pytest.raises(UserError, match="--webgpu goes with --precision float32 or float16"):
        make_variant(lean, "lenet.onnx", Variant(precision="int8", webgpu=True), split.images[:64])


def small_graph(
    node: onnx.NodeProto, shape: list[int], *, opset: int, constants: dict[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """A model of one node: float x [batch, 2, 4, 4] → y [batch, *shape]."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 2, 4, 4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", *shape])
    held = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph([node], "small", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


PORTABLE = {
    "a mean over height and width": (
        small_graph(
            helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0, noop_with_empty_axes=0),
            [2],
            opset=18,
            constants={"axes": np.array([-2, 3])},
        ),
        13,
        ["GlobalAveragePool", "Flatten"],
    ),
    "a flattening reshape": (
        small_graph(
            helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
            [32],
            opset=18,
            constants={"shape": np.array([-1, 32])},
        ),
        13,
        ["Flatten"],
    ),
    "another reshape": (
        small_graph(
            helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
            [4, 8],
            opset=18,
            constants={"shape": np.array([-1, 4, 8])},
        ),
        13,
        ["Reshape"],
    ),
    "another mean": (
        small_graph(
            helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0),
            [4, 4],
            opset=18,
            constants={"axes": np.array([1])},
        ),
        18,
        ["ReduceMean"],
    ),
    "an operator that opset 13 lacks": (
        small_graph(helper.make_node("Gelu", ["x"], ["y"]), [2, 4, 4], opset=20),
        20,
        ["Gelu"],
    ),
}


@pytest.mark.parametrize("what", PORTABLE)
def test_a_graph_gets_the_lowest_opset_that_holds_it_and_the_same_values(what: str):
    model, opset, kinds = PORTABLE[what]
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
    before = session_of(model.SerializeToString(), "test", 1).run(None, {"x": x})[0]
    make_portable(model)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert [node.op_type for node in model.graph.node] == kinds
    after = session_of(model.SerializeToString(), "test", 1).run(None, {"x": x})[0]
    assert np.allclose(before, after, atol=1e-6)


VARIANTS = [
    Variant(input="float", batch=1),
    Variant(input="float", softmax=True),
    Variant(precision="float16"),
    Variant(precision="int8", softmax=True, batch=4),
    Variant(opset=17),
    Variant(webgpu=True, precision="float16"),
]


@pytest.mark.parametrize("wanted", VARIANTS, ids=lambda wanted: wanted.suffix)
def test_a_variant_answers_as_the_file_it_was_made_from(bundle: Bundle, split: Split, wanted: Variant):
    base = bundle.int8 if wanted.precision == "int8" else bundle.lean
    data = make_variant(base, "lenet.onnx", wanted, split.images[:64])
    model, original = onnx.load_from_string(data), open_model(base)
    size = wanted.batch or 8
    images = split.images[:size]
    values = images.astype(np.float32) / 255 if wanted.input == "float" else images
    found = session_of(data, "test", 1).run(None, {"image": values})[0]
    expected = original.logits(images)
    if wanted.softmax:
        expected = original.probabilities(expected)
        assert model.graph.output[0].name == "probabilities"
    assert np.allclose(found, expected, atol=1e-2)
    assert (model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or None) == wanted.batch
    assert model.opset_import[0].version == (wanted.opset or 13)
    if wanted.precision == "float16":
        assert len(data) < 0.55 * len(base)


def test_a_variant_that_answers_otherwise_is_refused(bundle: Bundle, split: Split, monkeypatch: pytest.MonkeyPatch):
    def wrong(graph: onnx.GraphProto, temperature: float) -> None:
        give(graph, temperature * 3)

    give = variants._give_probabilities
    monkeypatch.setattr(variants, "_give_probabilities", wrong)
    with pytest.raises(UserError, match="does not answer as lenet does"):
        make_variant(bundle.lean, "lenet.onnx", Variant(softmax=True), split.images[:64])


def test_an_opset_that_cannot_hold_the_graph_is_refused(bundle: Bundle, split: Split):
    with pytest.raises(UserError, match="opset 12 has no form of this graph"):
        make_variant(bundle.int8, "lenet.onnx", Variant(precision="int8", opset=12), split.images[:64])
    with pytest.raises(UserError, match="--opset is 3: it lies between 11 and"):
        make_variant(bundle.lean, "lenet.onnx", Variant(opset=3), split.images[:64])


def test_the_command_export_names_the_file_after_its_form(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/lenet.onnx").write_bytes(bundle.lean)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(export_command)
    done = CliRunner().invoke(app, ["lenet", "--input", "float", "--batch", "1", "--softmax"])
    assert done.exit_code == 0, done.output
    assert Path("lenet.float.batch1.softmax.onnx").exists()
    for wrong, match in (
        (["lenet", "--precision", "half"], "--precision is 'half'"),
        (["nin"], "is not here"),
        (["nni"], "there is no architecture 'nni'"),
    ):
        with pytest.raises(UserError, match=match):
            raise CliRunner().invoke(app, wrong).exception or AssertionError
    with pytest.raises(UserError, match="takes exactly 1 pictures at a time"):
        Model.load(make_fixed(bundle, tmp_path / "fixed.onnx"))


def make_fixed(bundle: Bundle, path: Path) -> Path:
    path.write_bytes(make_variant(bundle.lean, "lenet.onnx", Variant(batch=1), load_sample()[0].images[:8]))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnxruntime-old", "onnxruntime-new"])
def test_every_file_answers_the_same_in_the_oldest_and_the_newest_onnxruntime(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each in an environment of its own; the benchmark tries the other runtimes."""
    monkeypatch.chdir(tmp_path)
    images = load_sample()[1].images[:32]
    Path("models").mkdir()
    for architecture in models.names():
        made = make_bundle(make_classifier(architecture), load_sample()[0])
        for kind, data in (("", made.lean), ("features", made.features), ("int8", made.int8)):
            artifacts.onnx_path(architecture, kind).write_bytes(data)
    (tmp_path / "runtime").mkdir()
    try:
        worker = runtimes.start(runtimes.RUNTIMES[name], tmp_path / "runtime")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"onnxruntime could not be installed from a package registry: {error}")
    try:
        for path in sorted(Path("models").glob("*.onnx")):
            expected = Model.load(path, threads=1).logits(images)
            found = runtimes.compare(worker, path, images, len(images), expected, tmp_path / "runtime")
            assert found.get("error") is None, (path, found)
            assert found["same"] == len(images), (path, found)
            assert found["largest_difference"] < 1e-3, (path, found)
    finally:
        worker.kill()
        worker.communicate()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (1, 3, 1, 1, 1),
        (1, 5, 1, 2, 1),
        (2, 5, 1, 2, 3),
        (2, 3, 2, 1, 2),
        (4, 3, 2, 1, 3),
        (3, 3, 1, 1, 3),
        (5, 3, 2, 0, 3),
    ],
)
def test_kernels_lose_what_only_meets_padding(size: int, kernel: int, stride: int, padding: int, expected: int):
    generator = np.random.default_rng(0)
    sides = (size + 2 * padding - kernel) // stride + 1
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], dilations=[1, 1], kernel_shape=[kernel] * 2,
                          pads=[padding] * 4, strides=[stride] * 2)],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2, size, size])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, sides, sides])],
        [numpy_helper.from_array(generator.normal(size=(3, 2, kernel, kernel)).astype(np.float32), "w")],
        value_info=[helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2, kernel, kernel])],  # as torch's
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    before = session_of(model.SerializeToString(), "test", 1)
    crop_kernels(model)
    onnx.checker.check_model(model, full_check=True)
    assert list(model.graph.initializer[0].dims) == [3, 2, expected, expected]
    x = generator.normal(size=(4, 2, size, size)).astype(np.float32)
    after = session_of(model.SerializeToString(), "test", 1)
    assert np.allclose(before.run(None, {"x": x})[0], after.run(None, {"x": x})[0], atol=1e-5)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes():
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests')\n"
        "from test_export import make_classifier, small_split\n"
        "from cnnlab.export.bundle import make_bundle\n"
        "made = make_bundle(make_classifier('mynet'), small_split((1, 28, 28), 10))\n"
        "print(*(hashlib.sha256(data).hexdigest() for data in (made.lean, made.features, made.int8)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.split()) == 3


@pytest.mark.slow
def test_int8_keeps_the_accuracy_of_the_shipped_network():
    # The shipped file is int8 itself; its float32 twin is not in the package, so a fresh small network stands in.
    train, test = load_sample()
    classifier = make_classifier("lenet")
    optimizer = torch.optim.AdamW(classifier.parameters(), 5e-3)
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        for rows in torch.randperm(len(images), generator=generator).split(100):
            loss = torch.nn.functional.cross_entropy(classifier(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    lean = to_lean(classifier)
    int8 = quantise(lean, calibration_pictures(train.images, 0))
    full, small = (session_of(model.SerializeToString(), "test", 1) for model in (lean, int8))
    logits = [session.run(["logits"], {"image": test.images})[0] for session in (full, small)]
    right = [(values.argmax(axis=1) == test.labels).mean() for values in logits]
    assert right[0] > 0.7
    assert right[0] - right[1] < 0.005 + 1e-9
