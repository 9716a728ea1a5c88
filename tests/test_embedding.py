"""PCA, t-SNE, the figures of their quality, and placing new pictures on a finished map."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from threadpoolctl import threadpool_limits

from cnnlab.core import params
from cnnlab.core.artifacts import write_array, write_json
from cnnlab.core.errors import UserError
from cnnlab.embedding import quality, tsne
from cnnlab.embedding.maps import METHODS, caption, embed, save, summary
from cnnlab.embedding.pca import constant_features, fit_pca
from cnnlab.embedding.placing import open_map
from cnnlab.embedding.quality import MEASURES, K, measure, nearest_rows, neighbours, no_quality, worst_class

ROOT = Path(__file__).parent.parent
QUICK = {"perplexity": 10, "iterations": 100, "seed": 0}


def hidden_classes(n=150, width=20):
    """Three classes that differ in many small features, under two large ones that have nothing to do with them."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    features = generator.normal(size=(n, width))
    features[:, 2:] += 3 * generator.normal(size=(3, width - 2))[labels]
    features[:, :2] *= 15
    return features.astype(np.float32), labels


@pytest.fixture(scope="module")
def data():
    return hidden_classes()


@pytest.fixture(scope="module")
def made(data):
    return embed(data[0], "tsne", **QUICK)


def test_pca_finds_the_directions_of_most_variance(data):
    features, _ = data
    pca, reduced = fit_pca(features, seed=0)
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=0), values[: reduced.shape[1]], rtol=1e-4)
    np.testing.assert_allclose(pca.shares, (values**2 / (values**2).sum())[: len(pca.shares)], rtol=1e-3)
    assert (pca.transform(features) == reduced).all()


def test_pca_keeps_no_more_than_there_is():
    features = np.random.default_rng(0).normal(size=(30, 200)).astype(np.float32)
    assert fit_pca(features, seed=0)[1].shape == (30, 29)
    assert fit_pca(features[:, :4], seed=0)[1].shape == (30, 4)


def test_pca_leaves_the_features_as_they_were(data):
    features = data[0].copy()
    fit_pca(features, seed=0)
    assert (features == data[0]).all()


def test_pca_gives_the_same_bits_on_any_number_of_threads():
    features = np.random.default_rng(0).normal(size=(300, 600)).astype(np.float32)
    with threadpool_limits(1):
        one = fit_pca(features, seed=0)[1]
    with threadpool_limits(2):
        assert one.tobytes() == fit_pca(features, seed=0)[1].tobytes()


def test_constant_features_are_counted_and_do_no_harm(data):
    features, labels = data
    padded = np.hstack([features, np.full((len(features), 3), 7, np.float32)])
    assert constant_features(features, "conv2") == 0
    assert constant_features(padded, "conv2") == 3
    plain = measure(features, features[:, :2], labels).overall()
    assert plain == pytest.approx(measure(padded, features[:, :2], labels).overall(), abs=1e-6)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.nan, "layer fc1: feature 1 of picture 1500 is not a finite number"),
        (np.inf, "layer fc1: feature 1 of picture 1500 is not a finite number"),
    ],
)
def test_features_that_cannot_be_embedded_are_reported(value, told):
    features = np.zeros((2000, 3), np.float32)
    features[1500, 1] = value
    with pytest.raises(UserError, match=told):
        constant_features(features, "fc1")


def test_tsne_separates_what_pca_does_not(data):
    features, labels = data
    flat = embed(features, "pca", **QUICK)
    curved = embed(features, "tsne", **QUICK)
    before = measure(features, flat.points, labels).overall()
    after = measure(features, curved.points, labels).overall()
    assert before["accuracy"] < 0.5
    assert after["accuracy"] > 0.95
    assert after["knn_recall"] > before["knn_recall"]
    assert before["accuracy_features"] == after["accuracy_features"]


def test_the_same_settings_give_the_same_points_to_the_last_bit(data, made):
    again = embed(data[0], "tsne", **QUICK)
    assert again.points.tobytes() == made.points.tobytes()
    assert again.divergence == made.divergence


