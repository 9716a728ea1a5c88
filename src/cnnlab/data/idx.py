"""The IDX format of the MNIST family: a magic number, big-endian sizes, then bytes (LeCun et al., 1998)."""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnnlab.core.errors import UserError

UNSIGNED_BYTE = 0x08  # the third byte of the magic number: the only element type that these data sets use
MAX_BYTES = 2**28  # of one array; MNIST's largest has 47 million


def read_idx(path: str | Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or as .gz: uint8 with `dimensions` dimensions.

    The length must be exactly what the header says. Raises UserError for a file that is missing, cut off, too
    long, damaged, of another type or number of dimensions, or over 256 MB.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return _parse(file, path, dimensions)  # type: ignore[arg-type]  # GzipFile reads as a BinaryIO does
    except EOFError:
        raise UserError(f"{path} is cut off: its gzip stream has no end.") from None
    except (gzip.BadGzipFile, zlib.error):
        raise UserError(f"{path} is not a whole gzip file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def _parse(file: BinaryIO, path: Path, dimensions: int) -> np.ndarray:
    header = file.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise UserError(f"{path} is cut off: {len(header)} bytes do not hold an IDX header.")
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != magic:
        found = f"it begins {header[:4].hex()}, not {magic.hex()}"
        raise UserError(f"{path} is not IDX of bytes in {dimensions} dimensions: {found}.")
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    size = math.prod(shape)
    if size > MAX_BYTES:
        raise UserError(f"{path} claims {size:,} bytes of data: {MAX_BYTES:,} are the most.")
    data = file.read(size + 1)  # one more: it tells a file that is too long, and brings gzip to its own check
    if len(data) != size:
        fault = "is cut off" if len(data) < size else "is too long"
        raise UserError(f"{path} {fault}: its header asks for {size:,} bytes of data.")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()
