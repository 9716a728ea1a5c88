"""The exported VAE: parity, codes, samples, figures, pictures and the three commands, through onnxruntime alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from cnnlab.cli.interpolate import interpolate
from cnnlab.cli.reconstruct import reconstruct
from cnnlab.cli.sample import sample
from cnnlab.core.artifacts import write_array, write_bytes
from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError
from cnnlab.figures.generation import mosaic_of, tile_sheet
from cnnlab.page import live
from cnnlab.vae import export
from cnnlab.vae.codec import Decoder, Encoder, pack_gaussians, unpack_gaussians
from cnnlab.vae.densities import Gaussian, Mixture, Prior, fit_gaussian, fit_gaussians, fit_mixture
from cnnlab.vae.evaluation import evaluate
from cnnlab.vae.frechet import frechet_distance
from cnnlab.vae.gallery import sheets
from cnnlab.vae.latent import manifold, spherical, straight
from cnnlab.vae.likelihoods import log_likelihood
from cnnlab.vae.measure import (
    _log_likelihood,
    bounds,
    confidence_figures,
    importance_weighted_bound,
    kl_by_dimension,
    neighbour_accuracy,
    reconstruction_errors,
)
from cnnlab.vae.model import VAE
from cnnlab.vae.task import VaeTask
from cnnlab.vae.training import describe_vae
from tests.test_vae import bars, settings

RUNNER = CliRunner()


def run(command, *arguments):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def exported(z_dim=4, labelled=True, **changes):
    """A VAE with fresh weights, its two files' bytes, and its pictures."""
    info, split = bars(60)
    info = info if labelled else replace(info, class_names=(), light_on_dark=False)
    chosen = settings(z_dim=z_dim, **changes)
    meta = describe_vae(info, chosen, chosen.quick, 1, 0.2)
    torch.manual_seed(0)
    vae = VAE(info.shape, z_dim, chosen.decoder, chosen.likelihood, chosen.prior, chosen.binarize).eval()
    return vae, export.to_onnx(vae, meta, split.images, split.labels, 2), split


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with an exported VAE, and the VAE itself."""
    folder = tmp_path_factory.mktemp("project")
    vae, (encoder, decoder), split = exported()
    write_bytes(folder / "models" / "vae_encoder.onnx", encoder)
    write_bytes(folder / "models" / "vae_decoder.onnx", decoder)
    return folder, vae, split


@pytest.fixture
def files(project, monkeypatch):
    folder, vae, split = project
    monkeypatch.chdir(folder)
    return Encoder.load("models/vae_encoder.onnx"), Decoder.load("models/vae_decoder.onnx"), vae, split


def test_the_files_answer_as_torch_and_hold_the_contract(files):
    encoder, decoder, vae, split = files
    encoder_bytes, decoder_bytes = (Path(f"models/vae_{part}.onnx").read_bytes() for part in ("encoder", "decoder"))
    figures = export.check_parity(vae, encoder_bytes, decoder_bytes, split.images, 0)
    assert figures["parity_codes_within"] <= 1e-5
    assert figures["parity_pictures"] == 60
    (image,), (z,) = encoder.session.get_inputs(), decoder.session.get_inputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [1, 28, 28])
    assert (z.name, z.type, z.shape[1:]) == ("z", "tensor(float)", [4])
    for data in (encoder_bytes, decoder_bytes):
        model = onnx.load_from_string(data)
        assert [(item.domain, item.version) for item in model.opset_import] == [("", 13)]
        assert model.ir_version <= 8
    assert decoder.images(np.zeros((3, 4))).shape == (3, 1, 28, 28)
    assert decoder.images(np.zeros((3, 4))).dtype == np.uint8
    assert decoder.logits(np.zeros((3, 4))).shape == (3, 1, 32, 32)
    assert decoder.class_names == ("upright", "lying")
    assert str(Path(__file__).parent.parent).encode() not in decoder_bytes
    assert b"site-packages" not in encoder_bytes


def test_another_networks_file_is_an_error_of_parity(project):
    folder, _, split = project
    other = VAE((1, 28, 28), 4, "linear", "bernoulli").eval()
    encoder, decoder = ((folder / f"models/vae_{part}.onnx").read_bytes() for part in ("encoder", "decoder"))
    with pytest.raises(UserError, match="does not answer as torch does"):
        export.check_parity(other, encoder, decoder, split.images, 0)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "gaussian"])
def test_exporting_gives_the_same_bytes_each_time_for_every_likelihood(likelihood):
    vae, first, split = exported(likelihood=likelihood)
    _, second, _ = exported(likelihood=likelihood)
    assert first == second
    export.check_parity(vae, *first, split.images, 0)


def test_a_class_gaussian_has_the_moments_of_the_aggregate_posterior(files):
    generator = np.random.default_rng(0)
    mean, logvar = generator.normal(size=(500, 3)), generator.normal(size=(500, 3)) - 1
    labels = np.arange(500) % 2
    first, second = fit_gaussians(mean + 5 * labels[:, None], logvar, labels, 2)
    assert second.mean == pytest.approx(mean[labels == 1].mean(axis=0) + 5)
    spread = np.cov(mean[labels == 0].T, bias=True) + np.diag(np.exp(logvar[labels == 0]).mean(axis=0))
    assert first.factor @ first.factor.T == pytest.approx(spread)
    assert np.cov(first.sample(20_000, generator).T) == pytest.approx(spread, abs=0.1)
    (again,) = unpack_gaussians(pack_gaussians([first]), 3)
    assert again.factor == pytest.approx(first.factor, rel=1e-6)


def test_the_importance_weighted_bound_is_exact_where_the_posterior_is(files):
    """Where the decoder ignores z and q is the prior, every weight is p(x): the bound is log p(x) itself."""
    _, decoder, _, split = files
    images = split.images[:4]
    flat = replace(decoder, session=Constant(decoder.session, 0.0))
    bound = importance_weighted_bound(flat, images, np.zeros((4, 4)), np.zeros((4, 4)), np.random.default_rng(0))
    assert bound == pytest.approx(np.full(4, -1024 * np.log(2)), rel=1e-6)


def test_many_draws_tighten_the_importance_weighted_bound(files):
    encoder, decoder, _, split = files
    images = split.images[:5]
    mean, logvar = encoder.codes(images)
    one, many = (
        np.mean([importance_weighted_bound(decoder, images, mean, logvar, np.random.default_rng(seed), draws).mean()
                 for seed in range(8)]) for draws in (1, 120)
    )  # fmt: skip
    assert many > one
    figures = bounds(encoder, decoder, images, bound_pictures=5, draws=120, seed=0)
    assert figures["importance_weighted_draws"] == 120
    assert figures["importance_weighted_plain_loss"] == pytest.approx(figures["loss"])  # of the same pictures


@pytest.mark.parametrize(
    ("likelihood", "counted"), [("gaussian", 784), ("continuous_bernoulli", 784), ("bernoulli", 1024)]
)
def test_a_density_counts_the_pictures_own_pixels_alone(files, likelihood, counted):
    """A decoder that says the same of every pixel: the sum over pixels shows how many were counted."""
    _, decoder, _, split = files
    flat = replace(decoder, session=Constant(decoder.session, 0.0), meta=decoder.meta | {"likelihood": likelihood})
    dark = np.zeros_like(split.images[:2])
    each = log_likelihood(likelihood, np.zeros(1), np.zeros(1), np.float32(decoder.meta["log_scale"]), np)
    assert _log_likelihood(flat, dark, np.zeros((2, 4))) == pytest.approx(np.full(2, counted * each[0]), rel=1e-6)
    vae = VAE((1, 28, 28), 4, "relu", likelihood)
    vae.decode = lambda z: torch.zeros(len(z), 1, 32, 32)
    found = VaeTask(vae, settings(z_dim=4, likelihood=likelihood)).measure(
        torch.tensor(dark), torch.zeros(2), torch.Generator().manual_seed(0)
    )
    assert float(found["reconstruction"].detach()) == pytest.approx(-2 * counted * each[0], rel=1e-5)


class Constant:
    """A decoder's session that gives the same logit everywhere."""

    def __init__(self, session, value):
        self.session, self.value = session, value

    def run(self, outputs, inputs):
        return [np.full_like(value, self.value) for value in self.session.run(outputs, inputs)]