@pytest.mark.parametrize("many", [pytest.param(100, id="interpolated"), pytest.param(1000, id="barnes-hut")])
def test_any_number_of_threads_gives_the_same_points(data, monkeypatch, many):
    monkeypatch.setattr(tsne, "MANY", many)
    monkeypatch.setattr(tsne, "EARLY_FEW", 20)
    monkeypatch.setattr(tsne, "EARLY_MANY", 20)
    _, reduced = fit_pca(data[0], seed=0)
    one, two = (tsne.fit_tsne(reduced, **(QUICK | {"iterations": 20}), threads=threads)[0] for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_settings_change_the_points(data, made):
    _, reduced = fit_pca(data[0], seed=0)
    for change in ({"seed": 1}, {"perplexity": 20}):
        assert (tsne.fit_tsne(reduced, **(QUICK | change))[0] != made.points).any()


def test_the_divergence_falls_with_more_iterations(data):
    _, reduced = fit_pca(data[0], seed=0)
    divergences = [tsne.fit_tsne(reduced, **(QUICK | {"iterations": n}))[1] for n in (50, 150, 400)]
    assert divergences[0] > divergences[1] > divergences[2] > 0


@pytest.mark.slow
def test_many_points_are_embedded_as_well_by_the_interpolated_gradient(data, made, monkeypatch):
    monkeypatch.setattr(tsne, "MANY", 100)
    _, reduced = fit_pca(data[0], seed=0)
    assert tsne.fit_tsne(reduced, **QUICK, threads=1)[1] < made.divergence * 1.05


def test_progress_is_reported(data):
    _, reduced = fit_pca(data[0], seed=0)
    told = []
    tsne.fit_tsne(reduced, **QUICK, progress=lambda step, divergence: told.append((step, divergence)))
    assert [step for step, _ in told] == list(range(50, tsne.EARLY_FEW + 101, 50))
    assert all(np.isfinite(divergence) for _, divergence in told)


def test_a_progress_that_answers_does_not_stop_the_run(data, made):
    """tqdm's update gives True when it has drawn, and openTSNE stops on True."""
    told = embed(data[0], "tsne", **QUICK, progress=lambda *_: True)
    assert told.points.tobytes() == made.points.tobytes()


def test_few_pictures_have_the_largest_perplexity_that_they_bear():
    assert tsne.fitting_perplexity(30, 91) == 30
    assert tsne.fitting_perplexity(30, 90) == pytest.approx(89 / 3)
    assert tsne.fitting_perplexity(30, 2) == 1


def test_few_pictures_have_fewer_neighbours():
    assert [neighbours(n) for n in (2, 3, 6, 20, 21, 1000)] == [1, 1, 2, 9, 10, 10]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pictures", [*range(2, 8), 15, 16, 40])
def test_any_number_of_pictures_has_a_map_that_others_can_join(pictures, method):
    features = np.random.default_rng(pictures).normal(size=(pictures, 4)).astype(np.float32)
    labels = np.arange(pictures) % 2
    made = embed(features, method, **QUICK)
    quality = measure(features, made.points, labels)
    assert made.points.shape == (pictures, 2)
    assert np.isfinite(made.points).all()
    assert all(np.isfinite(values).all() for values in quality.values.values())
    assert quality.values["trustworthiness"].max() <= 1
    assert np.isfinite(made.project(features[:1] + 0.1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_layer_is_a_point_and_a_sentence(method):
    features, labels = np.full((30, 4), 7, np.float32), np.repeat([0, 1], [20, 10])
    made = embed(features, method, **QUICK)
    assert (made.points == 0).all()
    assert (made.project(features[:2] + 1) == 0).all()
    quality = no_quality(labels)
    assert quality.overall()["accuracy"] == pytest.approx(2 / 3)  # the share of the largest class
    told = summary(made, quality, ["a", "b"]) | {"features": 4, "constant_features": 4}
    assert caption(told, 30).startswith("every feature is the same for all 30 test pictures")


def test_pictures_that_are_all_alike_but_one_are_embedded():
    features = np.zeros((60, 5), np.float32)
    features[0] = 1
    twins = embed(features, "tsne", **QUICK)
    assert np.isfinite(twins.points).all()
    found = measure(features, twins.points, np.arange(60) % 2)
    assert all(np.isfinite(values).all() for values in found.values.values())


@pytest.mark.parametrize("block", [4_000_000, 500])
def test_the_figures_of_quality_are_scikit_learns(data, made, monkeypatch, block):
    monkeypatch.setattr(quality, "BLOCK_VALUES", block)
    features, labels = data
    found = measure(features, made.points, labels).values
    k = K
    assert found["trustworthiness"].mean() == pytest.approx(trustworthiness(features, made.points, n_neighbors=k))
    for name, space in (("", made.points), ("_features", features.astype(np.float64))):
        np.testing.assert_allclose(found[f"silhouette{name}"], silhouette_samples(space, labels), atol=1e-6)
        near = NearestNeighbors(n_neighbors=k).fit(space).kneighbors(return_distance=False)
        votes = [np.bincount(labels[row]).argmax() for row in near]
        assert (found[f"accuracy{name}"] == (votes == labels)).all()
    near = [
        NearestNeighbors(n_neighbors=k).fit(space).kneighbors(return_distance=False)
        for space in (features, made.points)
    ]
    shared = [len(set(a) & set(b)) / k for a, b in zip(*near, strict=True)]
    assert found["knn_recall"].tolist() == shared


def test_a_wide_layer_is_measured_as_exactly(data, made, monkeypatch):
    features, labels = data
    exact = measure(features, made.points, labels).overall()
    monkeypatch.setattr(quality, "DOUBLE_UP_TO", 1)
    assert measure(features + 50, made.points, labels).overall() == pytest.approx(exact, abs=1e-3)


def test_a_map_that_is_the_features_is_perfect():
    points = np.random.default_rng(0).normal(size=(100, 2))
    found = measure(points, points * 3 + 5, np.arange(100) % 4).overall()
    assert found["trustworthiness"] == 1
    assert found["knn_recall"] == 1
    assert found["accuracy"] == found["accuracy_features"]


def test_the_figures_of_a_class_are_of_its_pictures(data):
    features, labels = data
    points = features[:, 2:4].copy()
    points[labels == 2] = np.random.default_rng(0).normal(size=((labels == 2).sum(), 2)) * 20
    found = measure(features, points, labels)
    rows = found.by_class(["A", "B", "C", "none"])
    assert [row["class"] for row in rows] == ["A", "B", "C"]
    for name in MEASURES:
        assert np.mean([row[name] for row in rows]) == pytest.approx(found.overall()[name])
    assert worst_class(rows, "silhouette") == "C"
    assert rows[0]["silhouette"] == pytest.approx(found.values["silhouette"][labels == 0].mean())


def test_one_class_or_one_picture_of_a_class_has_no_silhouette(data):
    features, labels = data
    assert (measure(features, features[:, :2], np.zeros_like(labels)).values["silhouette"] == 0).all()
    lonely = labels.copy()
    lonely[7] = 5
    assert measure(features, features[:, :2], lonely).values["silhouette"][7] == 0


def test_nearest_rows_are_the_nearest(monkeypatch):
    generator = np.random.default_rng(0)
    features, new = generator.normal(size=(90, 7)), generator.normal(size=(4, 7))
    monkeypatch.setattr(quality, "BLOCK_VALUES", 100)
    rows, distances = nearest_rows(new, features, 5)
    expected, places = NearestNeighbors(n_neighbors=5).fit(features).kneighbors(new)
    assert (rows == places).all()
    np.testing.assert_allclose(distances, expected)


def test_new_pictures_join_the_map_without_moving_it(data, made):
    features, labels = data
    before = made.points.copy()
    new = features[:12] + np.random.default_rng(1).normal(size=(12, features.shape[1])).astype(np.float32) * 0.05
    placed = made.project(new)
    assert (made.points == before).all()
    span = np.ptp(made.points, axis=0).max()
    assert np.median(np.linalg.norm(placed - made.points[:12], axis=1)) < 0.05 * span
    voters = KNeighborsClassifier(5).fit(made.points, labels)
    assert (voters.predict(placed) == labels[:12]).mean() > 0.9


def test_a_place_does_not_depend_on_who_comes_along_or_where_the_map_lies(data, made):
    features, _ = data
    together = made.project(features[:3])
    np.testing.assert_allclose(together[1:2], made.project(features[1:2]), atol=1e-9)
    shift = np.array([100.0, -7.0])
    moved = tsne.place(made.reduced[:3], made.reduced, made.points + shift)
    np.testing.assert_allclose(moved, together + shift, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_map_places_as_the_fresh_one(data, made, tmp_path, method):
    features, labels = data
    fresh = made if method == "tsne" else embed(features, method, **QUICK)
    store(tmp_path, fresh, features, labels)
    stored = open_map(tmp_path / "features" / "tiny", tmp_path / "maps", "", method)
    assert stored.layer == "fc1"
    assert (stored.embedding.points == fresh.points).all()
    np.testing.assert_array_equal(stored.embedding.project(features[:4]), fresh.project(features[:4]))
    placed = stored.place(features[:4], near=3)
    assert [place.nearest[0].picture for place in placed] == [1000, 1001, 1002, 1003]
    assert [place.nearest[0].distance for place in placed] == [0, 0, 0, 0]
    assert all(sum(place.around.values()) == K for place in placed)
    assert placed[1].nearest[0].class_name == "B"


def store(folder, fresh, features, labels):
    source = folder / "features" / "tiny"
    for name, array in (("fc1", features), ("labels", labels), ("index", np.arange(len(labels)) + 1000)):
        write_array(source / f"{name}.npy", array)
    about = {"title": "Tiny", "layers": ["conv2", "fc1", "final"], "class_names": ["A", "B", "C"]}
    write_json(source / "features.json", about)
    save(folder / "maps" / "fc1", fresh)


def test_a_missing_map_is_reported(data, made, tmp_path):
    features, labels = data
    store(tmp_path, made, features, labels)
    maps = tmp_path / "maps"
    with pytest.raises(UserError, match="no map of a layer 'fc9'; it has maps of conv2, fc1, final"):
        open_map(tmp_path / "features" / "tiny", maps, "fc9", "tsne")
    with pytest.raises(UserError, match="no stored features of 'huge' are here; there are those of tiny"):
        open_map(tmp_path / "features" / "huge", maps, "fc1", "tsne")
    (maps / "fc1" / "points.npy").write_bytes(b"not an array")
    with pytest.raises(UserError, match=r"points\.npy is not a whole .npy file"):
        open_map(tmp_path / "features" / "tiny", maps, "fc1", "tsne")
    store(tmp_path, made, features, labels)
    stored = open_map(tmp_path / "features" / "tiny", maps, "fc1", "tsne")
    with pytest.raises(UserError, match="gives 3 features in layer fc1, the stored map was made from 20"):
        stored.place(np.zeros((1, 3), np.float32), near=1)


def test_the_stages_make_maps_figures_and_what_project_needs(data, tmp_path, monkeypatch):
    from stages.embed import embed_by

    features, labels = data
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "features" / "tiny"
    about = {"title": "Tiny", "layers": ["conv2", "fc1"], "class_names": ["A", "B", "C"]}
    write_json(source / "features.json", about)
    arrays = {"conv2": features, "fc1": features[:, 2:], "labels": labels, "index": np.arange(len(labels)) * 2}
    for name, array in arrays.items():
        write_array(source / f"{name}.npy", array)
    text = (ROOT / "params.yaml").read_text().replace("budget: quick", "budget: smoke")
    (tmp_path / "params.yaml").write_text(text)
    for method in METHODS:
        panels = embed_by("tiny", method, about, params.load())
        assert [panel.heading.split(":")[0] for panel in panels] == ["conv2", "fc1"]
    made = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "plots").rglob("*") if path.is_file())
    maps = [
        f"plots/embed/tiny-{method}/{layer}.{kind}"
        for method in ("pca", "tsne")
        for layer in ("conv2", "fc1")
        for kind in ("csv", "png")
    ]
    assert made == sorted([*maps, "plots/embed/tiny-pca.csv", "plots/embed/tiny-tsne.csv"])
    figures = json.loads((tmp_path / "metrics" / "embed" / "tiny-tsne.json").read_text())
    assert figures["pictures"] == len(labels)
    assert figures["fc1.accuracy"] > 0.95
    assert figures["fc1.features"] == 18
    assert figures["fc1.kl_divergence"] > 0
    rows = (tmp_path / "plots" / "embed" / "tiny-tsne" / "fc1.csv").read_text().splitlines()
    assert rows[0] == "index,class,label,x,y"
    assert rows[2].startswith("2,1,B,")
    assert len(rows) == len(labels) + 1
    assert (tmp_path / "plots" / "embed" / "tiny-pca.csv").read_text().count("\n") == 1 + 2 * 3
