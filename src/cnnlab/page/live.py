"""The live part of the page: small copies of a network and of the VAE, and what their answers need.

onnxruntime-web runs them in the browser. It lies in assets/runtime/, where `make page-assets` puts it (12 MB of
WebAssembly, 3.1 compressed: too much for Git); without it the page has everything but its live part.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnnlab.core import artifacts
from cnnlab.core.datasets import Split, load_split
from cnnlab.embedding.placing import StoredMap, open_map
from cnnlab.embedding.tsne import LEAST, PLACE_PERPLEXITY, fitting_perplexity
from cnnlab.inference import Model
from cnnlab.inference.calibration import halves
from cnnlab.inference.session import session_of
from cnnlab.page.maps import GRID, span
from cnnlab.vae.codec import Decoder, Encoder
from cnnlab.vae.densities import Prior
from cnnlab.vae.measure import kl_by_dimension

NETWORK = artifacts.DEFAULT_NETWORK
FOLDER = Path(__file__).parent / "assets" / "runtime"
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of the npm package onnxruntime-web
# Where it looks for its WebAssembly: an error in a script without an address, though the file is given to it.
ADDRESS = b'new URL("ort-wasm-simd-threaded.wasm",import.meta.url).href'
LEAST_WEIGHTS = 256  # of a tensor that is stored in 8 bits
PICTURES = 2  # of each class, with their codes, for the VAE
MOST_PICTURES = 40
DIMENSIONS = 8  # of the VAE's code that have a slider
CHANNELS = 16  # of a layer that are shown
CHARACTERS = [bytes([code]) for code in range(ord("#"), ord("~") + 1) if chr(code) != "<"]  # 91


def live(test: Split, shown: list[int]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the live part needs, ready for JSON, and its files by name; two empty dicts where one is missing.

    shown: the test pictures on the page's maps, by their index.
    """
    path = artifacts.onnx_path(NETWORK, "features")
    if not shown or not path.is_file() or not all((FOLDER / name).is_file() for name in RUNTIME):
        return {}, {}
    script, wasm = ((FOLDER / name).read_bytes() for name in RUNTIME)
    script = script.replace(ADDRESS, b'"given"')
    network, model = _network(path.read_bytes(), test, shown)
    vae, coders = _vae()
    blobs = {"script": script, "wasm": wasm, "network": model} | coders
    return {"network": network, "vae": vae}, {name: packed(data) for name, data in blobs.items()}


def _network(data: bytes, test: Split, shown: list[int]) -> tuple[dict[str, Any], bytes]:
    """The network's metadata, the stored map of its middle layer, and its small copy."""
    whole = Model.of(session_of(data, NETWORK), NETWORK)
    nodes = onnx.load_model_from_string(data).graph.node
    layers = [node.output[0] for node in nodes if node.op_type == "Conv" and node.output[0] in whole.output_names][:2]
    stored = open_map(artifacts.features_dir(NETWORK), artifacts.embedding_dir(NETWORK, "tsne"), "", "tsne")
    small = small_copy(data, ["logits", *layers, stored.layer])
    answers = [model.logits(test.images).argmax(axis=1) for model in (whole, Model.of(session_of(small, ""), NETWORK))]
    names = ("title", "class_names", "shape", "temperature", "object_share", "novelty")
    about = {
        "name": NETWORK,
        "layers": layers,
        "channels": CHANNELS,
        "agreement": float((answers[0] == answers[1]).mean()),
        "map": _map(stored, shown),
        **{name: whole.meta[name] for name in names},
    }
    return about, small


def _map(stored: StoredMap, shown: list[int]) -> dict[str, Any]:
    """What places a new picture: the layer's principal components, and those of the pictures shown.

    unit: of the map, to one step of the page's grid. perplexity: of the neighbours; None in a map of too few pictures.
    """
    rows = np.searchsorted(stored.index, shown)
    pca = stored.embedding.pca
    return {
        "perplexity": fitting_perplexity(PLACE_PERPLEXITY, len(rows)) if len(rows) >= LEAST else None,
        "unit": span(stored.embedding.points) / GRID,
        "layer": stored.layer,
        "kept": len(pca.components),
        "mean": halves(pca.mean),
        "components": halves(pca.components),
        "reduced": halves(stored.embedding.reduced[rows]),
    }


