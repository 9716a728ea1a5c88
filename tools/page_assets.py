"""Fetch onnxruntime-web for the page's live part: `python tools/page_assets.py`, or `make page-assets`. Needs npm.

It writes two files to src/cnnlab/page/assets/runtime/, which Git ignores and a wheel built afterwards contains.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError, run_command
from cnnlab.page import live

# The newest release whose WebAssembly leaves the page under 12 MB: that of 1.30.0 is a quarter larger.
PACKAGE = "onnxruntime-web@1.23.2"
SHA512 = "T09JUtMn+CZLk3mFwqiH0lgQf+4S7+oYHHtk6uhaYAAJI95bTcKi5bOOZYwORXfS/RLZCjDDEXGWIuOCAFlEjg=="


def main() -> None:
    """Fetch, check and unpack; nothing where the files are there already."""
    if all((live.FOLDER / name).is_file() for name in live.RUNTIME):
        print(f"{live.FOLDER}: here already.")
        return
    fetch(live.FOLDER)
    print(f"{live.FOLDER}: {PACKAGE}; now `dvc repro page` makes the live page.")


def fetch(target: Path) -> None:
    """Fetch the package with npm and unpack it into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm is not installed: install Node.js, or use the page without its live part.")
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", PACKAGE], cwd=folder, capture_output=True, text=True
        )
        archives = list(Path(folder).glob("*.tgz"))
        if ended.returncode or not archives:
            said = ended.stderr.strip().splitlines() or ["it gave no reason"]
            raise UserError(f"npm could not fetch {PACKAGE}: {said[-1]}.")
        unpack(archives[0], target)


def unpack(archive: Path, target: Path) -> None:
    """Take the two files from the package; UserError where its hash is another."""
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        raise UserError(f"{PACKAGE} is not the package that was pinned: its SHA-512 differs.")
    with tarfile.open(archive) as package:
        for name in live.RUNTIME:
            member = package.extractfile(f"package/dist/{name}")
            if member is None:
                raise UserError(f"{PACKAGE} has no dist/{name}.")
            artifacts.write_bytes(target / name, member.read())


if __name__ == "__main__":
    sys.exit(run_command(main))
