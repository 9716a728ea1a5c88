"""What goes out: the network in the package, the pinned packages, line endings, and `make` where it cannot work."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.inference.session import Model, default_model_path
from tools import ship

ROOT = Path(__file__).parent.parent


def run(folder: Path, *words: str, fails: int = 0) -> str:
    done = subprocess.run(words, cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_network_in_the_package_is_as_accurate_as_it_says_and_small():
    model = Model.load(default_model_path(), threads=1)
    test = load_sample()[1]
    stated = model.meta["validation_accuracy"]
    reached = float((model.logits(test.images).argmax(axis=1) == test.labels).mean())
    spread = math.sqrt(stated * (1 - stated) / len(test.labels))
    assert abs(reached - stated) < 3 * spread
    assert model.meta["held_out"]
    assert model.meta["precision"] == "int8"
    assert default_model_path().stat().st_size < 3_000_000


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Path:
    """A folder with the settings of full scale, a trained network, and a place to ship it to."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("\nbudget: quick", "\nbudget: full"))
    shipped = default_model_path().read_bytes()
    (tmp_path / "models").mkdir()
    artifacts.onnx_path(artifacts.DEFAULT_NETWORK, "int8").write_bytes(shipped)
    monkeypatch.setattr(ship, "default_model_path", lambda: tmp_path / "package.onnx")
    return tmp_path


def test_shipping_copies_the_network_of_a_run_at_full_scale(settings, capsys):
    ship.main()
    assert (settings / "package.onnx").read_bytes() == default_model_path().read_bytes()
    assert "validation accuracy 0.9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"), [("\nbudget: full", "\nbudget: quick"), ("\ndataset: fashion_mnist", "\ndataset: folder")]
)
def test_another_run_and_a_broken_file_are_not_shipped(settings, old, new):
    text = (settings / "params.yaml").read_text()
    (settings / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match="ships from budget full"):
        ship.main()
    (settings / "params.yaml").write_text(text)
    artifacts.onnx_path(artifacts.DEFAULT_NETWORK, "int8").write_bytes(b"broken")
    with pytest.raises(UserError, match="is not an ONNX model"):
        ship.main()
    assert not (settings / "package.onnx").exists()


def test_no_pin_stands_in_the_way_of_another_build_of_torch():
    pins = (ROOT / "constraints.txt").read_text().split()
    assert [pin for pin in pins if re.match(r"nvidia-|cuda-|triton", pin) or "+" in pin] == []
    assert all(re.fullmatch(r"[a-z0-9.-]+==[\w.]+", pin) for pin in pins)


def test_a_checkout_changes_no_byte_whatever_git_is_told_of_line_endings(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    files = {"a.py": b"x\n", "run": b"#!/bin/sh\n", "b.csv": b"1,2\r\n", "c.bin": b"\0\r\n\n\r"}
    for name, data in files.items():
        (source / name).write_bytes(data)
    shutil.copy(ROOT / ".gitattributes", source)
    run(source, "git", "init", "-q")
    run(source, "git", "-c", "core.autocrlf=true", "add", "-A")
    run(source, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "start")
    for setting in ("core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf"):
        clone = tmp_path / setting
        run(tmp_path, "git", "clone", "-q", "-c", setting, str(source), str(clone))
        assert {name: (clone / name).read_bytes() for name in files} == files


def test_without_git_make_says_what_to_do_before_it_installs_anything(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    told = run(tmp_path, "make", "repro", fails=2)
    assert "this folder is not a Git repository" in told
    assert "git init && git add -A && git commit -m start" in told
    assert not (tmp_path / ".venv").exists()
