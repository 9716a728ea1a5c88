"""CIFAR-10 in its Python form, six pickled batches (Krizhevsky, 2009); no pickle is executed."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError

FOLDER = "cifar-10-batches-py"
TRAIN = tuple(f"{FOLDER}/data_batch_{number}" for number in range(1, 6))
TEST = (f"{FOLDER}/test_batch",)
SIDE = 32  # pixels
MAX_MEMBER = 40_000_000  # bytes; a batch has 31 million


class _Inert:
    """Stands for every class and function that a pickle names: it keeps what it is given and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# The Python one of pickle's two readers: a forged memo index makes the C one reserve memory without bound.
class _InertUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> type[_Inert]:
        """Refuse all names but those that a plain NumPy array needs, and run none of these either."""
        if module.partition(".")[0] == "numpy" and name in {"_reconstruct", "ndarray", "dtype"}:
            return _Inert
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data file")


def read_cifar(path: str | Path) -> tuple[Split, Split]:
    """Read the archive: training and test pictures, uint8 [n, 3, 32, 32], and labels, int64 [n].

    Nothing of it is written to disk. Raises UserError for an archive that is cut off, damaged or incomplete.
    """
    batches: dict[str, Split] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name in TRAIN + TEST and member.isreg() and member.size <= MAX_MEMBER:
                    content = archive.extractfile(member)
                    batches[member.name] = parse_batch(content.read() if content else b"", member.name)
    except UserError:
        raise
    except Exception as error:  # tarfile lets most of what can go wrong through as it is
        raise UserError(f"{path} is not a whole archive: {error}.") from None
    missing = [name for name in TRAIN + TEST if name not in batches]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}.")
    return _join([batches[name] for name in TRAIN]), _join([batches[name] for name in TEST])


def parse_batch(content: bytes, name: str) -> Split:
    """Read one pickled batch of pictures; UserError if it is anything else."""
    try:
        batch = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
        labels = batch[b"labels"]
        if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
            raise ValueError("not a list of numbers")  # a forged one nests lists without end
        _, shape, kind, by_column, pixels = batch[b"data"].state
        if kind.arguments[0] != b"u1" or shape != (len(labels), 3 * SIDE**2):
            raise ValueError("not bytes of that shape")
        flat = np.frombuffer(pixels, np.uint8).reshape(shape, order="F" if by_column else "C")
        return Split(np.ascontiguousarray(flat).reshape(-1, 3, SIDE, SIDE), np.array(labels, dtype=np.int64))
    except Exception as error:  # a forged pickle can raise anything
        raise UserError(f"{name} is not a batch of CIFAR-10: {type(error).__name__}.") from None


def _join(batches: list[Split]) -> Split:
    images = np.concatenate([batch.images for batch in batches])
    return Split(images, np.concatenate([batch.labels for batch in batches]))
