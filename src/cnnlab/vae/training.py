"""One training run of the VAE, from pictures to the kept weights and their file."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.core.schema import Precision, Vae, VaeRun
from cnnlab.core.split import stratified_split
from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.devices import choose_precision, describe, memory_format, room_for
from cnnlab.training.loop import evaluate, fit, resident
from cnnlab.training.steps import Plan, Row, derive_seed
from cnnlab.training.trained import Trained
from cnnlab.vae.model import VAE, build
from cnnlab.vae.task import VaeTask


@room_for("the VAE and its training")
def train_vae(
    info: DatasetInfo,
    split: Split,
    settings: Vae,
    run: VaeRun,
    *,
    seed: int,
    held_out: float,
    device: torch.device,
    precision: Precision = "auto",
    name: str = "vae",
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
) -> Trained[VAE]:
    """Train on the training part of a data set, the share `held_out` choosing the best point of the curve.

    Resumes its own unfinished run. UserError for pictures that do not fit the network, fewer than four of them, a
    loss that is not finite, or too little memory.
    """
    if len(split.images) < 4:
        raise UserError(f"{info.name}: {len(split.images)} training pictures are too few for the VAE; 4 are the least.")
    train_index, validation_index = stratified_split(split.labels, held_out, seed)
    run = run.fitted(len(train_index))
    meta = describe_vae(info, settings, run, seed, held_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights", 0))
        module = build(meta).to(device).to(memory_format=memory_format(device))  # pyright: ignore[reportCallIssue]
    multiplied = choose_precision(precision, device)
    meta["settings"]["precision"] = multiplied
    task = VaeTask(module, settings, multiplied)
    checkpoint = Checkpoint(name, meta | asdict(info) | {"device": describe(device)}, [split.images, split.labels])
    plan = Plan(name, run.steps, run.batch_size, run.learning_rate, "modern", seed, keep=("loss", "min"))
    train, validation = (resident(split, index, device) for index in (train_index, validation_index))
    progress = fit(task, train, validation, plan, checkpoint=checkpoint, on_rows=on_rows)
    figures = evaluate(task, validation, seed)
    meta |= {"validation_reconstruction": figures["reconstruction"], "validation_kl": figures["kl"]}
    return Trained(module.eval(), meta, progress, figures, len(train_index), len(validation_index), checkpoint)


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
        "prior": settings.prior,
        "binarize": settings.binarize,
        "settings": run.model_dump() | {"beta": settings.beta, "warm_up": settings.warm_up, "flip": settings.flip},
        "seed": seed,
        "validation_share": held_out,
    }
