"""How many pictures does `cnnlab serve` answer, and is any lost? `python -m benchmarks.serve`, with wrk installed.

It starts the server on a free port, and wrk sends a JPEG of 280 × 280 pixels from 32 connections for a minute, each as
soon as its last answer came. Let nothing else run meanwhile; the load is recorded.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from benchmarks.inference import processors
from cnnlab.core import artifacts
from cnnlab.core.errors import UserError, run_command
from cnnlab.data.sample import load_sample

SCRIPT = """
wrk.method, wrk.body = "POST", io.open("picture.jpg", "rb"):read("*a")
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('FOUND {"answers": %d, "not_2xx": %d, "connect_errors": %d, "read_errors": %d, ' ..
    '"write_errors": %d, "timeouts": %d, "seconds": %.1f, "p50_ms": %.1f, "p99_ms": %.1f, "most_ms": %.1f}\\n',
    summary.requests, e.status, e.connect, e.read, e.write, e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""


def main(
    seconds: Annotated[int, typer.Option(min=1)] = 60,
    clients: Annotated[int, typer.Option(min=1)] = 32,
    results: Path = Path("benchmarks/results/serve.json"),
) -> None:
    """Write the answers, the errors and the latencies."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise UserError("wrk is not installed: Debian and Homebrew have it under that name.")
    command = [
        sys.executable,
        "-c",
        "from cnnlab.cli.main import main; main()",
        "serve",
        "--port",
        "0",
        "--rate",
        "1e6",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert server.stdout is not None
        said = re.search(r"http://127.0.0.1:\d+", server.stdout.readline())
        if said is None:
            raise UserError("the server did not start; it says why above.")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "post.lua").write_text(SCRIPT)
            Image.fromarray(load_sample()[1].images[0, 0]).resize((280, 280)).save(Path(folder, "picture.jpg"))
            load = [f"-t{min(2, clients)}", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", "post.lua"]
            done = subprocess.run(
                [wrk, *load, f"{said[0]}/predict"], cwd=folder, capture_output=True, text=True, check=True
            )
    finally:
        server.terminate()
        server.wait()
    found = json.loads(done.stdout.partition("FOUND ")[2])
    about = {"machine": processors(), "load": round(os.getloadavg()[0], 1), "clients": clients}
    artifacts.write_text(results, json.dumps(about | found, indent=1) + "\n")
    print(json.dumps(about | found, indent=1))


if __name__ == "__main__":
    run_command(main)
