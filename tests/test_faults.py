"""What goes wrong outside the program ends in one sentence and loses nothing: the next run gives the same bytes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.training import loop
from cnnlab.training.devices import choose_device
from stages import train
from tests.test_resume import hashes, make_project

ROOT = Path(__file__).parent.parent
SMALL_DISK = 8  # megabytes


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small, with a project on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no small disk to fill here: mounting one needs root")
    make_project(folder)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def run_stage() -> None:
    """`python stages/train.py lenet`, in this process and folder."""
    train.main(SimpleNamespace(args=[]), "lenet")  # type: ignore[arg-type]


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith(".tmp")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """The files of a run in which nothing goes wrong, and how many writes it took."""
    folder = tmp_path_factory.mktemp("whole")
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        writes = before_each_write(patch, lambda count: None)
        run_stage()
    return hashes(folder), len(writes)


@pytest.fixture(scope="module")
def expected(whole: tuple[dict[str, str], int]) -> dict[str, str]:
    return whole[0]


def before_each_write(patch: pytest.MonkeyPatch, act: Callable[[int], None]) -> list[int]:
    """Call `act` with the number of writes so far before each one; every segment is saved, however long that takes."""
    write_bytes, writes = Path.write_bytes, []

    def writing(path: Path, data: bytes) -> int:
        act(len(writes))
        writes.append(len(data))
        return write_bytes(path, data)

    patch.setattr(Path, "write_bytes", writing)
    patch.setattr("cnnlab.training.checkpoint.PAUSE", 0)
    return writes


# --- The disk


@pytest.mark.slow
@pytest.mark.parametrize("full_from", [0, 1, 0.25, 0.6, -3, -2, -1], ids=str)
def test_a_disk_that_is_full_at_a_write_costs_nothing_but_time(disk, whole, monkeypatch, full_from):
    """At the first writes, after a share of them, and at the last ones."""
    monkeypatch.chdir(disk)
    expected, writes = whole
    at = int(full_from * writes) if isinstance(full_from, float) else full_from % writes
    filler = disk / "filler"

    def fill(count: int) -> None:
        if count == at:
            with filler.open("wb", buffering=0) as file:
                while file.write(bytes(2**16)) == 2**16:
                    pass

    with monkeypatch.context() as patch:
        before_each_write(patch, fill)
        with pytest.raises(UserError, match="could not be written: No space left on device"):
            run_stage()
    assert left_over(disk) == []
    filler.unlink()
    run_stage()
    assert hashes(disk) == expected


def test_every_kind_of_file_keeps_what_it_held_on_a_full_disk(disk):
    import numpy as np
    from matplotlib.figure import Figure

    noise = np.random.default_rng(0).integers(0, 256, SMALL_DISK * 2**20, np.uint8)
    figure = Figure()
    figure.subplots().imshow(noise[:40_000].reshape(200, 200))
    writes = {
        "a.json": lambda path: artifacts.write_json(path, {str(i): i for i in range(9999)}),
        "a.csv": lambda path: artifacts.write_csv(path, [{"x": i} for i in range(9999)]),
        "a.npy": lambda path: artifacts.write_array(path, noise[:99_999]),
        "a.png": lambda path: artifacts.write_figure(path, figure),
        "a.txt": lambda path: artifacts.write_text(path, "x" * 99_999),
    }
    for name in writes:
        (disk / name).write_bytes(b"before")
    with pytest.raises(UserError, match="could not be written"):
        artifacts.write_array(disk / "filler.npy", noise)
    assert not (disk / "filler.npy").exists()
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(free - free % 4096))
    for name, write in writes.items():
        with pytest.raises(UserError, match=f"{name} could not be written: "):
            write(disk / name)
        assert (disk / name).read_bytes() == b"before"
    assert left_over(disk) == []


def test_a_read_only_folder_is_one_sentence(disk, monkeypatch):
    monkeypatch.chdir(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(UserError, match=r"could not be written: Read-only file system\.$"):
        run_stage()


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path):
    (tmp_path / "models").write_text("")
    with pytest.raises(UserError, match="could not be written: "):
        artifacts.write_bytes(tmp_path / "models" / "lenet.pt", b"")


# --- The clock


@pytest.mark.parametrize("begin", [0.0, 4e9])
def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch, expected, begin):
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    other = artifacts.checkpoint_dir() / f"lenet-{'0' * 16}.pt"
    artifacts.write_bytes(other, b"another setting's")
    now = [begin if begin else time.time()]

    def backwards() -> float:
        now[0] -= 3600
        return now[0]

    if not begin:
        monkeypatch.setattr(time, "time", backwards)
    else:  # the checkpoint is from the future, since the clock was set back
        os.utime(other, (begin, begin))
    run_stage()
    assert other.exists()
    timing = json.loads(artifacts.metrics_path("timing", "lenet").read_text())
    assert timing["train_seconds"] > 0
    other.unlink()
    assert hashes(tmp_path) == expected


# --- The GPU


@pytest.mark.parametrize("wanted", ["cuda:63", "mps" if not torch.backends.mps.is_available() else "cuda:63"])
def test_a_gpu_that_is_not_there_is_refused_before_any_work(tmp_path, monkeypatch, wanted):
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = json.loads(Path("params.yaml").read_text())
    Path("params.yaml").write_text(json.dumps(settings | {"device": wanted}))
    with pytest.raises(UserError, match=f"device is '{wanted}'.*say `device: auto`"):
        run_stage()
    assert not Path("models").exists()
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


class Hungry:
    """A task on a GPU whose memory holds so many pictures, in training or in measuring."""

    def __init__(self, training: int, measuring: int = 10**9) -> None:
        self.module = torch.nn.Linear(4, 2)
        self.training, self.measuring = training, measuring
        self.precision = "float32"

    def augment(self, images, generator):
        return images

    def objective(self, images, labels, progress, generator):
        self._check(len(images), self.training)
        loss = self.module(images.flatten(1).float()).sum()
        return loss, {"loss": loss}

    def measure(self, images, labels, generator):
        self._check(len(images), self.measuring)
        return {"loss": self.module(images.flatten(1).float()).sum()}

    def _check(self, wanted: int, room: int) -> None:
        if wanted > room:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("training", "measuring", "told"),
    [
        (100, 999, "x: a batch of 256 does not fit into the GPU's memory; batch_size 64 does"),
        (2, 999, "batch_size 2 does"),
        (1, 999, "x: the GPU's memory is full, even for a batch of 2; free it, or say `device: cpu`"),
        (999, 99, "the GPU's memory does not hold 1,000 pictures in the network: free it, or say `device: cpu`"),
    ],
)
def test_a_full_gpu_names_the_batch_that_fits(training, measuring, told):
    data = torch.zeros(400, 1, 2, 2, dtype=torch.uint8), torch.zeros(400, dtype=torch.long)
    plan = loop.Plan("x", 2, 256, 0.01, "modern", 0, keep=("loss", "min"))
    with pytest.raises(UserError) as raised:
        loop.fit(Hungry(training, measuring), data, data, plan)
    assert told in str(raised.value)


# --- The machine around it, by the real commands


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, timeout=300,
    )  # fmt: skip


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


STAGES = """
stages:
  download:
    cmd: '"{python}" stages/download.py'
    params: [dataset, budget]
    outs: [data/fashion_mnist]
  train:
    cmd: '"{python}" stages/train.py lenet'
    deps: [data/fashion_mnist]
    params: [seed]
    outs: [models/lenet.pt]
    plots: [plots/train/lenet.csv: {{cache: false}}]
    metrics: [metrics/train/lenet.json: {{cache: false}}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two of the stages after `dvc repro` in the locale C, at a path with spaces and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("x") / "ein Labor für 学生 's"
    make_project(folder)
    shutil.rmtree(folder / "data")
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "dvc.yaml").write_text(STAGES.format(python=sys.executable))
    assert command(folder, "dvc", "init", "-q", "--no-scm").returncode == 0
    done = command(folder, "dvc", "repro", LC_ALL="C", LANG="C")
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


