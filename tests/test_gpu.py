"""Training on a GPU, as far as a machine without one can tell: by mocks, and by the same code on CPU tensors.

`make verify-gpu` asks a real one. tests/test_fake_cuda.py runs the whole path on fake CUDA tensors.
"""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab import models
from cnnlab.core import params
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.core.schema import Run, Vae
from cnnlab.data.sample import load_sample
from cnnlab.models.classifier import Classifier
from cnnlab.sweep import cluster
from cnnlab.training import classification, devices, graph, loop, parallel, steps
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.classification import ClassifierTask, train_seeds
from cnnlab.training.devices import choose_device, choose_precision, memory_format, multiplying
from cnnlab.training.graph import GraphSteps
from cnnlab.training.loop import fit
from cnnlab.training.recipe import make_optimizer
from cnnlab.training.steps import Job, Plan
from cnnlab.vae.model import VAE
from cnnlab.vae.task import VaeTask
from cnnlab.vae.training import train_vae

ROOT = Path(__file__).parent.parent
CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
INFO = DatasetInfo("sample", tuple("0123456789"), 1, 28, 28, "MIT", "", light_on_dark=True)


class Linear:
    """A task of one layer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(4, 2)
        self.precision = "float32"

    def augment(self, images, generator):
        return images

    def objective(self, images, labels, progress, generator):
        loss = nn.functional.cross_entropy(self.module(images.flatten(1) / 255), labels)
        return loss, {"loss": loss * len(labels)}

    def measure(self, images, labels, generator):
        return {"loss": nn.functional.cross_entropy(self.module(images.flatten(1) / 255), labels, reduction="sum")}


def small_data(n: int = 400):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 2, 2), generator=generator, dtype=torch.uint8)
    return images, (images.flatten(1).float().mean(1) > 127).long()


def small_plan(**changes) -> Plan:
    return Plan(
        **{"name": "x", "steps": 2, "batch_size": 256, "peak_rate": 0.01, "recipe": "modern", "seed": 0} | changes
    )


# --- Which GPU, and what to say of one that cannot be used


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose torch sees one GPU; gives what to change of it."""

    class Machine:
        capability, archs, count, driver = (9, 0), ["sm_75", "sm_80", "sm_90"], 1, None

    machine = Machine()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: machine.count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: machine.count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: machine.capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Model X")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: machine.archs)
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(*size))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return machine


def test_auto_takes_the_gpu(gpu):
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0") == CUDA


@pytest.mark.parametrize(
    ("capability", "archs", "supported"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 6), ["sm_80", "sm_90"], True),  # within a major version older kernels run
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "compute_90"], True),  # PTX is translated
        ((9, 0), ["sm_90a"], True),
    ],
)
def test_a_gpu_that_torch_has_no_kernels_for_is_refused_in_a_sentence(gpu, capsys, capability, archs, supported):
    gpu.capability, gpu.archs = capability, archs
    if supported:
        assert choose_device("cuda").type == "cuda"
        return
    with pytest.raises(UserError, match=r"device is 'cuda', but torch .* has no kernels for the Model X"):
        choose_device("cuda")