def _vae() -> tuple[dict[str, Any], dict[str, bytes]]:
    """The densities of codes, the codes of some test pictures, and small copies of both parts; empty without a VAE."""
    paths = artifacts.onnx_path("vae_encoder"), artifacts.onnx_path("vae_decoder")
    if not all(path.is_file() for path in paths):
        return {}, {}
    encoder, decoder = Encoder.load(paths[0], threads=1), Decoder.load(paths[1], threads=1)
    test = load_split("vae", "test")
    chosen = first_of_each(test.labels, PICTURES)[:MOST_PICTURES]
    mean, logvar = encoder.codes(np.array(test.images[:2000]))
    kl = kl_by_dimension(decoder.prior, mean, logvar).mean(axis=0)
    strongest = np.argsort(-kl, kind="stable")[:DIMENSIONS]
    codes, _ = encoder.codes(np.array(test.images[chosen]))
    about = {
        "shape": decoder.meta["shape"],
        "object_share": encoder.meta.get("object_share"),
        "z_dim": decoder.meta["z_dim"],
        "dimensions": strongest.tolist(),
        "kl": [round(float(value), 2) for value in kl[strongest]],
        "moments": [values[strongest].round(4).tolist() for values in decoder.prior.moments],
        "codes": halves(codes),
        "titles": [_title(decoder.class_names, int(test.labels[index]), int(index)) for index in chosen],
        "class_names": decoder.class_names,
        "gaussians": [_gaussian(gaussian.mean, gaussian.factor) for gaussian in decoder.gaussians()],
        "prior": _prior(decoder.prior),
    }
    copies = [small_copy(path.read_bytes(), [name]) for path, name in zip(paths, ("mean", "image"), strict=True)]
    return about, dict(zip(("encoder", "decoder"), map(without_metadata, copies), strict=True))


def _title(names: tuple[str, ...], label: int, index: int) -> str:
    return f"{names[label]}, test picture {index}" if names else f"test picture {index}"


def _prior(prior: Prior) -> dict[str, Any]:
    """Each Gaussian's share of all draws up to and with it, means and deviations."""
    shares = [round(float(share), 6) for share in np.cumsum(prior.weights)]
    return {"shares": shares, "mean": halves(prior.mean), "deviation": halves(np.exp(0.5 * prior.logvar))}


def _gaussian(mean: np.ndarray, factor: np.ndarray) -> dict[str, str]:
    return {"mean": halves(mean), "factor": halves(factor)}


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """The indices of the first `count` pictures of each class, class by class."""
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)])


def small_copy(data: bytes, outputs: list[str]) -> bytes:
    """An ONNX model that gives `outputs` alone, its large weights stored as 8-bit numbers and a scale for each row.

    onnxruntime multiplies them out once, when it opens the file: what runs is float32, as fast as the original (on
    WebAssembly about four times as fast as the int8 file), at a quarter of the size.
    """
    model = onnx.load_model_from_string(data)
    graph = model.graph
    nodes = _needed(list(graph.node), set(outputs))
    read = {name for node in nodes for name in node.input}
    before, weights = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in read:
            continue
        if values.dtype != np.float32 or values.size < LEAST_WEIGHTS or values.ndim < 2:
            weights.append(tensor)
            continue
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        name = tensor.name
        weights.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}.bits"))
        weights.append(numpy_helper.from_array(scale, f"{name}.scale"))
        before.append(helper.make_node("Cast", [f"{name}.bits"], [f"{name}.steps"], to=TensorProto.FLOAT))
        before.append(helper.make_node("Mul", [f"{name}.steps", f"{name}.scale"], [name]))
    kept = {output.name: output for output in graph.output}
    known = {value.name: value for value in graph.value_info} | kept
    graph_of = helper.make_graph(
        [*before, *nodes], graph.name, list(graph.input), [known[name] for name in outputs], weights
    )
    copy = helper.make_model(graph_of, opset_imports=model.opset_import, ir_version=model.ir_version)
    copy.metadata_props.extend(model.metadata_props)
    return copy.SerializeToString(deterministic=True)


def without_metadata(data: bytes) -> bytes:
    """An ONNX model without what no browser can read: the decoder's is a fifth of its small copy."""
    model = onnx.load_model_from_string(data)
    del model.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def _needed(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes, in order, that the wanted values are computed from."""
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted = wanted | set(node.input)
    return kept[::-1]


def packed(data: bytes) -> str:
    """Bytes, compressed, as text: their compressed length, a colon, and 13 bits in two characters (base64 has 12).

    The same bytes give the same text. No character ends a script or is changed by HTML.
    """
    zipped = np.frombuffer(gzip.compress(data, mtime=0), np.uint8)
    rows = np.append(zipped, np.zeros(-len(zipped) % 13, np.uint8)).reshape(-1, 13)
    pairs = np.empty((len(rows), 8, 2), np.uint8)
    for start in range(0, len(rows), 4096):
        bits = np.unpackbits(rows[start : start + 4096], axis=1).reshape(-1, 8, 13)
        pairs[start : start + 4096] = np.stack(np.divmod(bits @ (1 << np.arange(13)[::-1]), 91), axis=-1)
    return f"{len(zipped)}:" + np.array(CHARACTERS)[pairs.ravel()].tobytes().decode()
