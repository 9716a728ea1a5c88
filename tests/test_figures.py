"""The figures: what they show, how they are named, and that the colours can be distinguished."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from cnnlab.core import fonts
from cnnlab.core.artifacts import write_figure
from cnnlab.figures import style
from cnnlab.figures.ablation import differences
from cnnlab.figures.classification import worst_mistakes
from cnnlab.figures.embeddings import Panel, embedding_grid, embedding_map, variance_axes
from cnnlab.figures.explanation import heat_map
from cnnlab.figures.feature_maps import DPI, feature_maps, first_filters

ROOT = Path(__file__).parent.parent
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

# Machado, Oliveira and Fernandes 2009, table 1, severity 1: linear RGB as it is seen.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def oklab(colours, vision):
    """Colours "#rrggbb" as a kind of vision sees them, in Ottosson's perceptual space: [n, 3]."""
    coded = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[vision]).T, 0, 1)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(seen @ cones.T) @ axes.T


def least_distance(colours, vision):
    seen = oklab(colours, vision)
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


def texts(figure):
    """Every text that a figure shows."""
    return [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text")) if text.get_text()]


@pytest.mark.parametrize("vision", VISION)
def test_the_colours_differ_for_every_eye(vision):
    usual = [
        "#1f77b4",
        "#ff7f0e",
        "#2ca02c",
        "#d62728",
        "#9467bd",
        "#8c564b",
        "#e377c2",
        "#7f7f7f",
        "#bcbd22",
        "#17becf",
    ]
    assert least_distance(style.COLOURS, vision) > 0.13
    assert least_distance(style.COLOURS, vision) > least_distance(usual, vision) * 1.3


@pytest.mark.parametrize("vision", VISION)
def test_what_networks_confuse_is_farthest_apart(vision):
    for alike in ((0, 2, 3, 4, 6), (5, 7, 9)):
        assert least_distance([style.colour(i) for i in alike], vision) > 0.15


def test_no_two_of_many_classes_look_the_same():
    looks = [(style.colour(i), style.marker(i)) for i in range(100)]
    assert len(set(looks)) == 100


def test_the_plots_template_has_the_same_colours():
    template = json.loads((ROOT / ".dvc" / "plots" / "embedding.json").read_text())
    encoding = template["spec"]["encoding"]
    assert tuple(encoding["color"]["scale"]["range"]) == style.COLOURS
    assert len(encoding["shape"]["scale"]["range"]) == len(style.COLOURS)


@pytest.fixture
def panel():
    generator = np.random.default_rng(0)
    return Panel(generator.normal(size=(200, 2)), generator.integers(0, 10, 200), "MyNet, fc1: t-SNE")


def drawn(axes):
    """How many points the scatters of some axes hold."""
    return sum(len(collection.get_offsets()) for collection in axes.collections)


def test_a_map_shows_every_picture_and_names_the_classes(panel):
    figure = embedding_map(panel, NAMES, "200 test pictures")
    assert drawn(figure.axes[0]) == 200
    assert [text.get_text() for text in figure.legends[0].get_texts()] == NAMES
    assert figure.axes[0].get_aspect() == 1
    assert {"MyNet, fc1: t-SNE", "200 test pictures"} <= set(texts(figure))


def test_new_pictures_that_fall_together_share_a_name_tag(panel):
    marked = np.array([[0.0, 0.0], [0.001, 0.0], [2.0, 2.0]])
    figure = embedding_map(panel, NAMES, marked=marked, marked_names=["boot", "shoe", "bag"])
    assert {"boot, shoe", "bag"} <= set(texts(figure))
    assert drawn(figure.axes[0]) == 200 + 3 * len(marked)


def test_the_axes_of_a_pca_map_tell_the_variance():
    assert variance_axes(np.array([0.25, 0.1254])) == (
        "component 1 (25.0 % of the variance)",
        "component 2 (12.5 % of the variance)",
    )


def test_a_grid_has_a_row_for_each_method_and_a_column_for_each_layer(panel):
    figure = embedding_grid([[panel] * 3] * 2, ["PCA", "t-SNE"], "MyNet", NAMES)
    assert len(figure.axes) == 6
    assert [drawn(axes) for axes in figure.axes] == [200] * 6
    assert {"PCA", "t-SNE", "MyNet"} <= set(texts(figure))


def test_a_map_of_forty_classes_is_drawn(panel):
    labels = np.arange(200) % 40
    figure = embedding_map(Panel(panel.points, labels, ""), [f"class {i} of a very long name" for i in range(40)])
    assert drawn(figure.axes[0]) == 200
    names = figure.legends[0].get_texts()
    assert all(fonts.width(text.get_text(), text.get_fontsize()) <= 1.2 for text in names)


def test_figures_are_the_same_bytes_each_time(panel, tmp_path):
    for name in ("a.png", "b.png"):
        write_figure(tmp_path / name, embedding_map(panel, NAMES))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_matplotlibrc_chooses_the_letters(tmp_path):
    row = {"name": "relu", "baseline": "lenet", "difference": 0.01, "low": -0.01, "high": 0.03}
    for family in ("sans-serif", "monospace"):
        with rc_context({"font.family": family}):
            write_figure(tmp_path / f"{family}-0.png", differences([row], "one variant"))
            write_figure(tmp_path / f"{family}-1.png", heat_map(np.zeros((1, 28, 28), np.uint8), np.eye(28), "Coat"))
    for number in (0, 1):
        usual, other = (tmp_path / f"{family}-{number}.png" for family in ("sans-serif", "monospace"))
        assert usual.read_bytes() == other.read_bytes()


def sheet_of(figure):
    """The pixels of the last picture laid on a figure."""
    return np.asarray(figure.axes[-1].images[0].get_array())


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 96), (2, 40)])
def test_feature_maps_say_which_channels_are_shown(channels, side):
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (4, channels, side, side), np.uint8)
    maps = generator.normal(size=(4, 16, 14, 14)).astype(np.float32)
    figure = feature_maps(pictures, maps, np.arange(16) * 2, 32, NAMES[:4], "conv2")
    told = texts(figure)
    assert any("the 16 of 32 that vary most" in text for text in told)
    assert set(NAMES[:4]) <= set(told)
    assert {"0", "30"} <= set(told)
    all_shown = feature_maps(pictures, maps, np.arange(16), 16, NAMES[:4], "conv2")
    assert any("all 16" in text for text in texts(all_shown))


