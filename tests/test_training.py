"""The loop: it learns, resumes to the same bytes, keeps the best by validation, stops on a loss that is not finite."""

import copy
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from cnnlab.core.datasets import DatasetInfo
from cnnlab.core.errors import UserError
from cnnlab.core.schema import Run, steps_in_pass
from cnnlab.data.sample import load_sample
from cnnlab.models.classifier import Classifier
from cnnlab.training import augment, optimizers
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.classification import ClassifierTask, train_classifier
from cnnlab.training.devices import choose_precision
from cnnlab.training.loop import Plan, evaluate, fit, fit_jobs, segment_ends
from cnnlab.training.recipe import make_optimizer, peak_rate, rate_at
from cnnlab.training.steps import DivergenceError, Job


class Toy:
    """Logistic regression with dropout: is the picture brighter on the left?"""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 2))
        self.augmented = []
        self.precision = "float32"

    def augment(self, images, generator):
        return images

    def objective(self, images, labels, progress, generator):
        self.augmented.append(float(torch.rand(1, generator=generator)))
        logits = self.module(images.float() / 255)
        loss = nn.functional.cross_entropy(logits, labels)
        return loss, {"loss": loss * len(labels), "accuracy": (logits.argmax(1) == labels).sum()}

    def measure(self, images, labels, generator):
        logits = self.module(images.float() / 255)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        return {"loss": loss, "accuracy": (logits.argmax(1) == labels).sum()}


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (300, 1, 4, 4), generator=generator, dtype=torch.uint8)
    halves = images.float()
    return images, (halves[..., :2].sum((1, 2, 3)) > halves[..., 2:].sum((1, 2, 3))).long()


def plan(**changes) -> Plan:
    values = {"name": "toy", "steps": 84, "batch_size": 32, "peak_rate": 0.05, "recipe": "modern", "seed": 3}
    return Plan(**values | {"keep": ("accuracy", "max")} | changes)


def halves(data):
    images, labels = data
    return (images[:200], labels[:200]), (images[200:], labels[200:])


def state_bytes(module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in module.state_dict().values())


def test_it_learns(data):
    train, validation = halves(data)
    task = Toy()
    before = evaluate(task, validation, 3)["accuracy"]
    progress = fit(task, train, validation, plan())
    assert before < 0.75
    assert evaluate(task, validation, 3)["accuracy"] > 0.9
    assert progress.rows[-1]["train_loss"] < progress.rows[0]["train_loss"]


def test_rows_come_as_they_are_known(data):
    train, validation = halves(data)
    lengths = []
    progress = fit(Toy(), train, validation, plan(), on_rows=lambda rows: lengths.append(len(rows)))
    assert lengths == list(range(1, 13))
    assert [row["epoch"] for row in progress.rows] == list(range(1, 13))
    assert set(progress.rows[0]) == {
        "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("epochs", "ends"),
    [(10, [7 * i for i in range(1, 11)]), (10.5, [*range(7, 71, 7), 74]), (2, [1, 3, 4, 6, 7, 8, 10, 11, 13, 14])],
)
def test_segments_are_epochs_or_tenths(epochs, ends):
    assert segment_ends(round(epochs * 7), 7, epochs) == ends


def test_a_part_of_an_epoch_sees_each_picture_once_at_most(data, monkeypatch):
    train, _ = halves(data)
    task, seen = Toy(), []
    original = task.objective
    monkeypatch.setattr(
        task, "objective", lambda i, y, p, g: seen.extend(i.flatten(1).sum(1).tolist()) or original(i, y, p, g)
    )
    fit(task, train, None, plan(steps=4, keep=None))
    assert len(seen) == 4 * 32  # half of seven steps, rounded to even
    sums = train[0].flatten(1).sum(1).tolist()
    assert all(seen.count(value) <= sums.count(value) for value in seen)


