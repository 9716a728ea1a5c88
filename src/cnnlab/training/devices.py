"""Which device trains, in what precision, and how a process is set up for it."""

import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from cnnlab.core import errors
from cnnlab.core.errors import UserError
from cnnlab.core.memory import keep_freed_memory
from cnnlab.core.schema import Precision

Multiplied = Literal["float32", "tf32", "bfloat16"]  # what `precision: auto` becomes

DRIVER = Path("/proc/driver/nvidia/version")  # Linux has this file while NVIDIA's driver is loaded
OLDEST_DRIVERS = {"11": 450, "12": 525, "13": 580}  # by CUDA's major version (CUDA Compatibility, NVIDIA)
MEMORY = {"gpu": "the GPU's memory", "cpu": "this machine's memory"}
ADVICE = {"gpu": "free it, or say `device: cpu`", "cpu": "close other programs, or use fewer or smaller pictures"}


def choose_device(wanted: str) -> torch.device:
    """The device that `wanted` (auto, cpu, cuda, cuda:N, mps) names; UserError where it cannot be used.

    auto takes a CUDA GPU, else Apple's, else the CPU: a fixed rule, never a timing. A GPU that auto finds but torch
    cannot use is reported on stderr before the CPU takes over.
    """
    if wanted == "auto":
        device, fault = torch.device("cuda"), _cuda_fault(0)
        if fault is None:
            return device
        if _has_nvidia_driver():
            print(f"The CPU trains: {fault}.", file=sys.stderr)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        fault = _cuda_fault(device.index or 0)
        if fault is not None:
            raise UserError(f"device is {wanted!r}, but {fault}; say `device: auto` or `device: cpu`.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device is 'mps', but there is no Apple GPU here; say `device: auto` or `device: cpu`.")
    return device


def _has_nvidia_driver() -> bool:
    """Whether this machine has an NVIDIA GPU that the user has not hidden from this process."""
    return DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def _cuda_fault(index: int) -> str | None:
    """Why CUDA GPU `index` cannot train, as a clause; None where it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver; the clause below says what to do
        available, count = torch.cuda.is_available(), torch.cuda.device_count()
    if not available:
        return _why_no_cuda()
    if index >= count:
        return f"torch sees {count} CUDA GPU{'s' if count != 1 else ''}, numbered from 0"
    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    if not _has_kernels_for(capability):
        return (
            f"torch {torch.__version__} has no kernels for the {name} (compute capability {capability[0]}."
            f"{capability[1]}; it has {', '.join(torch.cuda.get_arch_list())})"
        )
    try:
        torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return f"the {name} failed its first calculation ({str(error).splitlines()[0].rstrip('.')})"
    return None


def _why_no_cuda() -> str:
    if not _has_nvidia_driver():
        return "torch sees 0 CUDA GPUs"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA, so that it cannot use the NVIDIA GPU of this machine"
    oldest = OLDEST_DRIVERS.get(torch.version.cuda.split(".")[0])
    wanted = f"driver {oldest} or newer" if oldest else "a newer driver"
    found = next((word for word in DRIVER.read_text().split() if word.split(".")[0].isdigit() and "." in word), "?")
    return (
        f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use this machine's NVIDIA GPU with driver "
        f"{found}: install {wanted}"
    )


def _has_kernels_for(capability: tuple[int, int]) -> bool:
    """Whether torch was built for a GPU: its own architecture, an older one of the same major, or PTX to translate."""
    major, minor = capability
    for name in torch.cuda.get_arch_list():
        kind, _, digits = name.partition("_")
        built = int("".join(filter(str.isdigit, digits)))
        if kind == "sm" and built // 10 == major and built % 10 <= minor:
            return True
        if kind == "compute" and built <= 10 * major + minor:
            return True
    return False


def tune_process(device: torch.device) -> None:
    """Set up this process for training on the device; call it once, before any work.

    - The memory that a step frees is kept for the next one.
    - Numbers under 1e-38 count as zero: the gradients of a layer that is dead fall below that, where a CPU is a hundred
      times slower.
    - CUDA's libraries choose algorithms that give the same bits each time (a CPU's do already), and multiply float32
      as float32: torch's own choice for convolutions is TF32, ten bits of mantissa. `multiplying` allows it by block.
    """
    keep_freed_memory()
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # CUDA's streams and graphs belong to the present device
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        _allow_tf32(False)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def choose_precision(wanted: Precision, device: torch.device, gains: tuple[str, ...] = ()) -> Multiplied:
    """What a network's multiplications are made in while it trains; weights, loss and measurements stay float32.

    gains: kinds of device ("cpu", "cuda") on which the network gains from bfloat16. auto is a fixed rule, never a
    timing: on NVIDIA since Ampere bfloat16 where the network gains, else TF32; on CPUs with AMX bfloat16 where it
    gains; float32 everywhere else. UserError for tf32 on a device that has none.
    """
    ampere = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if wanted == "tf32" and not ampere:
        raise UserError("precision is 'tf32', which NVIDIA GPUs since Ampere have; say `precision: auto` or `float32`.")
    if wanted != "auto":
        return wanted
    native = ampere or (device.type == "cpu" and torch.cpu._is_amx_tile_supported())
    if native and device.type in gains:
        return "bfloat16"
    return "tf32" if ampere else "float32"


@contextmanager
def multiplying(precision: Multiplied, device: torch.device) -> Iterator[None]:
    """Multiply float32 as `precision` says in the block, forward and backward: CUDA's TF32 is allowed or not.

    bfloat16 is torch.autocast's part, around the forward pass alone.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def memory_format(device: torch.device) -> torch.memory_format:
    """How pictures and convolutions lie in memory: channels innermost is fastest, but not on Apple's GPUs.

    There the backward pass of a convolution is then some 30 times slower (pytorch issues 192551 and 193349).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


GPU_ALLOCATION_FAILED = ("out of memory", "ALLOC_FAILED")  # as CUDA and its libraries report it


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """UserError where memory does not hold what the block, or a function so decorated, puts there."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise UserError(f"{MEMORY[ran_out_on(error)]} does not hold {what}: {ADVICE[ran_out_on(error)]}.") from None


def out_of_memory(error: RuntimeError) -> bool:
    """Whether it says that memory ran out: of a GPU, in one of its libraries' own allocations, or of the CPU."""
    on_gpu = isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in GPU_ALLOCATION_FAILED)
    if on_gpu or errors.out_of_memory(error):
        return True
    before = error.__context__  # an interrupted capture of a CUDA graph reports itself, not what interrupted it
    return isinstance(before, RuntimeError) and out_of_memory(before)


def ran_out_on(error: RuntimeError) -> str:
    """Whose memory ran out, a key of MEMORY and ADVICE."""
    return "cpu" if errors.out_of_memory(error) else "gpu"


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
