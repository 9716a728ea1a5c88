"""Few pictures, unequal classes, names of any letters: what the whole pipeline makes of the sets that people bring."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from cnnlab.baselines.classifiers import fit_baselines
from cnnlab.core import artifacts, fonts, metrics, params, schema
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.split import stratified_split
from cnnlab.embedding import features
from cnnlab.embedding.maps import METHODS, caption, embed, summary
from cnnlab.embedding.pca import constant_features
from cnnlab.embedding.quality import measure, no_quality
from cnnlab.export.bundle import make_bundle
from cnnlab.figures.classification import worst_mistakes
from cnnlab.figures.embeddings import Panel, embedding_grid, embedding_map
from cnnlab.figures.style import fit
from cnnlab.inference.calibration import fit_temperature, label_smoothing
from cnnlab.inference.session import Model, session_of
from cnnlab.training import classification
from cnnlab.training.classification import answers_one_class, train_classifier
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.evaluation import evaluate
from cnnlab.vae.export import check_parity, to_onnx
from cnnlab.vae.gallery import sheets
from cnnlab.vae.training import train_vae

SHIPPED = params.load(Path(__file__).parent.parent / "params.yaml")
CPU = torch.device("cpu")


def pictures(sizes: list[int], channels: int, side: int, seed: int, kind: str = "noise") -> tuple[DatasetInfo, Split]:
    """A data set of classes of these sizes: noise, one flat colour a class, or all pictures the same."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    shape = (len(labels), channels, side, side)
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if kind == "flat":
        images = np.broadcast_to((labels * 255 // len(sizes)).astype(np.uint8)[:, None, None, None], shape).copy()
    if kind == "same":
        images = np.full(shape, 77, np.uint8)
    info = DatasetInfo("folder", tuple(f"${i}_猫" for i in range(len(sizes))), channels, side, side, "", "", False)
    return info, Split(images, labels)


def whole_pipeline(info: DatasetInfo, split: Split, folder: Path) -> None:
    """Every library function of the pipeline, on a data set split as a folder is."""
    rest, drawn = stratified_split(split.labels, 0.15, 0)
    train, test = Split(split.images[rest], split.labels[rest]), Split(split.images[drawn], split.labels[drawn])
    names = info.class_names
    baselines = fit_baselines(train, test, 0)
    assert all(np.isfinite(v) for v in baselines.figures(names).values() if not isinstance(v, str))
    assert sum(row["train"] for row in baselines.by_class(names)) == len(train.labels)

    run = schema.Run(steps=2, batch_size=256, flip=True, shift=4)
    options = {"act": "relu", "channels": [2, 3], "kernel_size": 3}
    trained = train_classifier(
        "lenet", options, info, train, run, recipe="modern", seed=0, held_out=0.15 / 0.85, device=CPU,
        class_weights="balanced",
    )  # fmt: skip
    artifacts.write_json(folder / "train.json", trained.metrics())
    bundle = make_bundle(trained.module, train)
    artifacts.write_json(folder / "export.json", bundle.metrics)

    model = Model.of(session_of(bundle.features, "features"), "features")
    logits = model.logits(test.images)
    figures = metrics.classification_metrics(logits, test.labels, model.temperature)
    figures |= metrics.quantisation_loss(
        logits, Model.of(session_of(bundle.int8, "int8"), "int8").logits(test.images), test.labels
    )
    artifacts.write_json(folder / "test.json", figures)
    predicted, sure = logits.argmax(axis=1), metrics.softmax(logits).max(axis=1)
    artifacts.write_figure(folder / "worst.png", worst_mistakes(test.images, test.labels, predicted, sure, names))

    chosen = features.choose(test.labels, 200, 0)
    layers = model.meta["embed_layers"]
    values = {
        name: np.concatenate([part[name] for part in model.outputs(test.images[chosen], layers)]) for name in layers
    }
    panels = []
    for layer in layers:
        rows, labels = values[layer].reshape(len(chosen), -1), test.labels[chosen]
        told = {"features": rows.shape[1], "constant_features": constant_features(rows, layer)}
        for method in METHODS:
            made = embed(rows, method, perplexity=30, iterations=50, seed=0)
            dead = told["constant_features"] == rows.shape[1]
            quality = no_quality(labels) if dead else measure(rows, made.points, labels)
            told |= summary(made, quality, names)
            artifacts.write_json(folder / "embed.json", told)
            panels.append(Panel(made.points, labels, caption(told, len(labels))))
            assert np.isfinite(made.project(rows[:1])).all()
    artifacts.write_figure(folder / "map.png", embedding_map(panels[0], names))
    artifacts.write_figure(folder / "grid.png", embedding_grid([panels[:2]], ["PCA"], "maps", names))


def whole_vae(info: DatasetInfo, split: Split, folder: Path) -> None:
    """The same for the VAE."""
    rest, drawn = stratified_split(split.labels, 0.15, 0)
    train, test = Split(split.images[rest], split.labels[rest]), Split(split.images[drawn], split.labels[drawn])
    chosen = SHIPPED.vae.model_copy(update={"z_dim": 3})
    run = schema.VaeRun(steps=2, batch_size=64, learning_rate=0.002, bound_pictures=5)
    trained = train_vae(info, train, chosen, run, seed=0, held_out=0.1, device=CPU)
    artifacts.write_json(folder / "vae.json", trained.metrics())
    labels = train.labels if info.class_names else train.labels * 0
    files = to_onnx(trained.module, trained.meta, train.images, labels, 5)
    check_parity(trained.module, *files, train.images, 0)
    for name, data in zip(("encoder", "decoder"), files, strict=True):
        artifacts.write_bytes(folder / f"{name}.onnx", data)
    encoder, decoder = Encoder.load(folder / "encoder.onnx"), Decoder.load(folder / "decoder.onnx")
    figures, _ = evaluate(encoder, decoder, train, test, None, bound_pictures=5, seed=0)
    artifacts.write_json(folder / "vae_test.json", figures)
    made = sheets(encoder, decoder, test.images, test.labels, 0)
    assert {"samples", "mixture_samples", "reconstructions", "traversal"} <= set(made)


FOLDERS = st.builds(
    pictures,
    st.lists(st.integers(3, 40), min_size=2, max_size=12),
    st.sampled_from([1, 3]),
    st.sampled_from([28, 33, 40]),
    st.integers(0, 1000),
    st.sampled_from(["noise", "noise", "flat", "same"]),
)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@given(folder=FOLDERS)
@settings(max_examples=25)
def test_any_folder_of_pictures_comes_to_the_end_of_the_pipeline(place, folder):
    whole_pipeline(*folder, place)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@given(folder=FOLDERS, labelled=st.booleans())
@settings(max_examples=15)
def test_any_folder_of_pictures_comes_to_the_end_of_the_vae(place, folder, labelled):
    info, split = folder
    unlabelled = replace(info, class_names=()), Split(split.images, split.labels * 0)
    whole_vae(*(folder if labelled else unlabelled), place)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["noise", "same"])
def test_the_smallest_folder_comes_to_the_end(place, kind):
    folder = pictures([3, 3], 3, 28, 0, kind)
    whole_pipeline(*folder, place)
    whole_vae(*folder, place)


@pytest.mark.parametrize("batch", [2, 1000])
@pytest.mark.parametrize(("other", "told"), [(None, True), (0, False), (4, False)])
def test_a_network_that_answers_one_class_is_told(monkeypatch, other, told, batch):
    monkeypatch.setattr(classification, "EVALUATION_BATCH", batch)

    class Same(torch.nn.Module):
        def forward(self, images):
            answers = torch.ones(len(images), dtype=torch.long)
            answers[images.flatten() == 1] = 0
            return torch.nn.functional.one_hot(answers, 2).float()

    images = torch.zeros(5, 1, 1, 1)
    if other is not None:
        images[other] = 1
    assert answers_one_class(Same(), images) is told


def test_balanced_accuracy_is_the_mean_of_recalls():
    logits = np.eye(2)[[0, 0, 0, 0]]
    figures = metrics.classification_metrics(logits, np.array([0, 0, 0, 1]))
    assert (figures["accuracy"], figures["balanced_accuracy"]) == (0.75, 0.5)
    assert (figures["largest_class_share"], figures["classes_answered"]) == (0.75, 1)


def test_a_network_that_is_right_on_few_pictures_is_not_made_sure():
    labels = np.arange(20) % 2
    logits = np.eye(2)[labels] * 3.0
    sure = metrics.softmax(logits, fit_temperature(logits, labels)).max()
    assert sure == pytest.approx(1 - label_smoothing(20) / 2, abs=1e-3)
    assert label_smoothing(1000) == 0


def test_baselines_find_what_pixels_tell_and_state_their_classes():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 20])
    images = generator.integers(0, 100, (80, 1, 8, 8)) + labels[:, None, None, None] * 120
    part = Split(images.astype(np.uint8), labels)
    found = fit_baselines(part, part, 0)
    figures = found.figures(("a", "b"))
    assert figures["largest_class"] == "a"
    assert (figures["largest_class_accuracy"], figures["largest_class_balanced_accuracy"]) == (0.75, 0.5)
    assert figures["neighbours_accuracy"] == figures["svm_balanced_accuracy"] == 1
    assert [(row["class"], row["train"], row["svm_recall"]) for row in found.by_class(("a", "b"))] == [
        ("a", 60, 1), ("b", 20, 1),
    ]  # fmt: skip


