"""The VAE's formulas and its training: against closed forms, integrals and the report's own counts."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.core.params import load
from cnnlab.core.schema import Faces, Vae, VaeRun
from cnnlab.models import weights
from cnnlab.vae.densities import Prior
from cnnlab.vae.likelihoods import log_likelihood, mean_pixel, pixel_entropy
from cnnlab.vae.model import VAE, LearnedPrior, build
from cnnlab.vae.task import VaeTask
from cnnlab.vae.training import train_vae

KINDS = ("bernoulli", "continuous_bernoulli", "gaussian")


def settings(**changes) -> Vae:
    run = VaeRun(steps=150, batch_size=16, learning_rate=0.004, bound_pictures=20)
    values = {"dataset": "folder", "lfw": Faces(path="data/pictures", side=32), "z_dim": 4, "likelihood": "bernoulli"}
    values |= {
        "decoder": "relu",
        "prior": "normal",
        "beta": 1.0,
        "warm_up": 0.0,
        "binarize": False,
        "flip": False,
        "mixture": 2,
        "draws": 50,
    }
    return Vae(**values | {"smoke": run, "quick": run, "full": run} | changes)


def train(info, split, changes=None, **run):
    chosen = settings(**changes or {})
    plan = chosen.quick.model_copy(update=run)
    return train_vae(info, split, chosen, plan, seed=1, held_out=0.2, device=torch.device("cpu"))


def bars(n: int, channels: int = 1, side: int = 28, seed: int = 0) -> tuple[DatasetInfo, Split]:
    """Upright (class 0) and lying (class 1) bars of random place and brightness."""
    generator = np.random.default_rng(seed)
    images, labels = np.zeros((n, channels, side, side), np.uint8), np.arange(n) % 2
    for image, label, place, grey in zip(
        images, labels, generator.integers(2, side - 8, n), generator.integers(120, 256, n), strict=True
    ):
        image[(..., slice(place, place + 6)) if label == 0 else (slice(None), slice(place, place + 6))] = grey
    info = DatasetInfo("bars", ("upright", "lying"), channels, side, side, "none", "made", light_on_dark=True)
    return info, Split(images, labels)


@pytest.mark.parametrize("decoder", ["relu", "linear"])
def test_it_is_the_reports_network(decoder):
    vae = VAE((3, 32, 32), 32, decoder, "bernoulli")
    # conv 3·32·16 + 32, conv 32·64·16 + 64, 4096·128 + 128, two heads 128·32 + 32; 32·128 + 128, 128·4096 + 4096,
    # transposed 64·32·16 + 32, transposed 32·3·16 + 3
    assert sum(parameter.numel() for parameter in vae.parameters()) == 1_134_019
    mean, logvar = vae.encode(vae.pixels(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))
    assert mean.shape == logvar.shape == (2, 32)
    assert vae.decode(mean).shape == (2, 3, 32, 32)
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in vae.decoder) == (3 if decoder == "relu" else 2)


@pytest.mark.parametrize(
    ("shape", "padded"), [((1, 28, 28), 32), ((3, 32, 32), 32), ((3, 64, 64), 64), ((4, 33, 30), (40, 32))]
)
def test_every_channel_count_and_size_comes_back_as_it_went_in(shape, padded):
    vae = VAE(shape, 3, "relu", "bernoulli")
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    pixels = vae.pixels(images)
    assert pixels.shape[2:] == ((padded, padded) if isinstance(padded, int) else padded)
    logits = vae.decode(vae.encode(pixels)[0])
    assert logits.shape == pixels.shape
    # What the padding puts on, the image's cropping takes off.
    sharp = torch.where(pixels > 0.5, 20.0, -20.0)
    assert torch.equal(vae.image(sharp), torch.where(images > 127, 255, 0).to(torch.uint8))


def test_gradients_reach_every_parameter():
    for kind, prior in [(kind, "normal") for kind in KINDS] + [("bernoulli", "learned")]:
        vae = VAE((1, 28, 28), 3, "relu", kind, prior)
        images = torch.randint(0, 256, (8, 1, 28, 28), dtype=torch.uint8)
        loss, _ = VaeTask(vae, settings()).objective(images, images, 0.0, torch.Generator())
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters()), (kind, prior)


@pytest.mark.parametrize("logit", [-9.0, -1.3, -0.004, 0.0, 0.009, 0.0101, 2.5, 30.0])
def test_the_continuous_bernoulli_is_a_density_with_its_mean(logit):
    def density(x):
        return float(np.exp(log_likelihood("continuous_bernoulli", np.array(logit), x, 0.0, np)))

    assert quad(density, 0, 1)[0] == pytest.approx(1, abs=1e-6)
    mean = float(mean_pixel("continuous_bernoulli", np.array(logit), np))
    assert mean == pytest.approx(quad(lambda x: x * density(x), 0, 1)[0], abs=1e-5)


def test_the_gaussian_and_the_bernoulli_are_what_they_are_called():
    logits, pixels = np.array([0.3, -2.0, 40.0]), np.array([0.2, 1.0, 1.0])
    rate = 1 / (1 + np.exp(-logits))
    expected = pixels * np.log(rate) + (1 - pixels) * np.log(np.maximum(1 - rate, 1e-300))
    assert log_likelihood("bernoulli", logits, pixels, 0.0, np) == pytest.approx(expected, abs=1e-9)
    from scipy.stats import norm

    expected = norm(rate, math.exp(-1.5)).logpdf(pixels)
    assert log_likelihood("gaussian", logits, pixels, -1.5, np) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_and_torch_agree_and_extremes_stay_finite(kind):
    logits = np.array([-80.0, -3.0, -1e-3, 0.0, 1e-3, 4.0, 80.0], np.float32)
    pixels = np.array([0.0, 0.5, 1.0, 0.1, 0.9, 1.0, 0.0], np.float32)
    leaf = torch.tensor(logits, requires_grad=True)
    found = log_likelihood(kind, leaf, torch.from_numpy(pixels), torch.tensor(-1.0), torch)
    expected = log_likelihood(kind, logits, pixels, np.float32(-1.0), np)
    assert found.detach().numpy() == pytest.approx(expected, rel=1e-5)
    found.sum().backward()
    assert leaf.grad.isfinite().all()
    assert torch.isfinite(mean_pixel(kind, leaf, torch)).all()


def test_the_floor_is_the_cross_entropy_of_a_perfect_decoder():
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    grey = np.clip(images / 255, 1e-12, 1 - 1e-12)
    perfect = log_likelihood("bernoulli", np.log(grey / (1 - grey)), images / 255, 0.0, np)
    assert pixel_entropy(images) == pytest.approx(-perfect.sum() / 5, abs=1e-6)
    assert pixel_entropy(np.where(images > 99, 255, 0).astype(np.uint8)) == 0


def test_kl_and_reconstruction_are_sums_over_dimensions_and_means_over_pictures():
    vae = VAE((1, 28, 28), 5, "relu", "bernoulli")
    with torch.no_grad():
        for layer, value in ((vae.mean, 0.7), (vae.logvar, -0.4)):
            layer.weight.zero_()
            layer.bias.fill_(value)
        vae.decoder[-1].weight.zero_()
        vae.decoder[-1].bias.fill_(0.0)
    images = torch.zeros(6, 1, 28, 28, dtype=torch.uint8)
    loss, sums = VaeTask(vae, settings(beta=2.0, warm_up=0.5)).objective(images, images, 0.25, torch.Generator())
    kl = 5 * 0.5 * (0.7**2 + math.exp(-0.4) + 0.4 - 1)
    assert sums["kl"].item() / 6 == pytest.approx(kl, rel=1e-5)
    assert sums["reconstruction"].item() / 6 == pytest.approx(1024 * math.log(2), rel=1e-5)
    assert loss.item() == pytest.approx(
        1024 * math.log(2) + kl, rel=1e-5
    )  # β is half its 2 halfway through the warm-up
    assert sums["loss"].item() / 6 == pytest.approx(1024 * math.log(2) + 2 * kl, rel=1e-5)


def test_binarising_draws_anew_and_keeps_the_mean():
    vae = VAE((1, 28, 28), 2, "relu", "bernoulli", unpadded=True)
    task, seen = VaeTask(vae, settings(binarize=True)), []
    vae.encode = lambda pixels: seen.append(pixels) or (torch.zeros(len(pixels), 2), torch.zeros(len(pixels), 2))
    images = torch.full((100, 1, 28, 28), 51, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        task.objective(images, images, 0.0, generator)
    assert seen[0].shape == (100, 1, 28, 28)  # unpadded
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert float(seen[0].mean()) == pytest.approx(0.2, abs=0.01)
    assert not torch.equal(seen[0], seen[1])


def test_training_lowers_the_bound_keeps_its_parts_and_repeats_to_the_byte(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info, split = bars(120)
    trained = train(info, split)
    first, last = trained.progress.rows[0], trained.progress.rows[-1]
    assert last["validation_loss"] < 0.8 * first["validation_loss"]
    assert last["validation_loss"] == pytest.approx(last["validation_reconstruction"] + last["validation_kl"])
    assert last["train_kl"] > 0
    figures = trained.metrics()
    assert (figures["n_train"], figures["n_validation"], figures["seed"]) == (96, 24, 1)
    weights.save("a.pt", trained.module, trained.meta)
    trained.checkpoint.remove()
    again = train(info, split)
    weights.save("b.pt", again.module, again.meta)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    module, meta = weights.load("a.pt", build)
    assert meta["class_names"] == ["upright", "lying"]
    assert torch.equal(module.mean.weight, trained.module.mean.weight)


def test_a_learned_prior_fits_the_codes_better_than_the_normal_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info, split = bars(120)
    normal, learned = (train(info, split, {"prior": prior}, steps=400).metrics() for prior in ("normal", "learned"))
    assert learned["validation_kl"] < normal["validation_kl"]
    assert learned["validation_loss"] < normal["validation_loss"]


def test_the_two_forms_of_a_learned_prior_agree_and_integrate_to_one():
    torch.manual_seed(0)
    learned = LearnedPrior(2)
    with torch.no_grad():
        learned.logvar.uniform_(-3, 1)
        learned.logits.uniform_(-2, 2)
    values = learned.logits.double().softmax(0), learned.mean, learned.logvar
    prior = Prior(*(value.detach().double().numpy() for value in values))
    axis = np.linspace(-9, 9, 361)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = prior.log_density(plane)
    assert np.exp(density).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)
    found = learned.log_density(torch.tensor(plane, dtype=torch.float32)).detach().numpy()
    assert found == pytest.approx(density, abs=1e-3)
    drawn = prior.sample(50_000, np.random.default_rng(0))
    mean = prior.weights @ prior.mean
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.05)
    spread = prior.weights @ (np.exp(prior.logvar) + (prior.mean - mean) ** 2)
    assert drawn.var(axis=0) == pytest.approx(spread, rel=0.05)


def test_a_small_beta_buys_reconstruction_with_kl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info, split = bars(80)
    loose, tight = (train(info, split, {"beta": beta}).metrics() for beta in (0.1, 20.0))
    assert loose["validation_kl"] > tight["validation_kl"]
    assert loose["validation_reconstruction"] < tight["validation_reconstruction"]


@pytest.mark.parametrize("kind", ["continuous_bernoulli", "gaussian"])
def test_the_other_likelihoods_train_too(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    info, split = bars(40, channels=3, side=32)
    trained = train(info, split, {"likelihood": kind}, steps=20)
    assert trained.progress.rows[-1]["validation_loss"] < trained.progress.rows[0]["validation_loss"]
    if kind == "gaussian":
        assert float(trained.module.log_scale.detach()) != -1.0  # its width is learned


def test_fewer_pictures_than_a_batch_are_one_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info, split = bars(10)
    assert train(info, split, steps=3, batch_size=64).metrics()["n_train"] == 8
    with pytest.raises(UserError, match="3 training pictures are too few"):
        train(info, Split(split.images[:3], split.labels[:3]))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info, split = bars(60)
    with pytest.raises(UserError, match=r"vae: the loss is not finite in epoch \d+, step \d+"):
        train(info, split, learning_rate=90.0)


def test_sizes_that_binarising_cannot_take_are_refused():
    with pytest.raises(UserError, match="multiple of four"):
        VAE((1, 30, 30), 2, "relu", "bernoulli", unpadded=True)


@pytest.mark.parametrize("damage", [b"", b"no model"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "vae.pt"
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"vae\.pt is not a complete cnnlab model"):
        weights.load(path, build)
    with pytest.raises(UserError, match="is not here"):
        weights.load(tmp_path / "none.pt", build)


def test_flipping_mirrors_half_of_what_it_learns_from_and_nothing_that_it_measures():
    vae, seen = VAE((1, 28, 28), 2, "relu", "bernoulli"), []
    vae.encode = lambda pixels: seen.append(pixels[:, 0, 14, 2]) or (torch.zeros(len(pixels), 2),) * 2
    images = torch.zeros(400, 1, 28, 28, dtype=torch.uint8)
    images[..., 0] = 255  # the left border; 2 pixels further in once padded
    task = VaeTask(vae, settings(flip=True))
    generator = torch.Generator().manual_seed(0)
    task.objective(task.augment(images, generator), images, 0.0, generator)
    task.measure(images, images, torch.Generator())
    assert 0.4 < float(seen[0].mean()) < 0.6
    assert float(seen[1].mean()) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("z_dim: 32", "z_dim: 0", ["vae.z_dim is 0", "greater than or equal to 1"]),
        ("likelihood: bernoulli", "likelihood: poisson", ["vae.likelihood", "'continuous_bernoulli'"]),
        ("binarize: false", "binarize: true", ["binarize goes with likelihood bernoulli"]),
        ("beta: 1.0", "beta: -1.0", ["vae.beta", "greater than or equal to 0"]),
    ],
)
def test_wrong_settings_are_named(tmp_path, old, new, told):
    text = Path("params.yaml").read_text()
    assert text.count(old) == 1
    if "binarize" in new:
        text = text.replace("likelihood: bernoulli", "likelihood: gaussian")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as error:
        load(path)
    assert all(part in str(error.value) for part in told), error.value
