"""Which folders of the user's own pictures the settings name, and how DVC comes to watch these and no others.

DVC cannot make a dependency conditional. So the stage `check` writes data/sources/NAME for the chosen data set: a link
to the folder of pictures, through which DVC sees every change, or, for a published data set, a file that never changes.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path

from cnnlab.core.errors import UserError
from cnnlab.core.params import Params
from cnnlab.core.schema import OWN_PICTURES
from cnnlab.core.text import printable
from cnnlab.data.catalogue import FACES

NAMED = 10  # files that an error names


def own_folder(settings: Params, dataset: str) -> Path | None:
    """The folder of the user's own pictures that a data set is read from, or None for a published data set."""
    if dataset == OWN_PICTURES:
        return Path(settings.folder.path)
    faces = Path(settings.vae.lfw.path)
    return faces if dataset == FACES and (faces.is_dir() or _dvc_file(faces).is_file()) else None


def check_pictures(settings: Params) -> dict[str, Path | None]:
    """The user's own folders of the classifiers' and of the VAE's data set, by its name; both are there and checked."""
    folders = {name: own_folder(settings, name) for name in (settings.dataset, settings.vae.dataset)}
    for folder in folders.values():
        if folder:
            restore(folder)
            check_folder(folder)
    return folders


def restore(folder: Path) -> None:
    """Restore a folder that `dvc add` has stored and that is missing, as in the copies that `--queue` makes.

    DVC itself checks out only what its stages name. Raises UserError if neither its cache nor its remote has all files.
    """
    file = _dvc_file(folder)
    if folder.exists() or not file.is_file():
        return
    for command in ("checkout", "pull"):
        done = subprocess.run([sys.executable, "-m", "dvc", command, "-q", str(file)], capture_output=True, check=False)
        if done.returncode == 0:
            return
    reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
    raise UserError(f"{printable(str(folder))} could not be restored from {file.name}: {printable(reason[0])}.")


def check_folder(folder: Path) -> None:
    """Raise UserError for a folder that is missing, and for what in it stops DVC, naming the first ten files."""
    if not folder.is_dir():
        name = printable(str(folder))
        copied = f"; a copy of the project, as --queue makes, has it only after `dvc add {name}` and a commit"
        raise UserError(
            f"{name} is not a folder: params.yaml names it as the place of your pictures"
            f"{'' if folder.is_absolute() else copied}."
        )
    unread: list[OSError] = []
    paths = (os.path.join(root, name) for root, _, files in os.walk(folder, onerror=unread.append) for name in files)  # noqa: PTH118
    bad = [f"{printable(path)} {fault}" for path in paths if (fault := _fault(path))]
    bad += [f"{printable(str(error.filename))} cannot be read ({error.strerror})" for error in unread]
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise UserError(f"DVC cannot watch {printable(str(folder))}: {'; '.join(bad[:NAMED])}{more}.")


def _fault(path: str) -> str:
    """Why DVC cannot hash a file, or ""."""
    try:
        path.encode()
        mode = os.stat(path).st_mode  # noqa: PTH116 (thousands of them)
    except UnicodeEncodeError:
        return "has a name that is not UTF-8; rename it"
    except FileNotFoundError:
        return "is a link to nothing; remove it"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if not stat.S_ISREG(mode):
        return "is not a regular file; remove it"
    return "" if os.access(path, os.R_OK) else "may not be read (permission denied)"


def _dvc_file(folder: Path) -> Path:
    """The file that `dvc add` writes next to a folder."""
    return folder.with_name(f"{folder.name}.dvc")


def lay(target: Path, folder: Path | None) -> None:
    """Make `target` a link to the folder, or a file that says that the data set is published."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if folder:
        target.symlink_to(os.path.relpath(folder, target.parent))
    else:
        target.write_text("A published data set: see src/cnnlab/data/catalogue.py.\n")
