"""The VAE's objective, for the one training loop."""

import torch
from torch import Tensor

from cnnlab.vae.likelihoods import log_likelihood
from cnnlab.vae.model import VAE


class VaeTask:
    """The negative evidence lower bound (Kingma and Welling 2014, equation 10), its KL part weighted by β.

    Sums over pixels and dimensions, in nats a picture. β climbs from 0 over the share `warm_up` of the training. The
    curve's `loss` always has the whole β.
    """

    def __init__(self, module: VAE, beta: float, warm_up: float, binarize: bool) -> None:
        self.module = module
        self.beta = beta
        self.warm_up = warm_up
        self.binarize = binarize

    def objective(
        self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the batch with the present β, and the summed figures."""
        reconstruction, kl = self._terms(images, generator)
        now = self.beta * min(1.0, progress / self.warm_up) if self.warm_up else self.beta
        return (reconstruction + now * kl) / len(images), self._figures(reconstruction, kl)

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The figures, summed, with one draw of the code for each picture."""
        return self._figures(*self._terms(images, generator))

    def _figures(self, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
        return {"loss": reconstruction + self.beta * kl, "reconstruction": reconstruction, "kl": kl}

    def _terms(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Reconstruction (negative log-likelihood) and KL divergence to N(0, I), both summed over the batch."""
        vae = self.module
        pixels = vae.pixels(images)
        if self.binarize:
            noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
            pixels = (noise < pixels).to(torch.float32)
        mean, logvar = vae.encode(pixels)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        logits = vae.decode(mean + (0.5 * logvar).exp() * noise)
        likelihood = log_likelihood(vae.likelihood, logits, pixels, vae.log_scale, torch).sum()
        kl = 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum()
        return -likelihood, kl
