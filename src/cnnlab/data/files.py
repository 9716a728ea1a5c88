"""Which files of a folder are pictures: one rule for training, for the VAE and for every command."""

from collections.abc import Iterator
from pathlib import Path

from cnnlab.core.text import printable
from cnnlab.data.pictures import PictureError

# What lies in folders of pictures and is none; hidden files, which begin with a dot, are never looked at.
LITTER = frozenset(
    {
        *("readme.md", "thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"),
        *("__macosx", "@eadir", "$recycle.bin", "system volume information"),
    }
)


def visible(folder: Path) -> list[Path]:
    """What lies directly in a folder, in the order of names, without hidden files and litter; OSError if unreadable."""
    return sorted(
        entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name.lower() not in LITTER
    )


def walk(folder: Path) -> Iterator[Path | PictureError]:
    """Every visible file below a folder, in the order of names.

    Links are followed; one that leads back to a folder around it is left out. A folder that cannot be read is an error
    in between.
    """
    yield from _walk(folder, ())


def _walk(folder: Path, around: tuple[Path, ...]) -> Iterator[Path | PictureError]:
    try:
        real = folder.resolve()
        entries = [] if real in around else visible(folder)
        folders = {entry for entry in entries if entry.is_dir()}
    except OSError as error:
        yield PictureError(printable(str(folder)), f"cannot be read ({(error.strerror or str(error)).lower()})")
        return
    for entry in entries:
        if entry in folders:
            yield from _walk(entry, (*around, real))
        else:
            yield entry
