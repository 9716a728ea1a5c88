"""One picture of any kind, from a file to 8-bit pixels. Imports Pillow and NumPy alone."""

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, ImageStat, PngImagePlugin, UnidentifiedImageError

from cnnlab.core.errors import UserError
from cnnlab.core.text import printable

# The formats that Pillow decodes by itself, the commonest first. Others can start a program (EPS) or hold no pixels.
# AVIF is last because some builds lack it.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")
# What their files are called; a file with one of these names that is no picture is an error, any other may be left out.
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(".tif", ".tiff", ".webp", ".jp2", ".j2k", ".avif"),
    }
)
MAX_PIXELS = 64_000_000  # that are decoded
COSTLY = ("WEBP", "JPEG2000", "AVIF")  # formats whose decoders take much more memory: half the pixels
MAX_BYTES = 400_000_000
LIGHT = 127.5  # grey value: what is lighter counts as light, and a light cut-out would vanish on white
BLOCK = 2**20  # 16-bit pixels converted at a time
TIFF = (b"II*\0", b"MM\0*")  # the first bytes
END_OF_JPEG = b"\xff\xd9"

# Pillow refuses pictures of twice as many: JPEGs up to there are read at half their size.
Image.MAX_IMAGE_PIXELS = 2 * MAX_PIXELS

# Programs that make pictures put whole prompts and edit histories into a PNG; Pillow refuses text of over 1 MB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


class PictureError(UserError):
    """A picture that cannot be read: `name` is the file, `reason` a phrase."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def read_picture(source: str | Path | BinaryIO) -> Image.Image:
    """Read a picture from a path or a binary file, as 8-bit grey (L) or colour (RGB).

    The first frame is taken and turned upright as EXIF says. 16 bits are scaled to 8 (65,535 becomes 255); where no
    value is over 255, the values are taken as they are, and `info["shallow"]` is True. A transparent picture is laid on
    white, or on black where what shows is light, and `info["transparent"]` is True. Raises PictureError for a file that
    is missing, empty, cut off, damaged or no picture, and for one over 400 MB or 64 million pixels (half that in WebP,
    JPEG 2000 or AVIF, whose decoders take more memory). A JPEG may have four times as many, as cameras of 108 and 200
    megapixels make them: its decoder then halves both sides.
    """
    named = source if isinstance(source, str | Path) else getattr(source, "name", "the picture")
    try:
        with _opened(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what is accepted or refused here
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


def is_picture(path: Path) -> bool:
    """Whether a file is a picture in a known format, by its first bytes."""
    try:
        with _opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file, formats=FORMATS)
    except Exception:  # on damaged bytes decoders raise nearly everything
        return False
    return True


class _RefusedError(Exception):
    """Refused; the message is the reason."""


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
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) in TIFF:
            raise _RefusedError("is a TIFF of a kind that is not read; 8 and 16 bits a channel are") from None
        raise
    most = MAX_PIXELS // 2 if image.format in COSTLY else MAX_PIXELS
    width, height = image.size
    halved = width * height > most and image.draft(None, (width // 2, height // 2))
    if image.width * image.height > most:
        raise _RefusedError(f"has {width} x {height} pixels, over {4 * most if halved else most:,}")
    try:
        image.load()
    except OSError:
        if image.format != "JPEG" or halved:
            raise
        file.seek(0)
        image = _without_end_mark(file.read())
    with suppress(Exception):  # damaged EXIF: the pixels are good
        ImageOps.exif_transpose(image, in_place=True)
    image, notes = _plain(image)
    image.info = {**notes}
    return image


def _without_end_mark(data: bytes) -> Image.Image:
    """A JPEG that lacks the mark at its end; OSError where it lacks pixels as well."""
    padded = [Image.open(io.BytesIO(data + more + END_OF_JPEG), formats=["JPEG"]) for more in (b"", b"\x5a" * 64)]
    # What is missing is decoded from the padding: the same pixels from either mean that nothing was missing.
    if not np.array_equal(np.asarray(padded[0]), np.asarray(padded[1])):
        raise OSError("truncated")
    return padded[0]


def _plain(image: Image.Image) -> tuple[Image.Image, dict[str, bool]]:
    """The picture as L or RGB, and what read_picture tells under `info`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bits(image)
    target = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(target), _notes()
    layered = "LA" if target == "L" else "RGBA"
    if image.mode != layered:
        image = image.convert(layered)
    alpha = image.getchannel("A")
    transparent = alpha.getextrema() != (255, 255)
    shows = transparent and alpha.getbbox() is not None
    light = shows and ImageStat.Stat(image.convert("L"), mask=alpha).mean[0] > LIGHT
    ground = Image.new(target, image.size, "black" if light else "white")
    ground.paste(image, mask=alpha)
    return ground, _notes(transparent=transparent)


def _notes(*, transparent: bool = False, shallow: bool = False) -> dict[str, bool]:
    return {"transparent": transparent, "shallow": shallow}


def _eight_bits(image: Image.Image) -> tuple[Image.Image, dict[str, bool]]:
    """Grey of 16 or 32 bits as 8 bits: integers to 65,535, integers to 255, or fractions of 1."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    shallow = image.mode != "F" and 0 < high <= 255  # 8-bit values in wider numbers: scaled, they would all be black
    if image.mode == "F" and low >= 0 and high <= 1:  # a comparison with NaN is false
        scale = 255.0
    elif image.mode != "F" and low >= 0 and high <= 65535:
        scale = 1.0 if shallow else 255 / 65535
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
    notes = _notes(transparent=bool(holes.any()), shallow=bool(shallow))
    return Image.fromarray(grey.reshape(values.shape)), notes


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
    if "max_text" in text:
        return f"has over {PngImagePlugin.MAX_TEXT_CHUNK // 2**20} MB of text in it"
    return "is cut off" if isinstance(error, EOFError) or "truncated" in text else "is damaged"
