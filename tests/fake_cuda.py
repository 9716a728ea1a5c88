"""The GPU path on fake CUDA tensors: run by test_fake_cuda.py as a script, in a process of its own.

FakeTensorMode answers each operation with a tensor that has a shape, a type and the device cuda:0, but no numbers. A
dispatch mode above it sees every operation of the forward and the backward pass. So this shows which devices meet, what
asks the host, what is copied between host and device within a step, and how many kernels a step has at least. It shows
no number and no speed, and nothing of cuDNN: only a GPU can. The last line that it prints is JSON.
"""

import contextlib
import ctypes
import json
import math
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from cnnlab import models
from cnnlab.core import params
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.schema import Run, Vae, VaeRun
from cnnlab.training import classification, devices, graph, loop, recipe, steps
from cnnlab.vae import training as vae_training

ROOT = Path(__file__).parent.parent
DEVICE = torch.device("cuda", 0)
INFO = DatasetInfo("fake", tuple("abcdefghij"), 1, 28, 28, "", "", light_on_dark=True)
BATCH = 64

# --- A driver without a device

_Generator = torch.Generator


class FakeGenerator(_Generator):
    """A CPU generator that claims the device it was asked for."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, device="cpu")
        made.claimed = torch.device(device)
        return made

    def __init__(self, device="cpu"):
        pass


class Fake(FakeTensorMode):
    avoid_device_init = True  # type: ignore[assignment]


def _fake_numpy(self, *, force=False):
    assert self.device.type == "cpu", f"numpy of a tensor on {self.device}"
    kind = {torch.int64: np.int64, torch.uint8: np.uint8, torch.bool: np.bool_}.get(self.dtype, np.float32)
    return np.ones(tuple(self.shape), kind)


def _fake_list(self):
    RECORD.asks("tolist")
    return tree_map(lambda _: True if self.dtype == torch.bool else 1.0, np.zeros(tuple(self.shape)).tolist())


def _fake_from_numpy(array):
    return torch.empty(array.shape, dtype=getattr(torch, array.dtype.name))


def _fake_apply(self, fn, recurse=True):
    """nn.Module._apply for fake parameters, which cannot be swapped while the mode remembers them."""
    for child in self.children():
        child._apply(fn)
    for name, parameter in self._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                self._parameters[name] = torch.nn.Parameter(fn(parameter), parameter.requires_grad)
    for name, buffer in self._buffers.items():
        if buffer is not None:
            self._buffers[name] = fn(buffer)
    return self


def patches() -> list:
    """What a driver would answer, and what a fake tensor cannot."""
    cuda = {
        "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0,
        "get_device_capability": lambda device=None: (9, 0), "get_device_name": lambda device=None: "fake GPU",
        "get_arch_list": lambda: ["sm_90"], "is_bf16_supported": lambda *_, **__: True, "empty_cache": lambda: None,
        "set_device": lambda _: None, "manual_seed_all": lambda _: None, "set_rng_state": lambda *_: None,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
    }  # fmt: skip
    return [
        *(mock.patch.object(torch.cuda, name, value) for name, value in cuda.items()),
        mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", return_value=False),
        mock.patch.object(torch, "Generator", FakeGenerator),
        mock.patch.object(torch, "from_numpy", _fake_from_numpy),
        mock.patch.object(torch.nn.Module, "_apply", _fake_apply),
        mock.patch.object(torch._C, "_select_conv_backend", return_value=torch._C._ConvBackend.Cudnn),
        mock.patch.object(FakeTensor, "numpy", _fake_numpy),
        mock.patch.object(FakeTensor, "tolist", _fake_list),
        mock.patch.object(FakeTensor, "__deepcopy__", lambda self, memo: self.detach().clone(), create=True),
        mock.patch.object(fake_tensor, "init_gpu_context", create=True),  # torch 2.11 makes a context of its own accord
        mock.patch.object(graph, "_side_stream", return_value=contextlib.nullcontext()),
        mock.patch.object(graph._Branch, "step", watched_step),
        mock.patch.object(steps, "WARM_UP", 1),
        mock.patch("cnnlab.core.schema.LEAST_BATCHES", 1),  # one batch is a pass
        mock.patch.object(loop, "make_optimizer", remembered_optimizer),
        mock.patch.object(classification, "Checkpoint", MemoryCheckpoint),
        mock.patch.object(vae_training, "Checkpoint", MemoryCheckpoint),
    ]


# --- What is seen

# Operations that launch nothing: views, and allocation alone.
FREE = {
    "view", "_unsafe_view", "expand", "t", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "detach",
    "alias", "as_strided", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "split", "lift",
    "lift_fresh", "_reshape_alias", "unbind", "is_pinned", "reshape", "detach_",
}  # fmt: skip
# Kernels of one operation, where they are more than one, read from ATen. cuDNN may add to them: these are lower bounds.
KERNELS = {
    "convolution": 2, "max_pool2d_with_indices_backward": 2, "nll_loss_backward": 2, "constant_pad_nd": 2,
    "native_batch_norm": 3, "_native_batch_norm_legit": 3, "_batch_norm_with_update": 2, "batch_norm_backward": 2,
    "native_batch_norm_backward": 2,
}  # fmt: skip
TENSORS_A_LAUNCH = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}  # by lists, MultiTensorApply.cuh


class Record:
    """What happened since it was last cleared."""

    def __init__(self) -> None:
        self.operations: set[str] = set()  # of all steps
        self.faults: list[str] = []
        self.clear()

    def clear(self) -> None:
        self.kernels = 0
        self.asked: list[str] = []
        self.copied: list[str] = []

    def asks(self, how: str) -> None:
        self.asked.append(f"{how} at {place()}")


RECORD = Record()
STEPS: list[int] = []  # kernels of each step of a branch
OPTIMIZERS: list = []
_step = graph._Branch.step


def watched_step(branch, size):
    """A step, in which nothing may ask the host or be copied between host and device."""
    RECORD.clear()
    _step(branch, size)
    STEPS.append(RECORD.kernels)
    RECORD.faults += [f"a step asks the host: {where}" for where in RECORD.asked]
    RECORD.faults += [f"a step copies {where}" for where in RECORD.copied]


def place() -> str:
    """The innermost line of the project."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/cnnlab/" in name:
            return f"{name.rsplit('/cnnlab/', 1)[1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"


