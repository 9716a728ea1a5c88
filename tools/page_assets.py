"""Fetch onnxruntime-web for the page's live part: `make page-assets`. Needs npm.

It writes two files to src/cnnlab/page/assets/runtime/, which Git ignores and a wheel built afterwards contains.
"""

import tarfile
import tempfile
from pathlib import Path

from cnnlab.core import artifacts
from cnnlab.core.errors import UserError, run_command
from cnnlab.page import live
from tools import npm

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
    """Fetch the package with npm, check its hash and take the two files from it."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(npm.fetch(PACKAGE, SHA512, Path(folder))) as package:
        for name in live.RUNTIME:
            member = package.extractfile(f"package/dist/{name}")
            if member is None:
                raise UserError(f"{PACKAGE} has no dist/{name}.")
            artifacts.write_bytes(target / name, member.read())


if __name__ == "__main__":
    run_command(main)