@pytest.mark.parametrize("killed_after", [1, 2, 5, 11])
@pytest.mark.parametrize("recipe", ["modern", "plain"])
def test_a_killed_run_ends_with_the_bytes_of_one_never_stopped(data, tmp_path, monkeypatch, killed_after, recipe):
    monkeypatch.chdir(tmp_path)
    train, validation = halves(data)
    chosen = plan(recipe=recipe, keep=("accuracy", "max") if recipe == "modern" else None)
    whole = Toy()
    expected = fit(whole, train, validation, chosen)

    def die(rows):
        if len(rows) > killed_after:
            raise KeyboardInterrupt

    checkpoint = Checkpoint("toy", {"seed": 3}, [])
    with pytest.raises(KeyboardInterrupt):
        fit(Toy(), train, validation, chosen, checkpoint=checkpoint, on_rows=die)
    assert checkpoint.path.exists()
    resumed, torch_state = Toy(), torch.get_rng_state()
    progress = fit(resumed, train, validation, chosen, checkpoint=checkpoint)
    assert len(resumed.augmented) < len(whole.augmented)  # it did not start afresh
    assert state_bytes(resumed.module) == state_bytes(whole.module)
    assert progress.rows == expected.rows
    assert torch.equal(torch.get_rng_state(), torch_state)  # nothing global was left changed


def test_a_checkpoint_belongs_to_its_settings_and_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = Checkpoint("toy", {"seed": 3}, [np.zeros(4, np.uint8)])
    base.save({"step": 1})
    assert Checkpoint("toy", {"seed": 3}, [np.zeros(4, np.uint8)]).load() == {"step": 1}
    assert Checkpoint("toy", {"seed": 4}, [np.zeros(4, np.uint8)]).load() is None
    assert Checkpoint("toy", {"seed": 3}, [np.ones(4, np.uint8)]).load() is None


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_checkpoint_means_starting_afresh(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("toy", {}, [])
    checkpoint.save({"weights": torch.zeros(1000)})
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert checkpoint.load() is None


def test_the_best_by_validation_is_kept(data):
    train, validation = halves(data)
    task, states = Toy(), []
    original = task.measure

    def measure(images, labels, generator):
        states.append(copy.deepcopy(task.module.state_dict()))
        figures = original(images, labels, generator)
        return figures | {"accuracy": torch.tensor(float(len(states) == 4))}

    task.measure = measure
    progress = fit(task, train, validation, plan())
    assert progress.best_row == 3
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, states[3][name])


def test_without_validation_the_last_is_kept(data):
    train, _ = halves(data)
    progress = fit(Toy(), train, None, plan(keep=None))
    assert progress.best_row == len(progress.rows) - 1
    assert "validation_loss" not in progress.rows[0]


def test_a_loss_that_is_not_finite_names_run_epoch_step_and_rate(data):
    train, validation = halves(data)
    task = Toy()
    original = task.objective

    def explode(images, labels, progress, generator):
        loss, sums = original(images, labels, progress, generator)
        return (loss * float("nan") if progress >= 9 / 84 else loss), sums

    task.objective = explode
    with pytest.raises(UserError, match=r"toy: .* epoch 2, step 3 of 7, at a peak learning rate of 0\.05"):
        fit(task, train, validation, plan())


def test_a_last_batch_of_few_pictures_is_left_out(data):
    assert [steps_in_pass(n, 32) for n in (2, 7, 31, 32, 33, 39, 40, 64, 71, 72)] == [1, 1, 1, 1, 1, 1, 2, 2, 2, 3]
    images, labels = data
    fit(Toy(), (images[:33], labels[:33]), None, plan(steps=2, keep=None))  # batch normalisation would refuse it


def test_too_few_pictures_are_refused():
    with pytest.raises(UserError, match="at least 2"):
        fit(Toy(), (torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.zeros(1, dtype=torch.long)), None, plan())


def test_the_modern_rate_climbs_then_falls_to_nothing():
    rates = [rate_at(step, 100, 0.01, "modern") for step in range(100)]
    assert max(rates) == pytest.approx(0.01)
    top = rates.index(max(rates))
    assert 0 < top < 50
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-4


