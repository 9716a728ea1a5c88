"""Training speed compared with the course book's loop: `python benchmarks/training.py --networks lenet,resnet`.

The other side is what a student runs: `train_ch6` of the book's package d2l, on torchvision's FashionMNIST, ToTensor
for each picture and a DataLoader. Same network, batch and device; the wall clock over whole epochs, loading and
evaluation on the test pictures included on both sides. The book's loop is given its best of the worker counts, thread
counts and memory formats asked for, and torch's own convolutions; only its drawing is left out. Ours runs unchanged, at
the precision it chooses and at float32. Every run has its own process, so that neither finds the other's memory warm.

Needs the book's package without its pinned dependencies: `uv pip install --no-deps d2l==1.0.3; uv pip install ipython`.
"""

import contextlib
import gzip
import importlib
import io
import itertools
import json
import multiprocessing
import os
import platform
import tempfile
import time
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import typer

from cnnlab import models
from cnnlab.core import artifacts, datasets, params, schema
from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError, run_command
from cnnlab.core.schema import Precision
from cnnlab.models import small_maps
from cnnlab.training import classification, loop
from cnnlab.training.devices import choose_device, describe, tune_process

BATCH = 256
TRAIN = {"lenet": 60_000, "mynet": 20_000, "vgg": 20_000, "nin": 5_120}  # pictures an epoch; the others as below
TRAIN_ELSE, TEST_SHARE = 15_360, 6  # the test set has a sixth as many


def main(
    networks: str = typer.Option(",".join(models.names()), help="which, separated by commas"),
    workers: str = typer.Option("0,1,2,4", help="of the book's DataLoader, tried for each"),
    threads: str = typer.Option("1,2", help="of the book's loop on a CPU, tried with the best worker count"),
    epochs: int = typer.Option(1, min=1, help="whole epochs timed"),
    pictures: int = typer.Option(0, min=0, help="training pictures; 0: by network"),
    repeats: int = typer.Option(2, min=1, help="runs of each side in turn; the fastest counts"),
    device: str = typer.Option("auto", help="as in params.yaml"),
    output: Path = typer.Option(Path("benchmarks/results/training.json"), help="where the figures go"),
) -> None:
    """Time both sides for each network, print a table and keep it as JSON."""
    _book()
    table = json.loads(output.read_text()) if output.exists() else {}
    for name in networks.split(","):
        count = pictures or TRAIN.get(name, TRAIN_ELSE)
        tried = {}

        def time_book(setting: tuple[int, int, bool], job=(name, count, epochs, device), tried=tried) -> float:
            seconds = _alone(_book_seconds, *job, *setting)
            tried[setting] = min(seconds, tried.get(setting, seconds))
            return tried[setting]

        cores = max(map(int, threads.split(",")))
        best = min(((number, cores, False) for number in map(int, workers.split(","))), key=time_book)
        others = itertools.product([best[0]], map(int, threads.split(",")), [False, True])
        best = min([best, *(other for other in others if other != best)], key=time_book)
        ours: dict[Precision, list[float]] = {"auto": [], "float32": []}
        for _ in range(repeats):
            for precision, seconds in ours.items():
                seconds.append(_alone(_our_seconds, name, count, epochs, device, precision))
            time_book(best)
        fastest = {precision: min(seconds) for precision, seconds in ours.items()}
        table[name] = {
            "ratio": round(tried[best] / fastest["auto"], 3),
            "ratio_float32": round(tried[best] / fastest["float32"], 3),
            "examples_per_second": round(count * epochs / fastest["auto"], 1),
            "float32_examples_per_second": round(count * epochs / fastest["float32"], 1),
            "book_examples_per_second": round(count * epochs / tried[best], 1),
            "pictures": count, "epochs": epochs, "batch_size": BATCH,
            "book_workers": best[0], "book_threads": best[1], "book_channels_last": best[2],
            "device": describe(choose_device(device)), "torch": torch.__version__, "machine": platform.machine(),
        }  # fmt: skip
        artifacts.write_text(output, json.dumps(table, indent=1, sort_keys=True) + "\n")
        print(f"{name:10} {table[name]['ratio']:5.2f}×  {table[name]}", flush=True)


def _alone(measure: Callable[..., float], *arguments: Any) -> float:
    """What `measure` finds in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _our_seconds(name: str, count: int, epochs: int, device_name: str, precision: Precision) -> float:
    """Our loop by the recipe plain, measuring the test pictures after each epoch."""
    loop.FEW_EPOCHS = 1  # a point of the curve each epoch, on all pictures, as the book has it
    run = schema.Run(steps=epochs * schema.steps_in_pass(count, BATCH), batch_size=BATCH, learning_rate=0.1)
    train, test = _parts(count)
    both = Split(np.concatenate([train.images, test.images]), np.concatenate([train.labels, test.labels]))
    parts = np.arange(len(train.labels)), np.arange(len(train.labels), len(both.labels))
    classification.stratified_split = lambda *_: parts  # the last ones are measured on
    device, options = choose_device(device_name), params.load().options(name)
    tune_process(device)
    begun = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        trained = classification.train_classifier(
            name, options, datasets.load_info("fashion_mnist"), both, run, recipe="plain", seed=0, held_out=0.1,
            device=device, precision=precision, validate=True, name=f"benchmark-{name}",
        )  # fmt: skip
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begun
    trained.checkpoint.remove()
    return seconds


def _book_seconds(
    name: str, count: int, epochs: int, device_name: str, workers: int, threads: int, channels_last: bool
) -> float:
    """The book's `train_ch6` on torchvision's data set of the same pictures."""
    book, info = _book(), datasets.load_info("fashion_mnist")
    torch.set_num_threads(threads)
    small_maps.TINY = 0  # torch's own convolutions
    network: Any = models.build(name, info.shape, len(info.class_names), params.load().options(name))
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    fallback = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(fallback if device_name == "auto" else device_name)
    loaders = []
    with tempfile.TemporaryDirectory() as folder:
        for part, split in zip(("train", "t10k"), _parts(count), strict=True):
            _write_idx(Path(folder), part, split)
        for is_train in (True, False):
            data = torchvision.datasets.FashionMNIST(folder, is_train, torchvision.transforms.ToTensor())
            loaders.append(torch.utils.data.DataLoader(data, BATCH, shuffle=is_train, num_workers=workers))
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        book.train_ch6(network, *loaders, epochs, 0.1, device)
    return time.perf_counter() - begun


def _write_idx(folder: Path, part: str, split: Split) -> None:
    """A part as the publisher's gzipped IDX files, where torchvision looks for them."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", split.images[:, 0]), ("labels-idx1", split.labels.astype(np.uint8))):
        header = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
        (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
        with gzip.open(raw / f"{part}-{kind}-ubyte.gz", "wb", compresslevel=0) as packed:
            packed.write(header + array.tobytes())


def _parts(count: int) -> tuple[Split, Split]:
    """The first `count` training pictures, and a sixth as many for testing."""
    parts = datasets.load_split("fashion_mnist", "train"), datasets.load_split("fashion_mnist", "test")
    train, test = (
        Split(np.array(part.images[:some]), np.array(part.labels[:some]))
        for part, some in zip(parts, (count, max(10, count // TEST_SHARE)), strict=True)
    )
    return train, test


def _book() -> Any:
    """The book's package, without its drawing."""
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        book: Any = importlib.import_module("d2l.torch")
    except ImportError as error:
        raise UserError(f"the book's package is not here ({error}): see the head of this file.") from None
    book.Animator = lambda **_: types.SimpleNamespace(add=lambda *_: None)
    return book


if __name__ == "__main__":
    run_command(main)
