"""Opening exported files, with the network that ships in the package: what is refused, and what batches do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner

from cnnlab.cli.explain import explain as explain_command
from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.inference import Model
from cnnlab.inference.explain import explain
from cnnlab.inference.session import decode, default_model_path, encode


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_sample()[1].images[:65]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(default_model_path(), threads=1)


def foreign(path: Path, name: str = "image", kind: int = TensorProto.UINT8, **meta: str) -> Path:
    """A valid ONNX file that casts its input to float and calls that logits."""
    shape = ["batch", 1, 28, 28]
    graph = helper.make_graph(
        [helper.make_node("Cast", [name], ["logits"], to=TensorProto.FLOAT)],
        "foreign",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(made, meta)
    onnx.save(made, path)
    return path


def test_the_shipped_network_knows_its_classes_and_answers_well(model: Model):
    test = load_sample()[1]
    assert model.class_names[:2] == ("T-shirt/top", "Trouser")
    assert model.shape == (1, 28, 28)
    assert model.meta["precision"] == "int8"
    assert (model.logits(test.images).argmax(axis=1) == test.labels).mean() > 0.88


def test_batches_do_not_change_the_answer(model: Model, images: np.ndarray):
    whole = model.logits(images, batch=1000)
    assert whole.shape == (65, 10)
    assert whole.dtype == np.float32
    for batch in (1, 7, 64):
        assert np.array_equal(model.logits(images, batch=batch), whole)


def test_threads_do_not_change_the_answer(model: Model, images: np.ndarray):
    assert np.array_equal(Model.load(default_model_path(), threads=2).logits(images), model.logits(images))


def test_pictures_that_are_not_contiguous_or_mapped_are_fine(model: Model, images: np.ndarray, tmp_path: Path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(model.logits(mapped[::2]), model.logits(images[::2].copy()))


def test_no_pictures_give_no_logits(model: Model, images: np.ndarray):
    assert model.logits(images[:0]).shape == (0, 10)


def test_outputs_come_by_name_and_batch(model: Model, images: np.ndarray):
    parts = list(model.outputs(images, ["logits"], batch=32))
    assert [len(part["logits"]) for part in parts] == [32, 32, 1]
    with pytest.raises(UserError, match="no output 'conv9'; it has logits"):
        next(model.outputs(images, ["conv9"]))


def test_probabilities_use_the_temperature(model: Model, images: np.ndarray):
    logits = model.logits(images)
    probabilities = model.probabilities(logits)
    assert np.allclose(probabilities.sum(axis=1), 1)
    expected = np.exp(logits.astype(float) / model.temperature)
    assert np.allclose(probabilities, expected / expected.sum(axis=1, keepdims=True))
    assert model.temperature != 1


@pytest.mark.parametrize("change", ["float", "side", "flat"])
def test_wrong_pictures_are_refused(model: Model, images: np.ndarray, change: str):
    wrong = {"float": images.astype(np.float32), "side": images[..., :27], "flat": images[:, 0]}[change]
    with pytest.raises(UserError, match=r"takes uint8 pictures \[n, 1, 28, 28\], not"):
        model.logits(wrong)


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut: int):
    whole = default_model_path().read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[:cut])
    with pytest.raises(UserError, match=r"cut\.onnx"):
        Model.load(path)


def test_what_is_no_model_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.onnx is not here\.$"):
        Model.load(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="is not here: run `dvc repro` in"):
        Model.load("models/none.onnx")
    with pytest.raises(UserError, match="could not be read"):
        Model.load(tmp_path)
    (tmp_path / "text.onnx").write_text("these are words\n")
    with pytest.raises(UserError, match="is not an ONNX model"):
        Model.load(tmp_path / "text.onnx")


def test_a_model_of_another_kind_is_refused(tmp_path: Path):
    for wrong in ({"name": "pixels"}, {"kind": TensorProto.FLOAT16}):
        with pytest.raises(UserError, match="not one of cnnlab's classifiers"):
            Model.load(foreign(tmp_path / "foreign.onnx", **wrong))
    with pytest.raises(UserError, match="lacks the metadata architecture, class_names"):
        Model.load(foreign(tmp_path / "foreign.onnx"))
    with pytest.raises(UserError, match="the metadata shape is not JSON"):
        Model.load(foreign(tmp_path / "foreign.onnx", shape="1,28,28"))
    own = Model.load(default_model_path()).session.get_modelmeta().custom_metadata_map
    with pytest.raises(UserError, match="its metadata do not fit its network"):
        Model.load(foreign(tmp_path / "foreign.onnx", **own))


def test_a_model_cannot_pull_in_other_files(tmp_path: Path):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="secret.bin")
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4)
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])
    node = helper.make_node("Add", ["image", "w"], ["logits"])
    graph = helper.make_graph([node], "external", [value], [logits], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "external.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UserError, match="is not an ONNX model"):
        Model.load(tmp_path / "external.onnx")


def test_metadata_survive_the_way_through_the_file():
    meta = {"class_names": ["a", "é"], "architecture": "lenet", "temperature": 1.25, "object_share": None}
    assert decode(encode(meta), "test") == meta


def linear(weights: np.ndarray, **meta) -> Model:
    """A stand-in for an exported network: the logits are weights [classes, h · w] times the pixels."""

    class Session:
        def run(self, names, inputs):
            return [inputs["image"].astype(np.float32).reshape(len(inputs["image"]), -1) @ weights.T]

    shape = list(meta.pop("shape", (1, 8, 8)))
    made = Model(Session(), {"shape": shape, "class_names": ["a"] * len(weights), "temperature": 2.0} | meta)  # pyright: ignore
    made.__dict__["output_names"] = ("logits",)
    return made


@pytest.mark.parametrize("share", [1.0, None])
def test_a_heat_map_shows_what_the_answer_rests_on(share: float | None):
    # Class a is the brightness of the upper left corner, class b of the lower right.
    weights = np.zeros((2, 8, 8), np.float32)
    weights[0, :3, :3], weights[1, 5:, 5:] = 0.01, 0.01
    pixels = np.zeros((1, 8, 8), np.uint8)
    pixels[0, :3, :3], pixels[0, 5:, 5:] = 200, 100
    found = explain(linear(weights.reshape(2, -1), object_share=share), pixels)
    assert found.label == 0
    margin = 0.01 * 9 * (200 - 100) / 2  # the temperature halves it
    assert found.probability == pytest.approx(1 / (1 + np.exp(-margin)))
    assert found.heat[:3, :3].min() > 0
    assert found.heat[5:, 5:].max() < 0
    other = explain(linear(weights.reshape(2, -1), object_share=share), pixels, label=1)
    assert other.heat[5:, 5:].min() > 0


def test_a_heat_map_by_hand():
    # A patch is 2 pixels wide and moves by 1: a column meets one patch at the edge and two inside.
    weights = np.zeros((2, 8, 8), np.float32)
    weights[0, 0, 0] = 0.02
    pixels = np.full((1, 8, 8), 100, np.uint8)
    found = explain(linear(weights.reshape(2, -1), object_share=1.0), pixels)
    lost = np.log(1 / (1 + np.exp(-1))) - np.log(1 / 2)
    assert np.allclose(found.heat[:2, :2], lost / np.array([[1, 2], [2, 4]]))
    assert np.allclose(found.heat[2:], 0)


PAGE = """
import { readFileSync } from "node:fs";
const { script, pixels, weights, share } = JSON.parse(readFileSync(0, "utf8"));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const network = { shape: [2, 9, 10], temperature: 2, class_names: ["a", "b", "c"], object_share: share };
const logitsOf = async (batch, n) => Float32Array.from({ length: n * 3 }, (_, i) =>
  weights[i % 3].reduce((sum, w, j) => sum + w * batch[Math.floor(i / 3) * 180 + j], 0));
