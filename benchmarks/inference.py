"""Speed of the exported files: onnxruntime compared with eager torch and torch.compile, all on the CPU.

    python benchmarks/inference.py                      # models/ as `dvc repro` left it; about six minutes
    python benchmarks/inference.py --quick lenet mynet  # a smoke test of the script

From uint8 pixels in a NumPy array to logits in one, preprocessing included on both sides. Each system runs at its own
best: torch in the better of both memory formats, and everything at the better of one and two threads. Systems take
turns in short rounds, so that a slow moment of the machine affects all of them; a ratio is the median over the rounds.
torch and onnxruntime run in separate processes, since the spinning threads of one would slow the other. The
machine's matrix-product rate (float32, 2048×2048, the better of both thread counts) is measured in the same rounds.
Where models/ has no file of an architecture, untrained weights are exported: the speed is the same.
"""

import multiprocessing
import tempfile
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from cnnlab.core import artifacts
from cnnlab.core.errors import run_command

THREADS = (1, 2)
SINGLE, BATCH = 1, 256
ROUNDS = 7
SECONDS = {SINGLE: 0.2, BATCH: 0.25}  # of one system's turn, at least one run
MATRIX = 2048
EAGER, COMPILED, FLOAT, INT8, PRODUCT = "eager", "compile", "onnxruntime", "onnxruntime int8", "matrix product"

# (system, memory format, threads)
System = tuple[str, str, int]
Times = dict[tuple[System, int], list[list[float]]]


