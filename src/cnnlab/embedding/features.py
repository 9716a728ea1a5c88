"""Inner features of a network: choose the pictures, write their features, choose the channels to show."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.core.artifacts import ArrayRows, atomic_write
from cnnlab.core.errors import UserError, shown

if TYPE_CHECKING:
    from cnnlab.inference.session import Model

FORMATS = (".npz", ".parquet")


def choose(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Pick `count` pictures with each class's share kept: sorted indices, int64; all of them if there are no more.

    A folder's pictures are sorted by class, so the first `count` of them could be a single class.
    """
    total = len(labels)
    if count >= total:
        return np.arange(total)
    generator = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * count / total
    quotas = np.floor(shares).astype(int)
    largest_remainders = np.argsort(quotas - shares, kind="stable")[: count - quotas.sum()]
    quotas[largest_remainders] += 1
    chosen = [
        generator.choice(np.flatnonzero(labels == name), quota, replace=False)
        for name, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def one_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Index of the first picture of each class, in the order of the classes."""
    return np.unique(labels, return_index=True)[1]


def most_varied(maps: np.ndarray, count: int) -> np.ndarray:
    """The `count` channels whose values vary most over the pictures shown, in their own order.

    maps: [pictures, channels, height, width].
    """
    variance = maps.astype(np.float64).var(axis=(0, 2, 3))
    return np.sort(np.argsort(-variance, kind="stable")[:count])


def first_filters(path: str | Path) -> np.ndarray:
    """Weights of the first convolution in an ONNX file: float32 [filters, channels, height, width]."""
    import onnx

    graph = onnx.load(path).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in weights:
            return onnx.numpy_helper.to_array(weights[node.input[1]])
    raise UserError(f"{path} has no convolution: it is not one of the networks that cnnlab exports.")


def tap_shape(model: "Model", layer: str, name: str) -> tuple[int, ...]:
    """Shape of a layer's output for one picture; UserError, with the names of the layers, if there is no such layer."""
    taps = [tap for tap in model.output_names if tap != "logits"]
    if not taps:
        raise UserError(f"{name} gives no layers but its logits: use the file that ends in .features.onnx.")
    if layer not in taps:
        raise UserError(f"{name} has no layer {layer!r}; it has {', '.join(taps)}.")
    blank = np.zeros((1, *model.shape), np.uint8)
    return next(model.outputs(blank, [layer]))[layer].shape[1:]


def store(folder: Path, batches: Iterable[Mapping[str, np.ndarray]], layers: Sequence[str], rows: int) -> None:
    """Write each layer to FOLDER/LAYER.npy, float32 [rows, features], batch by batch; all of them or none.

    A layer of several dimensions is flattened in C order: channel, row, column. Raises UserError where a feature
    is not finite or the batches have another number of rows.
    """
    with ExitStack() as stack:
        files: dict[str, ArrayRows] = {}
        for batch in batches:
            for layer in layers:
                values = batch[layer].reshape(len(batch[layer]), -1)
                if layer not in files:
                    temporary = stack.enter_context(atomic_write(folder / f"{layer}.npy"))
                    file = stack.enter_context(temporary.open("wb"))
                    files[layer] = ArrayRows(file, (rows, values.shape[1]))
                check_finite(values, layer, files[layer].done)
                files[layer].append(values)
        for file in files.values():
            file.finish()


def check_ending(path: Path) -> None:
    """UserError where `export` does not know the file's ending."""
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: the features go to a file that ends in {' or '.join(FORMATS)}.")


def export(
    path: Path, pictures: Sequence[str], batches: Iterable[np.ndarray], layer: str, shape: tuple[int, ...]
) -> None:
    """Write the features of the user's own pictures to .npz or .parquet, batch by batch.

    .npz: `features` float32 [n, *shape], `pictures` (file names, unicode), `layer`; no pickle. .parquet: a row for
    each picture with its name and its features as one flat list of fixed length; `layer` and `shape` are in the
    schema's metadata. Raises UserError for another ending, a feature that is not finite, or a name that .parquet
    cannot hold as it holds UTF-8 alone.
    """
    check_ending(path)
    odd = [name for name in pictures if path.suffix == ".parquet" and not _is_text(name)]
    if odd:
        raise UserError(f"the name {shown(odd[0])} is not UTF-8, which .parquet needs: rename the file, or write .npz.")
    write = _write_npz if path.suffix == ".npz" else _write_parquet
    with atomic_write(path) as temporary:
        write(temporary, pictures, batches, layer, shape)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of a file name that are not UTF-8 are lone surrogates in Python
        return False
    return True


def _write_npz(
    path: Path, pictures: Sequence[str], batches: Iterable[np.ndarray], layer: str, shape: tuple[int, ...]
) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (("pictures", np.array(pictures)), ("layer", np.array(layer))):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, value, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())
        with archive.open(zipfile.ZipInfo("features.npy"), "w", force_zip64=True) as file:
            rows = ArrayRows(file, (len(pictures), *shape))
            for batch in batches:
                check_finite(batch, layer, rows.done)
                rows.append(batch)
            rows.finish()


def _write_parquet(
    path: Path, pictures: Sequence[str], batches: Iterable[np.ndarray], layer: str, shape: tuple[int, ...]
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    width = int(np.prod(shape))
    metadata = {"layer": layer, "shape": " ".join(map(str, shape))}
    fields = [("picture", pa.string()), ("features", pa.list_(pa.float32(), width))]
    schema = pa.schema(fields, metadata=metadata)
    done = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            check_finite(batch, layer, done)
            values = pa.FixedSizeListArray.from_arrays(pa.array(batch.ravel()), width)
            names = pa.array(pictures[done : done + len(batch)], pa.string())
            writer.write_table(pa.table([names, values], schema=schema))
            done += len(batch)


def check_finite(values: np.ndarray, layer: str, first_row: int = 0) -> None:
    """UserError naming the first picture and feature of [rows, ...] that is infinite or not a number."""
    if np.isfinite(values).all():
        return
    row, column = np.argwhere(~np.isfinite(values.reshape(len(values), -1)))[0]
    raise UserError(
        f"layer {layer}: feature {column} of picture {first_row + row} is not a finite number, "
        "so the network is broken: train it again, at a lower learning rate if it diverged."
    )
