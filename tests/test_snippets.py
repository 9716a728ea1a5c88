"""The programs in README.md and docs/deploy.md run as they stand; Python and Node give the same logits."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.data.sample import load_sample
from cnnlab.inference import Model
from cnnlab.inference.session import default_model_path

ROOT = Path(__file__).parent.parent
PICTURES = (0, 300, 599)


def snippet(document: str, language: str, containing: str) -> str:
    """The one code block of a language that holds a text."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = [block for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if containing in block]
    assert len(blocks) == 1, f"{document} has {len(blocks)} {language} blocks with {containing!r}"
    return blocks[0]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models/mynet.onnx, as a user of the snippets has it; the shipped network plays its part."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "models").mkdir()
    (folder / "models" / "mynet.onnx").write_bytes(default_model_path().read_bytes())
    return folder


def put_picture(folder: Path, index: int) -> np.ndarray:
    """Write test picture `index` as picture.png and give the logits that cnnlab finds for it."""
    images = load_sample()[1].images[index : index + 1]
    Image.fromarray(images[0, 0]).save(folder / "picture.png")
    return Model.load(default_model_path()).logits(images)[0]


def python_logits(folder: Path, code: str) -> tuple[np.ndarray, str]:
    """The logits that a Python snippet computes, and what it prints."""
    code += "\nimport json\nprint(json.dumps(logits.ravel().tolist()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    *printed, values = done.stdout.splitlines()
    return np.array(json.loads(values)), "\n".join(printed)


@pytest.mark.parametrize("document", ["README.md", "docs/deploy.md"])
def test_python_snippet(workplace: Path, document: str):
    code = snippet(document, "python", "onnxruntime")
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    expected = put_picture(workplace, PICTURES[0])
    logits, printed = python_logits(workplace, code)
    assert np.allclose(logits, expected, rtol=0, atol=1e-5)
    assert any(name in printed for name in Model.load(default_model_path()).class_names)


@pytest.mark.slow
def test_the_library_example_learns_the_digits(tmp_path: Path):
    code = snippet("README.md", "python", "train_classifier")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) > 0.9
    assert Model.load(tmp_path / "digits.onnx").class_names == tuple("0123456789")


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed")
def test_node_snippet_gives_the_same_logits(workplace: Path):
    install = snippet("docs/deploy.md", "bash", "npm install").strip().split()
    (workplace / "package.json").write_text('{"private": true, "type": "module"}')
    subprocess.run([*install, "--no-audit", "--no-fund"], cwd=workplace, capture_output=True, check=True, timeout=300)
    (workplace / "classify.mjs").write_text(snippet("docs/deploy.md", "js", "onnxruntime-web"))
    python = snippet("docs/deploy.md", "python", "onnxruntime")
    for index in PICTURES:
        expected = put_picture(workplace, index)
        node = subprocess.run(
            ["node", "classify.mjs"], cwd=workplace, capture_output=True, text=True, check=True, timeout=60
        )
        logits = np.array(json.loads(node.stdout))
        assert np.allclose(logits, python_logits(workplace, python)[0], rtol=0, atol=1e-4)
        assert np.allclose(logits, expected, rtol=0, atol=1e-4)
