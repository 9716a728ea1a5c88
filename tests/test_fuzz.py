"""Every reader of files, on hostile ones: an answer or a UserError, never another exception, a hang or a gigabyte.

How many inputs each reader gets is the hypothesis profile's (conftest.py): few in `make check`, 500 in `make test`,
10,000 in `make fuzz`.
"""

import copy
import hashlib
import io
import json
import pickle
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from cnnlab.core import artifacts, datasets, params
from cnnlab.core.datasets import DatasetInfo
from cnnlab.core.errors import UserError
from cnnlab.core.text import is_plain
from cnnlab.data.pictures import read_picture, to_pixels
from cnnlab.inference import predict
from cnnlab.inference.session import Model, default_model_path, encode
from cnnlab.vae.codec import Decoder, Encoder, _checked

ROOT = Path(__file__).parent.parent
LONGEST = 30  # seconds for one input, which takes milliseconds
MOST = 1_000_000  # kilobytes of memory that a reader may take above what there was


@pytest.fixture(autouse=True)
def within_a_gigabyte() -> Iterator[None]:
    """Fails the test where the peak of the resident memory rose by a gigabyte; where the system tells it."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        yield
        return
    reset.write_text("5")  # sets the peak to what there is now
    before = peak(status)
    yield
    assert peak(status) - before < MOST


def peak(status: Path) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def survives(read: Callable[[], Any]) -> Any:
    """What the reader gives, or None for a UserError of one short line; any other exception, or a hang, fails."""

    def late(*_: Any) -> None:
        pytest.fail(f"hangs: over {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        return read()
    except UserError as error:
        if not 0 < len(str(error)) < 2000:
            pytest.fail(f"no sentence: {error}")
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Damage:
    """Spans of a file overwritten, put in or cut out, half of them in its first bytes, and perhaps its end cut off."""

    spans: list[tuple[bool, int, int, bytes]]
    end: int | None
    first: int = 400

    def of(self, whole: bytes) -> bytes:
        content = bytearray(whole)
        for early, place, length, new in self.spans:
            at = place % (min(self.first, len(content)) + 1 if early else len(content) + 1)
            content[at : at + length] = new
        return bytes(content if self.end is None else content[: self.end % (len(content) + 1)])


PLACES = st.integers(0, 2**20)
SPANS = st.lists(st.tuples(st.booleans(), PLACES, st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=3)
ENDS = st.one_of(st.none(), st.none(), PLACES)
DAMAGE = st.builds(Damage, SPANS, ENDS)
DEEP_DAMAGE = st.builds(Damage, SPANS, ENDS, st.just(2000))


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    return DAMAGE.map(lambda damage: damage.of(whole))


def of_one(files: dict[str, bytes]) -> st.SearchStrategy[tuple[str, bytes]]:
    """One of the files, damaged, and its name."""
    return st.tuples(st.sampled_from(sorted(files)), DAMAGE).map(lambda it: (it[0], it[1].of(files[it[0]])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# Any JSON value, and those that break naive readers.
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 2**63, 1e308, -0.0]))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


# --- .npy


def npy(header: str, data: bytes = bytes(64), version: int = 1) -> bytes:
    text = header.encode("utf-8", "surrogatepass")
    length = len(text).to_bytes(2 if version == 1 else 4, "little") if version < 4 else b""
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


@cache
def saved_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(24, dtype=np.int64).reshape(2, 3, 4))
    return file.getvalue()


HEADERS = st.builds(
    lambda kind, order, shape: f"{{'descr': {kind!r}, 'fortran_order': {order!r}, 'shape': {shape!r}}}\n",
    st.sampled_from(["<i8", "|u1", "|O", "<f4", "|V9999999", "<U99", "", "x"])
    | st.lists(st.tuples(st.text(max_size=3), st.sampled_from(["<i4", "|O", "<f8"])), max_size=3),
    st.booleans() | st.integers(),
    st.lists(st.integers(-(2**70), 2**70) | st.integers(0, 9), max_size=40).map(tuple) | NUMBERS,
)


@given(
    damaged(saved_array())
    | st.builds(npy, HEADERS, st.binary(max_size=64), st.integers(1, 3))
    | st.builds(npy, st.text(max_size=80), st.binary(max_size=9), st.integers(0, 4))
    | st.sampled_from([pickle.dumps([1]), b"PK\x03\x04" + bytes(40), npy("(" * 5000 + ")" * 5000), npy("-" * 9999)])
)
@example(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,)}\n"))
def test_array_files(folder, content):
    (folder / "a.npy").write_bytes(content)
    for mmap in (True, False):
        array = survives(lambda mmap=mmap: artifacts.read_array(folder / "a.npy", mmap=mmap))
        assert array is None or (isinstance(array, np.ndarray) and not array.dtype.hasobject)


# --- JSON


@given(damaged(b'{"accuracy": 0.5, "class_names": ["a", "b"]}') | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a": ' + b"9" * 5000 + b"}")
@example(b"[1, 2]")
def test_json_files(folder, content):
    (folder / "a.json").write_bytes(content)
    values = survives(lambda: artifacts.read_json(folder / "a.json"))
    assert values is None or isinstance(values, dict)


@given(st.dictionaries(st.sampled_from(["name", "class_names", "channels", "x"]), JSON) | JSON)
def test_a_data_sets_description(folder, value):
    path = folder / "data" / "x" / "dataset.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        info = survives(lambda: datasets.load_info("x"))
    assert info is None or isinstance(info, DatasetInfo)


# --- params.yaml

SETTINGS = (ROOT / "params.yaml").read_text(encoding="utf-8")
YAML_TEXTS = st.text(max_size=30) | st.sampled_from(
    ["2001-99-99", "!!float x", "!!bool x", "&a [*a]", "*b", "!!python/object/apply:os.system [ls]", "{[1]: 2}", ".nan"]
)


@cache
def parsed_settings() -> dict[str, Any]:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(SETTINGS)


@st.composite
def changed_settings(draw: st.DrawFn) -> dict[str, Any]:
    """The settings that ship with one or two values, at any depth, replaced, added or taken away."""
    settings = copy.deepcopy(parsed_settings())
    for _ in range(draw(st.integers(1, 2))):
        block: Any = settings
        key = draw(st.sampled_from(sorted(block)))
        while isinstance(block[key], dict) and block[key] and draw(st.integers(0, 3)):
            block = block[key]
            key = draw(st.sampled_from(sorted(block)))
        if draw(st.integers(0, 4)) == 0:
            key = draw(st.text(max_size=8))
        block[key] = draw(JSON)
    return settings


@st.composite
def damaged_settings(draw: st.DrawFn) -> str:
    """Some lines of the text that ships with one span replaced: reading all of them takes too long for thousands."""
    lines = SETTINGS.splitlines()
    first = draw(st.integers(0, len(lines)))
    text = "\n".join(lines[first : first + 6])
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
    return text[:at] + draw(YAML_TEXTS) + text[at + length :]


def laughs(key: str) -> str:
    """Ten thousand million laughs in ten lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join([*lines, f"{key}: *a9"])


