"""One training run of the VAE, from pictures to the kept weights and their file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import artifacts
from cnnlab.artifacts import DatasetInfo, Split
from cnnlab.data.split import stratified_split
from cnnlab.errors import UserError
from cnnlab.params import Vae, VaeRun
from cnnlab.training.checkpoint import Checkpoint, serialise
from cnnlab.training.devices import describe
from cnnlab.training.loop import Plan, Progress, Row, derive_seed, evaluate, fit, resident, steps_in_epoch
from cnnlab.vae.model import VAE, build
from cnnlab.vae.task import VaeTask


@dataclass(frozen=True)
class TrainedVae:
    """A trained VAE, what its file says of it, its curve, and its figures on the whole validation part."""

    module: VAE
    meta: dict[str, Any]
    progress: Progress
    validation: Row
    n_train: int
    n_validation: int
    checkpoint: Checkpoint

    def metrics(self) -> dict[str, Any]:
        """Deterministic figures: the kept point of the curve, and the whole validation part; nats a picture."""
        rows = self.progress.rows
        kept = rows[self.progress.best_row]
        return {
            "parameters": sum(parameter.numel() for parameter in self.module.parameters()),
            "epochs": rows[-1]["epoch"],
            "best_epoch": kept["epoch"],
            **{name: value for name, value in kept.items() if name.startswith("train_")},
            **{f"validation_{name}": value for name, value in self.validation.items()},
            "n_train": self.n_train,
            "n_validation": self.n_validation,
            "seed": self.meta["seed"],
        }


def train_vae(
    info: DatasetInfo,
    split: Split,
    settings: Vae,
    run: VaeRun,
    *,
    seed: int,
    held_out: float,
    device: torch.device,
    name: str = "vae",
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> TrainedVae:
    """Train on the training part of a data set, the share `held_out` choosing the best point of the curve.

    Resumes its own unfinished run. UserError for pictures that do not fit the network, fewer than four of them, or a
    loss that is not finite.
    """
    if len(split.images) < 4:
        raise UserError(f"{info.name}: {len(split.images)} training pictures are too few for the VAE; 4 are the least.")
    train_index, validation_index = stratified_split(split.labels, held_out, seed)
    meta = describe_vae(info, settings, run, seed, held_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights", 0))
        module = build(meta).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    task = VaeTask(module, settings)
    checkpoint = Checkpoint(name, meta | asdict(info) | {"device": describe(device)}, [split.images, split.labels])
    epochs = run.steps / steps_in_epoch(len(train_index), run.batch_size)
    plan = Plan(name, epochs, run.batch_size, run.learning_rate, "modern", seed, keep=("loss", "min"))
    train, validation = (resident(split, index, device) for index in (train_index, validation_index))
    progress = fit(task, train, validation, plan, checkpoint=checkpoint, on_rows=on_rows)
    figures = evaluate(task, validation, seed)
    meta |= {"validation_reconstruction": figures["reconstruction"], "validation_kl": figures["kl"]}
    return TrainedVae(module.eval(), meta, progress, figures, len(train_index), len(validation_index), checkpoint)


def describe_vae(info: DatasetInfo, settings: Vae, run: VaeRun, seed: int, held_out: float) -> dict[str, Any]:
    """What a VAE's files say of it."""
    return {
        "architecture": "vae",
        "dataset": info.name,
        "class_names": list(info.class_names),
        "shape": list(info.shape),
        "licence": info.licence,
        "light_on_dark": info.light_on_dark,
        "z_dim": settings.z_dim,
        "decoder": settings.decoder,
        "likelihood": settings.likelihood,
        "binarize": settings.binarize,
        "settings": run.model_dump() | {"beta": settings.beta, "warm_up": settings.warm_up, "flip": settings.flip},
        "seed": seed,
        "validation_share": held_out,
    }


def save_vae(path: str | Path, module: VAE, meta: dict[str, Any]) -> None:
    """Write weights and meta as one .pt file, whole or not at all."""
    state = {name: value.cpu().contiguous() for name, value in module.state_dict().items()}
    artifacts.write_bytes(path, serialise({"state": state, "meta": json.dumps(meta, sort_keys=True)}))


def load_vae(path: str | Path) -> tuple[VAE, dict[str, Any]]:
    """Read a .pt file back, in evaluation mode; UserError where it is missing or damaged. Runs no pickled code."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        meta = json.loads(saved["meta"])
        module = _restored(meta, saved["state"])
    except FileNotFoundError:
        raise UserError(f"{path} is not here: `dvc repro` trains it.") from None
    except Exception:  # a damaged file raises a dozen kinds
        raise UserError(f"{path} is not a whole VAE of cnnlab's: remove it and run `dvc repro`.") from None
    return module.eval(), meta


def _restored(meta: dict[str, Any], state: dict[str, torch.Tensor]) -> VAE:
    """The VAE with its weights; ValueError where meta describes another one, before memory is taken for that."""
    with torch.device("meta"):
        described = {name: value.shape for name, value in build(meta).state_dict().items()}
    if described != {name: value.shape for name, value in state.items()}:
        raise ValueError("another network's weights")
    module = build(meta)
    module.load_state_dict(state)
    return module
