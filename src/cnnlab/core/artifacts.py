"""The path and format of every file of the pipeline. Each is written completely or not at all."""

import csv
import glob
import io
import json
import math
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from cnnlab.core import fonts
from cnnlab.core.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABANDONED = 3600  # seconds without a write after which a temporary file belongs to a process that is gone
DEFAULT_NETWORK = "swift"  # whose files are taken where none is named: the most accurate with under 3 MB in int8


def dataset_dir(name: str) -> Path:
    """The folder of a downloaded data set."""
    return Path("data") / name


def source_path(name: str) -> Path:
    """Where a data set comes from, as DVC watches it: a link to the user's pictures, or a file."""
    return dataset_dir("sources") / name


def model_path(architecture: str) -> Path:
    """The trained weights."""
    return Path("models") / f"{architecture}.pt"


def onnx_path(architecture: str, kind: Literal["", "features", "int8"] = "") -> Path:
    """An exported file: the lean one, the one with every tap, or the quantised one."""
    return Path("models") / (f"{architecture}.{kind}.onnx" if kind else f"{architecture}.onnx")


def sidecar_path(architecture: str) -> Path:
    """What a program needs to use a network's exported files, for readers that cannot see their metadata."""
    return Path("models") / f"{architecture}.json"


def metrics_path(group: str, name: str) -> Path:
    """metrics/GROUP/NAME.json: flat, deterministic; wall-clock figures go to the group `timing`."""
    return Path("metrics") / group / f"{name}.json"


def headline_path(name: str) -> Path:
    """metrics/NAME.json: the one figure of a network or of the VAE that DVC's tables show, under its name."""
    return Path("metrics") / f"{name}.json"


def classes_path() -> Path:
    """A table of the classes: their sizes, and the recall of each baseline."""
    return Path("plots") / "baselines.csv"


def curve_path(architecture: str) -> Path:
    """The training curve: one row for each point, written as training goes."""
    return Path("plots") / "train" / f"{architecture}.csv"


def test_plots_dir(architecture: str) -> Path:
    """The pictures of a test: confusion, per-class figures, worst mistakes."""
    return Path("plots") / "test" / architecture


def ablation_hits_path(name: str) -> Path:
    """Which test pictures a variant has right: bool [seeds, n_test], rows the protocol's seeds."""
    return Path("models") / "ablation" / f"{name}.npy"


def ablation_curve_path(name: str) -> Path:
    """The training curves of a variant: one row for each seed and point."""
    return Path("plots") / "ablation" / f"{name}.csv"


def ablation_table_path(kind: Literal["csv", "png"]) -> Path:
    """All variants against their baselines, as a table and as a picture."""
    return Path("plots") / f"ablation.{kind}"


def study_dir() -> Path:
    """The records of the study's long runs, in Git: RUN/seed-N.json."""
    return Path("study")


def findings_path() -> Path:
    """The reports' claims with their verdicts, in Git."""
    return Path("docs/findings.md")


def features_dir(architecture: str) -> Path:
    """A network's stored features: LAYER.npy for each layer, index.npy, labels.npy and features.json; and its maps."""
    return Path("features") / architecture


def feature_plots_dir(architecture: str) -> Path:
    """The pictures of a network's feature maps and filters."""
    return Path("plots") / "features" / architecture


def embedding_dir(architecture: str, method: str) -> Path:
    """What new pictures need to join a network's maps: a folder for each layer."""
    return features_dir(architecture) / method


def embedding_plots_dir() -> Path:
    """The maps: ARCH-METHOD/ with a table and a picture for each layer, ARCH-METHOD.csv of the classes, ARCH.png."""
    return Path("plots") / "embed"


def vae_plots_dir() -> Path:
    """The VAE's curve, and its pictures in a folder of their own."""
    return Path("plots") / "vae"


def card_path(architecture: str) -> Path:
    """The model card, in Git."""
    return Path("docs/models") / f"{architecture}.md"


def checkpoint_dir() -> Path:
    """Where unfinished training waits: outside DVC's outs, which it deletes before each run."""
    return Path(".checkpoints")


def benchmark_path(name: str) -> Path:
    """What a script of benchmarks/ measured on a named machine, outside the pipeline."""
    return Path("benchmarks/results") / f"{name}.json"


def report_path() -> Path:
    """The page that shows everything."""
    return Path("report/index.html")


def is_stream(path: str | Path) -> bool:
    """Whether a path is a device, a pipe or an open file such as /dev/stdout: written to, never replaced."""
    path = Path(path)
    link = str(path.readlink()) if path.is_symlink() else ""
    if link.startswith("/proc/") or Path(os.path.realpath(path.parent)).is_relative_to("/proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` that takes its place when the block ends well.

    On any failure the temporary file is removed and what was there before stays; a full disk, a missing right
    or a read-only folder is a UserError. A link is followed, and a stream (see `is_stream`) is written to.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / path.name
                with (Path(folder) / path.name).open("rb") as made, path.open("ab") as stream:
                    shutil.copyfileobj(made, stream)
            return
        target = _target(path)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        # NumPy raises a full disk without an errno, so every OSError counts.
        raise UserError(f"{path} could not be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):  # a read-only file system refuses even where there is nothing to remove
            if temporary:
                temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file that a write to `path` replaces: where a link leads, unless that is a file of DVC's cache.

    DVC may link its outputs to its cache, whose files it protects from writing: there the link is replaced.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    is_protected = target.exists() and not target.stat().st_mode & 0o222
    return path if is_protected else target


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write a flat JSON object: sorted keys, floats to 6 significant digits, nothing non-finite."""
    rounded = {key: _rounded(key, value) for key, value in sorted(values.items())}
    write_text(path, json.dumps(rounded, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run `dvc repro` in the project's root folder.") from None
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a JSON object: remove it and run `dvc repro`.")
    return values


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys as CSV with a header; floats to 6 significant digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _rounded(key, value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy, without pickle."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


class ArrayRows:
    """An .npy file of float32 that is written in batches of rows, its whole shape known beforehand.

    Written as a stream and not through a memory map: on a full disk a map kills the process.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...]) -> None:
        self.file, self.shape, self.done = file, shape, 0
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def append(self, values: np.ndarray) -> None:
        """Write the next rows."""
        self.file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self.done += len(values)

    def finish(self) -> None:
        """Flush; ValueError where the rows are not as many as the header says."""
        if self.done != self.shape[0]:
            raise ValueError(f"{self.done} rows were written, not {self.shape[0]}")
        self.file.flush()


def read_array(path: str | Path, *, mmap: bool = True) -> np.ndarray:
    """Read an .npy file, mapped into memory by default; never unpickles."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        return array if mmap else np.array(array)
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run `dvc repro` in the project's root folder.") from None
    except Exception as error:  # a forged header raises a dozen kinds
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UserError(f"{path} is not a whole .npy file ({reason}): remove it and run `dvc repro`.") from None


def write_figure(path: str | Path, figure: "Figure", *, dpi: int = 100) -> None:
    """Write a figure as PNG of 256 colours, with the same bytes each time (no date, no version of the drawing library).

    The palette makes the files two to three times smaller, and Git holds every one of them.
    """
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    fonts.settle(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", fonts.MISSING_GLYPH)  # fonts.settle has told of them
        figure.savefig(drawn, format="png", dpi=dpi)
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that nobody has written to for an hour.

    Their age decides and not the process that made them, which may run on another machine that shares the disk.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


def _rounded(key: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key} is {value}: a metric must be finite")
        return float(f"{value:.6g}")
    return value
