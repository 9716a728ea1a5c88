"""Files are written whole or not at all, and read back as they were."""

import json
import os

import numpy as np
import pytest

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError


def _fail_midway(path):
    with artifacts.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="killed"):
        _fail_midway(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_in_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.npy could not be written: No space left on device"):
        artifacts.write_array(path, np.zeros(3))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_rounded_and_finite(tmp_path):
    path = tmp_path / "deep" / "m.json"
    artifacts.write_json(path, {"b": np.float32(1 / 3), "a": np.int64(2), "c": "é"})
    assert path.read_text() == '{\n  "a": 2,\n  "b": 0.333333,\n  "c": "é"\n}\n'
    assert artifacts.read_json(path) == {"a": 2, "b": 0.333333, "c": "é"}
    with pytest.raises(ValueError, match="finite"):
        artifacts.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["a"] == 2


def test_csv_has_a_header_and_rounded_floats(tmp_path):
    artifacts.write_csv(tmp_path / "c.csv", [{"epoch": 1.0, "loss": 2 / 3}, {"epoch": 2.0, "loss": 0.25}])
    assert (tmp_path / "c.csv").read_text() == "epoch,loss\n1.0,0.666667\n2.0,0.25\n"


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', }"])
def test_a_broken_array_is_a_user_error(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match="whole"):
        artifacts.read_array(tmp_path / "a.npy")


def test_a_data_set_comes_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = DatasetInfo("toys", ("ball", "<script>"), 1, 2, 3, "MIT", "made", True)
    train = Split(np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3), np.array([0, 1, 0, 1]))
    test = Split(train.images[:2], train.labels[:2])
    datasets.save_dataset(info, train, test)
    assert datasets.load_info("toys") == info
    np.testing.assert_array_equal(datasets.load_split("toys", "train").images, train.images)
    np.testing.assert_array_equal(datasets.load_split("toys", "test").labels, test.labels)


def test_missing_files_say_what_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro"):
        datasets.load_info("fashion_mnist")
    with pytest.raises(UserError, match="dvc repro"):
        datasets.load_split("fashion_mnist", "train")
