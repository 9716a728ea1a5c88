"""The user's own pictures, as the VAE takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data.pictures import PictureError, read_picture
from cnnlab.inference.prepare import prepare


def read_pictures(paths: Sequence[Path], meta: Mapping[str, Any]) -> tuple[np.ndarray, list[Path], list[PictureError]]:
    """The pictures that can be read, whatever their size and mode, uint8 [n, c, h, w]; their paths; the others' faults.

    meta: an exported VAE's. For data that lie light on dark a picture with a light border is inverted and centred.
    """
    channels, height, width = meta["shape"]
    images, good, bad = [], [], []
    for path in paths:
        try:
            images.append(prepare(read_picture(path), (channels, height, width), meta.get("object_share")).pixels)
            good.append(path)
        except PictureError as error:
            bad.append(error)
    return np.array(images, np.uint8).reshape(-1, channels, height, width), good, bad
