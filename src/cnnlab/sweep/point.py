"""One point, in its own process: clone, `dvc exp run`, `dvc push`, `dvc exp push`.

The process reads one line of JSON from standard input. When the worker at the other end of that pipe is gone, it kills
itself and the stages that it runs.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from cnnlab.core.errors import UserError
from cnnlab.sweep.clone import Source, experiment_message, experiment_ref, forget_locations, git, make_clone


def main() -> int:
    """Run the point that standard input describes; 0 if its experiment is in the Git remote at the end."""
    forget_locations()
    line = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # stages must not hold or read the pipe
    order = json.loads(line.readline())
    threading.Thread(target=_die_with, args=(line,), daemon=True).start()
    try:
        return _run(Source(**order["source"]), order["name"], order["overrides"], order["targets"], Path(order["keep"]))
    except UserError as error:
        print(f"Error: {error}", flush=True)
        return 2


def _die_with(line: IO[str]) -> None:
    line.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _run(source: Source, name: str, overrides: list[str], targets: list[str], keep: Path) -> int:
    folder = Path.cwd() / "clone"
    if _is_there(source, name):
        print(f"{name} is finished already, by another run.")
        return 0
    os.environ.update(_environment(folder))
    make_clone(source, folder, keep)
    os.chdir(folder)
    from dvc.cli import main as dvc

    settings = [part for override in overrides for part in ("-S", override)]
    named = ["-n", name, "-m", experiment_message(targets)]
    failed = dvc(["exp", "run", "--pull", "--allow-missing", *named, *settings, *targets])
    # Files first: an experiment that is in Git then has all of them.
    failed = failed or dvc(["push", "--with-deps", *targets])
    if failed:
        return failed
    dvc(["exp", "push", "--no-cache", "origin", name])
    return 0 if _is_there(source, name) else 1


def _is_there(source: Source, name: str) -> bool:
    return bool(git(".", "ls-remote", source.git, experiment_ref(source.commit, name)))


def _environment(folder: Path) -> dict[str, str]:
    """What the stages need: this interpreter, the clone's sources, and as many threads everywhere as in OpenMP."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    sources = os.pathsep.join(filter(None, [str(folder / "src"), os.environ.get("PYTHONPATH", "")]))
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    return {
        "PATH": path,
        "PYTHONPATH": sources,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "DVC_NO_ANALYTICS": "1",
    }


if __name__ == "__main__":
    sys.exit(main())
