"""One network on several processes, a GPU or a share of the cores each (PyTorch's DistributedDataParallel).

Every process holds the whole data set and takes its share of each batch; gradients are averaged over the whole
batch, as one process would have them. A run of one process never touches torch.distributed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cnnlab.core.errors import UserError


def rank() -> int:
    """Which of the processes this is: 0 writes files and shows progress."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launch(wanted: int, device: torch.device) -> None:
    """Start this command again under torchrun as `wanted` processes, unless it is one of them or one is enough.

    UserError where the device is a CUDA GPU and there are fewer of them.
    """
    if wanted == 1 or "RANK" in os.environ:
        return
    if device.type == "cuda" and torch.cuda.device_count() < wanted:
        count = torch.cuda.device_count()
        raise UserError(
            f"train.processes is {wanted}, but torch sees {count} CUDA GPU{'s' if count != 1 else ''} and each process "
            "needs one; say `train.processes: 1` or `device: cpu`."
        )
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={wanted}"]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // wanted)))
    os.execv(sys.executable, [sys.executable, *torchrun, *sys.argv])


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes for the block, and yield the device of this one: with CUDA, a GPU each."""
    if processes() == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()


def replicate(module: nn.Module) -> nn.Module:
    """The module whose gradients are averaged over the processes; the very module where there is one process."""
    if processes() == 1:
        return module
    return nn.parallel.DistributedDataParallel(module)


def share(batch: Tensor) -> tuple[Tensor, float]:
    """This process's part of a batch [n], and the weight of its mean so that the processes' average is the batch's."""
    if processes() == 1:
        return batch, 1.0
    part = batch[rank() :: processes()]
    return part, len(part) * processes() / len(batch)


def summed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Figures summed over the processes."""
    if processes() > 1:
        for value in values.values():
            torch.distributed.all_reduce(value)
    return values
