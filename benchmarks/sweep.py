"""What a sweep costs: `python benchmarks/sweep.py throughput`, `… overhead` and `… coordinator`.

    throughput    points a minute with 1, 2 and more workers, on the smoke budget; the command as a whole is timed
    overhead      a point and a plain `dvc exp run` of the same settings, in turns, both from a reproduced commit
    coordinator   time, memory and Git for 1,000 points whose work is simulated: each is one small commit

Everything happens in copies of the project in a temporary folder. Figures go to benchmarks/results/sweep.json.
"""

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnlab.core import artifacts
from cnnlab.core.errors import run_app
from cnnlab.sweep import cluster
from cnnlab.sweep.board import Board, Row
from cnnlab.sweep.clone import Source, experiment_message, experiment_ref, git
from cnnlab.sweep.coordinator import Coordinator, Harvest, Job
from cnnlab.sweep.grid import Point, expand
from cnnlab.sweep.project import open_project
from cnnlab.sweep.targets import Work
from cnnlab.sweep.unit import Outcome

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "benchmarks" / "results" / "sweep.json"
ACTIVATIONS = ("relu", "tanh", "leaky_relu", "elu", "gelu", "silu")  # not sigmoid, which the commit has

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def throughput(
    workers: Annotated[str, typer.Option(help="numbers of workers, with commas")] = "1,2,4",
    points: Annotated[int, typer.Option(min=1, max=6)] = 6,
) -> None:
    """Points a minute by the number of workers, each time in a fresh copy, so that nothing comes from the cache."""
    figures: dict[str, Any] = {"throughput_points": points}
    for count in workers.split(","):
        with _reproduced() as folder:
            _, seconds = _timed(folder, f"cnnlab sweep -S act={','.join(ACTIVATIONS[:points])} --workers {count}")
        figures[f"workers_{count}_seconds"] = seconds
        figures[f"workers_{count}_points_a_minute"] = 60 * points / seconds
    _keep(figures)


@app.command()
def overhead(points: Annotated[int, typer.Option(min=1, max=3)] = 3) -> None:
    """Compare a point in a sweep of one worker with a plain `dvc exp run`, in turns, with different settings."""
    bare, swept = [], []
    with _reproduced() as folder:
        for one, other in zip(ACTIVATIONS[: 2 * points : 2], ACTIVATIONS[1 : 2 * points : 2], strict=True):
            bare.append(_timed(folder, f"dvc exp run -S act={one} evaluate@lenet")[1])
            _timed(folder, "git checkout -q . && dvc checkout -q --force --allow-missing")
            output, _ = _timed(folder, f"cnnlab sweep -S act={other} --workers 1")
            swept += [float(seconds) for seconds in re.findall(r"^done .* in ([\d.]+) s", output, re.MULTILINE)]
    _keep({
        "bare_seconds": statistics.median(bare),
        "point_seconds": statistics.median(swept),
        "overhead_seconds": statistics.median(swept) - statistics.median(bare),
        "overhead_pairs": points,
    })  # fmt: skip


@app.command()
def coordinator(
    points: Annotated[int, typer.Option(min=1)] = 1000,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    show: Annotated[bool, typer.Option("--show", help="time `dvc exp show` too: seconds for each experiment")] = False,
) -> None:
    """What points cost the coordinator, where the work itself costs next to nothing."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "lab"
        _copy(folder)
        size = _megabytes(folder / ".git")
        project = open_project(folder, "bench")
        project.home.mkdir(parents=True)
        source = project.source(str(folder), ("none", ""), allow_dirty=False)
        job = Job(project, source, Work(("evaluate@lenet",), ("metrics/test/lenet.json",)), "accuracy")
        grid = expand(["act=relu"], points, "bench")
        board = Board("bench", {point.name: Row() for point in grid}, workers, "")
        board.console.quiet = True
        before = resource.getrusage(resource.RUSAGE_SELF)
        begun = time.perf_counter()
        with (
            cluster.local_cluster(workers, 1, [], project.home / "scratch") as local,
            board,
            closing(Harvest(job, board)) as harvest,
        ):
            Coordinator(local.scheduler_address, job, board, harvest, simulated).run(grid)
        seconds = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert len(job.figures([point.name for point in grid])) == points
        figures = {
            "coordinator_points": points,
            "coordinator_workers": workers,
            "coordinator_seconds": seconds,
            "coordinator_cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "coordinator_megabytes_before": before.ru_maxrss / 1024,
            "coordinator_megabytes_peak": after.ru_maxrss / 1024,
            "git_refs": len(git(folder, "for-each-ref", "refs/exps").splitlines()),
            "git_megabytes_grown": _megabytes(folder / ".git") - size,
            "git_list_refs_seconds": _timed(folder, "git for-each-ref refs/exps")[1],
            "dvc_exp_list_seconds": _timed(folder, "dvc exp list")[1],
        }
        if show:
            figures |= {"dvc_exp_show_points": points, "dvc_exp_show_seconds": _timed(folder, "dvc exp show --csv")[1]}
        git(folder, "gc", "-q")
        figures["git_megabytes_grown_after_gc"] = _megabytes(folder / ".git") - size
    _keep(figures)


def simulated(point: Point, source: Source, targets: tuple[str, ...], wanted: Mapping[str, str]) -> Outcome:
    """A unit of work that is one commit with one changed metric, put where the experiment belongs."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        accuracy = 0.5 + int(point.settings["seed"]) / 1e6
        blob = git(source.git, "hash-object", "-w", "--stdin", text=f'{{"accuracy": {accuracy}}}').strip()
        git(source.git, "read-tree", source.commit, index=index)
        entry = f"100644,{blob},metrics/test/lenet.json"
        git(source.git, "update-index", "--add", "--cacheinfo", entry, index=index)
        tree = git(source.git, "write-tree", index=index).strip()
    message = experiment_message(targets)
    commit = git(source.git, "commit-tree", "-p", source.commit, "-m", message, tree).strip()
    git(source.git, "update-ref", experiment_ref(source.commit, point.name), commit)
    return Outcome("done", "", "", time.monotonic() - begun)


@contextmanager
def _reproduced() -> Any:
    """A copy of the project on the smoke budget, LeNet reproduced and committed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "lab"
        _copy(folder)
        settings = (folder / "params.yaml").read_text()
        (folder / "params.yaml").write_text(re.sub(r"^budget: \w+", "budget: smoke", settings, flags=re.MULTILINE))
        _timed(folder, "dvc repro -q evaluate@lenet && git add -A && git commit -qm reproduced")
        yield folder


def _copy(folder: Path) -> None:
    """What Git holds or would hold, committed in a repository of its own."""
    folder.mkdir(parents=True)
    for name in filter(None, git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    _timed(folder, "git init -q && git config user.name bench && git config user.email bench@localhost")
    _timed(folder, "git add -A && git commit -qm start")


def _timed(folder: Path, command: str) -> tuple[str, float]:
    """What a shell command prints, and its seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")}
    begun = time.perf_counter()
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}")
    return done.stdout, time.perf_counter() - begun


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def _keep(figures: Mapping[str, Any]) -> None:
    """Add figures to those of other runs, and show them."""
    kept = artifacts.read_json(OUTPUT) if OUTPUT.exists() else {}
    artifacts.write_json(OUTPUT, {**kept, **figures, "cores": os.cpu_count()})
    for name, value in figures.items():
        print(f"{name:36} {value:.4g}" if isinstance(value, float) else f"{name:36} {value}")


if __name__ == "__main__":
    run_app(app)
