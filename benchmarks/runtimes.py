"""Do the exported files load in other runtimes, old and new, and do they answer the same?

    python benchmarks/runtimes.py                                    # all runtimes, all networks in models/
    python benchmarks/runtimes.py --runtime onnxruntime-old lenet    # one of each

Each runtime is installed by itself, from the package registries, into an environment under a temporary folder; what
cannot be installed is recorded as such. The first pictures of the test set go through each file one at a time and a
hundred at a time. The reference is the onnxruntime that is installed here.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from cnnlab.core import artifacts, datasets
from cnnlab.core.errors import run_command
from cnnlab.inference import Model

BATCHES = {1: 20, 100: 200}  # pictures at a time: pictures in all
KINDS = ("", "features", "int8")
AGREES = 0.98  # the share of the answers from which a file counts as right
MINUTES = 10  # that installing, or one file, may take

# Each program defines `opened(path)`: a function from pictures, uint8 [n, c, h, w], to their logits, in one batch.
ONNXRUNTIME = """
import onnxruntime as ort
version = ort.__version__
def opened(path):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(["logits"], {"image": pictures})[0]
"""
OPENCV = """
import cv2
version = cv2.__version__
def opened(path):
    network = cv2.dnn.readNetFromONNX(path)
    outputs = [name for name in network.getUnconnectedOutLayersNames()]
    output = "logits" if "logits" in outputs else outputs[0]
    def run(pictures):
        network.setInput(pictures, "image")
        return network.forward(output)
    return run
"""
OPENVINO = """
import openvino
version = openvino.__version__
def opened(path):
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pictures: model({"image": pictures})["logits"]
"""
REFERENCE = """
import onnx
from onnx.reference import ReferenceEvaluator
version = onnx.__version__
def opened(path):
    model = ReferenceEvaluator(path)
    return lambda pictures: model.run(["logits"], {"image": pictures})[0]
"""
TRACT = """
import tract
from importlib.metadata import version as of
version = of("tract")
def opened(path):
    model = tract.onnx().load(path)
    runnable = model.into_model().into_runnable()
    return lambda pictures: runnable.run([pictures])[0].to_numpy()
"""
# What runs in the runtime's own environment: one job a line on standard input, one answer a line.
LOOP = """
import json, sys, numpy as np
for line in sys.stdin:
    job = json.loads(line)
    answer = {"version": version}
    try:
        run = opened(job["file"])
        pictures = np.load(job["pictures"])
        size = job["batch"]
        parts = [np.array(run(np.ascontiguousarray(pictures[i : i + size]))) for i in range(0, len(pictures), size)]
        np.save(job["logits"], np.concatenate([part.reshape(len(part), -1) for part in parts]).astype(np.float32))
    except BaseException as error:
        answer["error"] = " ".join(str(error).split())[-160:] or type(error).__name__
    print("ANSWER " + json.dumps(answer), flush=True)
