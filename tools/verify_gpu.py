"""`make verify-gpu`: what only a GPU can tell of the GPU path, in at most nine minutes, most valuable first.

Needs no network: it trains on the data set where that is here, else on the sample that ships. Each part is a function
that returns its figures and runs in a process of its own. A part that fails is recorded with its error, and the next
one starts. What is known goes into benchmarks/results/gpu.json after every part. `--device cpu --tiny` tries every
part out on a CPU and keeps nothing.
"""

import contextlib
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from cnnlab import models
from cnnlab.core import artifacts, datasets, params
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError, run_command
from cnnlab.core.schema import LEAST_BATCHES, Precision, Run, VaeRun, steps_in_pass
from cnnlab.data.sample import load_sample
from cnnlab.models.classifier import Classifier
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.classification import ClassifierTask, train_classifier, train_seeds
from cnnlab.training.devices import choose_device, choose_precision, describe, memory_format, multiplying, tune_process
from cnnlab.training.graph import GraphSteps
from cnnlab.training.loop import evaluate, resident
from cnnlab.training.recipe import make_optimizer
from cnnlab.training.steps import Job, Plan
from cnnlab.training.trained import Trained
from cnnlab.vae.training import train_vae

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "benchmarks" / "results" / "gpu.json"
# Aims on an H100 at the batch size of budget full: pictures a second in training steps. A new network may have none.
AIMS = {
    "lenet": 1.2e6,
    "mynet": 0.85e6,
    "vgg": 0.94e6,
    "resnet": 0.35e6,
    "googlenet": 0.22e6,
    "nin": 0.16e6,
    "swift": 0.9e6,
}
LOGITS = 1e-4  # between a CPU and a GPU that multiplies in float32
Figures = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """Where the parts run, on what, and how large; deadline: on the clock of time.monotonic."""

    device: torch.device
    settings: params.Params
    info: DatasetInfo
    train: Split
    test: Split
    tiny: bool
    deadline: float

    def names(self) -> list[str]:
        """The networks; of a try-out the two quickest to build."""
        return ["lenet", "mynet"] if self.tiny else models.names()

    def few(self, n: int) -> Split:
        """The first n training pictures, or 60 of a try-out."""
        n = 60 if self.tiny else n
        return Split(self.train.images[:n], self.train.labels[:n])

    def run(self, name: str, **changes: Any) -> Run:
        """A network's run of budget full, changed; of a try-out in tiny batches."""
        full = self.settings.model(name).modern.full.model_dump()
        return Run(**full | changes | ({"batch_size": 16, "passes": 1.0} if self.tiny else {}))


def train(
    lab: Lab, name: str, split: Split, run: Run, *, seed: int = 0, precision: Precision = "auto", **more: Any
) -> Trained[Classifier]:
    """Train a network in a folder of its own and leave no checkpoint."""
    trained = train_classifier(
        name, lab.settings.options(name), lab.info, split, run, recipe="modern", seed=seed, held_out=0.1,
        device=lab.device, precision=precision, name=f"verify-{name}", **more,
    )  # fmt: skip
    trained.checkpoint.remove()
    return trained


def digest(module: torch.nn.Module) -> str:
    """A hash of every weight and statistic."""
    values = [value.cpu().contiguous() for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in values)).hexdigest()[:16]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- The parts, in order of value


def smoke(lab: Lab) -> Figures:
    """Every network and the VAE train for a few steps; torch itself refuses an operation that is not deterministic."""
    run = VaeRun(steps=4 if lab.tiny else 50, batch_size=16, learning_rate=0.002, bound_pictures=10)
    with refusing_nondeterminism():
        figures = {name: _twice(lambda name=name: _short(lab, name)) for name in lab.names()}
        figures["vae"] = _twice(
            lambda: train_vae(
                lab.info,
                lab.few(2000),
                lab.settings.vae,
                run,
                seed=0,
                held_out=0.1,
                device=lab.device,
                name="verify-vae",
            )
        )
    assert all(each["same_bytes"] for each in figures.values()), figures
    return figures


def _short(lab: Lab, name: str) -> Trained[Classifier]:
    return train(lab, name, lab.few(4000), lab.run(name, passes=2.0))


