"""Nothing reports to anyone: no file appears in a fresh home folder, and no packet leaves.

onnxruntime's Linux wheels do both unless ORT_DISABLE_TELEMETRY is set before their first import.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cnnlab.core import datasets
from cnnlab.core.artifacts import write_bytes
from cnnlab.data.sample import load_sample
from cnnlab.models.classifier import save_classifier
from tests.test_export import NAMES, make_classifier
from tests.test_vae_files import exported

ROOT = Path(__file__).parent.parent
CNNLAB = [sys.executable, "-c", "from cnnlab.cli.main import main; main()"]
LASTING = """
import time
from cnnlab.inference.session import Model, default_model_path
Model.load(default_model_path())
time.sleep(8)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home folder; a drawing library's list of fonts goes elsewhere."""
    for name in list(os.environ):
        if name.startswith(("ORT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "fonts"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def reached(*command: str) -> list[str]:
    """The system calls by which a command and its children address another machine, as strace tells them."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = Path("trace.txt")
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace), *command]
    done = subprocess.run(traced, capture_output=True, text=True, check=False, timeout=500)
    if "PTRACE" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0, done.stderr
    return [line for line in trace.read_text(errors="replace").splitlines() if "AF_INET" in line]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_predict_reports_to_nobody(home: Path):
    Image.fromarray(load_sample()[1].images[0, 0]).save("picture.png")
    assert reached(*CNNLAB, "predict", "picture.png") == []
    assert files(home) == []


@pytest.mark.slow
def test_sample_reports_to_nobody(home: Path):
    for name, data in zip(("encoder", "decoder"), exported()[1], strict=True):
        write_bytes(f"models/vae_{name}.onnx", data)
    assert reached(*CNNLAB, "sample") == []
    assert Path("samples.png").exists()
    assert files(home) == []


@pytest.mark.slow
def test_the_stage_export_reports_to_nobody(home: Path):
    train, test = load_sample()
    info = datasets.DatasetInfo("fashion_mnist", tuple(NAMES), 1, 28, 28, "MIT", "", light_on_dark=True)
    datasets.save_dataset(info, train, test)
    save_classifier("models/lenet.pt", make_classifier("lenet"))
    assert reached(sys.executable, str(ROOT / "stages/export.py"), "lenet") == []
    assert Path("models/lenet.int8.onnx").exists()
    assert files(home) == []


@pytest.mark.slow
def test_a_process_that_goes_on_reports_to_nobody(home: Path):
    assert reached(sys.executable, "-c", LASTING) == []
    assert files(home) == []