def test_the_figures_agree_with_each_other(files):
    encoder, decoder, _, split = files
    train, test = Split(split.images[:40], split.labels[:40]), Split(split.images[40:], split.labels[40:])
    figures, notes = evaluate(encoder, decoder, train, test, None, bound_pictures=10, seed=3)
    assert figures["loss"] == pytest.approx(figures["reconstruction"] + figures["kl"])
    assert "evidence" not in str(figures)
    assert figures["reconstruction_over_floor"] == pytest.approx(figures["reconstruction"] - figures["floor"])
    assert figures["floor"] > 0
    assert 0 <= figures["active_units"] <= 4
    assert (figures["n"], figures["importance_weighted_n"], figures["importance_weighted_draws"]) == (20, 10, 50)
    assert 0 <= figures["neighbour_accuracy"] <= 1
    assert figures == evaluate(encoder, decoder, train, test, None, bound_pictures=10, seed=3)[0]
    assert len(notes) == 1
    assert "no classifier" in notes[0]


class Judge:
    """Stands for mynet: two classes by where the light is, features by the mean grey."""

    shape = (1, 28, 28)

    def outputs(self, images, names):
        halves = images.reshape(len(images), 2, -1).mean(axis=2)
        yield {"logits": halves / 10, "fc1": halves}

    def probabilities(self, logits):
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_a_classifier_judges_samples_reconstructions_and_real_pictures(files):
    encoder, decoder, _, split = files
    figures, notes = evaluate(encoder, decoder, split, split, Judge(), bound_pictures=5, seed=0)
    assert notes == []
    assert figures["mynet_frechet_n"] == figures["mynet_samples_n"] == 60
    # The same pictures are at no distance, and what fresh weights make of them is far.
    assert figures["mynet_frechet_test_pictures"] == pytest.approx(0, abs=1e-6)
    assert figures["mynet_frechet_samples"] > 100
    assert figures["mynet_frechet_reconstructions"] > 100
    assert {f"mynet_{name}_confident" for name in ("samples", "class_samples", "test_pictures")} <= figures.keys()
    larger = type("Larger", (Judge,), {"shape": (3, 32, 32)})()
    assert any(
        "no classifier" in note
        for note in evaluate(encoder, decoder, split, split, larger, bound_pictures=5, seed=0)[1]
    )