@given(changed_settings())
def test_values_of_settings(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "_parse", lambda *_: settings)  # what YAML would give, without its time
        read = survives(lambda: params.load(ROOT / "params.yaml"))
    for name in read.models if read else ():
        survives(lambda name=name: check_options(read, name))


@given(damaged_settings() | YAML_TEXTS)
@example("[" * 5_000)
@example("a: " + "{a: " * 5_000)
@example("seed: " + "9" * 5000)
@example(SETTINGS.replace("seed: 0", f"seed: 0x{'F' * 6000}"))
@example(laughs("act"))
@example(SETTINGS.replace("act: sigmoid", laughs("act")))
@example("x" * 200_000)
def test_settings(folder, text):
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    survives(lambda: params.load(path))


def check_options(settings: params.Params, name: str) -> None:
    from cnnlab import models

    models.check_options(name, settings.options(name))


@given(st.lists(YAML_TEXTS.map(lambda text: f"--{text}") | YAML_TEXTS, max_size=6))
@example(["--act", "2001-99-99"])
def test_flags(words):
    survives(lambda: params.parse_flags(words))


# --- Pictures


@cache
def pictures() -> dict[str, bytes]:
    """A small picture of noise in each format that can be written here, some of them in several modes."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8)
    modes = {"PNG": ("L", "RGBA", "P", "I;16", "1"), "TIFF": ("RGB", "F", "LAB", "CMYK"), "GIF": ("P",)}
    found = {}
    for kind in ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF"):
        for mode in modes.get(kind, ("RGB",)):
            file = io.BytesIO()
            try:
                picture_of(noise, mode).save(file, kind)
            except (KeyError, OSError):  # not in this build of Pillow
                continue
            found[f"{kind} {mode}"] = file.getvalue()
    return found


def picture_of(noise: np.ndarray, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(noise[..., 0] / np.float32(255))
    if mode == "LAB":
        return Image.frombytes("LAB", (40, 40), noise[..., :3].tobytes())
    return Image.fromarray(noise, "RGBA" if mode == "RGBA" else None).convert(mode)


@st.composite
def small_objects(draw: st.DrawFn) -> tuple[str, bytes]:
    """A plain picture with a box of any size in it."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    picture = Image.new("L", (width, height), draw(st.integers(0, 255)))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))
    picture.paste(draw(st.integers(0, 255)), box)
    file = io.BytesIO()
    picture.save(file, "PPM")
    return "box", file.getvalue()