"""
NODE = """
import { createInterface } from "node:readline";
import { readFile, writeFile } from "node:fs/promises";
import * as loaded from "onnxruntime-web";
const ort = loaded.InferenceSession ? loaded : loaded.default;
ort.env.wasm.numThreads = 1;
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line), answer = { version: ort.env.versions?.web ?? "" };
  try {
    const session = await ort.InferenceSession.create(await readFile(job.file));
    const pixels = await readFile(job.raw), each = job.shape[1] * job.shape[2] * job.shape[3], found = [];
    for (let i = 0; i < job.shape[0]; i += job.batch) {
      const part = new Uint8Array(pixels.subarray(i * each, (i + job.batch) * each));
      const image = new ort.Tensor("uint8", part, [job.batch, ...job.shape.slice(1)]);
      found.push(...(await session.run({ image }, ["logits"])).logits.data);
    }
    await writeFile(job.logits + ".json", JSON.stringify(found));
  } catch (error) {
    answer.error = String(error).slice(-160);
  }
  console.log("ANSWER " + JSON.stringify(answer));
}
"""


@dataclass(frozen=True)
class Runtime:
    """What to install, and the program that runs in it."""

    packages: tuple[str, ...]
    program: str
    npm: bool = False


# The oldest onnxruntime that has a wheel for this version of Python.
OLDEST = {(3, 11): "1.15.0", (3, 12): "1.17.0", (3, 13): "1.20.0"}.get(sys.version_info[:2], "1.20.0")
OLD_NUMPY = "numpy<2"
RUNTIMES = {
    "onnxruntime-old": Runtime((f"onnxruntime=={OLDEST}", OLD_NUMPY), ONNXRUNTIME),
    "onnxruntime-new": Runtime(("onnxruntime",), ONNXRUNTIME),
    "onnxruntime-web": Runtime(("onnxruntime-web@1.30.0",), NODE, npm=True),
    "onnxruntime-web-old": Runtime(("onnxruntime-web@1.16.3",), NODE, npm=True),
    "openvino": Runtime(("openvino",), OPENVINO),
    "openvino-old": Runtime(("openvino==2024.3.0",), OPENVINO),
    "opencv-4.5.5": Runtime(("opencv-python-headless==4.5.5.64", OLD_NUMPY), OPENCV),
    "opencv-4.6.0": Runtime(("opencv-python-headless==4.6.0.66", OLD_NUMPY), OPENCV),
    "opencv-4.8.1": Runtime(("opencv-python-headless==4.8.1.78", OLD_NUMPY), OPENCV),
    "opencv-4.12": Runtime(("opencv-python-headless==4.12.0.88",), OPENCV),
    "opencv-new": Runtime(("opencv-python-headless",), OPENCV),
    "tract": Runtime(("tract", "numpy"), TRACT),
    "onnx-reference": Runtime(("onnx",), REFERENCE),
}


def main(
    networks: Annotated[list[str] | None, typer.Argument(help="architectures [default: all in models/]")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help="one of them; may be given again [default: all]")] = None,
    results: Path = Path("benchmarks/results/runtimes.json"),
) -> None:
    """Try every file in every runtime, print a table, and write the figures to `results` as they come."""
    names = networks or sorted(path.stem for path in Path("models").glob("*.onnx") if is_lean(path))
    rows: list[dict[str, Any]] = json.loads(results.read_text()) if results.exists() else []
    for name in runtime or RUNTIMES:
        rows = [row for row in rows if row["runtime"] != name]
        with tempfile.TemporaryDirectory() as folder:
            rows += try_runtime(name, RUNTIMES[name], names, Path(folder))
        artifacts.write_text(results, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    print(table(rows))


def is_lean(path: Path) -> bool:
    return "." not in path.stem and not path.stem.startswith("vae_")


def try_runtime(name: str, runtime: Runtime, networks: list[str], folder: Path) -> list[dict[str, Any]]:
    """A row for each file and batch size."""
    try:
        worker = start(runtime, folder)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        print(f"{name} could not be installed: {error}")
        return [{"runtime": name, "packages": list(runtime.packages), "error": "could not be installed"}]
    rows = []
    for network in networks:
        images = np.array(
            datasets.load_split(Model.load(artifacts.onnx_path(network)).meta["dataset"], "test").images[
                : max(BATCHES.values())
            ]
        )
        for kind in KINDS:
            path = artifacts.onnx_path(network, kind)  # pyright: ignore[reportArgumentType]
            expected = Model.load(path).logits(images)
            for batch, count in BATCHES.items():
                if worker.poll() is not None:  # a runtime that crashed
                    worker = start(runtime, folder, install=False)
                row = compare(worker, path, images[:count], batch, expected[:count], folder)
                rows.append({"runtime": name, "file": path.name, "batch": batch} | row)
                print(rows[-1], flush=True)
    worker.kill()
    return rows


def start(runtime: Runtime, folder: Path, *, install: bool = True) -> "subprocess.Popen[str]":
    """The program of a runtime, in its own environment, waiting for jobs on standard input."""
    program = runtime.program if runtime.npm else runtime.program + LOOP
    script = folder / ("run.mjs" if runtime.npm else "run.py")
    script.write_text(program)
    if install and runtime.npm:
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *runtime.packages]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60 * MINUTES)
    elif install:
        venv.create(folder / "env", with_pip=True)
        command = [str(python_of(folder)), "-m", "pip", "install", "-q", "--only-binary", ":all:", *runtime.packages]
        subprocess.run(command, check=True, capture_output=True, timeout=60 * MINUTES)
    interpreter = ["node"] if runtime.npm else [str(python_of(folder))]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    return subprocess.Popen(
        [*interpreter, script.name],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def python_of(folder: Path) -> Path:
    """The interpreter of the environment in a folder."""
    return folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def compare(
    worker: "subprocess.Popen[str]", path: Path, images: np.ndarray, batch: int, expected: np.ndarray, folder: Path
) -> dict[str, Any]:
    """One file, all pictures: does it load, how many answers agree, how far are the logits off."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    logits = folder / "logits.npy"
    for left in (logits, folder / "logits.npy.json"):
        left.unlink(missing_ok=True)
    np.save(folder / "pictures.npy", images)
    (folder / "pictures.raw").write_bytes(images.tobytes())
    job = {"file": str(path.resolve()), "pictures": "pictures.npy", "raw": "pictures.raw", "shape": images.shape}
    answer: dict[str, Any] = {"error": "the runtime crashed"}
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(job | {"batch": batch, "logits": logits.name}) + "\n")
        worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("ANSWER "):
            answer = json.loads(line.removeprefix("ANSWER "))
            break
    else:
        worker.wait()
    if "error" in answer:
        return answer | {"same": 0, "pictures": len(images)}
    text = folder / "logits.npy.json"
    found = np.array(json.loads(text.read_text())) if text.exists() else np.load(logits)
    if found.size != expected.size:
        return answer | {"error": f"{found.size // len(images)} numbers a picture", "same": 0, "pictures": len(images)}
    found = found.reshape(expected.shape)
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    difference = float(f"{np.abs(found - expected).max():.2g}")
    return answer | {"same": same, "pictures": len(images), "largest_difference": difference}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each runtime, a column for each kind of file; how many answers agree over all networks."""
    lines = ["| runtime | version | float32 | features | int8 |", "|---|---|---|---|---|"]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["runtime"]].append(row)
    for name, own in groups.items():
        version = next((row["version"] for row in own if row.get("version")), "").partition("-")[0]
        cells = [_cell([row for row in own if _kind(row.get("file", "")) == kind]) for kind in KINDS]
        lines.append(f"| {name} | {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: list[dict[str, Any]]) -> str:
    """What came of one kind of file in one runtime, over all networks."""
    if not rows:
        return "not tried"
    good = [row for row in rows if "error" not in row and row["same"] >= AGREES * row["pictures"]]
    parts = []
    if good:
        same, pictures = (sum(row[key] for row in good) for key in ("same", "pictures"))
        parts.append(f"{same:,} of {pictures:,} within {max(row['largest_difference'] for row in good):.1g}")
    for batch in BATCHES:
        failed = sorted(row["file"].partition(".")[0] for row in rows if row["batch"] == batch and "error" in row)
        if failed:
            parts.append(f"{batch} at a time fails: {', '.join(failed)}")
    for row in rows:
        if row not in good and "error" not in row:
            network = row["file"].partition(".")[0]
            parts.append(f"**{network}, {row['batch']} at a time: {row['same']} of {row['pictures']}**")
    return "; ".join(parts)


def _kind(file: str) -> str:
    return file.removesuffix(".onnx").partition(".")[2]


if __name__ == "__main__":
    run_command(main)
