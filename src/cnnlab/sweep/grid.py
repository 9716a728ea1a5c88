"""The grid: settings expanded as DVC expands them; the name of a point follows from its settings alone."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cnnlab.core.errors import UserError

SEED = "seed"  # the key that repeats a setting; the others are what is compared
LONGEST = 120  # characters of a name, of the 255 that a file of a Git ref may have


@dataclass(frozen=True)
class Point:
    """One experiment: its name and its settings, as `dvc exp run -S` takes them."""

    name: str
    overrides: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str]:
        """The values by key, in the order given."""
        return dict(split_override(override) for override in self.overrides)


def split_override(override: str) -> tuple[str, str]:
    """`key=value` as key and value."""
    key, _, value = override.partition("=")
    return key, value


def expand(settings: Sequence[str], seeds: int, prefix: str) -> list[Point]:
    """Every point of a grid, in DVC's order, the seeds 0 to seeds − 1 innermost; 0 seeds: the seed stays as it is.

    `settings` are DVC's own: `act=relu,tanh`, `channels=[6,16],[3,8]`, `seed=range(0,3)`, `+new=1`,
    `other.yaml:key=1,2`. Raises UserError for one that DVC cannot expand, and for a seed given twice.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,59}", prefix):
        raise UserError(f"--name {prefix!r}: a name is up to 60 small letters, digits, - and _.")
    if not settings and not seeds:
        raise UserError("There is nothing to sweep: name settings with -S, such as -S act=relu,tanh, or --seeds 5.")
    if seeds and any(split_override(setting)[0] == SEED for setting in settings):
        raise UserError("-S seed=… and --seeds both set the seed: leave one of them out.")
    every = [*settings, *([f"{SEED}=range(0,{seeds})"] if seeds else [])]
    points = [Point(_name(prefix, overrides), overrides) for overrides in _product(every)]
    return list({point.name: point for point in points}.values())


def _product(settings: Sequence[str]) -> list[tuple[str, ...]]:
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    for setting in settings:
        try:
            get_hydra_sweeps(to_path_overrides([setting]))
        except (DvcException, HydraException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"-S {setting}: {reason}; a setting is KEY=VALUE or KEY=VALUE,VALUE,….") from None
    grids = get_hydra_sweeps(to_path_overrides(settings))
    return [tuple(_full(path, text) for path, texts in grid.items() for text in texts) for grid in grids]


def _full(path: str, override: str) -> str:
    return override if path == "params.yaml" else f"{path}:{override}"


def _name(prefix: str, overrides: Sequence[str]) -> str:
    """PREFIX-key=value-…-seed=N, keys sorted. A digest stands for characters that Git does not allow in a ref."""
    ordered = sorted(overrides, key=lambda override: (split_override(override)[0] == SEED, override))
    text = "-".join([prefix, *ordered])
    plain = re.sub(r"[]['\"]", "", text)
    name = re.sub(r"\.{2,}|\.lock$|\.$|[^\w.=,+-]", "", plain, flags=re.ASCII)[:LONGEST]
    return name if name == plain else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
