"""What a training run leaves: the module in its kept state, what its file says, its curve and its figures."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from cnnlab.training.checkpoint import Checkpoint
from cnnlab.training.loop import Progress
from cnnlab.training.steps import Row

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Trained(Generic[M]):
    """A trained module; `validation`, its figures on the whole validation part, is empty where none was held out."""

    module: M
    meta: dict[str, Any]
    progress: Progress
    validation: Row
    n_train: int
    n_validation: int
    checkpoint: Checkpoint

    def metrics(self) -> dict[str, Any]:
        """Deterministic figures: those of the kept point of the curve, and of the whole validation part."""
        rows = self.progress.rows
        kept = rows[self.progress.best_row]
        return {
            "parameters": sum(parameter.numel() for parameter in self.module.parameters()),
            "steps": self.progress.step,
            "epochs": rows[-1]["epoch"],
            "best_epoch": kept["epoch"],
            **{name: value for name, value in kept.items() if name.startswith("train_")},
            **{f"validation_{name}": value for name, value in self.validation.items()},
            "n_train": self.n_train,
            "n_validation": self.n_validation,
            "seed": self.meta["seed"],
        }
