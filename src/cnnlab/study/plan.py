"""The study as params.yaml declares it: each run with all of its settings and the seeds planned for it. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab.core.errors import UserError
from cnnlab.core.params import Params
from cnnlab.core.schema import Recipe, Run, steps_in_pass


@dataclass(frozen=True)
class Planned:
    """One run of the study. `settings` is what a record of it must have, value by value."""

    name: str
    dataset: str
    network: str
    options: Mapping[str, Any]
    recipe: Recipe
    epochs: float | None  # None: `run` has its steps
    run: Run
    held_out: float  # the share of each class that validates; 0: every picture trains
    seeds: int
    seeds_if_open: int
    maps: bool  # whether its inner layers are mapped

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result, apart from the seed and the machine."""
        length = {"steps": self.run.steps} if self.epochs is None else {"epochs": self.epochs}
        chosen = self.run.model_dump(exclude={"steps", "passes"})
        stated = {
            "dataset": self.dataset,
            "network": self.network,
            "options": dict(self.options),
            "recipe": self.recipe,
        }
        return stated | length | chosen | {"held_out": self.held_out}

    def in_steps(self, pictures: int) -> Run:
        """The run's settings for so many training pictures, its epochs as steps."""
        if self.epochs is None:
            return self.run
        steps = round(self.epochs * steps_in_pass(pictures, self.run.batch_size))
        return self.run.model_copy(update={"steps": steps})


def plan(settings: Params) -> dict[str, Planned]:
    """Every run of the study by its name, in the order of params.yaml; RUN@RATE for a run of several rates."""
    study, runs = settings.study, {}
    for name, declared in study.runs.items():
        for rate in declared.rates or [declared.rate]:
            full = f"{name}@{rate:g}" if declared.rates else name
            modern = declared.recipe == "modern"
            run = Run(steps=1, batch_size=study.batch_size, learning_rate=rate)
            runs[full] = Planned(
                full, study.dataset, declared.network, study.options[declared.network] | declared.change,
                declared.recipe, declared.epochs, settings.model(declared.network).modern.full if modern else run,
                study.validation_share if modern or declared.rates else 0.0,
                declared.seeds or study.seeds,
                declared.seeds_if_open or declared.seeds or study.seeds_if_open, declared.maps,
            )  # fmt: skip
    return runs


def choose(runs: Mapping[str, Planned], names: Sequence[str]) -> list[Planned]:
    """The runs of these names, RUN standing for every RUN@RATE; UserError for a name that there is not."""
    chosen = []
    for name in names:
        found = [run for full, run in runs.items() if name in (full, full.split("@")[0])]
        if not found:
            raise UserError(f"the study has no run {name!r}; params.yaml declares {', '.join(runs)}.")
        chosen += found
    return chosen
