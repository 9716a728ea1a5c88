"""A copy of the project in a repository of its own, for tests that run git and dvc in it."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LISTED = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def copy_project(folder: Path, **settings: str) -> Path:
    """Copy what Git holds or would hold to a new folder, with other top-level settings, and commit it there."""
    names = subprocess.run(LISTED, cwd=ROOT, text=True, capture_output=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    file = folder / "params.yaml"
    for key, value in settings.items():
        file.write_text(re.sub(rf"^{key}: \S+", f"{key}: {value}", file.read_text(), count=1, flags=re.M))
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "t")
    git(folder, "config", "user.email", "t@example.com")
    commit(folder, "start")
    return folder


def commit(folder: Path, message: str) -> None:
    """Commit all that has changed."""
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def git(folder: Path, *words: str) -> str:
    """Run git in a folder; gives what it prints."""
    return subprocess.run(["git", "-C", str(folder), *words], check=True, text=True, stdout=subprocess.PIPE).stdout
