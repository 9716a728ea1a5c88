"""One picture of any kind, from a file to 8-bit pixels. Imports Pillow and NumPy alone."""

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnlab.core.errors import UserError

# The formats that Pillow decodes by itself, the commonest first. Others can start a program (EPS) or are no
# pictures of pixels; AVIF is last as it is missing from some builds.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")
MAX_PIXELS = 64_000_000
COSTLY = ("WEBP", "JPEG2000", "AVIF")  # formats whose decoders take much more memory: half the pixels
MAX_BYTES = 400_000_000
BLOCK = 2**20  # 16-bit pixels mended at a time

ORIENTATION = 0x0112  # the EXIF tag; its values 2 to 8 and what undoes them
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(UserError):
    """A picture that cannot be read: `name` is the file, `reason` a phrase."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def read_picture(source: str | Path | BinaryIO) -> Image.Image:
    """Read a picture from a path or a binary file, as 8-bit grey (L) or colour (RGB).

    The first frame is taken and turned upright as EXIF says; 16 bits are scaled to 8 (65,535 becomes 255);
    transparency is laid on white, and `info["transparent"]` then says so. Raises PictureError for what is
    missing, empty, cut off, damaged, no picture, over 400 MB or over 64 million pixels (half that as WebP,
    JPEG 2000 or AVIF, whose decoders take more memory).
    """
    named = source if isinstance(source, str | Path) else getattr(source, "name", "the picture")
    try:
        with _opened(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what is mended or refused here
            return _decode(file)
    except Exception as error:  # on damaged bytes decoders raise nearly everything
        raise PictureError(printable(str(named)), _phrase(error)) from None


def to_pixels(picture: Image.Image, size: int, mode: Literal["grey", "rgb"]) -> np.ndarray:
    """Pixels of a picture as uint8 [channels, size, size], one channel for grey and three for rgb.

    The shorter side is scaled to `size` with the Lanczos filter (smaller and larger alike) and the middle of
    the longer side is kept, so that nothing is distorted.
    """
    wanted = picture.convert("L" if mode == "grey" else "RGB")
    square = np.asarray(ImageOps.fit(wanted, (size, size), Image.Resampling.LANCZOS), dtype=np.uint8)
    return np.ascontiguousarray(square.reshape(size, size, -1).transpose(2, 0, 1))


def printable(text: str) -> str:
    """A file's name with what a terminal would obey, or cannot show, written as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class _RefusedError(Exception):
    """Refused before decoding."""


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """A binary file that can be read anywhere and is no longer than allowed."""
    if not isinstance(source, str | Path):
        data = source.read(MAX_BYTES + 1)
        _check_length(len(data))
        yield io.BytesIO(data)
        return
    status = Path(source).stat()
    if stat.S_ISDIR(status.st_mode):
        raise _RefusedError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise _RefusedError("is not a regular file")
    _check_length(status.st_size)
    with Path(source).open("rb") as file:
        yield file


def _check_length(length: int) -> None:
    if length == 0:
        raise _RefusedError("is empty")
    if length > MAX_BYTES:
        raise _RefusedError(f"is over {MAX_BYTES:,} bytes")


def _decode(file: BinaryIO) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    most = MAX_PIXELS // 2 if image.format in COSTLY else MAX_PIXELS
    if image.width * image.height > most:
        raise _RefusedError(f"has {image.width} x {image.height} pixels, over {most:,}")
    image.load()
    orientation = _orientation(image)
    image, transparent = _plain(image)
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    image.info = {"transparent": transparent}
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none or it is damaged (the pixels are still good)."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1


def _plain(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture as L or RGB, and whether anything shone through."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image)
    if image.mode == "LAB":
        return _from_lab(image), False
    target = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(target), False
    layered = "LA" if target == "L" else "RGBA"
    if image.mode != layered:
        image = image.convert(layered)
    alpha = image.getchannel("A")
    white = Image.new(target, image.size, "white")
    white.paste(image, mask=alpha)
    return white, alpha.getextrema() != (255, 255)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, bool]:
    """Grey of 16 bits, or of 32 that hold 16 or a fraction of 1, as 8 bits."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" and low >= 0 and high <= 1:  # a comparison with NaN is false
        scale = 255.0
    elif image.mode != "F" and low >= 0 and high <= 65535:
        scale = 255 / 65535
    else:
        allowed = 1 if image.mode == "F" else 65535
        raise _RefusedError(f"has grey values from {low:g} to {high:g}: 0 to {allowed} are allowed")
    flat = values.reshape(-1)
    grey = np.empty(flat.size, np.uint8)
    for start in range(0, flat.size, BLOCK):  # in blocks: the wider numbers take eight times the memory
        block = flat[start : start + BLOCK].astype(np.float64)
        grey[start : start + BLOCK] = np.rint(block * scale)
    key = image.info.get("transparency")
    holes = flat == key if isinstance(key, int) else np.zeros(1, bool)
    if holes.any():
        grey[holes] = 255
    return Image.fromarray(grey.reshape(values.shape)), bool(holes.any())


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # rarely needed

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if converted is None:
        raise _RefusedError("has colours in the mode LAB, which could not be converted")
    return converted


def _phrase(error: Exception) -> str:
    """Why a picture could not be read."""
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"has over {MAX_PIXELS:,} pixels"
    if isinstance(error, FileNotFoundError):
        return "is not there"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, UnidentifiedImageError | KeyError):
        return "is not a picture in a known format"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:  # the system's, such as a name that is too long
        return f"cannot be read ({error.strerror.lower()})"
    text = str(error).lower()
    cut = isinstance(error, EOFError) or "truncated" in text or "broken" in text
    return "is cut off" if cut else "is damaged"