def test_the_reports_rate_is_constant_and_follows_the_activation():
    assert {rate_at(step, 10, 0.9, "plain") for step in range(10)} == {0.9}
    run = Run(steps=1)
    assert peak_rate(run, "plain", {"act": "sigmoid"}) == 0.9
    assert peak_rate(run, "plain", {"act": "relu"}) == 0.1
    assert peak_rate(run.model_copy(update={"learning_rate": 0.3}), "plain", {"act": "relu"}) == 0.3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_mirroring_turns_about_half_and_changes_nothing_else(data):
    images = data[0]
    turned = augment.mirror(images, generator())
    same = (turned == images).flatten(1).all(1)
    mirrored = (turned == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 100 < int(same.sum()) < 200


def test_moving_shifts_each_picture_by_its_own_whole_pixels():
    images = torch.zeros(200, 2, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 7
    moved = augment.move(images, 2, generator())
    assert moved.shape == images.shape
    assert (moved.flatten(1).sum(1) == 14).all()
    where = {tuple(place[2:].tolist()) for place in moved.nonzero()}
    assert where == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    assert (moved[:, 0] == moved[:, 1]).all()


def test_erasing_touches_the_stated_share_of_pictures_and_area():
    images = torch.zeros(400, 1, 28, 28, dtype=torch.uint8)
    erased = augment.erase(images, 0.25, generator())
    touched = (erased > 0).flatten(1).any(1)
    assert 70 < int(touched.sum()) < 130
    area = (erased[touched] > 0).float().flatten(1).mean(1)
    assert float(area.max()) < 0.4


def test_no_augmentation_is_no_change(data):
    assert augment.augment(data[0], Run(steps=1), generator()) is data[0]


@pytest.mark.parametrize(
    ("recipe", "momentum", "reference"),
    [
        ("modern", 0.0, lambda groups: torch.optim.AdamW(groups, lr=1.0)),
        ("modern", 0.9, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)),
        ("plain", 0.0, lambda groups: torch.optim.SGD(groups, lr=1.0)),
        ("plain", 0.9, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_optimizers_are_torchs(recipe, momentum, reference, layout):
    torch.manual_seed(0)
    ours, theirs = (_convolution_and_linear(layout) for _ in "ab")
    theirs.load_state_dict(ours.state_dict())
    optimizer = make_optimizer(ours, recipe, 0.1, momentum)
    decayed, free = ([w for w in theirs.parameters() if (w.ndim > 1) == wide] for wide in (True, False))
    expected = reference([{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}])
    for rate in (0.1, 0.05, 0.02):
        inputs = torch.randn(5, 2, 4, 4)
        for group in expected.param_groups:
            group["lr"] = rate
        for network in (ours, theirs):
            network.zero_grad()
            network(inputs).square().sum().backward()
        optimizer.step(rate)
        expected.step()
    for weight, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, right)


def _convolution_and_linear(layout):
    network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(24, 1))
    return network.to(memory_format=layout)


@pytest.mark.parametrize(
    ("recipe", "momentum", "kernel"), [("modern", 0.0, "_fused_adamw"), ("plain", 0.9, "_fused_sgd")]
)
def test_the_kernels_get_tensors_in_the_order_of_memory(recipe, momentum, kernel, monkeypatch):
    """A CPU's kernel copies others first, with their numbers in another order."""
    network = _convolution_and_linear(torch.channels_last)
    optimizer = make_optimizer(network, recipe, 0.1, momentum)
    network(torch.randn(5, 2, 4, 4)).sum().backward()
    given = []
    monkeypatch.setattr(
        optimizers, kernel, lambda *lists, **settings: given.extend(each for tensors in lists for each in tensors)
    )
    optimizer.step(0.1)
    assert any(tensor.ndim == 4 for tensor in given)
    assert all(tensor.is_contiguous() for tensor in given)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.2, 1.8])])
