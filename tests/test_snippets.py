"""The programs in README.md and docs/deploy.md, run as they stand there: all must give the same logits."""

import contextlib
import functools
import http.server
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnlab.core.errors import UserError
from cnnlab.data.sample import load_sample
from cnnlab.export.bundle import make_bundle
from cnnlab.export.variants import Variant, make_variant
from cnnlab.inference import Model
from cnnlab.inference.session import default_model_path, session_of
from tests.test_export import make_classifier
from tools import chromium, npm

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
    """A folder with models/mynet.onnx and .json, as a user has it; the shipped network plays their part."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "models").mkdir()
    (folder / "models" / "mynet.onnx").write_bytes(default_model_path().read_bytes())
    model = Model.load(default_model_path())
    told = {
        "class_names": model.class_names,
        "input": {"shape": ["batch", *model.shape], "colour": "grey"},
        "files": {"mynet.onnx": {"temperature": model.temperature}},
    }
    (folder / "models" / "mynet.json").write_text(json.dumps(told))
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


def answer(model: Model, index: int) -> str:
    """The class that cnnlab finds for test picture `index`."""
    return model.class_names[int(model.logits(load_sample()[1].images[index : index + 1]).argmax())]


NO_NODE = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)


@pytest.fixture(scope="module")
def packages(workplace: Path) -> Path:
    """The workplace with the npm packages that docs/deploy.md names."""
    install = snippet("docs/deploy.md", "bash", "npm install").strip().split()
    (workplace / "package.json").write_text('{"private": true, "type": "module"}')
    subprocess.run([*install, "--no-audit", "--no-fund"], cwd=workplace, capture_output=True, check=True, timeout=300)
    return workplace


@pytest.mark.slow
@NO_NODE
def test_node_snippet_gives_the_same_logits(packages: Path):
    (packages / "classify.mjs").write_text(snippet("docs/deploy.md", "js", "onnxruntime-web"))
    python = snippet("docs/deploy.md", "python", "onnxruntime")
    for index in PICTURES:
        expected = put_picture(packages, index)
        node = subprocess.run(
            ["node", "classify.mjs"], cwd=packages, capture_output=True, text=True, check=True, timeout=60
        )
        found = json.loads(node.stdout)
        assert found["class"] == answer(Model.load(default_model_path()), index)
        assert np.allclose(found["logits"], python_logits(packages, python)[0], rtol=0, atol=1e-4)
        assert np.allclose(found["logits"], expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@NO_NODE
def test_node_snippet_refuses_a_picture_of_another_size(packages: Path):
    (packages / "classify.mjs").write_text(snippet("docs/deploy.md", "js", "onnxruntime-web"))
    Image.new("L", (300, 300)).save(packages / "picture.png")
    node = subprocess.run(["node", "classify.mjs"], cwd=packages, capture_output=True, text=True, check=False)
    assert node.returncode == 1
    assert "picture.png is 300×300: the network takes 28×28, grey." in node.stderr


@pytest.mark.slow
@NO_NODE
def test_the_browsers_page_answers(packages: Path, browser: Any):
    site = packages / "site"
    site.mkdir()
    (site / "index.html").write_text(snippet("docs/deploy.md", "html", "ort.wasm"))
    for name in ("mynet.onnx", "mynet.json"):
        shutil.copy(packages / "models" / name, site)
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(packages / "node_modules/onnxruntime-web/dist" / name, site)
    with served(site) as address:
        tab = browser.new_page()
        tab.goto(address)
        for index in PICTURES:
            put_picture(packages, index)
            expected = answer(Model.load(default_model_path()), index)
            # Choosing a file of the same name again is no change to a browser.
            chosen = shutil.copy(packages / "picture.png", packages / f"{index}.png")
            tab.set_input_files("input", str(chosen))
            tab.wait_for_function(f"document.querySelector('output').textContent.startsWith({expected!r})")
        tab.close()


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of a folder, served on this machine."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_opencv_snippet_gives_the_same_logits(workplace: Path):
    """In an environment of its own. The shipped network is int8, which OpenCV answers a little differently."""
    folder = workplace / "opencv"
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    install = [python, "-m", "pip", "install", "-q", "opencv-python-headless==4.12.0.88"]
    if (done := subprocess.run(install, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"opencv could not be installed from a package registry: {done.stderr[-200:]}")
    code = snippet("docs/deploy.md", "python", "cv2")
    for index in PICTURES:
        put_picture(workplace, index)
        done = subprocess.run([python, "-c", code], cwd=workplace, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == answer(Model.load(default_model_path()), index)


# onnxruntime's C++ headers and its library for Linux, in one package; MIT.
CPP_PACKAGE = "com.github.asus4.onnxruntime@0.4.9"
CPP_SHA512 = "BkzxduSZ9IkeDP6Q8lz2TFU2ie7hSSvS7ZIfzMooExoq0CNzJnuuGaUJ7IsojBgqO4ouD1jXah8OYyJbCN29Fg=="
CPP_HEADERS = "onnxruntime.xcframework/ios-arm64_x86_64-simulator/onnxruntime.framework/Headers/"
CPP_LIBRARY = "Plugins/Linux/x64/libonnxruntime.so"


def cpp_package(folder: Path) -> list[str]:
    """The compiler's options for onnxruntime's C++ package: the installed one, or one that is put into the folder."""
    if Path("/usr/include/onnxruntime").is_dir():
        return ["-I/usr/include/onnxruntime"]
    if platform.system() != "Linux" or platform.machine() != "x86_64" or not shutil.which("npm"):
        pytest.skip("onnxruntime's C++ package is not installed")
    try:
        archive = npm.fetch(CPP_PACKAGE, CPP_SHA512, folder)
    except UserError as error:
        pytest.skip(f"onnxruntime could not be installed from a package registry: {error}")
    with tarfile.open(archive) as package:
        for member in package:
            content = package.extractfile(member)
            if content and member.name.endswith(CPP_LIBRARY):
                (folder / "libonnxruntime.so.1").write_bytes(content.read())
            elif content and CPP_HEADERS in member.name and member.name.endswith(".h"):
                (folder / Path(member.name).name).write_bytes(content.read())
    archive.unlink()
    (folder / "libonnxruntime.so").symlink_to("libonnxruntime.so.1")
    return [f"-I{folder}", f"-L{folder}", f"-Wl,-rpath,{folder}"]


@pytest.mark.slow
def test_cpp_snippet_finds_the_same_class(workplace: Path, tmp_path: Path):
    if not shutil.which("g++"):
        pytest.skip("onnxruntime's C++ package is not installed")
    (workplace / "classify.cpp").write_text(snippet("docs/deploy.md", "cpp", "onnxruntime"))
    options = cpp_package(tmp_path)
    build = ["g++", "-std=c++17", "classify.cpp", *options, "-o", "classify", "-lonnxruntime"]
    subprocess.run(build, cwd=workplace, check=True)
    model = Model.load(default_model_path())
    for index in PICTURES:
        pixels = load_sample()[1].images[index].tobytes()
        done = subprocess.run(["./classify"], cwd=workplace, input=pixels, capture_output=True, check=True)
        assert model.class_names[int(done.stdout)] == answer(model, index)
    short = subprocess.run(["./classify"], cwd=workplace, input=b"too short", capture_output=True, check=False)
    assert short.returncode == 1
    assert b"give 28x28 bytes" in short.stderr


WEBGPU = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan,WebGPU",
    "--ignore-gpu-blocklist",
)


@contextlib.contextmanager
def launched(browser: Any, *options: str) -> Iterator[Any]:
    """Another Chromium, with options of its own."""
    started = browser.browser_type.launch(executable_path=chromium.find(), args=options)
    try:
        yield started
    finally:
        started.close()


ASK_WEBGPU = """async ([pixels, shape]) => {
    const ort = await import("./ort.webgpu.min.mjs");
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create("lenet.webgpu.onnx", { executionProviders: ["webgpu"] });
    const image = new ort.Tensor("uint8", Uint8Array.from(pixels), shape);
    return [...(await (await session.run({ image }, ["logits"])).logits.getData())];
}"""


@pytest.mark.slow
@NO_NODE
def test_webgpu_gives_the_same_logits_for_its_file(packages: Path, browser: Any):
    """On Chromium's software adapter. The plain file gives other logits there, without an error."""
    train, test = load_sample()
    lean = make_bundle(make_classifier("lenet"), train).lean
    data = make_variant(lean, "lenet.onnx", Variant(webgpu=True), train.images[:64])
    site = packages / "webgpu"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><link rel=icon href=data:,>")
    (site / "lenet.webgpu.onnx").write_bytes(data)
    for name in ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"):
        shutil.copy(packages / "node_modules/onnxruntime-web/dist" / name, site)
    images = test.images[:20]
    with served(site) as address, launched(browser, *WEBGPU) as other:
        page = other.new_page()
        page.goto(address)
        if not page.evaluate("async () => Boolean(navigator.gpu && (await navigator.gpu.requestAdapter()))"):
            pytest.skip("Chromium has no WebGPU here")
        found = page.evaluate(ASK_WEBGPU, [images.ravel().tolist(), images.shape])
    expected = session_of(lean, "lenet", 1).run(["logits"], {"image": images})[0]
    assert np.allclose(np.reshape(found, expected.shape), expected, rtol=0, atol=1e-4)
