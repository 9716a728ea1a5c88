"""Augmentation of whole batches of uint8 pictures, on the device where they lie."""

import torch
from torch import Tensor

from cnnlab.core.schema import Run

LOG_ASPECT = float(torch.tensor(3.3).log())  # of random erasing; float32, a number: a graph may hold no CPU tensor


def augment(images: Tensor, run: Run, generator: torch.Generator) -> Tensor:
    """Mirror, move and erase, each picture by its own draw; uint8 [n, c, h, w] in and out."""
    if run.flip:
        images = mirror(images, generator)
    if run.shift:
        images = move(images, run.shift, generator)
    if run.erase:
        images = erase(images, run.erase, generator)
    return images


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each picture left to right with probability one half."""
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)


def move(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each picture by up to `pixels` in both directions; what comes in at the border is black (0)."""
    n, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, [pixels] * 4)
    device = images.device
    offsets = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator, device=device)
    rows = offsets[0] + torch.arange(height, device=device)  # [n, height]
    columns = offsets[1] + torch.arange(width, device=device)  # [n, width]
    flat = rows[:, :, None] * (width + 2 * pixels) + columns[:, None, :]  # [n, height, width]
    flat = flat.reshape(n, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, flat).view(n, channels, height, width)


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Random erasing: fill a box of 2 to 33 % of the area, aspect 0.3 to 3.3, with uniform noise.

    Zhong et al. 2020, "Random Erasing Data Augmentation", AAAI, algorithm 1, with its values for Fashion-MNIST.
    """
    n, _, height, width = images.shape
    device = images.device
    draws = torch.rand(5, n, 1, 1, 1, generator=generator, device=device)
    area = (0.02 + 0.31 * draws[0]) * height * width
    aspect = torch.exp((2 * draws[1] - 1) * LOG_ASPECT)
    box_height = (area * aspect).sqrt().clamp(1, height - 1)
    box_width = (area / aspect).sqrt().clamp(1, width - 1)
    top, left = draws[2] * (height - box_height), draws[3] * (width - box_width)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + box_height) & (columns >= left) & (columns < left + box_width)
    noise = torch.randint(0, 256, images.shape, generator=generator, device=device, dtype=torch.uint8)
    return torch.where(inside & (draws[4] < probability), noise, images)