def _twice(work: Callable[[], Trained[Any]]) -> Figures:
    """Whether the same run gives the same bytes again, and whether it learns anything finite."""
    hashes, seconds, losses = [], [], []
    for _ in range(2):
        began = time.perf_counter()
        trained = work()
        trained.checkpoint.remove()
        seconds.append(round(time.perf_counter() - began, 2))
        hashes.append(digest(trained.module))
        losses.append(trained.progress.rows[-1]["train_loss"])
    return {"same_bytes": hashes[0] == hashes[1], "weights": hashes[0], "loss": losses[0], "seconds": seconds}


@contextlib.contextmanager
def refusing_nondeterminism() -> Iterator[None]:
    """torch.use_deterministic_algorithms without its import of the compiler, and without filling new memory."""
    module: Any = torch.utils.deterministic  # its attributes are made at run time
    fill = module.fill_uninitialized_memory
    torch._C._set_deterministic_algorithms(True)
    module.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(False)
        module.fill_uninitialized_memory = fill


def replays(lab: Lab) -> Figures:
    """Twenty replayed steps give the bytes of twenty steps that are launched kernel by kernel."""
    figures = {}
    for name in lab.names():
        hashes = {}
        for record in (False, True):
            (job,), (optimizer,) = prepared(lab, name, 1)
            taken = GraphSteps([job], [optimizer], record=record and lab.device.type == "cuda")
            with multiplying(job.task.precision, lab.device):
                taken.prepare()
                (outcome,) = taken.make(0, min(20, job.plan.steps), lambda pictures: None)
            hashes[record] = digest(job.task.module), outcome.losses.tolist()
        figures[name] = {"same_bytes": hashes[False] == hashes[True], "last_loss": hashes[True][1][-1]}
    assert all(each["same_bytes"] for each in figures.values()), figures
    return figures


def prepared(
    lab: Lab, name: str, count: int, n: int = 0, precision: Precision = "auto", **changes: Any
) -> tuple[list[Job], list[Any]]:
    """Jobs of seeds 0, 1, … on the device, and their optimizers."""
    run, split = lab.run(name, **changes), lab.few(n or 5000)
    jobs, optimizers = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        network = models.build(name, lab.info.shape, len(lab.info.class_names), lab.settings.options(name))
        module = Classifier(network, [0.3] * lab.info.channels, [0.3] * lab.info.channels, {})
        module = module.to(memory_format=memory_format(lab.device)).to(lab.device).train()  # pyright: ignore
        multiplied = choose_precision(precision, lab.device, network.gains_from_bfloat16)
        data = resident(split, np.arange(len(split.labels)), lab.device)
        steps = round((run.passes or 1.0) * steps_in_pass(len(split.labels), run.batch_size))
        plan = Plan(name, steps, run.batch_size, 0.001, "modern", seed, run.weight_decay, run.momentum)
        jobs.append(Job(ClassifierTask(module, run, multiplied), data, None, plan))
        optimizers.append(make_optimizer(module, "modern", run.weight_decay, run.momentum))
    return jobs, optimizers


def speed(lab: Lab) -> Figures:
    """Pictures a second in training steps at budget full's batch: recorded or launched one by one, by precision."""
    figures: Figures = {}
    n = 60000
    for name in lab.names():
        own = prepared(lab, name, 1, n)[0][0].task.precision
        precisions: list[Precision] = [own]
        if lab.device.type == "cuda" and own in ("tf32", "bfloat16"):
            precisions.append("bfloat16" if own == "tf32" else "tf32")
        rates = {}
        for precision in precisions:
            for record in (True, False) if lab.device.type == "cuda" else (False,):
                rates[f"{precision}, {'graph' if record else 'eager'}"] = _rate(lab, name, 1, n, precision, record)
        figures[name] = {"rates": rates}
        if aim := AIMS.get(name):
            figures[name] |= {"aim": aim, "of_aim": round(rates[next(iter(rates))] / aim, 3)}
    return figures


