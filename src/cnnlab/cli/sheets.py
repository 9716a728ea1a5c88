"""How the VAE's commands draw: into one PNG. Imported when a command runs, not for its help."""

from pathlib import Path

from cnnlab.cli.output import check_png
from cnnlab.core import artifacts
from cnnlab.figures.generation import tile_sheet
from cnnlab.vae.gallery import Sheet


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Draw a sheet into a PNG file; UserError for another ending or where it can't be written."""
    check_png(path)
    artifacts.write_figure(path, tile_sheet(**vars(sheet)))
