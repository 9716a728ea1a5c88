"""Unfinished training on disk: whole or not at all, and only ever resumed by the very same settings, data and code."""

import glob
import hashlib
import io
import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cnnlab
from cnnlab.core import artifacts
from cnnlab.core.errors import out_of_memory
from cnnlab.models.weights import serialise

CODE = ("core", "models", "architectures", "training", "vae")  # the folders that a training run's result depends on

KEY_LENGTH = 16  # hexadecimal digits of the hash in a file's name
DIGEST = hashlib.sha256().digest_size  # bytes of checksum at the beginning of the file
FORGOTTEN = 30 * 24 * 3600  # seconds after which the unfinished run of another setting is deleted
PAUSE = 20  # times as long as a save took must go by before the next: saving costs at most a twentieth of the time
LONGEST_PAUSE = 300  # seconds: a save during which the process was stopped only looks as if it had taken long


class Checkpoint:
    """One run's checkpoint file, named by a hash of everything that its result depends on."""

    def __init__(self, name: str, settings: Mapping[str, Any], arrays: list[np.ndarray]) -> None:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        key.update(torch.__version__.encode())
        for array in arrays:
            key.update(np.ascontiguousarray(array).data)
        for source in _sources():
            key.update(source.read_bytes())
        self.name = name
        self.due_from = 0.0  # on the clock of time.monotonic
        self.path = artifacts.checkpoint_dir() / f"{name}-{key.hexdigest()[:KEY_LENGTH]}.pt"

    def is_due(self) -> bool:
        """Whether the run since the last save is worth another: a large network's takes longer than a short epoch."""
        return time.monotonic() >= self.due_from

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state and its checksum, replacing the one before."""
        began = time.monotonic()
        data = serialise(state)
        artifacts.write_bytes(self.path, hashlib.sha256(data).digest() + data)
        ended = time.monotonic()
        self.due_from = ended + min(PAUSE * (ended - began), LONGEST_PAUSE)

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None where there is none or it is not whole, to the bit (never unpickles code).

        OSError where the file cannot be read: the run must not start again over a state that may be good.
        """
        try:
            saved = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            if hashlib.sha256(saved[DIGEST:]).digest() != saved[:DIGEST]:  # torch itself checks no checksum
                raise ValueError("not whole")
            state = torch.load(io.BytesIO(saved[DIGEST:]), map_location="cpu", weights_only=True)
            if not isinstance(state, dict):
                raise TypeError("no state")
            return state
        except Exception as error:  # what is no checkpoint raises a dozen kinds
            if out_of_memory(error):
                raise
            print(f"Warning: {self.path} is damaged, so the run starts again.", file=sys.stderr)
            return None

    def remove(self) -> None:
        """Forget the run, which is finished, and those of its name that nobody has gone on with for a month."""
        self.path.unlink(missing_ok=True)
        name = f"{glob.escape(self.name)}-{'[0-9a-f]' * KEY_LENGTH}.pt"
        for other in (*self.path.parent.glob(name), *self.path.parent.glob(f".{name}.*.tmp")):
            with suppress(FileNotFoundError):
                if time.time() - other.stat().st_mtime > FORGOTTEN:
                    other.unlink()


def _sources() -> list[Path]:
    root = Path(cnnlab.__file__).parent
    return sorted(file for name in CODE for file in (root / name).rglob("*.py"))