NAMES = ["$", "$$", "$5-$10", "a$b_$c", "US$1_$2", "50%", "\\frac", "x^2", "_", "{}"]


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are(tmp_path):
    points, labels = np.random.default_rng(0).random((40, 2)), np.arange(40) % len(NAMES)
    figure = embedding_map(Panel(points, labels, "$x$"), NAMES, "$y$", points[:1] + 2, ["$z$.png"])
    artifacts.write_figure(tmp_path / "map.png", figure)
    drawn = {text.get_text() for text in figure.findobj(Text)}
    assert set(NAMES) | {"$x$", "$y$", "$z$.png"} <= drawn
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


@pytest.mark.filterwarnings("error")
def test_letters_that_no_font_has_are_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fonts, "fallbacks", lambda letters: ((), letters))
    monkeypatch.setattr(fonts, "_noted", set())
    points, labels = np.random.default_rng(0).random((40, 2)), np.arange(40) % 2
    for _ in range(2):
        artifacts.write_figure(tmp_path / "map.png", embedding_map(Panel(points, labels, "x"), ["猫", "a"]))
    told = capsys.readouterr().err
    assert told.count("猫") == 1
    assert "install a font" in told


def test_a_font_that_has_the_letters_is_found(monkeypatch):
    monkeypatch.setattr(
        fonts, "_lacking", lambda path, letters: set(letters) if "DejaVuSerif.ttf" not in path else set()
    )
    fonts.fallbacks.cache_clear()
    assert fonts.fallbacks(frozenset("猫")) == (("DejaVu Serif",), frozenset())
    fonts.fallbacks.cache_clear()


def test_a_long_name_keeps_both_ends_and_fits():
    for name in ("long_class_name_1", "WWWWWWWWWWWWWWWWWWWW", "猫" * 30):
        cut = fit(name, 0.8, 8)
        assert fonts.width(cut, 8) <= 0.8
        assert "…" in cut
        assert (cut[0], cut[-1]) == (name[0], name[-1])
    assert fit("Ankle boot", 0.8, 8) == "Ankle boot"
