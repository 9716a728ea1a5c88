"""An exported network, opened with onnxruntime: pixels in, logits or any named output out. Needs no torch."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from cnnlab.core.errors import UserError
from cnnlab.core.metrics import softmax
from cnnlab.core.text import is_plain

# metadata_props holds strings: these keys are plain text, every other key is JSON.
TEXT_KEYS = frozenset(
    {"architecture", "title", "dataset", "licence", "first_convolution", "precision", "names", "task"}
)
NEEDED_KEYS = frozenset({"class_names", "dataset", "architecture", "shape", "temperature", "novelty", "object_share"})
# What the metadata must be for `predict` to trust them; a foreign file may say anything.
RIGHT_VALUES: dict[str, Callable[[Any], bool]] = {
    "class_names": lambda names: (
        isinstance(names, list) and all(isinstance(name, str) and is_plain(name) for name in names)
    ),
    "shape": lambda sizes: (
        isinstance(sizes, list)
        and len(sizes) == 3
        and all(isinstance(size, int) and 1 <= size <= LARGEST_SIDE for size in sizes)
    ),
    "temperature": lambda value: isinstance(value, float) and LEAST_TEMPERATURE <= value <= LARGEST_TEMPERATURE,
    "object_share": lambda value: value is None or (isinstance(value, float) and LEAST_SHARE <= value <= 1),
    "novelty": lambda rule: isinstance(rule, dict),
    "z_dim": lambda size: isinstance(size, int) and 1 <= size <= LARGEST_SIDE,
}
LARGEST_SIDE = 4096  # pixels
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.01, 100.0  # exported files have 0.05 to 20
LEAST_SHARE = 0.1  # of the side, that objects take: with less, laying a picture out would take gigabytes
MAX_BYTES = 2**31  # a protobuf message cannot be larger


def default_model_path() -> Path:
    """The small trained network that ships inside the package, for a `predict` before anything was trained."""
    return Path(__file__).parent.parent / "default_model.onnx"  # outside the folders that stages depend on


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(path: str | Path, threads: int | None = None) -> ort.InferenceSession:
    """Open an ONNX file on the CPU with a fixed number of threads (all cores by default).

    Raises UserError for a file that is missing, unreadable, cut off or not ONNX. The file is read whole first, so
    it cannot pull in other files by naming them as external data.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is too large to be an ONNX model in one file.")
        data = path.read_bytes()
    except FileNotFoundError:
        advice = ": run `dvc repro` in the project's root folder" if path.parent == Path("models") else ""
        raise UserError(f"{path} is not here{advice}.") from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from None
    return session_of(data, str(path), threads)