def _rate(lab: Lab, name: str, count: int, n: int, precision: Precision, record: bool) -> float:
    """Pictures a second over all seeds, augmentation included, evaluation and checkpoints not; the best of three."""
    jobs, optimizers = prepared(lab, name, count, n, precision, passes=10.0)
    taken = GraphSteps(jobs, optimizers, record=record)
    best, start = 0.0, 0
    with multiplying(jobs[0].task.precision, lab.device):
        taken.prepare()
        for _ in range(3):
            stop = min(start + jobs[0].steps_per_epoch, jobs[0].plan.steps)
            if stop == start:
                break
            synchronize(lab.device)
            began = time.perf_counter()
            outcomes = taken.make(start, stop, lambda pictures: None)
            synchronize(lab.device)
            best = max(best, sum(outcome.pictures for outcome in outcomes) / (time.perf_counter() - began))
            start = stop
    return round(best, 1)


def kill_and_resume(lab: Lab) -> Figures:
    """A run that was stopped after each of two points of its curve ends with the bytes of one never stopped."""
    figures = {}
    for name in lab.names()[:2]:
        whole = digest(_short(lab, name).module)
        for stopped in (1, 3):
            _stop_after(lab, name, stopped)
            figures[f"{name} stopped after {stopped}"] = digest(_short(lab, name).module) == whole
    assert all(figures.values()), figures
    return figures


def _stop_after(lab: Lab, name: str, points: int) -> None:
    def stop(rows: list[Any]) -> None:
        if len(rows) > points:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), every_checkpoint():
        train(lab, name, lab.few(4000), lab.run(name, passes=2.0), on_rows=stop)


@contextlib.contextmanager
def every_checkpoint() -> Iterator[None]:
    """Save after every segment, whatever that costs."""
    due = Checkpoint.is_due
    Checkpoint.is_due = lambda self: True
    try:
        yield
    finally:
        Checkpoint.is_due = due


def logits(lab: Lab) -> Figures:
    """The same weights on CPU and GPU: the largest difference of a logit in float32 (relative), and what TF32 adds."""
    images = torch.from_numpy(lab.few(500).images.copy())
    figures = {}
    for name in lab.names():
        module = train(lab, name, lab.few(4000), lab.run(name, passes=1.0)).module
        with torch.inference_mode():
            here = module(images.to(lab.device)).cpu()
            with multiplying("tf32", lab.device):
                rough = module(images.to(lab.device)).cpu()
            exact = module.to("cpu")(images)
        scale = float(exact.abs().max())
        figures[name] = {
            "float32": float((here - exact).abs().max()) / scale,
            "tf32": float((rough - exact).abs().max()) / scale,
        }
    assert all(each["float32"] < LOGITS for each in figures.values()), figures
    return figures


def together(lab: Lab) -> Figures:
    """Five seeds of LeNet as branches of one graph: each seed's bytes as alone, and how much faster."""
    run = lab.run("lenet", passes=2.0)
    seeds = range(2 if lab.tiny else 5)

    def trained(chosen: Sequence[int]) -> list[str]:
        runs = train_seeds(
            "lenet", lab.settings.options("lenet"), lab.info, lab.few(4000), run, recipe="modern", held_out=0.1,
            names={seed: f"verify-{seed}" for seed in chosen}, device=lab.device,
        )  # fmt: skip
        for each in runs:
            each.checkpoint.remove()
        return [digest(each.module) for each in runs]

    same = trained(seeds) == [each for seed in seeds for each in trained([seed])]
    record = lab.device.type == "cuda"
    alone, joint = (_rate(lab, "lenet", count, 60000, "auto", record) for count in (1, len(seeds)))
    assert same, "the seeds' bytes differ from those of seeds trained alone"
    return {"same_bytes": same, "alone": alone, "together": joint, "ratio": round(joint / alone, 3)}


