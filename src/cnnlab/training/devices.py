"""Which device trains, and how it is kept deterministic."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cnnlab.core.errors import UserError
from cnnlab.core.params import Precision

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def choose_device(wanted: str) -> torch.device:
    """The device that `wanted` (auto, cpu, cuda, cuda:N, mps) names; UserError where it is not to be had.

    auto takes a CUDA GPU, else Apple's, else the CPU: a fixed rule, never a timing.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "cuda"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device is {wanted!r}, but {torch.cuda.device_count()} CUDA GPUs are to be seen here; "
            "say `device: auto` or `device: cpu`."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device is 'mps', but there is no Apple GPU here; say `device: auto` or `device: cpu`.")
    _make_deterministic(device)
    _keep_freed_memory()
    torch.set_flush_denormal(True)  # a dead layer's gradients fall below 1e-38, where a CPU is a hundred times slower
    return device


def choose_precision(wanted: Precision, device: torch.device, gains: bool) -> torch.dtype:
    """What a network's multiplications are made in while it trains; weights, loss and measurements stay float32.

    auto is a fixed rule, never a timing: bfloat16 where the device multiplies it natively (NVIDIA since Ampere,
    CPUs with AMX) and the network gains.
    """
    if wanted == "auto":
        wanted = "bfloat16" if gains and _multiplies_bfloat16(device) else "float32"
    return getattr(torch, wanted)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """UserError where the GPU's memory does not hold what the block, or a function so decorated, puts there."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(f"the GPU's memory does not hold {what}: free it, or say `device: cpu`.") from None


def _make_deterministic(device: torch.device) -> None:
    """Ask CUDA's libraries for algorithms that give the same bits each time; the CPU's do already."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def _keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next one, rather than hand megabytes back and fault them in again."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 2**30)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def describe(device: torch.device) -> str:
    """The device in words, for metrics/timing and checkpoints: what must be equal for the same bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        f"{device.type}, {_processor()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    )


def _processor() -> str:
    """The processor's name and model number, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines[:30] if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return f"{facts.get('model name', platform.machine())} model {facts.get('model', '?')}"