def test_of_a_binarised_vae_the_densities_are_fitted_to_codes_of_zeros_and_ones(monkeypatch):
    seen = []
    codes = Encoder.codes
    monkeypatch.setattr(Encoder, "codes", lambda self, images: seen.append(images) or codes(self, images))
    exported(binarize=True)
    assert set(np.unique(seen[0])) == {0, 255}


def test_neighbours_tell_clusters_apart_and_noise_not():
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 2
    codes = generator.normal(size=(400, 5)) + 6 * labels[:, None]
    halves = codes[:200], labels[:200], codes[200:]
    assert neighbour_accuracy(*halves, labels[200:]) == 1
    assert 0.3 < neighbour_accuracy(*halves, generator.integers(0, 2, 200)) < 0.7


def test_the_frechet_distance_is_the_closed_form():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(50_000, 2)) * [1, 3]
    second = generator.normal(size=(50_000, 2)) * [2, 1] + [4, 0]
    # |μ₁ − μ₂|² + Σ (σ₁ − σ₂)² = 16 + 1 + 4
    assert frechet_distance(first, second) == pytest.approx(21, rel=0.02)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first[:3], second[:3]) > 0  # fewer rows than make a covariance of full rank


def test_confidence_counts_classes_of_all_and_of_the_sure():
    probabilities = np.array([[0.9, 0.1], [0.85, 0.15], [0.3, 0.7], [0.05, 0.95]])
    assert confidence_figures(probabilities, "x") == {
        "x_confident": 0.75, "x_rarest_class": 0.5, "x_rarest_class_of_confident": pytest.approx(1 / 3),
    }  # fmt: skip


