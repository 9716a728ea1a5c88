"""Is int8 faster than float32 in WebAssembly? `python -m benchmarks.web_speed`, with npm and Node installed.

onnxruntime-web runs both files of each network in models/ in one process, on one thread, in turns. Ratios are of the
medians of processor time.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.runtimes import RUNTIMES, Runtime, is_lean, start
from cnnlab.core import artifacts
from cnnlab.core.errors import run_command

PROGRAM = """
import { createInterface } from "node:readline";
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";
ort.env.wasm.numThreads = 1;
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
for await (const line of createInterface({ input: process.stdin })) {
  const { files, batches, rounds } = JSON.parse(line), ratios = {};
  const sessions = [];
  for (const file of files) sessions.push(await ort.InferenceSession.create(await readFile(file)));
  for (const batch of batches) {
    const pixels = Uint8Array.from({ length: 784 * batch }, (_, i) => (i * 37) % 256);
    const image = new ort.Tensor("uint8", pixels, [batch, 1, 28, 28]), times = [[], []];
    for (let round = -2; round < rounds; round++)
      for (const which of round % 2 ? [0, 1] : [1, 0]) {
        const before = process.cpuUsage();
        await sessions[which].run({ image });
        const { user, system } = process.cpuUsage(before);
        if (round >= 0) times[which].push(user + system);
      }
    ratios[batch] = median(times[0]) / median(times[1]);
  }
  console.log("ANSWER " + JSON.stringify(ratios));
}
"""
BATCHES, ROUNDS = (1, 50), 15


def main(
    networks: Annotated[list[str] | None, typer.Argument(help="architectures [default: all in models/]")] = None,
    results: Path = Path("benchmarks/results/web_speed.json"),
) -> None:
    """Write how many times as fast int8 is, for each network and batch size."""
    (package,) = RUNTIMES["onnxruntime-web"].packages
    figures: dict[str, float | str] = {"onnxruntime-web": package.partition("@")[2]}
    with tempfile.TemporaryDirectory() as folder:
        worker = start(Runtime((package,), PROGRAM, npm=True), Path(folder))
        assert worker.stdin is not None
        assert worker.stdout is not None
        for name in networks or sorted(path.stem for path in Path("models").glob("*.onnx") if is_lean(path)):
            files = [str(path.resolve()) for path in (artifacts.onnx_path(name), artifacts.onnx_path(name, "int8"))]
            worker.stdin.write(json.dumps({"files": files, "batches": BATCHES, "rounds": ROUNDS}) + "\n")
            worker.stdin.flush()
            ratios = json.loads(
                next(line for line in worker.stdout if line.startswith("ANSWER ")).removeprefix("ANSWER ")
            )
            figures |= {f"{name} web batch {batch} int8_times_float32": ratio for batch, ratio in ratios.items()}
            print(name, ratios, flush=True)
        worker.kill()
    artifacts.write_json(results, figures)


if __name__ == "__main__":
    run_command(main)