@given(of_one(pictures()) | small_objects() | st.tuples(st.just("noise"), st.binary(max_size=200)))
def test_pictures(file):
    from cnnlab.inference.prepare import prepare

    picture = survives(lambda: read_picture(io.BytesIO(file[1])))
    if picture is not None:
        assert picture.mode in ("L", "RGB")
        assert to_pixels(picture, 28, "grey").shape == (1, 28, 28)
        for share in (0.1, 0.9, 1.0, None):
            assert prepare(picture, (1, 28, 28), share).pixels.shape == (1, 28, 28)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300))
@example("a" * 300 + ".png")
def test_names_of_pictures(folder, name):
    error = survives_with(lambda: read_picture(folder / name))
    assert is_plain(error)
    if len(name.encode()) > 255 and "/" not in name:
        assert "too long" in error


def survives_with(read: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as raised:
        read()
    return str(raised.value)


# --- Weights and checkpoints


@cache
def weights() -> dict[str, bytes]:
    """A small classifier's and a small VAE's .pt file, and what is in a checkpoint."""
    import torch

    from cnnlab import models
    from cnnlab.training.checkpoint import serialise
    from cnnlab.vae.model import build

    meta = {"architecture": "lenet", "options": {"channels": [1, 1], "kernel_size": 1}, "shape": [1, 8, 8]}
    meta |= {"class_names": ["a", "b"], "mean": [0.5], "std": [0.2]}
    network = models.build("lenet", (1, 8, 8), 2, meta["options"])
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    state |= {name: torch.ones(1, 1, 1, 1) for name in ("mean", "std")}
    vae = {"shape": [1, 8, 8], "z_dim": 2, "decoder": "relu", "likelihood": "bernoulli", "binarize": False}
    vae["prior"] = "normal"
    return {
        "classifier": serialise({"state": state, "meta": json.dumps(meta)}),
        "vae": serialise({"state": build(vae).state_dict(), "meta": json.dumps(vae)}),
    }


def load_weights(path: Path, kind: str) -> Any:
    from cnnlab.models import weights
    from cnnlab.models.classifier import load_classifier
    from cnnlab.vae.model import build

    return load_classifier(path) if kind == "classifier" else weights.load(path, build)


KINDS = st.sampled_from(["classifier", "vae"])


@pytest.mark.slow
@given(KINDS, DEEP_DAMAGE | st.binary(max_size=40))
@pytest.mark.filterwarnings("ignore")
def test_weights(folder, kind, content):
    (folder / "x.pt").write_bytes(content.of(weights()[kind]) if isinstance(content, Damage) else content)
    survives(lambda: load_weights(folder / "x.pt", kind))


META_KEYS = (
    "architecture",
    "options",
    "shape",
    "class_names",
    "mean",
    "std",
    "z_dim",
    "decoder",
    "likelihood",
    "prior",
    "binarize",
)


LARGE = st.sampled_from([[1, 200, 200], [3, 10**6, 10**6], 10**9, {"channels": [99, 99], "kernel_size": 5}])


@pytest.mark.slow
@given(KINDS, st.dictionaries(st.sampled_from(META_KEYS), JSON | LARGE, min_size=1, max_size=2))
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_network_than_they_say(folder, kind, changes):
    import torch

    from cnnlab.training.checkpoint import serialise

    saved = torch.load(io.BytesIO(weights()[kind]), weights_only=True)
    saved["meta"] = json.dumps(json.loads(saved["meta"]) | changes)
    (folder / "x.pt").write_bytes(serialise(saved))
    survives(lambda: load_weights(folder / "x.pt", kind))


@cache
def checkpoint_in(folder: Path) -> Any:
    from cnnlab.training.checkpoint import Checkpoint

    checkpoint = Checkpoint("x", {}, [])
    checkpoint.path = folder / checkpoint.path.name
    return checkpoint


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda ops: b"\x80\x02" + ops))
@pytest.mark.filterwarnings("ignore")
def test_checkpoints(folder, content):
    checkpoint = checkpoint_in(folder)
    for data in (content, hashlib.sha256(content).digest() + content):
        checkpoint.path.write_bytes(data)
        loaded = survives(checkpoint.load)
        assert loaded is None or isinstance(loaded, dict)


# --- ONNX metadata

SHIPPED = default_model_path()


class Forged:
    """A session with other metadata."""

    def __init__(self, session: Any, properties: dict[str, str]) -> None:
        self.session, self.properties = session, properties

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map=self.properties)


@cache
def classifier() -> Model:
    return Model.load(SHIPPED, threads=1)


