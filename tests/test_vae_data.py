"""The VAE's own data: scikit-learn's loader in its own folder layout, the user's pictures, and the classifiers' set."""

import shutil
import socket

import numpy as np
import pytest
from PIL import Image

from cnnlab.core import datasets, params
from cnnlab.core.errors import UserError
from cnnlab.data.files import walk
from cnnlab.vae.datasets import fetch_lfw, obtain, read_faces
from tests.test_vae import bars


def picture(path, grey, size=(250, 250)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, 0, 255 - grey)).save(path, quality=95)


@pytest.fixture
def lfw_home(tmp_path):
    """HOME/lfw_home as scikit-learn keeps it: 30 persons of two pictures, the brightness naming the person."""
    home = tmp_path / "raw" / "lfw_home"
    for person in range(30):
        for number in (1, 2):
            name = f"Person_{person:02}"
            picture(home / "lfw_funneled" / name / f"{name}_{number:04}.jpg", 8 * person)
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (home / name).write_text("")
    return home.parent


def test_lfw_comes_whole_in_colour_and_parts_by_person(lfw_home):
    fetched = fetch_lfw(lfw_home, 32, seed=0)
    assert fetched.info.shape == (3, 32, 32)
    assert fetched.info.class_names == ()
    assert len(fetched.train.images) + len(fetched.test.images) == 60
    assert fetched.train.images.dtype == np.uint8
    greys = [{round(int(image[0].mean()) / 8) for image in split.images} for split in (fetched.train, fetched.test)]
    assert not greys[0] & greys[1]  # no person in both
    assert len(greys[1]) == 3
    assert (fetched.train.labels == 0).all()
    again = fetch_lfw(lfw_home, 32, seed=0)
    assert np.array_equal(again.test.images, fetched.test.images)
    assert not np.array_equal(fetch_lfw(lfw_home, 32, seed=1).test.images, fetched.test.images)


@pytest.mark.parametrize("size", [28, 45, 64, 96])
def test_lfw_comes_at_any_size(lfw_home, size):
    assert fetch_lfw(lfw_home, size, seed=0).info.shape == (3, size, size)


def test_without_network_or_files_the_error_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(UserError, match=r"could not fetch LFW.*lfw-funneled.tgz"):
        fetch_lfw(tmp_path, 32, seed=0)


def test_the_users_pictures_may_have_any_size_and_mode(tmp_path):
    for index, mode in enumerate(["RGB", "L", "RGBA", "P", "1", "CMYK"] * 3):
        size = (40 + 30 * index, 90)
        Image.new(mode, size).save(tmp_path / f"{index:02}.{'jpg' if mode == 'CMYK' else 'png'}")
    (tmp_path / "README.md").write_text("about them")
    (tmp_path / ".hidden").write_text("litter")
    files = list(walk(tmp_path))
    assert len(files) == 18
    fetched = read_faces(tmp_path, files, 32, seed=0)
    assert fetched.train.images.shape == (17, 3, 32, 32)
    assert len(fetched.test.images) == 1


def test_few_folders_are_no_persons(tmp_path):
    """Two folders of ten: the tenth that is held out is drawn picture by picture, not one whole folder."""
    for folder in ("a", "b"):
        for index in range(10):
            picture(tmp_path / folder / f"{index}.png", 10 * index, (32, 32))
    fetched = read_faces(tmp_path, list(walk(tmp_path)), 32, seed=0)
    assert len(fetched.test.images) == 2


def test_too_few_or_bad_pictures_are_named(tmp_path):
    for index in range(9):
        picture(tmp_path / f"{index}.png", 0, (32, 32))
    with pytest.raises(UserError, match="holds 9 pictures"):
        read_faces(tmp_path, list(walk(tmp_path)), 32, seed=0)
    (tmp_path / "z.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1 picture cannot be read:\n.*z\.png: is not a picture"):
        read_faces(tmp_path, list(walk(tmp_path)), 32, seed=0)


def test_the_classifiers_set_is_taken_where_it_lies_and_faces_where_they_are(tmp_path, monkeypatch, lfw_home):
    settings = params.load()
    monkeypatch.chdir(tmp_path)
    info, split = bars(20)
    datasets.save_dataset(datasets.DatasetInfo(**vars(info) | {"name": "fashion_mnist"}), split, split)
    fetched = obtain(settings.model_copy(update={"dataset": "fashion_mnist", "vae": settings.vae}))
    assert np.array_equal(fetched.train.images, split.images)
    assert fetched.info.class_names == ("upright", "lying")
    faces = settings.model_copy(update={"vae": settings.vae.model_copy(update={"dataset": "lfw"})})
    shutil.move(lfw_home, tmp_path / "data" / "raw")
    assert len(obtain(faces).train.images) == 54  # nothing in data/pictures: scikit-learn's
    for index in range(20):
        picture(tmp_path / "data" / "pictures" / f"{index}.png", index, (32, 32))
    assert len(obtain(faces).train.images) == 18  # the user's own