def full_batch(lab: Lab) -> Figures:
    """A batch that the GPU cannot hold ends in one sentence with a batch that it can (NiN, 54,000 pictures)."""
    if lab.tiny:
        return {"skipped": "of a try-out"}
    n = 60000 * LEAST_BATCHES  # or the batch would be a smaller one
    images = np.repeat(lab.train.images, -(-n // len(lab.train.images)), 0)[:n]
    split = Split(images, np.arange(n) % len(lab.info.class_names))
    try:
        train(lab, "nin", split, lab.run("nin", passes=1.0, batch_size=54000))
    except UserError as error:
        if "batch_size" not in str(error):
            raise
        return {"said": str(error)}
    return {"said": "it fits", "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1)}


def kernels(lab: Lab) -> Figures:
    """Kernels of one step as torch's profiler counts them, and the precision that was used."""
    from torch._C._autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if lab.device.type == "cuda" else [])
    figures = {}
    for name in lab.names():
        (job,), (optimizer,) = prepared(lab, name, 1)
        taken = GraphSteps([job], [optimizer], record=False)
        with multiplying(job.task.precision, lab.device):
            taken.prepare()
            made = min(8, job.plan.steps)
            with profile(activities=kinds) as profiler:
                taken.make(0, made, lambda pictures: None)
                synchronize(lab.device)
        launched = [event for event in profiler.events() or () if event.device_type == DeviceType.CUDA]
        figures[name] = {"kernels": round(len(launched) / made, 1), "precision": job.task.precision}
    return figures


def accuracy(lab: Lab) -> Figures:
    """MyNet at budget full, five seeds while the time lasts: seconds of training and test accuracy."""
    run, records = lab.run("mynet"), []
    for seed in range(1 if lab.tiny else 5):
        began = time.perf_counter()
        trained = train(lab, "mynet", lab.few(len(lab.train.labels)), run, seed=seed)
        test = resident(lab.test, np.arange(len(lab.test.labels)), lab.device)
        task = ClassifierTask(trained.module, run)
        records.append(
            {"seed": seed, "test_accuracy": evaluate(task, test, seed)["accuracy"], **trained.progress.timing()}
        )
        seconds = time.perf_counter() - began
        if time.monotonic() + seconds + 5 > lab.deadline:
            break
    accuracies = [record["test_accuracy"] for record in records]
    spread = statistics.stdev(accuracies) if len(records) > 1 else None
    summary: Figures = {"n": len(records), "n_test": len(lab.test.labels), "mean": statistics.mean(accuracies)}
    return summary | {"std": spread, "runs": records}


PAIR = """
from cnnlab.core.datasets import DatasetInfo
from cnnlab.core.schema import Run
from cnnlab.data.sample import load_sample
from cnnlab.training import parallel
from cnnlab.training.classification import train_classifier
import torch
info = DatasetInfo("sample", tuple("0123456789"), 1, 28, 28, "MIT", "", light_on_dark=True)
with parallel.joined(torch.device("cuda")) as device:
    trained = train_classifier(
        "lenet", {"act": "relu"}, info, load_sample()[0], Run(steps=500, batch_size=64), recipe="modern", seed=0,
        held_out=0.1, device=device,
    )
if parallel.rank() == 0:
    print("accuracy", trained.validation["accuracy"])
"""


def two_processes(lab: Lab) -> Figures:
    """One network on two GPUs by DistributedDataParallel, where there are two."""
    count = torch.cuda.device_count()
    if count < 2 or lab.tiny:
        return {"skipped": f"{count} CUDA GPUs"}
    Path("pair.py").write_text(PAIR)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "pair.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return {"validation_accuracy": float(done.stdout.split()[-1])}


PARTS: dict[str, tuple[Callable[[Lab], Figures], int]] = {  # each with the seconds that it may take
    "smoke": (smoke, 120),
    "replays": (replays, 60),
    "speed": (speed, 120),
    "kill_and_resume": (kill_and_resume, 40),
    "logits": (logits, 40),
    "together": (together, 40),
    "full_batch": (full_batch, 40),
    "kernels": (kernels, 40),
    "accuracy": (accuracy, 240),
    "two_processes": (two_processes, 60),
}


# --- Running them


def attempt(part: Callable[[Lab], Figures], lab: Lab) -> Figures:
    """A part's figures, or what went wrong, whatever that is; made in a folder that is thrown away."""
    here, began = Path.cwd(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            outcome: Figures = {"passed": True, "figures": part(lab)}
        except Exception as error:
            outcome = {"passed": False, "error": f"{type(error).__name__}: {error}"[:2000]}
            outcome["where"] = traceback.format_exc().splitlines()[-8:]
        finally:
            os.chdir(here)
    return outcome | {"seconds": round(time.perf_counter() - began, 1)}


def attempt_apart(name: str, words: list[str], seconds: float) -> Figures:
    """The same in a process of its own: after a fault on a GPU no later call of that process can be trusted."""
    if seconds < 1:
        return {"passed": False, "error": "no time was left"}
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "part.json"
        command = [sys.executable, __file__, *words, "--only", name, "--output", str(told)]
        try:
            done = subprocess.run(command, timeout=seconds, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            return {"passed": False, "error": f"not finished within {seconds:.0f} s", "seconds": round(seconds, 1)}
        if told.exists():
            return json.loads(told.read_text())["parts"][name]
        said = done.stderr.splitlines()[-8:]
        return {"passed": False, "error": f"the process ended with {done.returncode}", "where": said}


def surroundings(lab: Lab) -> Figures:
    """Device, driver, torch, commit: what the figures belong to."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    facts: Figures = {
        "device": describe(lab.device), "torch": torch.__version__, "cuda": torch.version.cuda,
        "python": platform.python_version(), "commit": commit.stdout.strip() or None,
        "data": lab.info.name, "n_train": len(lab.train.labels), "n_test": len(lab.test.labels),
    }  # fmt: skip
    if lab.device.type == "cuda":
        properties = torch.cuda.get_device_properties(lab.device)
        facts |= {"memory_gb": round(properties.total_memory / 1e9, 1), "processors": properties.multi_processor_count}
        facts |= {"gpus": torch.cuda.device_count(), "cudnn": torch.backends.cudnn.version()}
        with contextlib.suppress(OSError):
            facts["driver"] = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    return facts


def read_data(tiny: bool) -> tuple[DatasetInfo, Split, Split]:
    """Fashion-MNIST where `dvc repro download` has put it, else the sample that ships."""
    try:
        if tiny:
            raise UserError("the sample will do")
        return (
            datasets.load_info("fashion_mnist"),
            datasets.load_split("fashion_mnist", "train"),
            datasets.load_split("fashion_mnist", "test"),
        )
    except UserError:
        info = DatasetInfo("fashion_mnist sample", tuple("0123456789"), 1, 28, 28, "MIT", "", light_on_dark=True)
        return info, *load_sample()


def main(
    device: str = typer.Option("cuda", help="cuda or cuda:N; cpu, with --tiny, tries the parts out"),
    tiny: bool = typer.Option(False, help="tiny data and runs; keeps nothing"),
    minutes: float = typer.Option(9.0, min=0.1, max=60, help="in all"),
    only: str = typer.Option("", help="one part, in this very process"),
    output: Path | None = typer.Option(None, help="where the figures go instead of benchmarks/results/gpu.json"),
) -> None:
    """Run the parts in order of value and write what each one gave."""
    deadline = time.monotonic() + 60 * minutes
    if only and only not in PARTS:
        raise UserError(f"there is no part {only!r}; known are {', '.join(PARTS)}.")
    try:
        chosen = choose_device(device)
    except UserError as error:
        raise UserError(f"verify-gpu needs an NVIDIA GPU that torch can use: {error}") from None
    tune_process(chosen)
    os.environ["TQDM_DISABLE"] = "1"
    lab = Lab(chosen, params.load(ROOT / "params.yaml"), *read_data(tiny), tiny, deadline)
    target = output or (None if tiny else OUTPUT)
    record: Figures = {"surroundings": surroundings(lab), "parts": {}}
    words = ["--device", device, *(["--tiny"] if tiny else [])]
    for name in [only] if only else PARTS:
        part, seconds = PARTS[name]
        seconds = min(seconds, deadline - time.monotonic() - 2)
        if only:
            outcome = attempt(part, lab)
        else:
            outcome = attempt_apart(name, [*words, "--minutes", str(max(0.1, seconds / 60))], seconds)
        record["parts"][name] = outcome
        said = "passed" if outcome["passed"] else f"FAILED: {outcome['error'].splitlines()[0][:150]}"
        print(f"{name:16} {outcome.get('seconds', 0):6.1f} s  {said}", flush=True)
        if target:
            artifacts.write_text(target, json.dumps(record, indent=1, sort_keys=True, default=str) + "\n")
    failed = [name for name, outcome in record["parts"].items() if not outcome["passed"]]
    count, where = len(record["parts"]), f"; figures in {target}" if target else ""
    print(f"{count - len(failed)} of {count} parts passed on {describe(chosen)}{where}.")
    if failed and not only:
        raise UserError(f"{', '.join(failed)} failed on {describe(chosen)}{where}.")


if __name__ == "__main__":
    run_command(main)
