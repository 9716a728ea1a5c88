"""The VAE's objective, for the one training loop."""

import torch
from torch import Tensor

from cnnlab.core.schema import Vae
from cnnlab.training.augment import mirror
from cnnlab.training.devices import Multiplied, multiplying
from cnnlab.vae.likelihoods import leaves_padding_out, log_likelihood
from cnnlab.vae.model import VAE


class VaeTask:
    """The negative evidence lower bound (Kingma and Welling 2014, equation 10), its KL part weighted by β.

    Sums over pixels and dimensions, in nats a picture. Of the settings beta, warm_up, binarize and flip count: β climbs
    from 0 over the share `warm_up` of the training. The curve's `loss` always has the whole β.
    """

    def __init__(self, module: VAE, settings: Vae, precision: Multiplied = "float32") -> None:
        self.module = module
        self.settings = settings
        self.precision: Multiplied = precision

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Half of the pictures mirrored, where the settings say so."""
        return mirror(images, generator) if self.settings.flip else images

    def objective(
        self, images: Tensor, labels: Tensor, progress: float | Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the batch with the present β, and the summed figures."""
        reconstruction, kl = self._terms(images, generator, self.precision == "bfloat16")
        beta = self.settings.beta * self._share_of_beta(progress)
        return (reconstruction + beta * kl) / len(images), self._figures(reconstruction, kl)

    def measure(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The figures, summed, with one draw of the code for each picture."""
        return self._figures(*self._terms(images, generator))

    def _share_of_beta(self, progress: float | Tensor) -> float | Tensor:
        if not self.settings.warm_up:
            return 1.0
        share = progress / self.settings.warm_up
        return share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share)

    def _figures(self, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
        return {"loss": reconstruction + self.settings.beta * kl, "reconstruction": reconstruction, "kl": kl}

    def _terms(self, images: Tensor, generator: torch.Generator, is_half: bool = False) -> tuple[Tensor, Tensor]:
        """Reconstruction (negative log-likelihood) and KL divergence to the prior, both summed over the batch."""
        vae = self.module
        pixels = vae.pixels(images)
        if self.settings.binarize:
            noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
            pixels = (noise < pixels).to(torch.float32)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=is_half):
            mean, logvar = (value.float() for value in vae.encode(pixels))
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            z = mean + (0.5 * logvar).exp() * noise
            logits = vae.decode(z).float()
        if leaves_padding_out(vae.likelihood):
            logits, pixels = vae.crop(logits), vae.crop(pixels)
        likelihood = log_likelihood(vae.likelihood, logits, pixels, vae.log_scale, torch).sum()
        with multiplying("float32", images.device):  # large numbers cancel: TF32 has too few digits
            return -likelihood, vae.divergence(z, mean, logvar)
