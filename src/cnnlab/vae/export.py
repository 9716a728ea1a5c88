"""The VAE as two ONNX files, encoder and decoder: what is fitted for them, and do they answer as torch does?"""

import math
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from cnnlab.core.errors import UserError
from cnnlab.export.convert import convert, stamp
from cnnlab.export.parity import TOLERANCE, difference
from cnnlab.export.portable import make_portable
from cnnlab.inference.calibration import object_share
from cnnlab.inference.session import session_of
from cnnlab.vae.codec import BATCH, Decoder, Encoder, pack_gaussians, pack_prior
from cnnlab.vae.densities import fit_gaussians, fit_mixture
from cnnlab.vae.measure import binarised
from cnnlab.vae.model import VAE

PARITY_PICTURES = 200
PARITY_BATCHES = (1, 3, 64)


class _Encoder(nn.Module):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.vae.encode(self.vae.pixels(image))


class _Decoder(nn.Module):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.vae.decode(z)
        return self.vae.image(logits), logits


def to_onnx(
    vae: VAE, meta: dict[str, Any], images: np.ndarray, labels: np.ndarray, components: int
) -> tuple[bytes, bytes]:
    """The files' bytes: image → mean, logvar; z → image (uint8, the data's own size), logits (float32, padded).

    images uint8 [n, c, h, w] and labels int64 [n] are the training pictures. The decoder's metadata have a
    learned prior, and the densities fitted to the codes: the Gaussian of each class, where there are classes, and the
    mixture.
    """
    vae = vae.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    encoder = convert(_Encoder(vae), torch.zeros((2, *vae.shape), dtype=torch.uint8), "image", ["mean", "logvar"])
    decoder = convert(_Decoder(vae), torch.zeros(2, vae.z_dim), "z", ["image", "logits"])
    for model in (encoder, decoder):
        make_portable(model)
    meta = meta | {"borders": list(vae.borders), "log_scale": vae.log_scale.item()}
    if meta["light_on_dark"]:
        meta |= {"object_share": object_share(images)}
    shown = binarised(images, np.random.default_rng(meta["seed"])) if meta["binarize"] else images
    # The file's own codes: onnxruntime's are the same at any number of threads, torch's are not.
    coder = Encoder(session_of(encoder.SerializeToString(), "the exported encoder"), {"shape": list(vae.shape)})
    with threadpool_limits(limits=1):  # with more, the last bits depend on how many
        fitted = _densities(*coder.codes(shown), labels, meta, components)
    if vae.prior is not None:
        fitted["prior_gaussians"] = pack_prior(vae.prior.as_density())
    return stamp(encoder, meta), stamp(decoder, meta | fitted)


def _densities(
    mean: np.ndarray, logvar: np.ndarray, labels: np.ndarray, meta: dict[str, Any], components: int
) -> dict[str, Any]:
    """What a decoder's metadata say of the codes' densities; mean, logvar: [n, z_dim], labels [n]."""
    mixture = fit_mixture(mean, logvar, labels, components, meta["seed"])
    fitted = {"mixture": pack_gaussians(mixture.gaussians), "mixture_weights": mixture.weights.tolist()}
    if names := meta["class_names"]:
        fitted["class_gaussians"] = pack_gaussians(fit_gaussians(mean, logvar, labels, len(names)))
    return fitted


def check_parity(vae: VAE, encoder: bytes, decoder: bytes, images: np.ndarray, seed: int) -> dict[str, float | int]:
    """How near the files come to torch, for uint8 images [n, c, h, w] and codes drawn from the prior.

    200 of them at batch 1, 3 and 64. The figures are powers of ten, since the digits depend on torch's number of
    threads. UserError where codes or logits differ by more than 1e-4 of max(1, |value|), or a pixel by more than one
    grey value.
    """
    coder = Encoder(session_of(encoder, "the exported encoder"), {"shape": list(vae.shape)})
    painter = Decoder(session_of(decoder, "the exported decoder"), {})
    few = np.ascontiguousarray(images[:PARITY_PICTURES])
    generator = np.random.default_rng(seed)
    if vae.prior is None:
        z = generator.standard_normal((len(few), vae.z_dim), dtype=np.float32)
    else:
        z = vae.prior.as_density().sample(len(few), generator).astype(np.float32)
    mean, logvar = _torch_codes(vae, few)
    with torch.inference_mode():
        logits = vae.decode(torch.from_numpy(z))
        pixels = vae.image(logits).numpy().astype(np.int16)
    worst_code = worst_logit = worst_pixel = 0.0
    for batch in PARITY_BATCHES:
        for start in range(0, len(few), batch):
            part = slice(start, start + batch)
            found = coder.codes(few[part])
            worst_code = max(worst_code, difference(mean[part], found[0]), difference(logvar[part], found[1]))
            worst_logit = max(worst_logit, difference(logits[part].numpy(), painter.logits(z[part])))
            worst_pixel = max(worst_pixel, float(np.abs(pixels[part] - painter.images(z[part])).max()))
    if not (worst_code < TOLERANCE and worst_logit < TOLERANCE and worst_pixel <= 1):
        raise UserError(
            f"the exported VAE does not answer as torch does: codes differ by up to {worst_code:.2g} and logits by "
            f"{worst_logit:.2g} of max(1, |value|), where {TOLERANCE:g} is allowed, and pixels by {worst_pixel:.0f} "
            "grey values, where 1 is; export with the versions in constraints.txt."
        )
    return {
        "parity_pictures": len(few),
        "parity_codes_within": _power_of_ten(worst_code),
        "parity_logits_within": _power_of_ten(worst_logit),
    }


@torch.inference_mode()
def _torch_codes(vae: VAE, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        vae.encode(vae.pixels(torch.from_numpy(np.array(images[start : start + BATCH]))))
        for start in range(0, len(images), BATCH)
    ]
    return torch.cat([mean for mean, _ in parts]).numpy(), torch.cat([logvar for _, logvar in parts]).numpy()


def _power_of_ten(value: float) -> float:
    """The smallest power of ten that is no less; 0 for 0."""
    return float(f"1e{math.ceil(math.log10(value))}") if value else 0.0
