"""The whole GPU path on fake CUDA tensors: devices, generators, nothing of the host in a step, and kernels counted.

tests/fake_cuda.py does it, in one process of its own. What fakes cannot show, `make verify-gpu` asks a real GPU.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnlab import models

ROOT = Path(__file__).parent.parent

# A CUDA build of torch without a GPU refuses the backward pass even of fake CUDA tensors: autograd asks for the primary
# context of each device that torch counts (pytorch issue 92627). Two functions answer it: a device count that can be
# raised once torch is loaded, and a libcuda.so.1 whose contexts are never active.
COUNT = """
static int devices = 0;
void fake_cuda_devices(int n) { devices = n; }
signed char _ZN3c104cuda12device_countEv(void) { return devices; }
"""
DRIVER = "int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *f = 0; *a = 0; return 0; }"

# Kernels of a step without its augmentation: no more than these, or it has become slower on a GPU.
KERNELS = {
    "googlenet modern tf32": 682,
    "googlenet plain bfloat16": 1081,
    "googlenet modern bfloat16": 1090,
    "lenet modern tf32": 59,
    "lenet plain bfloat16": 79,
    "lenet modern bfloat16": 84,
    "mynet modern tf32": 96,
    "mynet plain bfloat16": 108,
    "mynet modern bfloat16": 130,
    "nin modern tf32": 103,
    "nin plain bfloat16": 143,
    "nin modern bfloat16": 148,
    "resnet modern tf32": 213,
    "resnet plain bfloat16": 334,
    "resnet modern bfloat16": 339,
    "swift modern tf32": 88,
    "swift plain bfloat16": 94,
    "swift modern bfloat16": 116,
    "vgg modern tf32": 82,
    "vgg plain bfloat16": 85,
    "vgg modern bfloat16": 107,
    "vae": 129,
    "vae gaussian, mirrored": 139,  # two of them are the gradient of the crop of its padding
    "vae with a learned prior": 199,
}

# Operations that torch lists as not deterministic in some other case than ours.
ELSEWHERE = {
    "nll_loss": "for maps of classes, [n, classes, h, w]",
    "bincount": "with weights",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What every check found, by its name."""
    return _outcomes(tmp_path_factory)


def _outcomes(tmp_path_factory, *names: str) -> dict:
    """What the checks found, by their names; all checks without names."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    if torch.cuda.is_available():
        pytest.skip("fake CUDA tensors cannot start here: there is a GPU, for `make verify-gpu`")
    if torch.version.cuda:
        environment |= _driver(tmp_path_factory.mktemp("driver"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fake_cuda.py"), *names],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        pytest.fail(done.stderr[-3000:] or f"it ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def _driver(folder: Path) -> dict[str, str]:
    """Compile the two functions; the environment that loads them before torch's own."""
    for name, text, flags in (("libcount.so", COUNT, []), ("libcuda.so.1", DRIVER, ["-Wl,-soname,libcuda.so.1"])):
        source = folder / f"{name}.c"
        source.write_text(text)
        try:
            subprocess.run(
                ["cc", "-shared", "-fPIC", *flags, "-o", str(folder / name), str(source)],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"fake CUDA tensors cannot start here: no C compiler for Linux ({error})")
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_PRELOAD": str(folder / "libcount.so"), "LD_LIBRARY_PATH": paths}


CHECKS = [
    *(f"{name} {form}" for name in models.names() for form in ("modern tf32", "plain bfloat16", "modern bfloat16")),
    "vae",
    "vae gaussian, mirrored",
    "vae with a learned prior",
    "seeds together",
    "a CPU tensor among CUDA's is noticed",
    "a generator of another device is noticed",
    "a step that asks the host is noticed",
]


def test_a_network_and_the_vae_on_fake_cuda_tensors(tmp_path_factory):
    """The two that show a fault of the trainer itself in the fast tier; all are below."""
    for name, outcome in _outcomes(tmp_path_factory, "lenet modern tf32", "vae").items():
        assert outcome["fault"] == "", name


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_on_fake_cuda_tensors(outcomes, name):
    assert outcomes[name]["fault"] == ""


@pytest.mark.slow
def test_every_check_is_run(outcomes):
    assert sorted(outcomes) == sorted(CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_a_step_has_no_more_kernels_than_it_had(outcomes, name):
    assert outcomes[name]["kernels"] <= KERNELS[name]


def listed() -> set[str]:
    """What torch says that it has no deterministic form of on CUDA, in the names of its operations."""
    text = torch.use_deterministic_algorithms.__doc__ or ""
    text = text.split("operations will throw a")[1].split("In addition")[0]
    found = set()
    for entry in re.split(r"\n\s+\* ", text):
        where = " ".join(entry.split())
        if "MPS" in where and "CUDA" not in where:
            continue
        for name in re.findall(r":(?:class|func):`torch\.(?:[\w.]+\.)?(\w+)`", where):
            found.add(
                re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("Loss", "_loss").replace("NLL", "nll")).lower()
            )
    return found


@pytest.mark.slow
def test_every_operation_has_a_deterministic_form_on_cuda(outcomes):
    names = listed()
    assert {"adaptive_avg_pool2d", "max_unpool2d", "nll_loss", "reflection_pad1d", "put_"} <= names
    for check, outcome in outcomes.items():
        for operation in outcome["operations"]:
            stem = operation.strip("_").removesuffix("_backward").removesuffix("_forward")
            assert stem not in names - set(ELSEWHERE), f"{check}: {operation} is not deterministic on CUDA"
