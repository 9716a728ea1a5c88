"""Fetch one package from npm, checked by its hash."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

from cnnlab.core.errors import UserError


def fetch(package: str, sha512: str, folder: Path) -> Path:
    """The archive of a package, such as "onnxruntime-web@1.23.2", fetched into a folder. Nothing of it is run.

    sha512: in base64, as package-lock.json has it. Raises UserError without npm, without an answer, for another hash.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is not installed: install Node.js first.")
    ended = subprocess.run(
        [npm, "pack", "--silent", "--ignore-scripts", package], cwd=folder, capture_output=True, text=True
    )
    archives = list(folder.glob("*.tgz"))
    if ended.returncode or not archives:
        said = ended.stderr.strip().splitlines() or ["it gave no reason"]
        raise UserError(f"npm could not fetch {package}: {said[-1]}.")
    check(package, sha512, archives[0])
    return archives[0]


def check(package: str, sha512: str, archive: Path) -> None:
    """UserError where the archive's SHA-512 is another."""
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != sha512:
        raise UserError(f"{package} is not the package that was pinned: its SHA-512 differs.")
