"""What params.yaml may hold: the types of its values and its blocks. `params` has the whole, and reads it."""

import os
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Activation = Literal["sigmoid", "relu", "tanh", "leaky_relu", "elu", "gelu", "silu"]
Normalisation = Literal["none", "batch"]
Pooling = Literal["avg", "max"]
Budget = Literal["smoke", "quick", "full"]
Recipe = Literal["modern", "plain"]
ClassWeights = Literal["none", "balanced"]
Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]
VaeDecoder = Literal["relu", "linear"]
VaePrior = Literal["normal", "learned"]

OWN_PICTURES = "folder"  # the value of `dataset` for the user's own pictures
OWN_TEST_SHARE = 0.15  # of each class of them, if there is no test/; as many validate

FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
Probability = Annotated[float, Field(ge=0, lt=1)]
Passes = Annotated[float, Field(gt=0, le=10_000)]
Rate = Annotated[float, Field(gt=0, le=100)]  # of learning
BatchSize = Annotated[int, Field(ge=2, le=60_000)]
Seeds = Annotated[int, Field(ge=1, le=100)]
Share = Annotated[float, Field(gt=0, le=0.5)]  # of the training pictures, held out
Shift = Annotated[int, Field(ge=0, le=32)]  # pixels
Side = Annotated[int, Field(ge=28, le=96)]  # pixels
Width = Annotated[int, Field(ge=1, le=512)]  # channels
FolderPath = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]

LEAST_BATCHES = 20  # in a pass over the training pictures: a batch of few pictures is smaller than the settings say
LEAST_BATCH = 8  # pictures in a batch, however few there are


class Block(BaseModel):
    """A block of params.yaml: frozen, strict types, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


T = TypeVar("T")


class Length(Block):
    """How long a run is: steps of the optimizer, as data sets differ in size, but no more than so many passes."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    passes: Passes | None = None  # over the training pictures; None in Run: those of the budget
    batch_size: BatchSize = 256
    learning_rate: Rate | None

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
        rate = self.learning_rate and self.learning_rate * (batch / self.batch_size) ** (
            1 if getattr(self, "momentum", 0) else 0.5
        )
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

    learning_rate: Rate | None = None
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_smoothing: Probability = 0.0
    flip: bool = False
    shift: Shift = 0
    erase: Probability = 0.0


class PerBudget(Block, Generic[T]):
    """A block or a value for each budget."""

    smoke: T
    quick: T
    full: T

    def at(self, budget: Budget) -> T:
        """That of one budget."""
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
    rates: Annotated[list[Rate], Field(max_length=20)] = []

    def run(self, **changes: Any) -> Run:
        """The settings of one of its runs, with changes."""
        return Run(**{name: getattr(self, name) for name in Run.model_fields} | changes)


class Baseline(PerBudget[Protocol]):
    """What an ablation starts from: every option of a network, and the protocol of each budget."""

    options: dict[str, Any]


class Ablation(Block):
    """One variant: its baseline, and what differs from it; the baseline itself changes nothing."""

    baseline: str
    change: dict[str, Any]


class Train(Block):
    """How the classifiers are trained."""

    processes: Annotated[int, Field(ge=1, le=1024)]
    class_weights: ClassWeights


class Folder(Block):
    """The user's own pictures, for dataset: folder."""

    path: FolderPath
    side: Side
    mode: Literal["grey", "rgb"]
    flip: bool = False
    shift: Shift = 0


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
    validation_share: Share
    batch_size: BatchSize
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

    learning_rate: Rate
    bound_pictures: Annotated[int, Field(ge=1, le=1_000_000)]


class Faces(Block):
    """Where `vae.dataset: lfw` comes from."""

    path: FolderPath
    side: Side


class Vae(PerBudget[VaeRun]):
    """The variational autoencoder."""

    dataset: FileName  # data.catalogue knows which there are; "same": the classifiers' own
    lfw: Faces
    z_dim: Annotated[int, Field(ge=1, le=256)]
    likelihood: Likelihood
    decoder: VaeDecoder
    prior: VaePrior
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
    channels: Annotated[list[Width], Field(min_length=2, max_length=2)]
    convolutions: Literal[2, 3]