def test_errors_of_reconstruction_are_of_pixels_in_one():
    errors, ratios = reconstruction_errors(np.full((1, 1, 2, 2), 255, np.uint8), np.zeros((1, 1, 2, 2), np.uint8))
    assert (errors[0], ratios[0]) == (1, 0)
    assert reconstruction_errors(*[np.zeros((1, 1, 2, 2), np.uint8)] * 2)[1][0] == 100  # the same picture: capped


def test_the_sphere_keeps_lengths_and_the_line_does_not():
    first, second = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    alphas = np.array([0, 0.5, 1])
    assert straight(first, second, alphas) == pytest.approx(np.array([[0, 2], [1, 1], [2, 0]]))
    assert np.linalg.norm(spherical(first, second, alphas), axis=1) == pytest.approx(2)
    assert spherical(first, 3 * first, alphas) == pytest.approx(straight(first, 3 * first, alphas))
    assert spherical(first, 0 * first, alphas) == pytest.approx(straight(first, 0 * first, alphas))


def test_the_plane_is_equally_likely_steps():
    codes = manifold(5)
    assert codes[2, 2] == pytest.approx([0, 0], abs=1e-12)
    assert codes[0, 0, 0] == codes[4, 0, 0] < 0 < codes[0, 0, 1]


def test_with_fewer_dimensions_than_ever_every_sheet_is_drawn():
    _, (encoder, decoder), split = exported(z_dim=2)
    pair = Encoder(*_opened(encoder)), Decoder(*_opened(decoder))
    made = sheets(*pair, split.images, split.labels, 0)
    assert set(made) == {
        "samples", "mixture_samples", "reconstructions", "interpolation_prior", "interpolation_within",
        "interpolation_between", "interpolation_means", "traversal", "class_samples", "manifold",
    }  # fmt: skip
    between = made["interpolation_between"].tiles
    assert between.shape == (2, 6, 1, 28, 28)  # two classes: one couple, two ways
    assert np.array_equal(between[0, [0, -1]], between[1, [0, -1]])  # both ways have the same ends
    again = sheets(*pair, split.images, split.labels, 0)
    assert all(np.array_equal(made[name].tiles, again[name].tiles) for name in made)
    for sheet in made.values():
        assert tile_sheet(**vars(sheet)).get_figwidth() > 0


def _opened(data):
    from cnnlab.inference.session import decode, session_of

    session = session_of(data, "test")
    return session, decode(session.get_modelmeta().custom_metadata_map, "test")


def test_without_labels_what_needs_them_is_left_out_and_said(files):
    encoder, decoder, _, split = files
    bare = replace(decoder, meta=decoder.meta | {"class_names": []})
    made = sheets(encoder, bare, split.images, split.labels, 0)
    assert "class_samples" not in made
    assert "interpolation_pictures" in made
    figures, notes = evaluate(encoder, bare, split, split, None, bound_pictures=5, seed=0)
    assert "neighbour_accuracy" not in figures
    assert any("no labels" in note for note in notes)
    with pytest.raises(UserError, match="no classes"):
        bare.class_index("Sneaker")


def test_a_sheet_shows_every_tile_whole():
    tiles = np.arange(2 * 3 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 3, 4, 5)
    mosaic = mosaic_of(tiles)
    assert mosaic.shape == (2 * 4 + 2, 3 * 5 + 4, 3)
    assert np.array_equal(mosaic[6:10, 7:12], tiles[1, 1].transpose(1, 2, 0))
    assert (mosaic[4:6] == 255).all()