class Recorder(TorchDispatchMode):
    """Sees every operation above the fake tensors, and answers what only a real one could."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name.startswith("prim::"):
            return func(*args, **kwargs)
        tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        on_gpu = any(tensor.device.type == "cuda" for tensor in tensors)
        if name in ("_local_scalar_dense", "item"):
            if on_gpu:
                RECORD.asks("item")
            return 1.0 if tensors[0].is_floating_point() else 1
        if name == "bincount":  # its length depends on the numbers
            RECORD.asks("bincount")
            return torch.empty(256, dtype=torch.int64, device=tensors[0].device)
        if name == "_fused_sgd_" or func._overloadname == "tensor_lr":  # these have no fake kernel
            homes = {tensor.device for tensor in tensors}
            assert homes == {DEVICE}, f"{name} is given tensors on {homes}"
            self._count(name, args, [])
            return None
        out = func(*args, **kwargs)
        results = [each for each in tree_flatten(out)[0] if isinstance(each, torch.Tensor)]
        homes = {tensor.device.type for tensor in (*tensors, *results)}
        if name in ("_to_copy", "copy_") and len(homes) > 1:
            RECORD.copied.append(f"{name} at {place()}")
        elif "cuda" in homes:
            self._count(name, args, results)
        return out

    def _count(self, name, args, results) -> None:
        RECORD.operations.add(name)
        if name in FREE or (name == "_to_copy" and not results):
            return
        if name == "convolution_backward":
            RECORD.kernels += sum(map(int, args[10]))
        elif name.startswith(("_fused", "_foreach")):
            lists = [each for each in args if isinstance(each, list | tuple) and each]
            depth = len([each for each in lists if len(each) == len(lists[0])])
            RECORD.kernels += math.ceil(len(lists[0]) / TENSORS_A_LAUNCH.get(depth, 30))
        else:
            RECORD.kernels += KERNELS.get(name, 1)


class GeneratorCheck(TorchFunctionMode):
    """CUDA refuses a CPU generator and the CPU a CUDA one; fake kernels do not look."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for generator in [each for each in (*args, *kwargs.values()) if isinstance(each, _Generator)]:
            tensors = [each for each in args if isinstance(each, torch.Tensor)]
            device = torch.device(kwargs.get("device") or (tensors[0].device if tensors else "cpu"))
            claimed = getattr(generator, "claimed", torch.device("cpu"))
            if device.type != claimed.type:
                RECORD.faults.append(f"{func.__name__} on {device} is given a generator of {claimed} at {place()}")
        return func(*args, **kwargs)