def test_maps_are_red_above_zero_and_blue_below_and_keep_one_scale_a_channel():
    maps = np.zeros((2, 2, 4, 4), np.float32)
    maps[0, 0], maps[1, 0], maps[0, 1] = 1, 0.5, -1
    sheet = sheet_of(feature_maps(np.zeros((2, 1, 8, 8), np.uint8), maps, np.arange(2), 2, ["a", "b"], ""))
    step = sheet.shape[0] // 2
    strong, weak, below, zero = sheet[2, 2], sheet[step + 6, 2], sheet[2, step + 6], sheet[step + 6, step + 6]
    assert strong[0] > strong[2]
    assert weak[0] > weak[2]
    assert weak.sum() > strong.sum()  # the same channel, half as far from white
    assert below[2] > below[0]
    assert zero.min() > 235


def test_a_value_is_a_whole_number_of_dots():
    maps = np.random.default_rng(0).normal(size=(1, 1, 5, 5)).astype(np.float32)
    sheet = sheet_of(feature_maps(np.zeros((1, 1, 5, 5), np.uint8), maps, np.arange(1), 1, ["a"], ""))
    assert sheet.shape[0] % 5 == 0
    zoom = sheet.shape[0] // 5
    blocks = sheet.reshape(5, zoom, 5, zoom, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_are_all_shown_even_dead_ones(channels):
    for weights in (np.zeros((20, channels, 5, 5)), np.random.default_rng(0).normal(size=(20, channels, 5, 5))):
        figure = first_filters(weights.astype(np.float32), "LeNet-5")
        assert any(text.startswith("20 filters of 5×5") for text in texts(figure))


def test_a_feature_map_figure_is_small_enough_for_git(tmp_path):
    generator = np.random.default_rng(0)
    smooth = np.cumsum(generator.normal(size=(10, 16, 14, 14)), axis=3).astype(np.float32)
    pictures = np.zeros((10, 1, 28, 28), np.uint8)
    write_figure(tmp_path / "maps.png", feature_maps(pictures, smooth, np.arange(16), 16, NAMES, "conv2"), dpi=DPI)
    assert (tmp_path / "maps.png").stat().st_size < 250_000


def test_mistakes_come_the_most_confident_first():
    images = np.zeros((4, 1, 28, 28), np.uint8)
    labels, predictions = np.array([0, 1, 2, 3]), np.array([6, 1, 4, 0])
    figure = worst_mistakes(images, labels, predictions, np.array([0.7, 0.99, 0.98, 0.8]), NAMES)
    told = [text for text in texts(figure) if text[-1].isdigit()]
    assert told == ["Coat 0.98", "T-shirt/top 0.80", "Shirt 0.70"]
    assert "Pullover →" in texts(figure)
    assert len(figure.axes) == 3


def test_no_mistakes_is_a_figure_too(tmp_path):
    images, labels = np.zeros((2, 1, 28, 28), np.uint8), np.array([0, 1])
    figure = worst_mistakes(images, labels, labels, np.ones(2), NAMES)
    assert isinstance(figure, Figure)
    assert "No mistakes" in texts(figure)
    write_figure(tmp_path / "none.png", figure)