def test_sampling_is_seeded_and_knows_its_classes(files, tmp_path):
    pictures = []
    for seed in (0, 0, 1):
        path = tmp_path / f"{len(pictures)}.png"
        assert run(sample, "--n", 9, "--seed", seed, "--grid", path).exit_code == 0
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    assert run(sample, "--n", 9, "--prior", "--grid", tmp_path / "p.png").exit_code == 0
    assert (tmp_path / "p.png").read_bytes() != pictures[0]
    assert "exclude each other" in str(run(sample, "--prior", "--class", "upright").exception)
    result = run(sample, "--n", 4, "--class", "UPRIGHT", "--grid", tmp_path / "c.png")
    assert result.exit_code == 0
    assert "4 sampled pictures of upright" in result.output
    for wrong in ("uprite", "Sneaker"):
        error = run(sample, "--class", wrong, "--grid", tmp_path / "c.png").exception
        assert isinstance(error, UserError)
        assert "known are upright, lying" in str(error)
    assert run(sample, "--n", 0).exit_code == 2
    assert "must end in .png" in str(run(sample, "--n", 1, "--grid", tmp_path / "c.jpg").exception)


def test_reconstructing_takes_any_picture_and_names_the_ones_that_are_none(files, tmp_path):
    (tmp_path / "photos" / "below").mkdir(parents=True)
    Image.new("RGBA", (300, 40), (200, 10, 10, 90)).save(tmp_path / "photos" / "wide.png")
    Image.new("L", (28, 28), 7).save(tmp_path / "photos" / "below" / "grey.png")
    (tmp_path / "photos" / "text.png").write_text("no picture")
    for named in (sorted((tmp_path / "photos").rglob("*.png")), [tmp_path / "photos"], [tmp_path / "photos/**/*.png"]):
        result = run(reconstruct, *named, "--grid", tmp_path / "out.png")
        assert result.exit_code == 1  # one of three failed
        assert "out.png: 2 pictures, each above its reconstruction." in result.output
        assert "text.png: is not a picture" in result.output
        assert (tmp_path / "out.png").stat().st_size > 0
    result = run(reconstruct, tmp_path / "photos" / "text.png", "--grid", tmp_path / "out2.png")
    assert result.exit_code == 1
    assert not (tmp_path / "out2.png").exists()


def test_names_command_neither_the_terminal_nor_the_lines_around_them(files, tmp_path):
    evil = tmp_path / "e\x1b[31mred\nforged: mean squared error 0.0000.png"
    Image.new("L", (28, 28), 7).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(evil)
    for result in (
        run(reconstruct, evil, "--grid", tmp_path / "out.png"),
        run(interpolate, evil, evil, "--grid", tmp_path / "out.png"),
        run(reconstruct, tmp_path / "missing\x1b[31m.png"),
    ):
        assert "\x1b" not in result.output
        assert not any(line.startswith("forged") for line in result.output.splitlines())


def test_interpolating_goes_from_the_first_to_the_second(files, tmp_path, monkeypatch):
    encoder, decoder, _, split = files
    for index in (0, 1):
        Image.fromarray(split.images[index, 0]).save(tmp_path / f"{index}.png")
    drawn = []
    monkeypatch.setattr("cnnlab.cli.sheets.tile_sheet", lambda **sheet: drawn.append(sheet) or tile_sheet(**sheet))
    ends = [tmp_path / "0.png", tmp_path / "1.png"]
    assert run(interpolate, *ends, "--steps", 5, "--grid", tmp_path / "way.png").exit_code == 0
    expected = decoder.images(encoder.codes(split.images[:2])[0])
    tiles = drawn[0]["tiles"]
    assert tiles.shape[:2] == (2, 5)
    for row in tiles:
        assert np.abs(row[[0, -1]].astype(int) - expected).max() <= 1
    (tmp_path / "text").write_text("no picture")
    result = run(interpolate, ends[0], tmp_path / "text")
    assert result.exit_code == 1
    assert "text: is not a picture" in result.output
    (tmp_path / "both").mkdir()
    for end in ends:
        end.rename(tmp_path / "both" / end.name)
    assert "name 4 pictures" in str(run(interpolate, tmp_path / "both", tmp_path / "both").exception)
    assert run(interpolate, *ends, "--steps", 1).exit_code == 2