def session_of(data: bytes, name: str, threads: int | None = None) -> ort.InferenceSession:
    """Open a serialised ONNX model; `name` is what an error calls it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cores() if threads is None else threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # only what is fatal: errors reach the caller as exceptions
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(
            f"{name} is not an ONNX model that onnxruntime {ort.__version__} can open ({_reason(error)}): "
            "it may be cut off or of another kind."
        ) from None


@dataclass(frozen=True)
class Model:
    """A classifier that `cnnlab` exported: its session and what its metadata says.

    `meta` is the file's metadata_props, decoded. The input is uint8 [n, channels, height, width], the data set's own
    pixels; scaling and normalising are inside the graph.
    """

    session: ort.InferenceSession
    meta: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path, threads: int | None = None) -> "Model":
        """Open a classifier; UserError where the file is missing, broken or not one of ours."""
        return cls.of(open_session(path, threads), str(path))

    @classmethod
    def of(cls, session: ort.InferenceSession, name: str) -> "Model":
        """Wrap an open session; UserError if cnnlab did not export it; `name` is for messages."""
        inputs = [(value.name, value.type) for value in session.get_inputs()]
        outputs = {value.name for value in session.get_outputs()}
        if inputs != [("image", "tensor(uint8)")] or "logits" not in outputs:
            raise UserError(
                f"{name} is an ONNX model, but not one of cnnlab's classifiers (uint8 image in, logits out)."
            )
        meta = decode(session.get_modelmeta().custom_metadata_map, name)
        missing = sorted(NEEDED_KEYS - meta.keys())
        if missing:
            raise UserError(f"{name} lacks the metadata {', '.join(missing)}: export it again with `dvc repro`.")
        fits = session.get_inputs()[0].shape[1:] == meta["shape"] and isinstance(meta["class_names"], list)
        if not fits or session.get_outputs()[0].shape[1:] != [len(meta["class_names"])]:
            raise UserError(f"{name}: its metadata do not fit its network: export it again with `dvc repro`.")
        if isinstance(size := session.get_inputs()[0].shape[0], int):
            raise UserError(f"{name} takes exactly {size} pictures at a time: use the file that takes any number.")
        check_values(meta, sorted(NEEDED_KEYS & RIGHT_VALUES.keys()), name)
        return cls(session, meta)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits."""
        return tuple(self.meta["class_names"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        channels, height, width = self.meta["shape"]
        return channels, height, width

    @property
    def temperature(self) -> float:
        """What the logits are divided by before the softmax, fitted on validation."""
        return float(self.meta["temperature"])

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """Every named output: ("logits",) in a lean file; in a features file each tap too."""
        return tuple(value.name for value in self.session.get_outputs())

    def logits(self, images: np.ndarray, batch: int = 256) -> np.ndarray:
        """Raw logits, float32 [n, classes], of pictures uint8 [n, channels, height, width]."""
        parts = [part["logits"] for part in self.outputs(images, ("logits",), batch)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.class_names)), np.float32)

    def outputs(
        self, images: np.ndarray, names: Sequence[str] | None = None, batch: int = 256
    ) -> Iterator[dict[str, np.ndarray]]:
        """The named outputs (all by default), one dict for each batch of pictures, in order."""
        wanted = list(self.output_names if names is None else names)
        unknown = sorted(set(wanted) - set(self.output_names))
        if unknown:
            raise UserError(f"the model has no output {unknown[0]!r}; it has {', '.join(self.output_names)}.")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.shape:
            raise UserError(
                f"the model takes uint8 pictures [n, {', '.join(map(str, self.shape))}], "
                f"not {images.dtype} {list(images.shape)}."
            )
        for start in range(0, len(images), batch):
            part = np.ascontiguousarray(images[start : start + batch])
            values = self.session.run(wanted, {"image": part})
            yield dict(zip(wanted, (np.asarray(value) for value in values), strict=True))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 [n, classes]: softmax(logits / temperature)."""
        return softmax(logits, self.temperature)


def encode(meta: dict[str, Any]) -> dict[str, str]:
    """Metadata as the strings that metadata_props holds."""
    return {
        key: str(value) if key in TEXT_KEYS else json.dumps(value, sort_keys=True, ensure_ascii=False)
        for key, value in meta.items()
    }


def decode(properties: dict[str, str], name: str) -> dict[str, Any]:
    """The metadata behind metadata_props; UserError naming the key whose value is not JSON."""
    meta: dict[str, Any] = {}
    for key, text in properties.items():
        try:
            meta[key] = text if key in TEXT_KEYS else json.loads(text)
        except (ValueError, RecursionError):  # no JSON, a number too long to read, or nested too deep
            if key in NEEDED_KEYS:
                raise UserError(f"{name}: the metadata {key} is not JSON: export it again.") from None
            meta[key] = text
    return meta


def class_index(names: Sequence[str], name: str) -> int:
    """Which of `names` is called so, in any case of letters; UserError with the names where there is none."""
    folded = {known.casefold(): index for index, known in enumerate(names)}
    if name.casefold() not in folded:
        near = get_close_matches(name.casefold(), folded, n=1)
        hint = f" did you mean {names[folded[near[0]]]!r}?" if near else ""
        raise UserError(f"there is no class {name!r};{hint} known are {', '.join(names)}.")
    return folded[name.casefold()]


def check_values(meta: dict[str, Any], keys: Iterable[str], name: str) -> None:
    """UserError naming those of `keys` whose value no exported file of ours can have."""
    wrong = [key for key in keys if not RIGHT_VALUES[key](meta[key])]
    if wrong:
        raise UserError(f"{name}: the metadata {', '.join(wrong)} cannot be right: export it again with `dvc repro`.")


def _reason(error: Exception) -> str:
    """The first line of onnxruntime's message, without its codes."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = text.split(" : ")[-1].rstrip(".")
    return text if len(text) <= 160 else text[:157] + "..."
