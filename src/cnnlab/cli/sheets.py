"""Where the VAE's commands draw: one PNG. Imported when a command runs, not for its help."""

from pathlib import Path

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.figures.generation import tile_sheet
from cnnlab.vae.gallery import Sheet


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Draw a sheet into a PNG file; UserError for another ending or where it can't be written."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--grid is {path}: the pictures are drawn into a file that ends in .png.")
    artifacts.write_figure(path, tile_sheet(**vars(sheet)))
