"""The exported VAE, opened with onnxruntime: pictures to codes, codes to pictures. Needs no torch."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime as ort

from cnnlab.core.errors import UserError
from cnnlab.inference.session import check_values, class_index, decode, open_session
from cnnlab.vae.densities import Gaussian, Mixture, Prior

BATCH = 256
NEEDED_KEYS = frozenset(
    {"dataset", "shape", "z_dim", "likelihood", "prior", "borders", "log_scale", "binarize", "class_names"}
)
VAE_VALUES = frozenset({"shape", "z_dim", "class_names", "object_share"})


@dataclass(frozen=True)
class _Part:
    """One of the VAE's two files: its session, and its metadata, decoded."""

    session: ort.InferenceSession
    meta: dict[str, Any]
    takes: ClassVar[str]
    gives: ClassVar[tuple[str, ...]]

    @classmethod
    def load(cls, path: str | Path, threads: int | None = None) -> Self:
        """Open the file; UserError where it is missing, broken or another model."""
        session = open_session(path, threads)
        return cls(session, _checked(session, str(path), cls.takes, cls.gives))


class Encoder(_Part):
    """uint8 pictures → the posterior's mean and log-variance."""

    takes, gives = "image", ("mean", "logvar")

    def codes(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log-variance, float32 [n, z_dim] each, of uint8 pictures [n, c, h, w]."""
        shape = tuple(self.meta["shape"])
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            found = f"{images.dtype} {list(images.shape)}"
            raise UserError(f"the VAE takes uint8 pictures [n, {', '.join(map(str, shape))}], not {found}.")
        mean, logvar = _run(self.session, list(self.gives), self.takes, images)
        return mean, logvar


class Decoder(_Part):
    """Codes → pictures; its metadata have the densities of codes to draw from."""

    takes, gives = "z", ("image", "logits")

    def images(self, z: np.ndarray) -> np.ndarray:
        """The mean pictures, uint8 [n, c, h, w], of codes [n, z_dim]."""
        (images,) = _run(self.session, ["image"], self.takes, z.astype(np.float32))
        return images

    def logits(self, z: np.ndarray) -> np.ndarray:
        """Each pixel's logit before the padding is cut off, float32 [n, c, padded height, padded width]."""
        (logits,) = _run(self.session, ["logits"], self.takes, z.astype(np.float32))
        return logits

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, none for data without labels."""
        return tuple(self.meta["class_names"])

    def class_index(self, name: str) -> int:
        """Which class is called so, in any case of letters; UserError with the names where there is none."""
        names = self.class_names
        if not names:
            raise UserError(f"{self.meta['dataset']} has no classes to choose from: leave out --class.")
        return class_index(names, name)

    @cached_property
    def prior(self) -> Prior:
        """What the codes were trained to fill."""
        if self.meta["prior"] == "normal":
            return Prior(np.ones(1), *np.zeros((2, 1, self.meta["z_dim"])))
        try:
            return unpack_prior(self.meta["prior_gaussians"], self.meta["z_dim"])
        except (KeyError, TypeError, ValueError):
            raise UserError("the decoder's metadata prior_gaussians cannot be right: run `dvc repro`.") from None

    def gaussians(self) -> list[Gaussian]:
        """The Gaussians fitted to each class's codes, in the order of the class names; none where there are none."""
        if not self.class_names:
            return []
        return self._gaussians("class_gaussians", len(self.class_names))

    def mixture(self) -> Mixture:
        """The mixture of Gaussians fitted to all codes."""
        try:
            weights = np.array(self.meta["mixture_weights"], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            weights = np.empty(0)
        if weights.ndim != 1 or not (weights > 0).all() or not abs(weights.sum() - 1) < 1e-6:
            raise UserError("the decoder's metadata mixture_weights cannot be right: run `dvc repro`.")
        return Mixture(weights / weights.sum(), self._gaussians("mixture", len(weights)))

    def _gaussians(self, key: str, count: int) -> list[Gaussian]:
        try:
            gaussians = unpack_gaussians(self.meta[key], self.meta["z_dim"])
            if len(gaussians) != count:
                raise ValueError("not as many as there should be")
        except (KeyError, TypeError, ValueError):
            raise UserError(f"the decoder's metadata {key} cannot be right: run `dvc repro`.") from None
        return gaussians


def pack_prior(prior: Prior) -> str:
    """Weights, means and log-variances as base64 of float32, for a file's metadata."""
    weights = np.maximum(prior.weights, np.finfo(np.float32).tiny)  # none may become 0
    rows = np.concatenate([weights[:, None], prior.mean, prior.logvar], axis=1)
    return base64.b64encode(rows.astype("<f4").tobytes()).decode()


def unpack_prior(text: str, z_dim: int) -> Prior:
    """What `pack_prior` packed; ValueError where it is no density."""
    rows = np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 1 + 2 * z_dim).astype(np.float64)
    weights = rows[:, 0]
    if not np.isfinite(rows).all() or (weights <= 0).any() or not abs(weights.sum() - 1) < 1e-4:
        raise ValueError("no density")
    return Prior(weights / weights.sum(), rows[:, 1 : 1 + z_dim], rows[:, 1 + z_dim :])


def pack_gaussians(gaussians: Sequence[Gaussian]) -> str:
    """Means and factors as base64 of float32, for a file's metadata."""
    rows = [np.concatenate([gaussian.mean[None], gaussian.factor]) for gaussian in gaussians]
    return base64.b64encode(np.array(rows, "<f4").tobytes()).decode()


def unpack_gaussians(text: str, z_dim: int) -> list[Gaussian]:
    """What `pack_gaussians` packed."""
    rows = np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, z_dim + 1, z_dim)
    return [Gaussian(row[0].astype(np.float64), row[1:].astype(np.float64)) for row in rows]


def _checked(session: ort.InferenceSession, name: str, input_name: str, outputs: tuple[str, ...]) -> dict[str, Any]:
    """The metadata of a session that is what it should be."""
    inputs = [value.name for value in session.get_inputs()]
    if inputs != [input_name] or tuple(value.name for value in session.get_outputs()) != outputs:
        wanted = f"{input_name} in, {' and '.join(outputs)} out"
        raise UserError(f"{name} is an ONNX model, but not the part of cnnlab's VAE that belongs there ({wanted}).")
    meta = decode(session.get_modelmeta().custom_metadata_map, name)
    missing = sorted(NEEDED_KEYS - meta.keys())
    if missing:
        raise UserError(f"{name} lacks the metadata {', '.join(missing)}: export it again with `dvc repro`.")
    check_values(meta, sorted(VAE_VALUES & meta.keys()), name)
    (size,) = (value.shape[1:] for value in session.get_inputs())
    if size != (meta["shape"] if input_name == "image" else [meta["z_dim"]]):
        raise UserError(f"{name}: its metadata do not fit its network: export it again with `dvc repro`.")
    return meta


def _run(session: ort.InferenceSession, outputs: list[str], name: str, values: np.ndarray) -> list[np.ndarray]:
    """The outputs for all rows, batch by batch."""
    starts = range(0, max(len(values), 1), BATCH)
    parts = [session.run(outputs, {name: np.ascontiguousarray(values[start : start + BATCH])}) for start in starts]
    return [np.concatenate([np.asarray(part[index]) for part in parts]) for index in range(len(outputs))]
