"""The schema of params.yaml: every key, its type and what it may be, checked as a whole before any work."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from cnnlab.core.errors import UserError, shown

Activation = Literal["sigmoid", "relu", "tanh", "leaky_relu", "elu", "gelu", "silu"]
Normalisation = Literal["none", "batch"]
Pooling = Literal["avg", "max"]
Budget = Literal["smoke", "quick", "full"]
Recipe = Literal["modern", "plain"]
ClassWeights = Literal["none", "balanced"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]
VaeDecoder = Literal["relu", "linear"]

OWN_PICTURES = "folder"  # the value of `dataset` for the user's own pictures
RENAMED = {"size": "side", "report": "plain", "epochs": "steps"}  # keys of older files
MAX_LENGTH = 100_000  # characters of params.yaml

FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
Probability = Annotated[float, Field(ge=0, lt=1)]
Passes = Annotated[float, Field(gt=0, le=10_000)]

LEAST_BATCHES = 20  # in a pass over the training pictures: a batch of few pictures is smaller than the settings say
LEAST_BATCH = 8  # pictures in a batch, however few there are


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("a device is auto, cpu, cuda, cuda:N or mps")
    return name


FolderPath = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]


class Block(BaseModel):
    """A block of params.yaml: frozen, strict types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


T = TypeVar("T", bound=Block)


class Length(Block):
    """How long a run is: steps of the optimizer, as data sets differ in size, but no more than so many passes."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    passes: Passes | None = None  # over the training pictures; None in Run: those of the budget
    batch_size: Annotated[int, Field(ge=2, le=60_000)] = 256

    def fitted(self, pictures: int) -> Self:
        """The same for so many training pictures: smaller batches of few, and no more passes over them than allowed.

        Smaller batches make more steps, so that as many pictures are seen, and lower the learning rate by the share
        that is left of the batch for SGD with momentum, else by its square root (Malladi et al. 2022, "On the SDEs and
        scaling rules for adaptive gradient algorithms", section 4).
        """
        batch = min(self.batch_size, max(LEAST_BATCH, pictures // LEAST_BATCHES))
        steps = self.steps * self.batch_size // batch
        if self.passes:
            steps = min(steps, round(self.passes * steps_in_pass(pictures, batch)))
        rate: float | None = getattr(self, "learning_rate", None)
        rate = rate and rate * (batch / self.batch_size) ** (1 if getattr(self, "momentum", 0) else 0.5)
        changes = {"batch_size": batch, "steps": max(1, steps), "learning_rate": rate}
        return self.model_copy(update=changes)


def steps_in_pass(pictures: int, batch_size: int, processes: int = 1) -> int:
    """Batches in a pass; a last one of less than a quarter of the others is left out, another one in each pass.

    A few pictures' means and deviations disturb batch normalisation (docs/log.md), and a single one has no deviation.
    """
    whole, rest = divmod(pictures, batch_size)
    least = max(2 * processes, batch_size / 4 if whole else 0)
    return whole + (rest >= least)


class Run(Length):
    """What one training run does: models.ARCH.RECIPE.BUDGET."""

    learning_rate: Annotated[float, Field(gt=0, le=100)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_smoothing: Probability = 0.0
    flip: bool = False
    shift: Annotated[int, Field(ge=0, le=32)] = 0
    erase: Probability = 0.0


class PerBudget(Block, Generic[T]):
    """A block for each budget."""

    smoke: T
    quick: T
    full: T

    def at(self, budget: Budget) -> T:
        """The block of one budget."""
        return getattr(self, budget)


class Model(Block):
    """One architecture: its own options and its runs under both recipes."""

    options: dict[str, Any] = {}  # the architecture checks them by its constructor
    modern: PerBudget[Run]
    plain: PerBudget[Run]


class Protocol(Run):
    """How an ablation's runs are made: by which recipe, over how many seeds, and which rates the fair one tries."""

    recipe: Recipe
    seeds: Annotated[int, Field(ge=2, le=100)]
    validates: bool = False
    rates: Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(max_length=20)] = []

    def run(self, **changes: Any) -> Run:
        """The settings of one of its runs, with changes."""
        return Run(**{name: getattr(self, name) for name in Run.model_fields} | changes)


R = TypeVar("R", bound=Run)


class Baseline(PerBudget[Protocol]):
    """What an ablation starts from: every option of a network, and the protocol of each budget."""

    options: dict[str, Any]


class Ablation(Block):
    """One variant: its baseline, and what differs from it; the baseline itself changes nothing."""

    baseline: str
    change: dict[str, Any]


class PassesOfBudget(Block):
    """How many passes over the training pictures a run of each budget makes at most."""

    smoke: Passes
    quick: Passes
    full: Passes


class Train(Block):
    """How the classifiers are trained."""

    processes: Annotated[int, Field(ge=1, le=1024)]
    class_weights: ClassWeights


class Folder(Block):
    """The user's own pictures, for dataset: folder."""

    path: FolderPath
    side: Annotated[int, Field(ge=28, le=96)]
    mode: Literal["grey", "rgb"]
    flip: bool = False
    shift: Annotated[int, Field(ge=0, le=32)] = 0


Rate = Annotated[float, Field(gt=0, le=100)]
Seeds = Annotated[int, Field(ge=1, le=100)]