@pytest.mark.slow
def test_the_locale_c_and_a_strange_path_are_fine(lab):
    folder, told = lab
    assert "Traceback" not in told
    assert "Running stage 'train'" in told
    assert {"models/lenet.pt", "metrics/train/lenet.json", "plots/train/lenet.csv"} == set(hashes(folder))


@pytest.mark.slow
def test_a_terminal_of_ascii_alone_fails_no_stage(lab):
    folder, _ = lab
    before = hashes(folder)
    words = (sys.executable, "stages/train.py", "lenet")
    done = command(folder, *words, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stdout
    assert "\\u2192 models/lenet.pt" in done.stdout
    assert hashes(folder) == before


@pytest.mark.slow
def test_two_repros_at_once_do_no_harm(lab):
    folder, _ = lab
    before = hashes(folder)
    pair = [started(folder, "dvc", "repro", "--force", "--single-item", "train") for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in pair]
    assert 0 in [process.returncode for process in pair], told
    assert all("Traceback" not in text for text in told)
    again = command(folder, "dvc", "repro")
    assert again.returncode == 0, again.stdout
    assert hashes(folder) == before
    assert left_over(folder) == []


@pytest.mark.slow
def test_a_file_cut_off_in_the_cache_is_found_and_made_again(lab):
    folder, _ = lab
    before = hashes(folder)
    images = folder / "data" / "fashion_mnist" / "train" / "images.npy"
    whole, size = images.read_bytes(), images.stat().st_size
    held = [path for path in (folder / ".dvc" / "cache").rglob("*") if path.is_file() and path.stat().st_size == size]
    assert len(held) == 1
    held[0].chmod(0o644)
    held[0].write_bytes(whole[: size // 2])
    shutil.rmtree(folder / "data" / "fashion_mnist")
    command(folder, "dvc", "checkout")
    if images.exists() and images.read_bytes() != whole:  # DVC trusted its cache: the stage does not
        done = command(folder, sys.executable, "stages/train.py", "lenet")
        assert done.returncode == 2
        assert "images.npy is not a whole .npy file" in done.stdout
        assert "Traceback" not in done.stdout
    done = command(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout
    assert images.read_bytes() == whole
    assert hashes(folder) == before


@pytest.mark.slow
def test_without_shared_memory_it_trains_the_same(lab):
    folder, _ = lab
    before = hashes(folder)
    hide = "mount -t tmpfs -o ro tmpfs /dev/shm && ! touch /dev/shm/x 2>/dev/null"
    if not shutil.which("unshare") or command(folder, "unshare", "-m", "sh", "-c", hide).returncode:
        pytest.skip("no small disk to fill here: mounting one needs root")
    train_again = f"{hide} && exec '{sys.executable}' stages/train.py lenet"
    done = command(folder, "unshare", "-m", "sh", "-c", train_again)
    assert done.returncode == 0, done.stdout
    assert hashes(folder) == before
