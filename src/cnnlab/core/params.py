"""params.yaml as a whole: its keys, what they must fit together, and the sentences about what is wrong in a file."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from cnnlab.core.errors import UserError, shown
from cnnlab.core.schema import (
    OWN_PICTURES,
    OWN_TEST_SHARE,
    Ablation,
    Baseline,
    Budget,
    Embed,
    FileName,
    Folder,
    Model,
    Passes,
    PerBudget,
    Precision,
    Protocol,
    Recipe,
    Run,
    Share,
    Study,
    Switches,
    Train,
    Vae,
)

MAX_LENGTH = 100_000  # characters of params.yaml
BLOCK = "it should hold lines of `key: value`"  # instead of pydantic's words, which name our classes

R = TypeVar("R", bound=Run)


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda, cuda:N or mps")
    return name


class Params(Switches):
    """The whole of params.yaml."""

    budget: Budget
    recipe: Recipe
    device: Annotated[str, AfterValidator(_device)]
    precision: Precision
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    dataset: FileName  # data.catalogue knows which there are
    validation_share: Share
    passes: PerBudget[Passes]
    train: Train
    folder: Folder
    models: Annotated[dict[str, Model], Field(min_length=1)]
    baselines: dict[str, Baseline]
    ablations: dict[FileName, Ablation]
    study: Study
    embed: Embed
    vae: Vae

    @model_validator(mode="after")
    def _ablations_fit_their_baselines(self) -> Self:
        for name in self.baselines:
            if name not in self.models:
                raise ValueError(f"the baseline {name!r} is no network; known are {', '.join(self.models)}")
        for name, ablation in self.ablations.items():
            if ablation.baseline not in self.baselines:
                known = ", ".join(self.baselines)
                raise ValueError(
                    f"the ablation {name!r} starts from {ablation.baseline!r}; known baselines are {known}"
                )
            if (name == ablation.baseline) != (not ablation.change):
                raise ValueError(
                    f"the ablation {name!r} changes {len(ablation.change)} options of {ablation.baseline!r}; "
                    "a baseline's own entry has its name and changes none, every other one at least one"
                )
            if ablation.baseline not in self.ablations:
                raise ValueError(
                    f"the ablation {name!r} is compared with {ablation.baseline!r}, which has no entry of its own; "
                    f"add {ablation.baseline}: {{baseline: {ablation.baseline}, change: {{}}}}"
                )
            options = self.baselines[ablation.baseline].options
            for switch in ablation.change:
                if switch not in options:
                    raise ValueError(
                        f"the ablation {name!r} changes {switch!r}, which {ablation.baseline} does not have; "
                        f"its switches are {', '.join(options)}"
                    )
        return self

    @model_validator(mode="after")
    def _runs_of_the_study_have_their_options(self) -> Self:
        for name, run in self.study.runs.items():
            if run.network not in self.models or run.network not in self.study.options:
                known = ", ".join(self.study.options)
                raise ValueError(f"the study's run {name!r} is of {run.network!r}; study.options has {known}")
            for option in run.change:
                if option not in self.study.options[run.network]:
                    known = ", ".join(self.study.options[run.network])
                    raise ValueError(f"the study's run {name!r} changes {option!r}; {run.network} has {known}")
        return self

    @property
    def vae_dataset(self) -> str:
        """The VAE's data set by its name."""
        return self.dataset if self.vae.dataset == "same" else self.vae.dataset

    @property
    def held_out(self) -> float:
        """The share of the training pictures that validates; a folder is split 70/15/15, its 15 % test part first."""
        if self.dataset == OWN_PICTURES:
            return OWN_TEST_SHARE / (1 - OWN_TEST_SHARE)
        return self.validation_share

    def options(self, architecture: str) -> dict[str, Any]:
        """An architecture's own options: LeNet's are the switches at the top."""
        if architecture == "lenet":
            return {name: getattr(self, name) for name in Switches.model_fields}
        return self.model(architecture).options

    def run(self, architecture: str) -> Run:
        """The settings of one architecture under the chosen recipe and budget; own pictures are augmented more."""
        budgets: PerBudget[Run] = getattr(self.model(architecture), self.recipe)
        run = self._bounded(budgets.at(self.budget))
        if self.dataset != "folder" or self.recipe != "modern":
            return run
        more = {"flip": run.flip or self.folder.flip, "shift": max(run.shift, self.folder.shift)}
        return run.model_copy(update=more)

    def protocol(self, baseline: str) -> Protocol:
        """How the ablations of one baseline are made under the chosen budget."""
        return self._bounded(self.baselines[baseline].at(self.budget))

    def _bounded(self, run: R) -> R:
        """With the budget's passes, where the run sets none of its own."""
        return run.model_copy(update={"passes": run.passes or self.passes.at(self.budget)})

    def ablation(self, name: str) -> Ablation:
        """One variant of the ablations; UserError where there is none of that name."""
        if name not in self.ablations:
            raise UserError(f"params.yaml: there is no ablation {name!r}; known are {', '.join(self.ablations)}.")
        return self.ablations[name]

    def model(self, architecture: str) -> Model:
        """The block of one architecture; UserError where there is none."""
        if architecture not in self.models:
            raise UserError(
                f"params.yaml: there is no architecture {architecture!r} under models; "
                f"known are {', '.join(self.models)}."
            )
        return self.models[architecture]


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml; UserError names the key, the value and what is allowed."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_LENGTH + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run this in the project's root folder.") from None
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not readable YAML: {error}.") from None
    if len(text) > MAX_LENGTH:
        raise UserError(f"{path} is over {MAX_LENGTH:,} characters: that is not a settings file.")
    raw = _parse(text, str(path))
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {_sentence(error)}") from None


