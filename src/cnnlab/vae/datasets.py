"""The VAE's own data set: faces without classes, from Labeled Faces in the Wild or from the user's own pictures."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.core.params import Params
from cnnlab.core.text import printable
from cnnlab.data.catalogue import FACES, check_vae_dataset
from cnnlab.data.fetch import Fetched, fetch
from cnnlab.data.files import walk
from cnnlab.data.folder import unreadable
from cnnlab.data.pictures import PictureError, read_picture, to_pixels

LFW_TITLE = "Labeled Faces in the Wild"
LFW_SIDE = 250  # pixels of LFW's own pictures
TEST_SHARE = 0.1  # of the pictures
PERSONS = 20  # folders: from so many on each is taken for one person's, and the test set gets whole ones
LEAST = 10  # pictures


def obtain(settings: Params) -> Fetched:
    """The VAE's data set: uint8 [n, c, h, w] for training and test; without classes all labels are 0.

    The classifiers' data set is read from data/; any other is fetched. Raises UserError if that fails.
    """
    check_vae_dataset(settings)
    wanted = settings.vae_dataset
    if wanted == settings.dataset:
        info = datasets.load_info(wanted)
        parts = datasets.load_split(wanted, "train"), datasets.load_split(wanted, "test")
        return Fetched(info, *parts, origin=str(artifacts.dataset_dir(wanted)))
    if wanted != FACES:
        return fetch(wanted, settings.folder, budget=settings.budget, seed=settings.seed)
    folder, size = Path(settings.vae.lfw.path), settings.vae.lfw.side
    files = list(walk(folder)) if folder.is_dir() else []
    if files:
        return read_faces(folder, files, size, settings.seed)
    return fetch_lfw(artifacts.dataset_dir("raw"), size, settings.seed)


def fetch_lfw(home: Path, size: int, seed: int) -> Fetched:
    """All 13,233 pictures of Labeled Faces in the Wild (Huang et al. 2007), whole, in colour, 3×size×size.

    scikit-learn keeps its files in HOME/lfw_home and downloads about 230 MB if they are missing. A tenth of the people
    is the test set. Raises UserError if they can be neither found nor downloaded.
    """
    from sklearn.datasets import fetch_lfw_people  # takes a second to import

    whole = slice(0, LFW_SIDE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of each retry
            people: Any = fetch_lfw_people(
                data_home=str(home), color=True, slice_=(whole, whole), resize=(size + 0.5) / LFW_SIDE
            )
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"scikit-learn could not fetch LFW ({reason}). Put lfw-funneled.tgz and the three pairs*.txt "
            f"into {home}/lfw_home/, or your own pictures into the folder that vae.lfw.path names."
        ) from None
    images = np.rint(people["images"] * 255).astype(np.uint8).transpose(0, 3, 1, 2)
    return _split(
        images, people["target"], seed, LFW_TITLE, "none stated; Huang et al., 2007", "http://vis-www.cs.umass.edu/lfw/"
    )


def read_faces(folder: Path, files: Sequence[Path | PictureError], size: int, seed: int) -> Fetched:
    """The user's own pictures, in colour, scaled to 3×size×size; a tenth of them is the test set.

    `files` is what files.walk gives. If they lie in 20 folders or more, each folder counts as one person, and no person
    is in both parts. Raises UserError for fewer than 10 pictures and for files that cannot be read, naming them.
    """
    paths = [file for file in files if not isinstance(file, PictureError)]
    bad = [file for file in files if isinstance(file, PictureError)]
    if len(paths) < LEAST and not bad:
        raise UserError(f"{printable(str(folder))} holds {len(paths)} pictures: the VAE needs {LEAST} or more.")
    images = np.empty((len(paths), 3, size, size), np.uint8)
    for index, path in enumerate(tqdm(paths, desc="pictures", unit="picture", mininterval=0.5, disable=None)):
        try:
            images[index] = to_pixels(read_picture(path), size, "rgb")
        except PictureError as error:
            bad.append(error)
    if bad:
        raise UserError(unreadable(bad, folder))
    homes, persons = np.unique([str(path.parent) for path in paths], return_inverse=True)
    groups = persons if len(homes) >= PERSONS else np.arange(len(paths))
    return _split(images, groups, seed, "a folder of pictures", "the user's own", printable(str(folder)))


def _split(images: np.ndarray, groups: np.ndarray, seed: int, title: str, licence: str, source: str) -> Fetched:
    """Draw whole groups with `seed` for the test set, as many as fit into a tenth of the pictures, but at least one."""
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    counts = np.bincount(groups)[order].cumsum()
    drawn = order[: max(1, int(np.searchsorted(counts, TEST_SHARE * len(images), side="right")))]
    test = np.isin(groups, drawn)
    train, held_out = (Split(images[part], np.zeros(part.sum(), np.int64)) for part in (~test, test))
    channels, height, width = images.shape[1:]
    info = DatasetInfo(FACES, (), channels, height, width, licence, source, light_on_dark=False, title=title)
    return Fetched(info, train, held_out, source)