def main(
    networks: Annotated[list[str] | None, typer.Argument(help="architectures [default: all]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="one short round, no torch.compile")] = False,
    results: Path = Path("benchmarks/results/inference.json"),
) -> None:
    """Measure, print a table and write the figures to `results`."""
    from cnnlab import models

    context = multiprocessing.get_context("spawn")
    workers = {}
    for name, work in (("torch", _torch_worker), ("onnxruntime", _onnxruntime_worker)):
        workers[name], theirs = context.Pipe()
        context.Process(target=work, args=(theirs,), daemon=True).start()
    figures: dict[str, float | int | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in networks or models.names():
            files, multiply_adds = _files(network, Path(folder))
            times = _measure(workers, files, rounds=1 if quick else ROUNDS, compiled=not quick)
            figures |= {f"{network} {key}": value for key, value in _figures(times, multiply_adds).items()}
            _print(network, figures)
    for worker in workers.values():
        worker.send(None)
    artifacts.write_json(results, figures | _machine())


def _files(network: str, folder: Path) -> tuple[dict[str, str], int]:
    """The weights, the float32 and the int8 file of a network, and its multiply-adds for one picture."""
    from cnnlab.models.classifier import load_classifier
    from cnnlab.models.summary import layer_table

    paths = artifacts.model_path(network), artifacts.onnx_path(network), artifacts.onnx_path(network, "int8")
    if not all(path.exists() for path in paths):
        paths = _untrained(network, folder)
    classifier = load_classifier(paths[0])
    rows = layer_table(classifier.network, classifier.meta["shape"])
    files = {"weights": str(paths[0]), FLOAT: str(paths[1]), INT8: str(paths[2])}
    return files, sum(row.multiply_adds for row in rows)


def _untrained(network: str, folder: Path) -> tuple[Path, Path, Path]:
    """Export a network as it is before training, calibrated on noise."""
    import torch

    from cnnlab import models
    from cnnlab.export.convert import to_lean
    from cnnlab.export.portable import make_portable
    from cnnlab.export.quantise import quantise
    from cnnlab.models.classifier import Classifier, save_classifier

    torch.manual_seed(0)
    meta = {"architecture": network, "options": {}, "shape": [1, 28, 28], "class_names": list("0123456789")}
    meta |= {"mean": [0.286], "std": [0.353]}
    classifier = Classifier(models.build(network, (1, 28, 28), 10), meta["mean"], meta["std"], meta).eval()
    paths = folder / f"{network}.pt", folder / f"{network}.onnx", folder / f"{network}.int8.onnx"
    lean = to_lean(classifier)
    save_classifier(paths[0], classifier)
    for path, model in ((paths[2], quantise(lean, _pictures(64))), (paths[1], lean)):
        make_portable(model)
        artifacts.write_bytes(path, model.SerializeToString())
    return paths


def _measure(workers: dict[str, Connection], files: dict[str, str], rounds: int, compiled: bool) -> Times:
    """Seconds of every run: for each system and batch size one list a round, systems taking turns."""
    turns: list[tuple[Connection, System]] = []
    for name, worker in workers.items():
        worker.send(("load", files, compiled))
        turns += [(worker, system) for system in _answer(worker, name)]
    times: Times = defaultdict(list)
    for turn in range(rounds + 1):
        for batch in (SINGLE, BATCH):
            for worker, system in turns:
                worker.send(("time", system, batch, SECONDS[batch] if turn else 0.0))
                seconds = _answer(worker, str(system))
                if turn:  # the first one warms up, and compiles
                    times[system, batch].append(seconds)
    return times


def _answer(worker: Connection, who: str) -> Any:
    try:
        return worker.recv()
    except EOFError:
        raise RuntimeError(f"the process of {who} has died") from None


def _figures(times: Times, multiply_adds: int) -> dict[str, float | int | str]:
    """Latency, throughput, ratios to eager torch, and the share of the matrix-product rate."""
    figures: dict[str, float | int | str] = {"multiply_adds": multiply_adds}
    best: dict[tuple[str, int], np.ndarray] = {}  # median seconds of each round, of the better format and thread count
    for name in dict.fromkeys(system[0] for system, _ in times):
        for batch in (SINGLE, BATCH):
            found = {system: runs for (system, size), runs in times.items() if system[0] == name and size == batch}
            for threads in THREADS:
                own = {system: runs for system, runs in found.items() if system[2] == threads}
                if own and name != PRODUCT:
                    figures |= _speed(name, batch, threads, min(own.values(), key=_typical))
            fastest = min(found, key=lambda system: _typical(found[system]))
            best[name, batch] = np.array([np.median(seconds) for seconds in found[fastest]])
            figures[f"{name} batch {batch} best"] = f"{fastest[1]}, threads {fastest[2]}".strip(", ")
    product = 2 * MATRIX**3 / np.median(best[PRODUCT, BATCH])
    figures["matrix_product_gflops"] = float(product / 1e9)
    for name in (COMPILED, FLOAT, INT8):
        for batch in (SINGLE, BATCH) if (name, BATCH) in best else ():
            ratio = np.median(best[EAGER, batch] / best[name, batch])
            figures[f"{name} batch {batch} times_eager"] = float(ratio)
    rate = 2 * multiply_adds * BATCH / np.median(best[FLOAT, BATCH])
    figures["share_of_matrix_product"] = float(rate / product)
    return figures


def _speed(name: str, batch: int, threads: int, runs: list[list[float]]) -> dict[str, float]:
    label, seconds = f"{name} batch {batch} threads {threads}", np.concatenate(runs)
    if batch == BATCH:
        return {f"{label} pictures_per_second": BATCH / float(np.median(seconds))}
    p50, p95 = 1e6 * np.percentile(seconds, [50, 95])
    return {f"{label} p50_microseconds": float(p50), f"{label} p95_microseconds": float(p95)}


def _typical(runs: list[list[float]]) -> float:
    return float(np.median([np.median(seconds) for seconds in runs]))


def _print(network: str, figures: dict[str, float | int | str]) -> None:
    """A table of one network: a row for each system."""

    def shown(key: str, digits: str = ",.0f") -> str:
        value = figures.get(f"{network} {key}")
        return "" if value is None else format(value, digits)

    print(
        f"\n## {network}: {shown('multiply_adds')} multiply-adds, at batch {BATCH} "
        f"{shown('share_of_matrix_product', '.0%')} of the matrix-product rate "
        f"({shown('matrix_product_gflops')} GFLOP/s)\n"
    )
    print("| system | p50, p95 µs, 1 thread | 2 threads | pictures/s, 1 thread | 2 threads | batch 1 | batch 256 |")
    print("|---|---|---|---|---|---|---|")
    for name in (EAGER, COMPILED, FLOAT, INT8):
        cells = [
            f"{shown(f'{name} batch 1 threads {n} p50_microseconds')}, "
            f"{shown(f'{name} batch 1 threads {n} p95_microseconds')}".strip(", ")
            for n in THREADS
        ]
        cells += [shown(f"{name} batch {BATCH} threads {n} pictures_per_second") for n in THREADS]
        ratios = [shown(f"{name} batch {batch} times_eager", ".2f") for batch in (SINGLE, BATCH)]
        cells += [f"{ratio} ×" if ratio else "" for ratio in ratios]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def processors() -> str:
    """How many processors this machine has, and their name where the system tells it."""
    import platform

    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if (cpu.exists())
        else [platform.processor()]
    )
    return f"{len(names)} × {names[0]}"


def _machine() -> dict[str, str]:
    from importlib.metadata import version

    return {"machine": processors(), "torch": version("torch"), "onnxruntime": version("onnxruntime")}


def _pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)


def _serve(pipe: Connection, load: Any) -> None:
    """Answer the measuring process: `load` makes the systems, each a function of pictures."""
    systems: dict[System, Any] = {}
    pictures = _pictures(BATCH)
    while (order := pipe.recv()) is not None:
        if order[0] == "load":
            systems = load(order[1], order[2])
            pipe.send(list(systems))
            continue
        _, system, batch, least = order
        seconds: list[float] = []
        while not seconds or sum(seconds) < least:
            started = time.perf_counter()
            systems[system](pictures[:batch])
            seconds.append(time.perf_counter() - started)
        pipe.send(seconds)


def _torch_worker(pipe: Connection) -> None:
    import torch

    from cnnlab.models import small_maps
    from cnnlab.models.classifier import load_classifier

    small_maps.TINY = 0  # torch's own convolutions: ours are exported as those, too
    matrices = torch.rand(2, MATRIX, MATRIX, generator=torch.Generator().manual_seed(0))

    def ask(module: Any, layout: torch.memory_format, threads: int) -> Any:
        def run(pictures: np.ndarray) -> np.ndarray:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return module(torch.from_numpy(pictures).contiguous(memory_format=layout)).numpy()

        return run

    def product(threads: int) -> Any:
        def run(pictures: np.ndarray) -> None:
            torch.set_num_threads(threads)
            torch.mm(matrices[0], matrices[1])

        return run

    def load(files: dict[str, str], compiled: bool) -> dict[System, Any]:
        torch.compiler.reset()
        systems: dict[System, Any] = {(PRODUCT, "", threads): product(threads) for threads in THREADS}
        for layout in (torch.contiguous_format, torch.channels_last):
            classifier: Any = load_classifier(files["weights"]).to(memory_format=layout)
            name = str(layout).removeprefix("torch.")
            systems |= {(EAGER, name, threads): ask(classifier, layout, threads) for threads in THREADS}
            if compiled and layout == torch.channels_last:  # its code is made for one number of threads: all
                module = torch.compile(classifier, dynamic=False)
                systems[COMPILED, name, THREADS[-1]] = ask(module, layout, THREADS[-1])
        return systems

    _serve(pipe, load)


def _onnxruntime_worker(pipe: Connection) -> None:
    from cnnlab.inference import open_session

    def load(files: dict[str, str], compiled: bool) -> dict[System, Any]:
        sessions = {(name, "", n): open_session(files[name], n) for name in (FLOAT, INT8) for n in THREADS}
        return {
            system: lambda pictures, session=session: session.run(["logits"], {"image": pictures})[0]
            for system, session in sessions.items()
        }

    _serve(pipe, load)


if __name__ == "__main__":
    run_command(main)