def parse_flags(arguments: list[str]) -> dict[str, Any]:
    """An architecture's options from flags: `--act relu --channels 6 --channels 16`; a repeated flag is a list.

    `--small` is true and `--no-small` false, as DVC writes them (.dvc/config).
    """
    flags: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise UserError(f"{' '.join(arguments)!r} is not a list of `--option value` pairs.")
        name = flag.removeprefix("--").replace("-", "_")
        if rest and not rest[0].startswith("--"):
            value = _parse(rest.pop(0), flag)
        else:
            name, value = name.removeprefix("no_"), not name.startswith("no_")
        if name in flags:
            flags[name] = [*(flags[name] if isinstance(flags[name], list) else [flags[name]]), value]
        else:
            flags[name] = value
    return flags


def _parse(text: str, source: str) -> Any:
    """The value of a YAML text; `source` is what an error calls it."""
    try:
        return YAML(typ="safe").load(text)
    except Exception as error:  # YAML's own, and what Python raises on an impossible date, number or depth
        reason = " ".join(str(error).split())
        raise UserError(
            f"{source} is not readable YAML: {reason if len(reason) <= 300 else reason[:297] + '...'}"
        ) from None


def _sentence(error: ValidationError) -> str:
    """The first fault of a validation as one sentence, and how many more there are."""
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        allowed = _siblings(first["loc"])
        last = str(first["loc"][-1])
        near = get_close_matches(last, allowed, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        text = f"unknown key {key!r}; {hint}Allowed there: {', '.join(allowed)}."
    elif first["type"] == "missing":
        text = f"the key {key!r} is missing."
    else:
        rule = _lower(first["msg"].removeprefix("Value error, "))
        allowed = BLOCK if first["type"] in ("model_type", "dict_type") else rule
        text = f"{key} is {shown(first['input'])}, which is not allowed: {allowed}." if first["loc"] else f"{allowed}."
    more = len(faults) - 1
    return text if not more else f"{text} ({more} more fault{'s' if more > 1 else ''} after this one.)"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the block around `location` allows."""
    block: Any = Params
    for part in location[:-1]:
        if get_origin(block) is dict:  # `part` is the user's own name for a block
            block = get_args(block)[-1]
        elif part in block.model_fields:
            block = block.model_fields[str(part)].annotation
    return list(block.model_fields)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