class MemoryCheckpoint:
    """A checkpoint that comes back as the file's would: on the CPU, with the same strides."""

    kept: ClassVar[dict[str, dict]] = {}

    def __init__(self, name, settings, arrays) -> None:
        self.name = name

    def is_due(self):
        return True

    def save(self, state):
        def to_host(value):
            if isinstance(value, torch.Tensor):
                return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
            return value

        if state["progress"]["step"] == 1:  # so that a second run resumes within the first
            MemoryCheckpoint.kept[self.name] = tree_map(to_host, {**state, "progress": dict(state["progress"])})

    def load(self):
        return MemoryCheckpoint.kept.get(self.name)


def remembered_optimizer(*arguments):
    OPTIMIZERS.append(recipe.make_optimizer(*arguments))
    return OPTIMIZERS[-1]


# --- The checks

PARAMETERS = params.load(ROOT / "params.yaml")
CHECKS = {}


def check(name):
    return lambda function: CHECKS.setdefault(name, function)


def split(n: int) -> Split:
    return Split(np.zeros((n, *INFO.shape), np.uint8), np.arange(n, dtype=np.int64) % 10)


def on_gpu(module, optimizer) -> None:
    for name, tensor in (*module.state_dict().items(), *((f"state {i}", t) for i, t in enumerate(optimizer.tensors()))):
        assert tensor.device == DEVICE, f"{name} lies on {tensor.device}"


def strides(trained) -> list:
    return [tensor.stride() for tensor in trained.module.parameters()]


def train(architecture: str, recipe_name: str, precision: str) -> dict:
    """Two steps with validation and a checkpoint, resumed after the first; the kernels of a step."""
    run = getattr(PARAMETERS.models[architecture], recipe_name).full
    run = Run(**(run.model_dump() | {"steps": 2, "passes": None, "batch_size": BATCH}))
    device = devices.choose_device("auto")
    devices.tune_process(device)
    settings = {"recipe": recipe_name, "seed": 0, "held_out": 0.2, "device": device, "precision": precision}
    runs = []
    for _ in range(2):
        RECORD.clear()
        runs.append(
            classification.train_classifier(
                architecture, PARAMETERS.options(architecture), INFO, split(80), run, validate=True, **settings
            )
        )
        on_gpu(runs[-1].module, OPTIMIZERS[-1])
    assert len(STEPS) == 1 + 2 + 1 + 1, STEPS  # warm-up and two steps, then warm-up and one
    assert strides(runs[0]) == strides(runs[1]), "a resumed run has weights of another memory format"
    assert runs[1].module.meta["settings"]["precision"] == precision
    return {"kernels": STEPS[-1]}


def count(architecture: str, precision: str) -> dict:
    """The kernels of a step alone."""
    run = PARAMETERS.models[architecture].modern.full
    network = models.build(architecture, INFO.shape, 10, PARAMETERS.options(architecture))
    module = classification.Classifier(network, [0.3], [0.3], {})
    module = module.to(memory_format=torch.channels_last).to(DEVICE).train()
    data = (
        torch.zeros(BATCH, *INFO.shape, dtype=torch.uint8, device=DEVICE),
        torch.zeros(BATCH, dtype=torch.int64, device=DEVICE),
    )
    plan = steps.Plan("x", 2, BATCH, 0.01, "modern", 0, 0.05)
    job = steps.Job(classification.ClassifierTask(module, run, precision), data, None, plan)
    branch = graph._Branch(job, recipe.make_optimizer(module, "modern", 0.05))
    branch.try_out(BATCH)
    return {"kernels": STEPS[-1]}


