"""The report's convolutional VAE, for pictures of any channels and size.

Report A: two 4×4 convolutions of stride 2, a hidden layer of 128, two heads; the decoder mirrors them. The report has
no activation between the decoder's two transposed convolutions, which makes them one linear map; `decoder` chooses:
"relu" puts one there, "linear" is the report's form.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.core.errors import UserError
from cnnlab.core.schema import Likelihood, VaeDecoder, VaePrior
from cnnlab.models.blocks import Shape
from cnnlab.vae.densities import Prior, log_mixture
from cnnlab.vae.likelihoods import mean_pixel

HIDDEN = 128
COMPONENTS = 500  # of a learned prior, as in the paper


class LearnedPrior(nn.Module):
    """A mixture of Gaussians without covariances, trained with the rest; it sees no labels.

    "MoG" in Tomczak and Welling 2018, "VAE with a VampPrior". Their own prior encodes pseudo-inputs at every step; this
    one costs next to nothing and gains as much here (docs/log.md).
    """

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(COMPONENTS))  # of the components' weights
        self.mean = nn.Parameter(0.9 * torch.randn(COMPONENTS, z_dim))
        self.logvar = nn.Parameter(torch.full((COMPONENTS, z_dim), -0.7))

    def log_density(self, z: Tensor) -> Tensor:
        """Logarithm of the density at codes [n, z_dim], in nats: [n]."""
        return log_mixture(z, self.logits.log_softmax(0), self.mean, self.logvar, torch)

    def as_density(self) -> Prior:
        """The same for NumPy."""
        values = self.logits.double().softmax(0), self.mean, self.logvar
        return Prior(*(value.detach().double().cpu().numpy() for value in values))


class VAE(nn.Module):
    """Encoder, decoder and the likelihood's width; shapes in the comments are for 1×28×28 padded to 32×32.

    z_dim: dimensions of the code. decoder: the activation between the transposed convolutions. likelihood: what the
    decoder's numbers mean. prior: of the codes, N(0, I) or learned. unpadded: leave the pictures
    at their own size, which must then be a multiple of four, as the literature does with 28×28; else they are padded
    with zeros to a multiple of eight. UserError where the size does not fit.
    """

    log_scale: Tensor

    def __init__(
        self,
        shape: Shape,
        z_dim: int,
        decoder: VaeDecoder,
        likelihood: Likelihood,
        prior: VaePrior = "normal",
        unpadded: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        if unpadded and (height % 4 or width % 4):
            raise UserError(
                f"vae.binarize: pictures of {height}×{width} are not padded then and must measure a multiple of "
                "four pixels a side; leave binarize false."
            )
        self.shape, self.z_dim = shape, z_dim
        self.likelihood: Likelihood = likelihood
        self.borders = (0, 0, 0, 0) if unpadded else (*_padding(width), *_padding(height))
        left, right, top, bottom = self.borders
        rows, columns = (height + top + bottom) // 4, (width + left + right) // 4
        size = 64 * rows * columns
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 32, 4, stride=2, padding=1),  # 32×16×16
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),  # 64×8×8
            nn.ReLU(),
            nn.Flatten(),  # 4096
            nn.Linear(size, HIDDEN),
            nn.ReLU(),
        )
        self.mean = nn.Linear(HIDDEN, z_dim)
        self.logvar = nn.Linear(HIDDEN, z_dim)
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, size),
            nn.ReLU(),
            nn.Unflatten(1, (64, rows, columns)),  # 64×8×8
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),  # 32×16×16
            nn.ReLU() if decoder == "relu" else nn.Identity(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),  # 1×32×32
        )
        log_scale = torch.tensor(-1.0)
        if likelihood == "gaussian":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)
        self.prior = LearnedPrior(z_dim) if prior == "learned" else None

    def pixels(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] → [0, 1], padded to the network's own size."""
        return nn.functional.pad(images.to(torch.float32) / 255, self.borders)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code's posterior, each [n, z_dim]."""
        hidden = self.encoder(pixels)
        return self.mean(hidden), self.logvar(hidden)

    def decode(self, z: Tensor) -> Tensor:
        """Each pixel's logit, [n, c, padded height, padded width]."""
        return self.decoder(z)

    def divergence(self, z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """KL divergence of the posteriors from the prior, summed; from a learned one estimated by their draws z.

        All [n, z_dim].
        """
        if self.prior is None:
            return 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum()
        log_posterior = -0.5 * ((z - mean) ** 2 / logvar.exp() + logvar + math.log(2 * math.pi)).sum(1)
        return (log_posterior - self.prior.log_density(z)).sum()

    def crop(self, values: Tensor) -> Tensor:
        """Cut the padding off: [n, c, padded height, padded width] → [n, c, h, w]."""
        left, _, top, _ = self.borders
        _, height, width = self.shape
        return values[:, :, top : top + height, left : left + width]

    def image(self, logits: Tensor) -> Tensor:
        """The decoder's mean picture as uint8 [n, c, h, w], the padding cut off."""
        return (255 * self.crop(mean_pixel(self.likelihood, logits, torch))).round().to(torch.uint8)


def build(meta: Mapping[str, Any]) -> VAE:
    """The network that a file's meta describes, with fresh weights."""
    channels, height, width = meta["shape"]
    shape = channels, height, width
    return VAE(shape, meta["z_dim"], meta["decoder"], meta["likelihood"], meta["prior"], meta["binarize"])


def _padding(side: int) -> tuple[int, int]:
    """Pixels before and after that bring a side up to a multiple of eight, the picture in the middle."""
    missing = -side % 8
    return missing // 2, missing - missing // 2