const occlude = new Function("mean", "network", "logitsOf", `${script}; return occlude;`)(mean, network, logitsOf);
const sum = Array(90).fill(0), covers = Array(90).fill(0);
for (let next = 0; next !== null; ) {
  const part = await occlude({ pixels: Uint8Array.from(pixels), label: 1, from: next });
  part.patches.forEach(([top, left, bottom, right], i) => {
    for (let y = top; y < bottom; y++)
      for (let x = left; x < right; x++) { sum[y * 10 + x] += part.drops[i]; covers[y * 10 + x]++; }
  });
  next = part.next;
}
console.log(JSON.stringify(sum.map((value, i) => value / covers[i])));
"""


@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed")
@pytest.mark.parametrize("share", [1.0, None])
def test_the_page_finds_the_same_heat(share: float | None):
    generator = np.random.default_rng(0)
    weights = generator.normal(0, 0.01, (3, 180)).astype(np.float32)
    pixels = generator.integers(0, 256, (2, 9, 10), dtype=np.uint8)
    script = (Path(explain.__code__.co_filename).parents[1] / "page/assets/explain.js").read_text()
    told = {"script": script, "pixels": pixels.ravel().tolist(), "weights": weights.tolist(), "share": share}
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PAGE],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = explain(linear(weights, object_share=share, shape=pixels.shape), pixels, label=1).heat
    assert np.allclose(np.array(json.loads(done.stdout)).reshape(9, 10), expected, atol=1e-4)


def test_explain_draws_one_picture_and_refuses_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: np.ndarray):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both").mkdir()
    for index in range(2):
        Image.fromarray(images[index, 0]).save(f"both/{index}.png")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(explain_command)
    done = CliRunner().invoke(app, ["both/0.png", "--class", "bag", "-o", "heat.png"])
    assert done.exit_code == 0, done.output
    assert "what Bag (" in done.output
    with Image.open("heat.png") as drawn:
        assert drawn.size[0] > 500
    for wrong, match in ((["both"], "names 2 pictures"), (["both/0.png", "-o", "x.jpg"], "must end in .png"),
                         (["both/0.png", "--class", "sock"], "there is no class 'sock'")):  # fmt: skip
        with pytest.raises(UserError, match=match):
            raise CliRunner().invoke(app, wrong).exception or AssertionError


def test_inference_needs_no_torch():
    code = (
        "import sys, cnnlab.inference.explain, cnnlab.inference.predict, cnnlab.page.card, cnnlab.inference.speed\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'onnx', 'pydantic', 'dvc'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
