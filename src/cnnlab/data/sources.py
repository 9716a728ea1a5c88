"""The sources of a published data set, tried in order, file by file, until all are there and checked."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.data.catalogue import DataFile, DataSet
from cnnlab.data.checks import RejectedError, identify, set_aside, verify
from cnnlab.data.debian import fetch_package
from cnnlab.data.transfer import UnreachableError, addresses, download, raw_dir

USER_FOLDER = "CNNLAB_DATA_DIR"


@dataclass
class Search:
    """What has been found of a data set so far, and what was tried."""

    entry: DataSet
    paths: dict[str, Path] = field(default_factory=dict)  # by the file's published name
    origins: list[str] = field(default_factory=list)  # where each was found
    tried: list[str] = field(default_factory=list)  # source: why it did not do
    wrong: list[str] = field(default_factory=list)  # those of `tried` that tell of a wrong file

    @property
    def missing(self) -> list[DataFile]:
        """The files not found yet."""
        return [file for file in self.entry.files if file.name not in self.paths]

    def take(self, file: DataFile, path: Path, origin: str) -> None:
        """Note that `file` is at `path`."""
        self.paths[file.name] = path
        self.origins += [origin] if origin not in self.origins else []

    def refuse(self, source: str, reason: str) -> None:
        """Note that a source has a wrong file."""
        self.tried.append(f"{source} {reason}")
        self.wrong.append(self.tried[-1])


def obtain(entry: DataSet) -> Search:
    """Find or fetch every file of a data set, each checked against its checksum.

    Looked at in order: data/, the folder that CNNLAB_DATA_DIR names, the publisher's mirrors, Debian's
    package. Raises UserError when a file is nowhere to be had, saying what was tried, or when the disk is
    full.
    """
    search = Search(entry)
    for look in (_in_project, _in_user_folder, _on_mirrors, _in_debian):
        if search.missing:
            look(search)
    if search.missing:
        raise UserError(_failure(search))
    return search


def _in_project(search: Search) -> None:
    data = raw_dir(search.entry).parents[1]
    folders = (raw_dir(search.entry), data / search.entry.torchvision / "raw", data)
    _look(search, f"{data}/", folders, rename=True)


def _in_user_folder(search: Search) -> None:
    named = os.environ.get(USER_FOLDER, "")
    if not named:
        search.tried.append(f"{USER_FOLDER}: not set")
        return
    root = Path(named).expanduser()
    if not root.is_dir():
        search.tried.append(f"{USER_FOLDER}: {named} is not a folder")
        return
    name = search.entry.name
    folders = (root, root / name, root / "raw" / name, root / search.entry.torchvision / "raw")
    _look(search, f"{USER_FOLDER}, {named}", folders, rename=False)


def _look(search: Search, source: str, folders: Sequence[Path], *, rename: bool) -> None:
    """Take the right files from folders, in this order."""
    absent = []
    for file in search.missing:
        paths = [folder / name for folder in folders for name in file.names]
        there = [path for path in paths if path.exists() or path.is_symlink()]
        absent += [] if there else [file.name]
        for path in there:
            try:
                verify(path, file)
            except RejectedError as error:
                search.refuse(f"{path}:", _describe(search.entry, path, str(error), rename))
                continue
            search.take(file, path, str(path.parent))
            break
    if absent:
        none = len(absent) == len(search.entry.files)
        search.tried.append(f"{source}: has {'none of the files' if none else 'no ' + ', '.join(absent)}")


def _describe(entry: DataSet, path: Path, reason: str, rename: bool) -> str:
    """Why a file is refused, and what becomes of it."""
    known = identify(path)
    if known:
        reason = f"is {known[0]}'s {known[1]}"
    # The MNIST family shares its file names: in data/ itself, another set's whole file is there for that set.
    if not rename or (known and known[0] != entry.name and path.parent == artifacts.dataset_dir("raw").parent):
        return reason
    return f"{reason} ({set_aside(path)})"


def _on_mirrors(search: Search) -> None:
    for mirror in addresses(search.entry):
        for file in search.missing:
            target = raw_dir(search.entry) / file.name
            try:
                download(mirror + file.name, file, target)
            except UnreachableError as error:
                search.tried.append(f"{mirror}: not reached ({error})")
                break
            except RejectedError as error:
                search.refuse(f"{mirror}{file.name}", str(error))
                continue
            search.take(file, target, mirror)


def _in_debian(search: Search) -> None:
    entry = search.entry
    if not entry.debian_package:
        return
    installed = Path("/") / entry.debian_folder
    if installed.is_dir():
        _look(search, str(installed), [installed], rename=False)
    if not search.missing:
        return
    source = f"Debian's package {entry.debian_package}"
    try:
        kept = fetch_package(entry, search.missing)
    except RejectedError as error:
        search.tried.append(f"{source}: {'' if installed.is_dir() else 'not installed; '}{error}")
        return
    for file in search.missing:
        search.take(file, kept[file.name], source)


def _failure(search: Search) -> str:
    missing = [file.name for file in search.missing]
    folder = raw_dir(search.entry)
    lines = (
        f"{search.entry.name}: {', '.join(missing)} could not be had. Tried:",
        *(f"  - {line}" for line in search.tried),
        f"Put {'it' if len(missing) == 1 else 'them'} into {folder}/, or name a folder that has "
        f"{'it' if len(missing) == 1 else 'them'} in {USER_FOLDER}, and run `dvc repro` again.",
    )
    return "\n".join(lines)
