"""A trained module as one .pt file: its weights, and its metadata as JSON."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError, out_of_memory

M = TypeVar("M", bound=nn.Module)


def save(path: str | Path, module: nn.Module, meta: Mapping[str, Any]) -> None:
    """Write weights and metadata as one file, completely or not at all."""
    state = {name: value.cpu().contiguous() for name, value in module.state_dict().items()}
    artifacts.write_bytes(path, serialise({"state": state, "meta": json.dumps(meta, sort_keys=True)}))


def load(path: str | Path, build: Callable[[dict[str, Any]], M]) -> tuple[M, dict[str, Any]]:
    """The module that `build` makes of the file's meta, with its weights, in evaluation mode; and that meta.

    UserError where the file is missing or damaged, OSError where it cannot be read. Runs no pickled code. A file whose
    weights do not fit what its meta describes is refused before memory is taken for the module.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run `dvc repro` in the project's root folder.") from None
    try:
        saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        meta = json.loads(saved["meta"])
        with torch.device("meta"):
            described = {name: value.shape for name, value in build(meta).state_dict().items()}
        if described != {name: value.shape for name, value in saved["state"].items()}:
            raise ValueError("the weights of another network")
        module = build(meta)
        module.load_state_dict(saved["state"])
    except Exception as error:  # a damaged file raises one of a dozen exceptions
        if out_of_memory(error):
            raise
        raise UserError(f"{path} is not a complete cnnlab model: remove it and run `dvc repro`.") from None
    return module.eval(), meta


def serialise(state: Mapping[str, Any]) -> bytes:
    """The bytes of a .pt file: made in memory, because torch's own writer does not report a full disk."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
