"""Training killed at any moment goes on from its last checkpoint and ends with the bytes of one never stopped.

Each trainer runs as its real stage in processes forked from one that has imported torch (this file, run as a script):
once whole, noting every training step and every part of every write, then killed at chosen ones of these and run again.
"""

import gc
import hashlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split

ROOT = Path(__file__).parent.parent
TRAINERS = {
    "classifier": ["stages/train.py", "lenet", "--norm", "batch", "--act", "relu"],
    "ablation": ["stages/ablate.py", "relu"],
    "vae": ["stages/vae_train.py"],
}
KILLS = 20  # of each trainer, half of them at training steps and half within checkpoint writes
RUN = {"steps": 64, "passes": 100, "batch_size": 32, "flip": True, "shift": 1, "erase": 0.3, "learning_rate": 0.01}
CLASSES = tuple("abcd")


def make_project(folder: Path) -> None:
    """Settings of a few steps, and 160 pictures that can be told apart, in an empty folder."""
    from ruamel.yaml import YAML

    settings = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    settings |= {"budget": "smoke", "device": "cpu"}
    settings["models"]["lenet"]["modern"]["smoke"] = RUN
    settings["baselines"]["lenet"]["smoke"] = RUN | {"recipe": "modern", "steps": 4, "seeds": 2, "rates": [0.01, 0.02]}
    settings["vae"]["smoke"] |= {"steps": 70, "batch_size": 16, "passes": 100}
    settings["vae"] |= {"warm_up": 0.5, "flip": True}
    generator = np.random.default_rng(0)
    labels = np.arange(160) % len(CLASSES)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(json.dumps(settings))  # JSON is YAML
    here = Path.cwd()
    os.chdir(folder)
    for name, side in (("fashion_mnist", 28), ("vae", 8)):
        images = generator.integers(0, 100, (160, 1, side, side), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[0, side // 4 * label : side // 4 * (label + 1)] += 120
        info = DatasetInfo(name, CLASSES, 1, side, side, "none", "made", light_on_dark=True)
        datasets.save_dataset(info, Split(images[:120], labels[:120]), Split(images[120:], labels[120:]))
    os.chdir(here)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that training leaves, but for times and for files that a killed write left half done.

    Those are removed by age: on a shared disk another machine may still be writing them.
    """
    paths = [path for top in ("models", "metrics", "plots", ".checkpoints") for path in (folder / top).rglob("*")]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and path.parent.name != "timing" and path.suffix != ".tmp"
    }


# --- Run as a script: a process that forks one for each run


def watch(happened: Callable[[str], None]) -> None:
    """Call `happened` at every training step and within every write: half written, written, on disk, in its place."""
    import torch

    from cnnlab.training import checkpoint

    checkpoint.PAUSE = 0  # every segment is saved: what happens is the same in every run, however long a save takes
    backward, write_bytes, fsync, replace = torch.Tensor.backward, Path.write_bytes, os.fsync, Path.replace

    def stepping(tensor, *arguments, **options):
        backward(tensor, *arguments, **options)
        happened("step")

    def writing(path, data):
        write_bytes(path, data[: len(data) // 2])
        happened(f"half {kind(path)}")
        write_bytes(path, data)
        happened(f"written {kind(path)}")

    def syncing(file):
        fsync(file)
        happened("synced")

    def replacing(path, target):
        replace(path, target)
        happened(f"placed {kind(target)}")

    torch.Tensor.backward, Path.write_bytes, os.fsync, Path.replace = stepping, writing, syncing, replacing


def kind(path: Path) -> str:
    return "checkpoint" if path.parent.name == ".checkpoints" else "output"


def forked(folder: Path, words: list[str], kill_at: int | None) -> list[str]:
    """Run a stage in a process of its own, killed at the event of that number; gives the events there were."""
    log = folder.with_suffix(".events")
    log.write_text("")
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        descriptor, count = os.open(log, os.O_WRONLY | os.O_APPEND), 0

        def happened(event: str) -> None:
            nonlocal count
            os.write(descriptor, f"{event}\n".encode())
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        watch(happened)
        sys.argv = words
        try:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except SystemExit as end:
            os._exit(end.code)  # type: ignore[arg-type]
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    expected = 0 if kill_at is None else -signal.SIGKILL
    if status != expected:
        raise SystemExit(f"{words} killed at {kill_at} ended with {status}")
    return log.read_text().splitlines()


def moments(events: list[str]) -> list[int]:
    """Which events to kill at: evenly over the steps, evenly over checkpoint writes, and after every output."""
    steps = [at for at, event in enumerate(events) if event == "step"]
    writes = [at for at, event in enumerate(events) if event.endswith("checkpoint") and at > steps[0]]
    even = [group[round(index)] for group in (steps, writes) for index in np.linspace(0, len(group) - 1, KILLS // 2)]
    last = max(writes)
    return sorted({*even, *(at for at, event in enumerate(events) if event == "placed output" and at > last)})


def kill_and_resume(folder: Path, words: list[str]) -> dict[str, object]:
    """What became of every kill: the files that differ in the end, and steps made again that need not have been."""
    make_project(folder / "whole")
    shutil.copytree(folder / "whole", folder / "start")
    events = forked(folder / "whole", words, None)
    expected, faults = hashes(folder / "whole"), []
    chosen = moments(events)
    for at in chosen:
        copy = folder / f"killed-{at}"
        shutil.copytree(folder / "start", copy)
        seen = forked(copy, words, at)
        resumed = forked(copy, words, None)
        kept = max((index for index, event in enumerate(seen) if event == "placed checkpoint"), default=0)
        wanted = events.count("step") - events[: kept + 1].count("step") if kept else events.count("step")
        found = hashes(copy)
        differing = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        if differing or resumed.count("step") != wanted or seen != events[: at + 1]:
            faults.append(f"{at} {events[at]}: {differing}, {resumed.count('step')} steps, not {wanted}")
        shutil.rmtree(copy)
    return {"kills": len(chosen), "steps": events.count("step"), "faults": faults, "files": sorted(expected)}


@pytest.mark.slow
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(trainer, tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), *TRAINERS[trainer]], check=False,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["faults"] == []
    assert outcome["kills"] >= KILLS
    assert not [name for name in outcome["files"] if name.startswith(".checkpoints") or name.endswith(".tmp")]
    assert len(outcome["files"]) >= 3


# --- The real commands


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def stop_in_training(process: subprocess.Popen, folder: Path, number: int) -> str:
    """Send a signal to the command and its children once it has written a checkpoint; gives what it printed."""
    before = checkpoints(folder)
    while checkpoints(folder) <= before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.killpg(process.pid, number)
    return process.communicate(timeout=60)[0]


def checkpoints(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in (folder / ".checkpoints").glob("*.pt")}


@pytest.fixture
def project(tmp_path):
    make_project(tmp_path)
    settings = json.loads((tmp_path / "params.yaml").read_text())
    settings["models"]["lenet"]["modern"]["smoke"] = RUN | {
        "steps": 1400,
        "passes": 100,
    }  # seconds, so that the signal comes in time
    (tmp_path / "params.yaml").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.slow
def test_ctrl_c_gives_one_sentence(project):
    training = start(project, sys.executable, str(ROOT / "stages" / "train.py"), "lenet")
    told = stop_in_training(training, project, signal.SIGINT)
    assert "Stopped. What was finished is kept" in told
    assert "Traceback" not in told
    assert training.returncode == 130
    assert checkpoints(project)


@pytest.mark.slow
def test_dvc_repro_killed_then_interrupted_goes_on(project):
    (project / "dvc.yaml").write_text(
        f"stages:\n  train:\n    cmd: {sys.executable} '{ROOT}/stages/train.py' lenet\n    deps: [data]\n"
        "    params: [budget, seed]\n    outs: [models/lenet.pt]\n"
        "    plots: [plots/train/lenet.csv: {cache: false}]\n"
        "    metrics: [metrics/train/lenet.json: {cache: false}]\n"
    )
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=project, check=True)
    for number in (signal.SIGKILL, signal.SIGINT):
        stop_in_training(start(project, "dvc", "repro"), project, number)
        assert not (project / "models" / "lenet.pt").exists()
        assert len(checkpoints(project)) == 1
    resumed = start(project, "dvc", "repro")
    assert "Updating lock file" in resumed.communicate()[0]
    stopped = hashes(project)
    whole = start(project, "dvc", "repro", "--force", "--no-run-cache")
    whole.communicate()
    assert (resumed.returncode, whole.returncode) == (0, 0)
    assert hashes(project) == stopped
    assert not checkpoints(project)


# --- Whose a checkpoint is


def key(tmp_path: Path, **changes) -> Path:
    """Where a tiny classifier's checkpoint lies under changed settings or data."""
    import torch

    from cnnlab.core.schema import Run
    from cnnlab.training import classification, loop

    values = {"architecture": "lenet", "options": {"act": "relu"}, "recipe": "modern", "seed": 0, "held_out": 0.2}
    values |= {"pixels": 0, "label": 0, "name": "fashion_mnist"} | changes
    images, labels = np.full((8, 1, 28, 28), values.pop("pixels"), np.uint8), np.arange(8) % 2
    labels[:4] ^= values.pop("label")
    info = DatasetInfo(values.pop("name"), ("a", "b", "c"), 1, 28, 28, "none", "made", light_on_dark=True)
    run = Run(**{"steps": 1} | {name: values.pop(name) for name in list(values) if name in Run.model_fields})
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            classification,
            "fit_jobs",
            lambda jobs: [found.append(job.checkpoint.path) or loop.Progress() for job in jobs],
        )
        patch.setattr(classification, "evaluate", lambda *_: {})
        patch.setattr(classification, "answers_one_class", lambda *_: False)
        classification.train_classifier(
            values.pop("architecture"), values.pop("options"), info, Split(images, labels), run,
            device=torch.device("cpu"), **values,
        )  # fmt: skip
    return found[0]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"recipe": "plain"}, {"held_out": 0.3}, {"options": {"act": "tanh"}}, {"architecture": "mynet"},
        {"steps": 2}, {"batch_size": 4}, {"learning_rate": 0.5}, {"weight_decay": 0.1}, {"label_smoothing": 0.1},
        {"flip": True}, {"shift": 1}, {"erase": 0.1}, {"pixels": 1}, {"label": 1}, {"name": "mnist"},
        {"validate": False}, {"class_weights": "balanced"},
    ],
)  # fmt: skip
def test_another_setting_seed_or_data_never_resumes_a_classifier(tmp_path, change):
    assert key(tmp_path) == key(tmp_path)
    assert key(tmp_path).name.rpartition("-")[2] != key(tmp_path, **change).name.rpartition("-")[2]


