"""Opening exported files, with the network that ships in the package: what is refused, and what batches do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.inference import Model
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
    with pytest.raises(UserError, match="is not here: `dvc repro` makes"):
        Model.load(tmp_path / "none.onnx")
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


def test_inference_needs_no_torch():
    code = (
        "import sys, cnnlab.inference.predict, cnnlab.page.card, cnnlab.inference.speed\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'onnx', 'pydantic', 'dvc'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
