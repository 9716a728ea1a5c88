"""`cnnlab check`: is params.yaml right?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cnnlab.core.params import Params


def check(
    path: Annotated[Path, typer.Argument(help="The file to check.")] = Path("params.yaml"),
) -> None:
    """Check params.yaml: every key, type and value, and the options of every architecture and ablation."""
    settings = load_checked(path)
    print(f"{path} is valid: budget {settings.budget}, recipe {settings.recipe}, data set {settings.dataset}.")


def load_checked(path: Path) -> "Params":
    """Read settings and check all of them, as the stage `check` does; UserError for the first fault."""
    from cnnlab.core import params
    from cnnlab.data.catalogue import check_settings
    from cnnlab.data.own import check_pictures
    from cnnlab.models.options import check_all

    settings = params.load(path)
    check_settings(settings)
    check_all(settings)
    check_pictures(settings)
    return settings