def test_wrong_files_are_distinguished(files, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="not the part of cnnlab's VAE"):
        Encoder.load("models/vae_decoder.onnx")
    with pytest.raises(UserError, match="takes uint8 pictures"):
        files[0].codes(np.zeros((1, 1, 32, 32), np.uint8))
    model = onnx.load("models/vae_decoder.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(UserError, match="lacks the metadata"):
        Decoder.load(tmp_path / "bare.onnx")
    monkeypatch.chdir(tmp_path)
    assert "vae_decoder.onnx is not here" in str(run(sample).exception)


def test_sampling_and_measuring_import_no_torch():
    script = (
        "import sys, stages.vae_sample, cnnlab.cli.sample, cnnlab.cli.reconstruct, "
        "cnnlab.cli.interpolate, cnnlab.cli.sheets, cnnlab.cli.inputs, cnnlab.vae.datasets; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_mixture_finds_the_heaps_that_a_gaussian_cannot():
    """Two heaps in each of two classes: the mixture's density of new codes is the true one's, one Gaussian's is not."""
    heaps = [Gaussian(np.array([x, y]), 0.5 * np.eye(2)) for x in (-3.0, 3.0) for y in (-3.0, 3.0)]
    true, generator = Mixture(np.full(4, 0.25), heaps), np.random.default_rng(0)
    codes = true.sample(4000, generator)
    labels = (codes[:, 0] > 0).astype(int)
    posteriors = codes, np.full_like(codes, -20.0)  # as good as points
    fitted = fit_mixture(*posteriors, labels, 2, 0)
    assert len(fitted.gaussians) == 4
    assert fitted.weights.sum() == pytest.approx(1)
    new = true.sample(4000, generator)
    best = true.log_density(new).mean()
    assert fitted.log_density(new).mean() == pytest.approx(best, abs=0.01)
    assert fit_gaussian(*posteriors).log_density(new).mean() < best - 0.5
    again = fit_mixture(*posteriors, labels, 2, 0)
    assert all(np.array_equal(a.factor, b.factor) for a, b in zip(fitted.gaussians, again.gaussians, strict=True))
    (weight,) = fit_mixture(*(part[:79] for part in posteriors), labels[:79] * 0, 2, 0).weights  # too few for two
    assert weight == 1


def test_no_gaussian_of_a_mixture_stands_on_a_handful_of_codes():
    generator = np.random.default_rng(0)
    far = np.concatenate(
        [generator.standard_t(1.5, (1600, 4)), np.full((3, 4), 1e4)]
    )  # heavy tails, and three far away
    fitted = fit_mixture(far, np.full_like(far, -20.0), np.zeros(len(far), int), 10, 0)
    assert fitted.weights.min() * len(far) >= 8 or len(fitted.weights) == 1


def test_the_density_of_a_gaussian_integrates_to_one():
    slanted = Gaussian(np.array([0.5, -1.0]), np.array([[0.7, 0.0], [0.4, 0.3]]))
    axis = np.linspace(-6, 6, 241)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(slanted.log_density(plane)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_the_mixture_as_the_prior_itself_changes_no_bound(files):
    encoder, decoder, _, split = files
    standard = Mixture(np.ones(1), [Gaussian(np.zeros(4), np.eye(4))])
    meta = decoder.meta | {"mixture": pack_gaussians(standard.gaussians), "mixture_weights": [1.0]}
    generator = np.random.default_rng(0)
    mean, logvar = generator.normal(0, 2, (500, 4)), generator.normal(-2, 1, (500, 4))
    certain = replace(encoder)
    object.__setattr__(certain, "codes", lambda images: (mean.astype(np.float32), logvar.astype(np.float32)))
    images = np.resize(split.images, (500, *split.images.shape[1:]))
    figures = bounds(certain, replace(decoder, meta=meta), images, bound_pictures=5, seed=0)
    # one draw a picture, so the two differ by the noise of the draws alone
    assert figures["kl"] > 10
    assert figures["mixture_kl"] == pytest.approx(figures["kl"], abs=0.5)


def test_the_figures_are_of_the_learned_prior_where_there_is_one(tmp_path):
    vae, _, split = exported(prior="learned")
    with torch.no_grad():  # far from N(0, I)
        vae.prior.mean.mul_(0.1).add_(1)
        vae.prior.logvar.fill_(-2)
    meta = describe_vae(bars(60)[0], settings(z_dim=4, prior="learned"), settings().quick, 1, 0.2)
    for name, data in zip("ed", export.to_onnx(vae, meta, split.images, split.labels, 2), strict=True):
        write_bytes(tmp_path / name, data)
    coder, painter = Encoder.load(tmp_path / "e"), Decoder.load(tmp_path / "d")
    figures = bounds(coder, painter, split.images, bound_pictures=60, draws=50, seed=0)
    task = VaeTask(vae, settings(z_dim=4, prior="learned"))
    images = torch.tensor(split.images)
    draws = [task.measure(images, images, torch.Generator().manual_seed(seed)) for seed in range(20)]
    expected = np.mean([float(each["kl"].detach()) for each in draws]) / 60
    assert figures["kl"] == pytest.approx(expected, rel=0.1)
    normal = kl_by_dimension(Prior(np.ones(1), *np.zeros((2, 1, 4))), *coder.codes(split.images)).mean(axis=0).sum()
    assert figures["kl"] > 2 * normal
    assert figures["importance_weighted_loss"] < figures["loss"]
    assert painter.prior.sample(500, np.random.default_rng(0)).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("packed", [None, "", "x", 3, "AAAA"])
def test_a_learned_prior_that_is_none_is_reported(files, packed):
    _, decoder, _, _ = files
    with pytest.raises(UserError, match="metadata prior_gaussians"):
        _ = replace(decoder, meta=decoder.meta | {"prior": "learned", "prior_gaussians": packed}).prior


@pytest.mark.parametrize("changes", [{"labelled": False}, {"prior": "learned"}])
def test_the_live_page_takes_any_vae(tmp_path, monkeypatch, changes):
    monkeypatch.chdir(tmp_path)
    _, files, split = exported(**changes)
    for part, data in zip(("encoder", "decoder"), files, strict=True):
        write_bytes(tmp_path / f"models/vae_{part}.onnx", data)
    for name, values in (("images", split.images), ("labels", split.labels)):
        write_array(Path("data/vae/test") / f"{name}.npy", values)
    about, _ = live._vae()
    assert len(about["gaussians"]) == (2 if about["class_names"] else 0)
    assert len(about["prior"]["shares"]) == (500 if changes.get("prior") else 1)
    assert about["prior"]["shares"][-1] == pytest.approx(1, abs=1e-4)
    assert len(about["moments"][0]) == len(about["dimensions"]) == len(about["kl"])


@pytest.mark.parametrize("weights", [None, [], [1.0], [0.5, 0.6], [-1.0, 2.0], "x", [[1], [1, 2]], [float("nan")] * 2])
def test_weights_that_are_none_are_reported(files, weights):
    _, decoder, _, _ = files
    with pytest.raises(UserError, match="metadata mixture"):
        replace(decoder, meta=decoder.meta | {"mixture_weights": weights}).mixture()


def test_gaussians_sample_what_they_are():
    tight = Gaussian(np.array([3.0, -2.0]), np.diag([0.1, 2.0]))
    drawn = tight.sample(5000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx([3, -2], abs=0.1)
    assert drawn.std(axis=0) == pytest.approx([0.1, 2], rel=0.05)