def test_the_loss_of_a_batch_is_the_mean_of_its_shares(weights):
    """Else several processes would train another network than one does."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    task = ClassifierTask(Classifier(network, [0.5], [0.2], {}), Run(steps=1, label_smoothing=0.1), weights=weights)
    images, labels = torch.randint(0, 256, (12, 1, 4, 4), dtype=torch.uint8), torch.tensor([0] * 10 + [1] * 2)
    whole, first, second = (
        task.objective(images[part], labels[part], 0.0, torch.Generator())[0].detach()
        for part in (slice(None), slice(9), slice(9, 12))
    )
    torch.testing.assert_close((9 * first + 3 * second) / 12, whole)


@pytest.mark.parametrize("keep", [("accuracy", "max"), ("loss", "min"), None])
def test_the_last_step_of_all_may_diverge_too(data, keep):
    """Its loss was measured before it; what it has ruined is seen in the figures after it."""

    class Ruined(Toy):
        def measure(self, images, labels, generator):
            return {name: value * float("nan") for name, value in super().measure(images, labels, generator).items()}

    validation = data if keep else None
    wanted = plan(steps=10, keep=keep)
    if keep is None:  # nothing is measured but what the caller asks for
        job = Job(Toy(), data, None, wanted, measure=lambda task: {"test_loss": float("inf")})
        with pytest.raises(DivergenceError, match="toy: test_loss is not finite after epoch"):
            fit_jobs([job])
    else:
        with pytest.raises(DivergenceError, match=r"toy: validation_\w+ is not finite after epoch .*; try a smaller"):
            fit(Ruined(), data, validation, wanted)


def test_a_gradient_of_another_layout_moves_the_right_weights():
    network = _convolution_and_linear(torch.channels_last)
    weight, before = network[0].weight, network[0].weight.detach().clone()
    weight.grad = torch.randn(weight.shape)  # not as backward would lay it
    make_optimizer(network, "plain", 0.0).step(0.1)
    torch.testing.assert_close(weight.detach(), before - 0.1 * weight.grad)


@pytest.mark.parametrize("recipe", ["modern", "plain"])
def test_training_does_not_import_torchs_compiler(recipe):
    """It takes two seconds of every process; a change of torch that brings it back is seen here."""
    code = f"""
import sys, torch
from cnnlab.training.recipe import make_optimizer
layer = torch.nn.Linear(2, 2)
optimizer = make_optimizer(layer, {recipe!r}, 0.1)
before = layer.weight.clone()
layer(torch.ones(1, 2)).sum().backward()
optimizer.step(0.1)
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert (layer.weight != before).all()
assert "torch._dynamo" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- precision and memory


@pytest.mark.parametrize(
    ("wanted", "native", "gains", "expected"),
    [
        ("auto", True, ("cpu",), "bfloat16"),
        ("auto", True, ("cuda",), "float32"),
        ("auto", False, ("cpu",), "float32"),
        ("float32", True, ("cpu",), "float32"),
        ("bfloat16", False, (), "bfloat16"),
    ],
)
def test_the_precision_is_a_fixed_rule(wanted, native, gains, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: native)
    assert choose_precision(wanted, torch.device("cpu"), gains) == expected


def test_bfloat16_learns_as_float32_does_and_keeps_float32_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = DatasetInfo("sample", tuple("0123456789"), 1, 28, 28, "MIT", "", light_on_dark=True)
    sample = load_sample()[0]
    runs = {}
    for precision in ("float32", "bfloat16"):
        runs[precision] = train_classifier(
            "mynet", {}, info, sample, Run(steps=76, batch_size=32, learning_rate=0.004), recipe="modern", seed=0,
            held_out=0.2, device=torch.device("cpu"), precision=precision,
        )  # fmt: skip
    for precision, trained in runs.items():
        assert trained.module.meta["settings"]["precision"] == precision
        assert {value.dtype for value in trained.module.network.parameters()} == {torch.float32}
        assert trained.validation["accuracy"] > 0.5
    full, half = (run.progress.rows[0]["train_loss"] for run in runs.values())
    assert full != half
    assert half == pytest.approx(full, rel=0.1)
    assert runs["float32"].checkpoint.path != runs["bfloat16"].checkpoint.path


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc hands memory back so soon")
def test_freed_memory_is_not_faulted_in_again():
    """A step frees and takes the same megabytes again and again; a page that comes back costs microseconds."""
    code = """
import resource, torch
from cnnlab.training.devices import tune_process
tune_process(torch.device("cpu"))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    kept = [torch.ones(2_000_000) for _ in range(4)]
for _ in range(20):
    step()
before = faults()
for _ in range(20):
    step()
assert faults() - before < 20_000, faults() - before  # 156,000 where each step gets fresh pages
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_numbers_too_small_to_matter_count_as_zero():
    """The gradients of a network that does not start to learn would take a CPU a hundred times as long."""
    code = """
import torch
from cnnlab.training.devices import choose_device, tune_process
tiny = torch.full((1000,), 1e-30)
device = choose_device("cpu")
assert (tiny * 1e-10).any()
tune_process(device)
assert not (tiny * 1e-10).any()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