for _architecture in models.names():
    check(f"{_architecture} modern tf32")(lambda a=_architecture: train(a, "modern", "tf32"))
    check(f"{_architecture} plain bfloat16")(lambda a=_architecture: train(a, "plain", "bfloat16"))
    check(f"{_architecture} modern bfloat16")(lambda a=_architecture: count(a, "bfloat16"))

VAES = {
    "vae": {},
    "vae gaussian, mirrored": {"likelihood": "gaussian", "flip": True},
    "vae with a learned prior": {"prior": "learned"},
}


def train_vae(change: dict) -> dict:
    settings = Vae.model_validate(PARAMETERS.vae.model_dump() | change)
    run = VaeRun(steps=2, batch_size=BATCH, learning_rate=0.002, bound_pictures=10)
    trained = [
        vae_training.train_vae(
            INFO, split(80), settings, run, seed=0, held_out=0.2, device=devices.choose_device("cuda")
        )
        for _ in range(2)
    ]
    on_gpu(trained[1].module, OPTIMIZERS[-1])
    assert trained[1].meta["settings"]["precision"] == "tf32"
    return {"kernels": STEPS[-1]}


for _name, _change in VAES.items():
    check(_name)(lambda change=_change: train_vae(change))


@check("seeds together")
def together() -> dict:
    run = PARAMETERS.baselines["lenet"].full.run().model_copy(update={"steps": 2, "passes": None, "batch_size": BATCH})
    classification.train_seeds(
        "lenet", PARAMETERS.options("lenet"), INFO, split(80), run, recipe="plain", held_out=0.2, device=DEVICE,
        names={0: "together-0", 1: "together-1"}, validate=True,
    )  # fmt: skip
    assert len(STEPS) == 2 * (1 + 2), STEPS
    return {}


@check("a CPU tensor among CUDA's is noticed")
def wrong_device() -> dict:
    try:
        torch.empty(3, device=DEVICE) + torch.empty(3)
    except Exception as error:
        return {} if "device" in str(error).lower() else {"error": str(error)}
    raise AssertionError("it was not")


@check("a generator of another device is noticed")
def wrong_generator() -> dict:
    torch.rand(3, generator=torch.Generator("cpu"), device=DEVICE)
    assert RECORD.faults, "it was not"
    RECORD.faults.clear()
    return {}


@check("a step that asks the host is noticed")
def asking_step() -> dict:
    with mock.patch.object(classification.ClassifierTask, "objective", asking_objective):
        count("lenet", "tf32")
    assert any("asks the host" in fault for fault in RECORD.faults), "it was not"
    assert any("copies" in fault for fault in RECORD.faults), "nor the copy"
    RECORD.faults.clear()
    return {}


_objective = classification.ClassifierTask.objective


def asking_objective(self, images, labels, progress, generator):
    loss, sums = _objective(self, images, labels, progress, generator)
    return loss * loss.item(), sums | {"copied": torch.ones(()).to(DEVICE)}


def run(function) -> dict:
    """One check on a fresh fake GPU: its figures, or what went wrong."""
    RECORD.__init__()
    for each in (STEPS, OPTIMIZERS, MemoryCheckpoint.kept):
        each.clear()
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        for patch in patches():
            stack.enter_context(patch)
        for mode in (Fake(allow_non_fake_inputs=True), Recorder(), GeneratorCheck()):
            stack.enter_context(mode)
        try:
            figures = function()
            fault = "; ".join(sorted(set(RECORD.faults)))
        except Exception:
            figures, fault = {}, traceback.format_exc()
    seconds = round(time.perf_counter() - began, 1)
    return figures | {"fault": fault, "operations": sorted(RECORD.operations), "seconds": seconds}


def main() -> None:
    os.environ["CNNLAB_EAGER"] = "1"
    torch.set_num_threads(1)
    if torch.version.cuda:
        torch._C._ensureCUDADeviceGuardSet()
        ctypes.CDLL(None).fake_cuda_devices(127)  # as many as the guard in its place may report
        ctypes.CDLL("libcuda.so.1")
    wanted = sys.argv[1:] or list(CHECKS)
    print(json.dumps({name: run(CHECKS[name]) for name in wanted}), flush=True)
    os._exit(0)  # without the libraries' own farewell to a device that is not there


if __name__ == "__main__":
    main()