def test_auto_never_falls_back_to_the_cpu_in_silence(gpu, monkeypatch, tmp_path, capsys):
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13\n")
    monkeypatch.setattr(devices, "DRIVER", driver)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    gpu.count = 0
    assert choose_device("auto").type != "cuda"
    said = capsys.readouterr().err
    assert "driver 470.57.02: install driver 580 or newer" in said
    with pytest.raises(UserError, match="install driver 580 or newer"):
        choose_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError, match="built without CUDA"):
        choose_device("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    choose_device("auto")
    assert capsys.readouterr().err == ""


def test_a_gpu_that_fails_its_first_kernel_is_refused(gpu, monkeypatch, capsys):
    def fail(*_size, device):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(UserError, match=r"the Model X failed its first calculation \(CUDA error: no kernel image"):
        choose_device("cuda")


def test_a_gpu_too_many_is_refused(gpu):
    with pytest.raises(UserError, match="torch sees 1 CUDA GPU, numbered from 0"):
        choose_device("cuda:1")


def test_processes_on_the_cpu_are_not_counted_against_gpus(gpu, monkeypatch):
    started = []
    monkeypatch.setattr("os.execv", lambda *words: started.append(words))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RANK", raising=False)
    parallel.launch(2, CPU)
    assert len(started) == 1
    with pytest.raises(UserError, match=r"train\.processes is 2, but torch sees 1 CUDA GPU"):
        parallel.launch(2, CUDA)


def test_a_gpu_has_several_workers_of_a_sweep_but_no_more_than_cores(monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 16)
    assert cluster.size(None, 100, devices=2)[0] == 2 * cluster.WORKERS_A_GPU
    assert cluster.size(None, 3, devices=2)[0] == 3
    monkeypatch.setattr("dask.system.CPU_COUNT", 2)
    assert cluster.size(None, 100, devices=2)[0] == 2


# --- Precision


@pytest.mark.parametrize(
    ("capability", "wanted", "gains", "expected"),
    [
        ((9, 0), "auto", ("cpu",), "tf32"),
        ((8, 0), "auto", ("cpu", "cuda"), "bfloat16"),
        ((7, 5), "auto", ("cpu", "cuda"), "float32"),
        ((9, 0), "float32", ("cuda",), "float32"),
        ((9, 0), "tf32", ("cuda",), "tf32"),
    ],
)
def test_cuda_has_a_precision_rule_of_its_own(gpu, capability, wanted, gains, expected):
    gpu.capability = capability
    assert choose_precision(wanted, CUDA, gains) == expected


def test_tf32_is_refused_where_there_is_none(gpu):
    with pytest.raises(UserError, match="tf32"):
        choose_precision("tf32", CPU)
    gpu.capability = (7, 5)
    with pytest.raises(UserError, match="tf32"):
        choose_precision("tf32", CUDA)


def allowed() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_float32_is_float32_on_cuda_and_tf32_is_allowed_by_block_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    before = allowed(), torch.backends.cudnn.deterministic
    try:
        assert torch.backends.cudnn.allow_tf32  # torch's default, for convolutions
        devices.tune_process(CUDA)
        assert allowed() == (False, False)
        with multiplying("tf32", CUDA):
            assert allowed() == (True, True)
            with multiplying("float32", CUDA):  # a measurement within
                assert allowed() == (False, False)
            assert allowed() == (True, True)
        with multiplying("bfloat16", CUDA):
            assert allowed() == (False, False)
        assert allowed() == (False, False)
    finally:
        (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32), deterministic = before
        torch.backends.cudnn.deterministic = deterministic


def test_the_vae_follows_the_precision_and_records_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, (sample, _) = params.load(ROOT / "params.yaml").vae, load_sample()
    few = Split(sample.images[:80], sample.labels[:80])
    run = settings.smoke.model_copy(update={"steps": 10, "batch_size": 16})
    losses = {}
    for precision in ("float32", "bfloat16"):
        trained = train_vae(
            INFO, few, settings, run, seed=0, held_out=0.2, device=CPU, precision=precision, name=precision
        )
        assert trained.meta["settings"]["precision"] == precision
        losses[precision] = trained.progress.rows[-1]["train_loss"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)


def test_apples_gpus_get_channels_outermost():
    assert memory_format(torch.device("mps")) == torch.contiguous_format
    assert memory_format(CUDA) == memory_format(CPU) == torch.channels_last


# --- Memory that runs out


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 1 GB)",
        "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_lack_of_memory_is_known_by_what_the_libraries_say(message):
    with pytest.raises(UserError, match="this machine's" if "CPU" in message else "the GPU's"), devices.room_for("x"):
        raise RuntimeError(message)


