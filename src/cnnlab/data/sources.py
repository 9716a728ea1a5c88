"""Where the files of a published data set come from: the sources are tried in order, until every file is there."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError
from cnnlab.data.catalogue import DataFile, DataSet
from cnnlab.data.debian import PackageError, unpacked

USER_FOLDER = "CNNLAB_DATA_DIR"
TIMEOUT = 10  # seconds to connect, and for each read


@dataclass
class Search:
    """What has been found of a data set so far, and what was tried."""

    entry: DataSet
    paths: dict[str, Path] = field(default_factory=dict)  # by the file's published name
    origins: list[str] = field(default_factory=list)  # where they were found
    tried: list[str] = field(default_factory=list)  # each source that has not got them, and why
    wrong: list[str] = field(default_factory=list)  # those of `tried` that are about a wrong file

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
    """Find or fetch every file of a data set and verify its checksum.

    The sources, in order: the project's data/, the folder that CNNLAB_DATA_DIR names, the publisher's mirrors, and
    Debian's package. What is fetched is kept in data/raw/NAME/. Raises UserError, with all that was tried, when a file
    is in none of them, and when the disk is full or cannot be written.
    """
    search = Search(entry)
    for look in (_in_project, _in_user_folder, _on_mirrors, _in_debian):
        if search.missing:
            look(search)
    if search.missing:
        raise UserError(_failure(search))
    return search


def raw_dir(entry: DataSet) -> Path:
    """Where fetched files are kept: outside the outputs of stages, which DVC deletes before each run."""
    return artifacts.dataset_dir("raw") / entry.name


def fault(path: Path, file: DataFile) -> str:
    """Why what lies at `path` is not the published file, as a phrase; "" when it is."""
    if not path.is_file():
        return "is not a regular file"
    try:
        if _digest(path, "md5", packed=False) == file.md5:
            return ""
        packed = path.suffix == ".gz"
        if file.content_sha256 and _digest(path, "sha256", packed=packed) == file.content_sha256:
            return ""
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "is not a whole gzip file"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "has the wrong checksum"


def _digest(path: Path, algorithm: str, *, packed: bool) -> str:
    with gzip.open(path) if packed else path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()  # type: ignore[arg-type]


def _in_project(search: Search) -> None:
    raw, data = raw_dir(search.entry), artifacts.dataset_dir("raw").parent
    for file in search.missing:
        path = raw / file.name
        if path.exists() and (reason := fault(path, file)):
            aside = path.with_name(f"{path.name}.bad")  # or a download would overwrite it
            with suppress(OSError):
                path.rename(aside)
                search.refuse(f"{path}:", f"{reason} (renamed to {aside.name})")
    _look(search, f"{data}/", (raw, data / search.entry.torchvision / "raw", data))


def _in_user_folder(search: Search) -> None:
    named = os.environ.get(USER_FOLDER, "")
    root = Path(named).expanduser()
    if not named or not root.is_dir():
        search.tried.append(f"{USER_FOLDER}: {f'{named} is not a folder' if named else 'not set'}")
        return
    name = search.entry.name
    folders = (root, root / name, root / "raw" / name, root / search.entry.torchvision / "raw")
    _look(search, f"{USER_FOLDER}, {named}", folders)


def _look(search: Search, source: str, folders: Sequence[Path]) -> None:
    """Take the right files from folders, in this order, packed or unpacked."""
    absent = []
    for file in search.missing:
        names = dict.fromkeys((file.name, file.name.removesuffix(".gz")))
        there = [path for folder in folders for name in names if (path := folder / name).exists()]
        for path in there:
            if reason := fault(path, file):
                search.refuse(f"{path}:", reason)
            else:
                search.take(file, path, str(path.parent))
                break
        absent += [] if there else [file.name]
    if absent:
        none = len(absent) == len(search.entry.files)
        search.tried.append(f"{source}: has {'none of the files' if none else 'no ' + ', '.join(absent)}")


def addresses(entry: DataSet) -> list[str]:
    """The publisher's mirrors as torchvision knows them, each ending in a slash; [] for a set it does not know."""
    if not entry.torchvision:
        return []
    from torchvision import datasets  # takes seconds to import

    known = getattr(datasets, entry.torchvision)
    mirrors = getattr(known, "mirrors", None) or [known.url.rpartition("/")[0]]
    return [mirror.rstrip("/") + "/" for mirror in mirrors]


def _on_mirrors(search: Search) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the progress bar says enough
    for mirror in addresses(search.entry):
        for file in search.missing:
            try:
                path = pooch.retrieve(
                    mirror + file.name,
                    known_hash=f"md5:{file.md5}",
                    fname=file.name,
                    path=raw_dir(search.entry),
                    downloader=_download,  # type: ignore[arg-type]  # its parameters have other names
                )
            except requests.HTTPError as error:
                search.refuse(f"{mirror}{file.name}", f"is refused: HTTP {error.response.status_code}")  # type: ignore[union-attr]
            except requests.exceptions.ChunkedEncodingError:
                search.refuse(f"{mirror}{file.name}", "broke off")
            except requests.RequestException as error:
                search.tried.append(f"{mirror}: not reached ({_reason(error)})")
                break
            except ValueError:
                search.refuse(f"{mirror}{file.name}", "has the wrong checksum")
            except OSError as error:
                raise UserError(f"{raw_dir(search.entry)} cannot be written: {error.strerror or error}.") from None
            else:
                search.take(file, Path(path), mirror)


def _download(url: str, target: str, _: object) -> None:
    """Write what `url` answers to `target`, with a progress bar."""
    import requests

    # Not pooch's own downloader, which leaves its connection open where a server refuses.
    with requests.get(url, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        bar = tqdm(desc=url, total=int(response.headers.get("content-length", 0)), unit="B", unit_scale=True)
        with bar, Path(target).open("wb") as file:
            for chunk in response.iter_content(2**16):
                bar.update(file.write(chunk))


def _reason(error: Exception) -> str:
    """Why a connection failed."""
    import requests

    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} s"
    cause = getattr(error.args[0] if error.args else error, "reason", error)
    return str(cause).rpartition(": ")[2] or type(error).__name__


def _in_debian(search: Search) -> None:
    entry = search.entry
    if not entry.debian_package:
        return
    installed = Path("/") / entry.debian_folder
    if installed.is_dir():
        _look(search, str(installed), [installed])
    if not search.missing:
        return
    source = f"Debian's package {entry.debian_package}"
    try:
        with unpacked(entry.debian_package) as root:
            for file in search.missing:
                packed = root / entry.debian_folder / file.name
                if reason := fault(packed, file):
                    search.refuse(f"{source}: {file.name}", reason)
                else:
                    path = raw_dir(entry) / file.name
                    artifacts.write_bytes(path, packed.read_bytes())
                    search.take(file, path, source)
    except PackageError as error:
        search.tried.append(f"{source}: {'' if installed.is_dir() else 'not installed; '}{error}")


def _failure(search: Search) -> str:
    missing = [file.name for file in search.missing]
    folder = raw_dir(search.entry)
    them = "it" if len(missing) == 1 else "them"
    lines = (
        f"{search.entry.name}: {', '.join(missing)} cannot be found or downloaded. Tried:",
        *(f"  - {line}" for line in search.tried),
        f"Put {them} into {folder}/, or name a folder that has {them} in {USER_FOLDER}, and run `dvc repro` again.",
    )
    return "\n".join(lines)