def test_other_code_never_resumes(tmp_path, monkeypatch):
    import cnnlab
    from cnnlab.training.checkpoint import Checkpoint

    before = Checkpoint("lenet", {}, []).path
    copy = tmp_path / "cnnlab"
    shutil.copytree(Path(cnnlab.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz"))
    monkeypatch.setattr(cnnlab, "__file__", str(copy / "__init__.py"))
    assert Checkpoint("lenet", {}, []).path == before
    for changed in ("training/loop.py", "architectures/lenet.py", "core/split.py", "vae/task.py"):
        (copy / changed).write_text((copy / changed).read_text() + "\n")
        after = Checkpoint("lenet", {}, []).path
        assert after != before, changed
        before = after


def test_a_vaes_checkpoint_depends_on_its_labels_too(tmp_path, monkeypatch):
    import torch

    from cnnlab.core.params import load
    from cnnlab.training.loop import Progress
    from cnnlab.vae import training

    paths = []

    def stop(*_, checkpoint, **__) -> Progress:
        paths.append(checkpoint.path)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", stop)
    settings, info = load(ROOT / "params.yaml").vae, DatasetInfo("x", ("a", "b"), 1, 28, 28, "", "", light_on_dark=True)
    changes = ({}, {}, {"seed": 1}, {"beta": 2.0}, {"steps": 2}, {"labels": np.arange(8) // 4})
    for change in changes:
        split = Split(np.zeros((8, 1, 28, 28), np.uint8), change.get("labels", np.arange(8) % 2))
        vae = settings.model_copy(update={"beta": change.get("beta", 1.0)})
        run = vae.smoke.model_copy(update={"steps": change.get("steps", 1)})
        with pytest.raises(KeyboardInterrupt):
            training.train_vae(
                info, split, vae, run, seed=change.get("seed", 0), held_out=0.3, device=torch.device("cpu")
            )
    assert len(set(paths)) == len(changes) - 1  # the first two are the same


# --- Damage, and what is left over


def test_a_checkpoint_with_any_bit_turned_is_not_resumed(tmp_path, monkeypatch):
    import torch

    from cnnlab.training.checkpoint import Checkpoint

    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("toy", {}, [])
    checkpoint.save({"weights": torch.zeros(100)})
    whole, generator = checkpoint.path.read_bytes(), np.random.default_rng(0)
    assert torch.equal(checkpoint.load()["weights"], torch.zeros(100))
    for place in generator.choice(len(whole), 200, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.integers(8)
        checkpoint.path.write_bytes(damaged)
        assert checkpoint.load() is None, place
    for length in generator.choice(len(whole), 50, replace=False):
        checkpoint.path.write_bytes(whole[:length])
        assert checkpoint.load() is None, length


def test_a_checkpoint_that_cannot_be_read_now_is_not_started_over(tmp_path, monkeypatch):
    """A disk that fails for a moment, or too little memory, must not cost a good state."""
    import torch

    from cnnlab.core.errors import UserError
    from cnnlab.models import weights
    from cnnlab.training.checkpoint import Checkpoint

    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("toy", {}, [])
    assert checkpoint.load() is None  # there is none yet
    checkpoint.save({"weights": torch.zeros(100)})
    weights.save("toy.pt", torch.nn.Linear(2, 2), {})
    for fault in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "load", lambda *_, fault=fault, **__: (_ for _ in ()).throw(fault))
            for read in (checkpoint.load, lambda: weights.load("toy.pt", lambda meta: torch.nn.Linear(2, 2))):
                with pytest.raises(type(fault)):
                    read()
    checkpoint.path.unlink()
    checkpoint.path.mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoint.load()
    with pytest.raises(UserError, match="is not here"):
        weights.load("none.pt", lambda meta: torch.nn.Linear(2, 2))


def test_a_checkpoint_runs_no_code_of_whoever_wrote_it(tmp_path, monkeypatch):
    import pickle

    from cnnlab.training.checkpoint import Checkpoint

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path}/executed'",)

    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"weights": Attack()}, protocol=2)
    checkpoint = Checkpoint("toy", {}, [])
    artifacts.write_bytes(checkpoint.path, hashlib.sha256(data).digest() + data)
    assert checkpoint.load() is None
    assert not (tmp_path / "executed").exists()


def test_after_success_nothing_is_left_but_others_unfinished_runs_of_this_month(tmp_path, monkeypatch):
    from cnnlab.training.checkpoint import FORGOTTEN, Checkpoint

    monkeypatch.chdir(tmp_path)
    mine, recent, old, other = (Checkpoint(*who, []) for who in (
        ("toy", {"seed": 0}), ("toy", {"seed": 1}), ("toy", {"seed": 2}), ("toy-2", {"seed": 2}),
    ))  # fmt: skip
    for checkpoint in (mine, recent, old, other):
        checkpoint.save({})
    half = old.path.with_name(f".{old.path.name}.999999999.tmp")
    half.write_bytes(b"half")
    for path in (old.path, half, other.path):
        os.utime(path, (time.time() - FORGOTTEN - 60,) * 2)
    mine.remove()
    assert sorted(Path(".checkpoints").iterdir()) == sorted([recent.path, other.path])


def test_within_an_epoch_a_save_waits_until_it_costs_little(tmp_path, monkeypatch):
    from cnnlab.training.checkpoint import Checkpoint

    monkeypatch.chdir(tmp_path)
    clock = iter([0.0, 3.0, 62.9, 63.0])  # the save takes 3 seconds, and the next is due 20 times as long after it
    monkeypatch.setattr("cnnlab.training.checkpoint.time.monotonic", lambda: next(clock))
    checkpoint = Checkpoint("toy", {}, [])
    checkpoint.save({"a": 1})
    assert not checkpoint.is_due()
    assert checkpoint.is_due()


def test_what_a_killed_process_left_half_written_is_removed_by_a_write_an_hour_later(tmp_path):
    # By age and not by process: on a shared disk the process may run on another machine.
    old, fresh = (tmp_path / f".x.json.{name}.tmp" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (time.time() - artifacts.ABANDONED - 60,) * 2)
    artifacts.write_json(tmp_path / "x.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [fresh.name, "x.json"]


if __name__ == "__main__":
    import cnnlab.ablation.runs
    import cnnlab.vae.training  # noqa: F401

    gc.freeze()  # else every fork's collector copies all that memory
    print(json.dumps(kill_and_resume(Path(sys.argv[1]), sys.argv[2:])))
