"""What a point starts from, and the clone that it runs in. Imports the standard library and DVC alone."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.core.errors import UserError


@dataclass(frozen=True)
class Source:
    """Where the points of a sweep come from and go to; the same for all points."""

    git: str  # path or URL that is cloned and that experiments are pushed to
    ref: str  # the ref there that is checked out
    commit: str  # the baseline of every experiment
    dirty: bool  # whether `ref` is `commit` and, on top of it, the workspace as it was
    remote: str  # the DVC remote: its name,
    url: str  # and its address; options and secrets are each machine's own
    project: str  # the project's folder on the coordinator's machine
    home: str  # the sweep's folder there
    token: str  # what home/token says: a worker that reads the same there shares the coordinator's disk
    pictures: tuple[str, ...] = ()  # folders of the project with the user's own pictures


# Where Git finds a repository, if its environment says so: hooks and `git rebase --exec` set these.
LOCATIONS = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_PREFIX", "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
)  # fmt: skip


def forget_locations() -> None:
    """Remove the variables that would make Git take every clone for the repository that they name."""
    for name in LOCATIONS:
        os.environ.pop(name, None)


def git(folder: str | Path, *arguments: str, text: str | None = None, index: Path | None = None) -> str:
    """Run git in a folder, without prompts; UserError with git's own reason if it fails."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"} | ({"GIT_INDEX_FILE": str(index)} if index else {})
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=text, capture_output=True, check=False, env=environment,
        encoding="utf-8", errors="surrogateescape",  # a file's name may be any bytes
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1])
        reason = reason.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")
        raise UserError(f"git {arguments[0]} failed in {folder}: {reason}.")
    return done.stdout


def shares_disk(source: Source) -> bool:
    """Whether this machine can read and write the folder of the project that the coordinator runs in."""
    with suppress(OSError):
        return (Path(source.home) / "token").read_text() == source.token and os.access(source.home, os.W_OK)
    return False


def make_clone(source: Source, folder: Path, keep: Path) -> None:
    """Check out the sweep's commit in a new `folder`, with the project's remotes.

    On the coordinator's disk the clone shares the project's cache, raw data and unfinished training. Elsewhere the last
    two are kept in `keep`, so that a machine fetches them once. Raises UserError if Git cannot be reached.
    """
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "remote", "add", "origin", source.git)
    git(folder, "fetch", "-q", "--depth", "2" if source.dirty else "1", "origin", source.ref)
    git(folder, "-c", "advice.detachedHead=false", "checkout", "-q", source.commit)
    if source.dirty:
        git(folder, "restore", "--source", "FETCH_HEAD", "--staged", "--worktree", ":/")
    git(folder, "config", "user.name", "cnnlab sweep")
    git(folder, "config", "user.email", "sweep@localhost")
    shared = shares_disk(source)
    _configure(source, folder, shared)
    (folder / ".git" / "info" / "exclude").write_text("/.checkpoints\n/data/raw\n")
    kept = Path(source.project) if shared else keep
    for name in ("data/raw", ".checkpoints"):
        (kept / name).mkdir(parents=True, exist_ok=True)
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(kept / name, target_is_directory=True)
    for name in source.pictures:
        _link_pictures(source, folder, name, shared)


def _link_pictures(source: Source, folder: Path, name: str, shared: bool) -> None:
    """Link the user's own pictures that neither Git nor DVC has into a clone; UserError if they are out of reach."""
    if (folder / f"{name}.dvc").exists():
        return
    if not shared:
        raise UserError(
            f"{name} is on the machine that the sweep was started on, whose disk this worker does not see: "
            f"run `dvc add {name}` and commit, or set its path in params.yaml to a folder that every worker sees."
        )
    (folder / name).mkdir(parents=True, exist_ok=True)
    for entry in (Path(source.project) / name).iterdir():
        place = folder / name / entry.name
        if not place.exists() and not place.with_name(f"{entry.name}.dvc").exists():
            place.symlink_to(entry)
    with (folder / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.write(f"/{name}/*\n")


def _configure(source: Source, folder: Path, shared: bool) -> None:
    from dvc.config import Config

    local = Path(source.project) / ".dvc" / "config.local"
    if shared and local.exists():
        shutil.copy(local, folder / ".dvc" / "config.local")
    known: dict[str, Any] = Config(str(folder / ".dvc"), validate=False)
    with Config(str(folder / ".dvc"), validate=False).edit("local") as edited:
        config: Any = edited
        if known.get("remote", {}).get(source.remote, {}).get("url") != source.url:
            config.setdefault("remote", {})[source.remote] = {"url": source.url}
        # DVC's state of a clone goes with the clone: else each leaves a folder in the machine's own.
        config.setdefault("core", {}).update(remote=source.remote, site_cache_dir=str(folder / ".dvc" / "tmp" / "site"))
        if shared:
            config.setdefault("cache", {})["dir"] = cache_dir(Path(source.project))
            config["cache"]["type"] = ["reflink", "hardlink", "symlink", "copy"]


def cache_dir(project: Path) -> str:
    """The absolute path of a project's DVC cache."""
    from dvc.config import Config

    config: dict[str, Any] = Config(str(project / ".dvc"), validate=False)
    named = config.get("cache", {}).get("dir")
    return str((project / ".dvc" / (named or "cache")).resolve())


def experiment_ref(commit: str, name: str) -> str:
    """The Git ref that DVC gives an experiment."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def experiment_message(targets: Iterable[str]) -> str:
    """The commit message of an experiment; it names the stages."""
    return f"sweep of {' '.join(targets)}"
