"""The Dask cluster: a new one on this machine, or a running one whose workers have the coordinator's versions."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnnlab.core.errors import UserError
from cnnlab.sweep.unit import difference, versions

UNREACHABLE = 5  # seconds after which a scheduler counts as not there
WORKERS_A_GPU = 2  # these networks leave one idle between the launches of a single process (modelled, not measured)
MEMORY = 2 << 30  # bytes that a worker's training may take, where the number of workers is not given


def gpus() -> list[str]:
    """The GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; a separate process asks torch."""
    ask = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    count = int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(index) for index in range(count)]


def size(workers: int | None, points: int, devices: int) -> tuple[int, int]:
    """How many workers, and threads of each: two workers a GPU, or one a core; no more threads than cores in all."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    fitting = min(CPU_COUNT, devices * WORKERS_A_GPU if devices else max(1, MEMORY_LIMIT // MEMORY))
    count = workers or max(1, min(fitting, points))
    return count, max(1, CPU_COUNT // count)


@contextmanager
def local_cluster(workers: int, threads: int, devices: list[str], scratch: Path) -> Iterator[Any]:
    """Workers on this machine, each with its own threads and, if there are GPUs, with one of them."""
    import logging

    from dask import config
    from distributed import Nanny, Scheduler, SpecCluster

    quiet: Any = logging.CRITICAL

    def worker(index: int) -> dict[str, Any]:
        env = {"OMP_NUM_THREADS": str(threads)}
        if devices:
            env["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        # Training runs in another process, so a limit on the worker's memory would not limit it.
        options = {"nthreads": 1, "memory_limit": 0, "local_directory": str(scratch), "env": env}
        return {"cls": Nanny, "options": {**options, "host": "127.0.0.1", "silence_logs": quiet}}

    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    specification: Any = {index: worker(index) for index in range(workers)}
    with (
        config.set({"distributed.scheduler.worker-saturation": 1.0}),
        SpecCluster(workers=specification, scheduler=scheduler, silence_logs=quiet) as cluster,
    ):
        yield cluster


def connect(address: str) -> Any:
    """A client of the scheduler at `address`; UserError if none answers."""
    from distributed import Client

    try:
        return Client(address, timeout=UNREACHABLE)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else "no answer"
        raise UserError(
            f"The scheduler {address} cannot be reached ({reason}): is `dask scheduler` running there?"
        ) from None


def inspect(address: str) -> tuple[int, str]:
    """How many points the cluster at `address` runs at a time, and its dashboard's address.

    Raises UserError if no scheduler answers, and for workers with another Python or other packages than here.
    """
    with connect(address) as client:
        _check_workers(client)
        return max(1, sum(client.nthreads().values())), client.dashboard_link or "none"


def _check_workers(client: Any) -> None:
    """Raise UserError naming workers with another Python or other packages than here, or without cnnlab."""
    wanted, has = versions(), client.run(versions, on_error="return")
    faults = {
        worker: str(found) if isinstance(found, BaseException) else difference(wanted, found)
        for worker, found in has.items()
    }
    faults = {worker: fault for worker, fault in faults.items() if fault}
    if faults:
        named = "; ".join(f"{worker}: {fault}" for worker, fault in faults.items())
        raise UserError(f"{len(faults)} of {len(has)} workers have other versions than this machine: {named}.")