@cache
def picture(folder: Path) -> str:
    path = folder / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40), np.uint8)).save(path)
    return str(path)


NOVELTY = st.dictionaries(
    st.sampled_from(["mean", "basis", "energy_min", "residual_max"]), st.text(max_size=9) | st.just("AAAA") | JSON
)
VALUES = (
    JSON | NOVELTY | st.sampled_from([1e-300, 0.1, 5e-324, [1, 28, 28.0], ["a"] * 10, ["\x1b[31m"] * 10, [[]] * 10])
)


@st.composite
def forged_properties(draw: st.DrawFn, meta: dict[str, Any], keys: list[str]) -> dict[str, str]:
    """A file's metadata with a few values replaced by others, by text that is no JSON, or left out."""
    properties = encode(meta)
    for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3)):
        if draw(st.integers(0, 5)) == 0:
            properties.pop(key, None)
        else:
            text = st.text(max_size=12) | st.sampled_from(["[" * 5000, "9" * 5000, "NaN", "-Infinity"])
            properties[key] = draw(text | VALUES.map(json.dumps))
    return properties


@given(st.data())
def test_metadata_of_classifiers(folder, data):
    whole = classifier()
    keys = ["class_names", "shape", "temperature", "novelty", "object_share", "dataset", "architecture"]
    forged = Forged(whole.session, data.draw(forged_properties(whole.meta, keys)))
    model = survives(lambda: Model.of(forged, "x.onnx"))  # type: ignore[arg-type]
    if model is None:
        return
    answers = survives(lambda: list(predict.predict(model, [picture(folder)])))
    for answer in answers or []:
        assert all(name.isprintable() for name in answer.classes)
        assert all(0 <= chance <= 1 for chance in answer.probabilities)
        assert sum(model.probabilities(model.logits(np.zeros((1, *model.shape), np.uint8)))[0]) == pytest.approx(1)


VAE_META = {
    "dataset": "x", "shape": [1, 8, 8], "z_dim": 2, "likelihood": "bernoulli", "borders": [0, 0, 0, 0],
    "log_scale": -1.0, "binarize": False, "class_names": ["a", "b"], "object_share": 0.9,
    "class_gaussians": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "mixture": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "mixture_weights": [0.5, 0.5],
}  # fmt: skip


@given(forged_properties(VAE_META, sorted(VAE_META)), st.booleans())
def test_metadata_of_vaes(properties, encodes):
    value = SimpleNamespace(name="image" if encodes else "z", shape=["batch", 1, 8, 8] if encodes else ["batch", 2])
    outputs = ("mean", "logvar") if encodes else ("image", "logits")
    session: Any = SimpleNamespace(
        get_inputs=lambda: [value], get_outputs=lambda: [SimpleNamespace(name=name) for name in outputs],
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=properties),
    )  # fmt: skip
    meta = survives(lambda: _checked(session, "x.onnx", value.name, outputs))
    if meta is not None and encodes:
        survives(lambda: Encoder(session, meta).codes(np.zeros((0, 1, 9, 9), np.uint8)))
    elif meta is not None:
        survives(lambda: Decoder(session, meta).gaussians())
        survives(lambda: Decoder(session, meta).mixture())
        survives(lambda: Decoder(session, meta).class_index("a"))


# --- Nothing is written outside its folder

HOSTILE = (
    "../../escaped",
    "/tmp/escaped",
    "a/b",
    "..",
    "<script>alert(1)</script>",
    "a\\b",
    "x" * 300,
    "%s",
    "{0}",
    "é ✓",
)


@pytest.mark.slow
def test_class_names_never_become_paths(tmp_path, monkeypatch):
    import onnx

    from cnnlab.export.convert import stamp
    from stages import evaluate

    project = tmp_path / "a" / "b" / "project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    (project / "params.yaml").write_text(SETTINGS.replace("budget: quick", "budget: smoke"))
    renamed = stamp(onnx.load(str(SHIPPED)), classifier().meta | {"class_names": list(HOSTILE)})
    for kind in ("", "int8"):
        artifacts.write_bytes(artifacts.onnx_path("mynet", kind), renamed)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 28, 28), np.uint8)
    split = datasets.Split(pixels, np.arange(40) % 10)
    info = DatasetInfo("fashion_mnist", HOSTILE, 1, 28, 28, "", "", light_on_dark=True)
    datasets.save_dataset(info, split, split)
    evaluate.main("mynet")
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and project not in path.parents]
    assert outside == []
    assert not Path("/tmp/escaped").exists()
    written = {path.name for path in (project / "plots").rglob("*") if path.is_file()}
    assert written == {"confusion.csv", "per_class.csv", "worst_mistakes.png"}