class StudyRun(Block):
    """One run of the study, or one for each of its rates; recipe modern has its length and rate elsewhere."""

    network: str
    change: dict[str, Any] = {}
    recipe: Recipe = "plain"
    epochs: Passes | None = None
    rate: Rate | None = None
    rates: Annotated[list[Rate], Field(max_length=20)] = []
    seeds: Seeds | None = None
    seeds_if_open: Seeds | None = None
    maps: bool = False

    @model_validator(mode="after")
    def _plain_runs_are_complete(self) -> Self:
        named = {"epochs": self.epochs, "rate or rates": self.rate or self.rates}
        if self.recipe == "plain" and not all(named.values()):
            raise ValueError("a run of recipe plain needs epochs and either rate or rates")
        if self.recipe == "modern" and any(named.values()):
            raise ValueError("a run of recipe modern has its length and rate under models.NETWORK.modern.full alone")
        if self.rate and self.rates:
            raise ValueError("a run has either rate or rates")
        return self


class Study(Block):
    """The long runs that test the reports' claims, and the number of seeds that was planned for them."""

    dataset: FileName
    precision: Precision
    validation_share: Annotated[float, Field(gt=0, le=0.5)]
    batch_size: Annotated[int, Field(ge=2, le=60_000)]
    seeds: Seeds
    seeds_if_open: Seeds
    options: dict[str, dict[str, Any]]
    runs: dict[FileName, StudyRun]


class EmbedBudget(Block):
    """How many test pictures are embedded and for how long."""

    pictures: Annotated[int, Field(ge=50, le=1_000_000)]
    iterations: Annotated[int, Field(ge=50, le=10_000)]


class Embed(PerBudget[EmbedBudget]):
    """PCA and t-SNE of inner layers."""

    perplexity: Annotated[float, Field(ge=2, le=1000)]


class VaeRun(Length):
    """One training of the VAE, and how much is measured."""

    learning_rate: Annotated[float, Field(gt=0, le=100)]
    bound_pictures: Annotated[int, Field(ge=1, le=1_000_000)]


class Faces(Block):
    """Where `vae.dataset: lfw` comes from."""

    path: FolderPath
    side: Annotated[int, Field(ge=28, le=96)]


class Vae(PerBudget[VaeRun]):
    """The variational autoencoder."""

    dataset: FileName  # data.catalogue knows which there are; "same": the classifiers' own
    lfw: Faces
    z_dim: Annotated[int, Field(ge=1, le=256)]
    likelihood: Likelihood
    decoder: VaeDecoder
    beta: Annotated[float, Field(ge=0, le=1000)]
    warm_up: Annotated[float, Field(ge=0, le=1)]
    binarize: bool
    flip: bool
    mixture: Annotated[int, Field(ge=1, le=100)]
    draws: Annotated[int, Field(ge=1, le=100_000)]

    @model_validator(mode="after")
    def _grey_likelihoods(self) -> Self:
        if self.binarize and self.likelihood != "bernoulli":
            raise ValueError("binarize goes with likelihood bernoulli alone; the others are densities of grey values")
        return self


class Switches(Block):
    """LeNet's own options, at the top of params.yaml so that `-S act=relu` is enough to change one."""

    act: Activation
    norm: Normalisation
    pool: Pooling
    kernel_size: Literal[1, 3, 5, 7, 9, 11]
    channels: Annotated[list[Annotated[int, Field(ge=1, le=512)]], Field(min_length=2, max_length=2)]
    convolutions: Literal[2, 3]


class Params(Switches):
    """The whole of params.yaml."""

    budget: Budget
    recipe: Recipe
    device: Annotated[str, AfterValidator(_device)]
    precision: Precision
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    dataset: FileName  # data.catalogue knows which there are
    validation_share: Annotated[float, Field(gt=0, le=0.5)]
    passes: PassesOfBudget
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
        return 0.15 / 0.85 if self.dataset == OWN_PICTURES else self.validation_share

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
        return run.model_copy(update={"passes": run.passes or getattr(self.passes, self.budget)})

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
    """An architecture's options from flags: `--act relu --channels 6 --channels 16`; a repeated flag is a list."""
    flags: dict[str, Any] = {}
    if len(arguments) % 2 or not all(name.startswith("--") for name in arguments[::2]):
        raise UserError(f"{' '.join(arguments)!r} is not a list of `--option value` pairs.")
    for flag, text in zip(arguments[::2], arguments[1::2], strict=True):
        name, value = flag.removeprefix("--").replace("-", "_"), _parse(text, flag)
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
        if RENAMED.get(last) in allowed:
            hint = f"it is called {RENAMED[last]!r} now. "
        text = f"unknown key {key!r}; {hint}Allowed there: {', '.join(allowed)}."
    elif first["type"] == "missing":
        text = f"the key {key!r} is missing."
    else:
        allowed = _lower(first["msg"].removeprefix("Value error, "))
        text = f"{key} is {shown(first['input'])}, which is not allowed: {allowed}." if first["loc"] else f"{allowed}."
    more = len(faults) - 1
    return text if not more else f"{text} ({more} more fault{'s' if more > 1 else ''} after this one.)"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the block around `location` allows."""
    block: Any = Params
    for part in location[:-1]:
        if isinstance(block, type) and issubclass(block, Block) and part in block.model_fields:
            block = block.model_fields[str(part)].annotation
            block = get_args(block)[-1] if get_origin(block) is dict else block  # of a named block its type
    return list(block.model_fields)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