@pytest.mark.parametrize("place", ["objective", "_keep", "measure", "make_optimizer"])
def test_memory_that_runs_out_anywhere_in_training_is_a_sentence(monkeypatch, place):
    task = Linear()

    def full(*_):
        raise RuntimeError("CUDA error: out of memory")

    if place in ("objective", "measure"):
        monkeypatch.setattr(task, place, full)
    else:
        monkeypatch.setattr(loop, place, full)
    with pytest.raises(UserError, match="the GPU's memory"):
        fit(task, small_data(), small_data(), small_plan())


def test_another_error_is_not_taken_for_lack_of_memory(monkeypatch):
    task = Linear()
    monkeypatch.setattr(task, "objective", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        fit(task, small_data(), None, small_plan())


def test_an_interrupted_capture_is_known_as_lack_of_memory():
    later = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    assert not devices.out_of_memory(later)
    later.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    assert devices.out_of_memory(later)


class Hungry(Linear):
    """Notes at each try how much of earlier ones is still held; the GPU holds 64 pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.held, self.sizes = [], [], []

    def objective(self, images, labels, progress, generator):
        self.held.append(sum(reference() is not None for reference in self.made))
        self.sizes.append(len(images))
        activations = torch.zeros(len(images), 10)
        self.made.append(weakref.ref(activations))
        if len(images) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        loss, sums = super().objective(images, labels, progress, generator)
        return loss + 0 * activations.sum(), sums


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_failed_step_is_given_back_before_smaller_batches_are_tried(monkeypatch, on_gpu):
    monkeypatch.setattr(graph, "serves", lambda device: on_gpu)
    monkeypatch.setenv("CNNLAB_EAGER", "1")
    task = Hungry()
    with pytest.raises(UserError, match="batch_size 64 does"):
        fit(task, small_data(), None, small_plan())
    assert task.sizes == [256, 128, 64]
    assert task.held == [0, 0, 0]
    gc.collect()


def test_with_several_processes_no_smaller_batch_is_tried(monkeypatch):
    task = Hungry()
    job = Job(task, small_data(), None, small_plan())
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    said = loop._out_of_memory(job, "the GPU's memory", "")
    assert said == "x: a batch of 256 does not fit into the GPU's memory; choose a smaller batch_size."
    assert task.sizes == []


def test_the_pixels_moments_make_no_wide_copy(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "long", lambda _: pytest.fail("eight bytes of each pixel"))
    mean, std = classification._moments((torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.zeros(1)), "modern")
    assert (mean, std) == ([0.5], [0.5])


# --- Checkpoints and the clock


class Counted(Checkpoint):
    """Saves are counted, and due when told."""

    due, saves = False, 0

    def is_due(self):
        return self.due

    def save(self, state):
        self.saves += 1
        super().save(state)


@pytest.mark.parametrize(("due", "saves"), [(False, 1), (True, 12)])
def test_a_checkpoint_is_written_when_it_is_due_and_at_the_end(tmp_path, monkeypatch, due, saves):
    monkeypatch.chdir(tmp_path)
    checkpoint = Counted("x", {}, [])
    checkpoint.due = due
    fit(Linear(), small_data(), None, small_plan(steps=24), checkpoint=checkpoint)
    assert checkpoint.saves == saves
    assert checkpoint.load()["progress"]["step"] == 12 * 2


@pytest.mark.parametrize(("took", "pause"), [(0.5, 10), (14, 280), (3600, 300)])
def test_a_save_that_was_stopped_half_way_puts_off_the_next_one_by_minutes_at_most(tmp_path, monkeypatch, took, pause):
    monkeypatch.chdir(tmp_path)
    checkpoint, clock = Checkpoint("x", {}, []), iter((1000.0, 1000.0 + took))
    monkeypatch.setattr("cnnlab.training.checkpoint.time", SimpleNamespace(monotonic=lambda: next(clock)))
    checkpoint.save({})
    assert checkpoint.due_from == 1000 + took + pause


def test_the_clock_leaves_out_what_comes_before_the_first_step(monkeypatch):
    made = []
    task = Linear()
    objective = task.objective
    monkeypatch.setattr(task, "objective", lambda *given: made.append(1) or objective(*given))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(len(made)))
    monkeypatch.setattr(graph, "serves", lambda device: True)
    monkeypatch.setenv("CNNLAB_EAGER", "1")
    progress = fit(task, small_data(), None, small_plan(steps=6))
    assert len(made) == 3 * 2 + 2 * steps.WARM_UP  # the epoch's batches are of two sizes
    assert progress.seconds == 3 * 2


# --- The steps of a GPU, on the CPU


def classifier_job(name: str, run: Run, recipe: str = "modern", seed: int = 0, n: int = 300) -> Job:
    sample = load_sample()[0]
    torch.manual_seed(seed)
    network = models.build(name, (1, 28, 28), 10, {})
    task = ClassifierTask(Classifier(network, [0.3], [0.3], {}).to(memory_format=torch.channels_last), run)
    images = torch.from_numpy(sample.images[:n].copy()), torch.from_numpy(sample.labels[:n].copy())
    return Job(task, images, None, small_plan(batch_size=128, steps=8 if n > 200 else 2, recipe=recipe, seed=seed))


def vae_job(**changes) -> Job:
    settings = Vae.model_validate(params.load(ROOT / "params.yaml").vae.model_dump() | changes)
    torch.manual_seed(0)
    vae = VAE((1, 28, 28), 8, settings.decoder, settings.likelihood, settings.prior, settings.binarize)
    images = torch.from_numpy(load_sample()[0].images[:100].copy()), torch.zeros(100, dtype=torch.int64)
    return Job(VaeTask(vae, settings), images, None, small_plan(batch_size=64, steps=6))


FULL = Run(steps=1, flip=True, shift=2, erase=0.25, label_smoothing=0.05)
JOBS = {
    "lenet": lambda: classifier_job("lenet", FULL),
    "lenet, plain": lambda: classifier_job("lenet", Run(steps=1), "plain"),
    "mynet": lambda: classifier_job("mynet", FULL),
    "vgg, whose dropout draws": lambda: classifier_job("vgg", FULL, n=140),
    "vae": lambda: vae_job(flip=True, warm_up=0.5),
    "vae, binarized": lambda: vae_job(binarize=True),
}


def plainly(job: Job) -> tuple[list[float], float]:
    """Every step of a job written out, on the same draws: its losses, and the sum of the curve's."""
    optimizer, generator = make_optimizer(job.task.module, job.plan.recipe, 0.0), torch.Generator()
    images, labels = (torch.empty_like(each) for each in job.train)
    losses, total, batch = [], torch.zeros(()), job.plan.batch_size
    steps.seed_draws(job, 0, generator)
    for step in range(job.plan.steps):
        epoch, place = divmod(step, job.steps_per_epoch)
        if place == 0:
            steps.augment_epoch(job, epoch, images, labels)
        part = slice(place * batch, (place + 1) * batch)
        loss, sums = job.task.objective(images[part], labels[part], torch.tensor(step / job.plan.steps), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(float(np.float32(job.rate_at(step))))
        losses.append(float(loss.detach()))
        total = total + sums["loss"].detach()
    return losses, float(total)


@pytest.mark.parametrize("name", JOBS)
def test_steps_on_static_memory_give_the_bytes_of_steps_written_out(name):
    whole, static = JOBS[name](), JOBS[name]()
    optimizer = make_optimizer(static.task.module, static.plan.recipe, 0.0)
    for job in (whole, static):
        job.task.module.train()
    expected, total = plainly(whole)
    taken = GraphSteps([static], [optimizer], record=False)
    before = {key: value.clone() for key, value in static.task.module.state_dict().items()}
    taken.prepare()
    for key, value in static.task.module.state_dict().items():
        assert torch.equal(value, before[key]), f"the warm-up changed {key}"
    assert not any(tensor.any() for tensor in optimizer.tensors())
    ticks = []
    (outcome,) = taken.make(0, static.plan.steps, ticks.append)
    assert outcome.losses.tolist() == expected
    assert float(outcome.totals["loss"]) == total
    assert outcome.pictures == sum(ticks)
    for key, value in static.task.module.state_dict().items():
        assert torch.equal(value, whole.task.module.state_dict()[key]), key


@pytest.fixture
def as_on_a_gpu(monkeypatch, tmp_path):
    """`fit` makes the steps of a GPU, unrecorded, from CPU tensors."""
    monkeypatch.setattr(graph, "serves", lambda device: True)
    monkeypatch.setenv("CNNLAB_EAGER", "1")
    monkeypatch.chdir(tmp_path)


def kept(trained) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trained.module.state_dict().values())


def train(seeds, on_rows=lambda rows: None, options=(), architecture="lenet", **changes):
    sample = load_sample()[0]
    few = Split(sample.images[:330], sample.labels[:330])
    run = Run(**{"steps": 102, "batch_size": 64, "flip": True, "shift": 1, "erase": 0.2} | changes)
    return train_seeds(
        architecture, dict(options), INFO, few, run, recipe="modern", names={seed: f"x-{seed}" for seed in seeds},
        held_out=0.1, device=CPU, on_rows=on_rows,
    )  # fmt: skip


@pytest.mark.parametrize("killed_after", [1, 4])
def test_a_run_killed_on_a_gpu_ends_with_the_bytes_of_one_never_stopped(as_on_a_gpu, monkeypatch, killed_after):
    monkeypatch.setattr("cnnlab.training.checkpoint.PAUSE", 0)
    (whole,) = train([0])
    whole.checkpoint.remove()

    def die(rows):
        if len(rows) > killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([0], die)
    (resumed,) = train([0])
    assert kept(resumed) == kept(whole)
    assert resumed.progress.rows == whole.progress.rows


def test_seeds_trained_together_have_the_bytes_of_seeds_trained_alone(as_on_a_gpu, monkeypatch):
    groups = []
    original = loop._fit
    monkeypatch.setattr(loop, "_fit", lambda runs: groups.append(len(runs)) or original(runs))
    together = train([0, 1, 2])
    assert groups == [3]
    for trained in together:
        trained.checkpoint.remove()
    for seed, trained in enumerate(together):
        (alone,) = train([seed])
        assert kept(alone) == kept(trained)
        assert alone.progress.rows == trained.progress.rows
        assert alone.validation == trained.validation


def test_seeds_left_at_different_steps_go_on_alone_to_the_same_bytes(as_on_a_gpu, monkeypatch):
    monkeypatch.setattr("cnnlab.training.checkpoint.PAUSE", 0)
    whole = train([0, 1])
    whole[1].checkpoint.remove()  # as if it had never been saved
    groups = []
    original = loop._fit
    monkeypatch.setattr(loop, "_fit", lambda runs: groups.append(len(runs)) or original(runs))
    again = train([0, 1])
    assert groups == [1, 1]
    assert [kept(trained) for trained in again] == [kept(trained) for trained in whole]


def test_networks_with_dropout_never_share_a_graph():
    jobs = [classifier_job("vgg", Run(steps=1), seed=seed) for seed in (0, 1)]
    assert not graph.fit_together(jobs)
    assert graph.fit_together([classifier_job("lenet", Run(steps=1), seed=seed) for seed in (0, 1)])


def test_the_plain_loop_is_left_to_every_other_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert graph.serves(CUDA)
    assert not graph.serves(CPU)
    assert not graph.serves(torch.device("mps"))
    assert not graph.serves(torch.device("cuda", 1))  # not the present one: tune_process makes it so
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    assert not graph.serves(CUDA)


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        ("CUDA error: out of memory", "gpu"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "gpu"),
        ("[enforce fail] DefaultCPUAllocator: not enough memory", "cpu"),
        ("std::bad_alloc", "cpu"),
    ],
)
def test_it_says_whose_memory_ran_out(text, whose):
    error = RuntimeError(text)
    assert devices.out_of_memory(error)
    assert devices.ran_out_on(error) == whose
