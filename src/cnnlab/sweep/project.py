"""The coordinator's project: the commit that a sweep starts from, its experiments, and their figures."""

import fcntl
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.core.artifacts import write_text
from cnnlab.core.errors import UserError
from cnnlab.core.text import is_plain, printable
from cnnlab.sweep.clone import Source, experiment_ref, git

REMOTE = "sweep"  # the name of a DVC remote that had none


@dataclass(frozen=True)
class Project:
    """A Git repository with DVC at its root, and the folder of one sweep in it."""

    root: Path
    name: str

    @property
    def home(self) -> Path:
        """The folder of the sweep's lock, logs and tables, which Git ignores."""
        return self.root / ".dvc" / "tmp" / "sweep" / self.name

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only coordinator of this sweep on this machine. The system releases the lock of a killed one."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = (self.home / "lock").read_text().strip() or "unknown"
                raise UserError(
                    f"The sweep {self.name!r} is running already, in process {holder}: "
                    "wait for it, stop it, or give this one another --name."
                ) from None
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
            yield

    def source(
        self, git_url: str, remote: tuple[str, str], *, allow_dirty: bool, pictures: tuple[str, ...] = ()
    ) -> Source:
        """Put what every point starts from under refs/sweeps/ in the Git remote.

        This is the last commit, or with `allow_dirty` the workspace on top of it. Raises UserError for a workspace that
        differs from the last commit without `allow_dirty`, and for a Git remote that cannot be written.
        """
        commit, ref = git(self.root, "rev-parse", "HEAD").strip(), f"refs/sweeps/{self.name}"
        changed = git(self.root, "status", "--porcelain", "-z").split("\0")
        changed = [entry[3:] for entry in changed if entry[2:3] == " "]
        if changed and not allow_dirty:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"The workspace differs from the last commit in {', '.join(map(printable, changed[:3]))}{more}: "
                "commit what the points need, or take it along with --allow-dirty."
            )
        if odd := [name for name in changed if not is_plain(name)]:
            raise UserError(
                f"DVC cannot take {printable(odd[0])} along, whose name holds bytes that are not UTF-8 or control "
                "characters: rename it, or add it to .gitignore."
            )
        git(self.root, "update-ref", ref, self._snapshot(commit) if changed else commit)
        if git_url != str(self.root):
            try:
                git(self.root, "push", "-q", "--force", git_url, f"{ref}:{ref}")
            except UserError as error:
                raise UserError(f"--git {git_url} cannot be written: {error}") from None
        here = str(self.root), str(self.home), self._token()
        return Source(git_url, ref, commit, bool(changed), *remote, *here, pictures)

    def _snapshot(self, commit: str) -> str:
        """A commit of the workspace on top of `commit`, without a change of index, branch or workspace."""
        index = self.home / "index"
        index.unlink(missing_ok=True)
        git(self.root, "read-tree", commit, index=index)
        git(self.root, "add", "--all", index=index)
        tree = git(self.root, "write-tree", index=index).strip()
        identity = ("-c", "user.name=cnnlab sweep", "-c", "user.email=sweep@localhost")
        return git(self.root, *identity, "commit-tree", "-p", commit, "-m", "The workspace of a sweep", tree).strip()

    def _token(self) -> str:
        path = self.home / "token"
        if not path.exists():
            write_text(path, uuid.uuid4().hex)
        return path.read_text()

    def tree(self, source: Source) -> str:
        """The hash of all files that the points start from."""
        return git(self.root, "rev-parse", f"{source.ref}^{{tree}}").strip()

    def finished(self, source: Source, names: Iterable[str], message: str) -> set[str]:
        """Those of `names` that are finished experiments; those that only the Git remote has are pulled.

        Raises UserError for one with another commit `message`, so of other stages.
        """
        base, wanted = experiment_ref(source.commit, ""), set(names)
        if source.git != str(self.root):
            lines = git(self.root, "ls-remote", source.git, f"{base}*").splitlines()
            there = sorted({line.rpartition("/")[2] for line in lines} & wanted)
            fault = self.pull(source, there) if there else ""
            if fault:
                raise UserError(f"The experiments in {source.git} could not be pulled: {fault.splitlines()[-1]}")
        lines = git(self.root, "for-each-ref", "--format=%(refname)\t%(contents:subject)", base).splitlines()
        here = {ref.rpartition("/")[2]: subject for ref, _, subject in (line.partition("\t") for line in lines)}
        found = wanted & here.keys()
        if others := sorted(name for name in found if here[name] != message):
            raise UserError(
                f"{others[0]} is there already, as another experiment ({here[others[0]]!r}, not {message!r}): "
                "give this sweep another --name."
            )
        return found

    def pull(self, source: Source, names: Sequence[str]) -> str:
        """Pull experiments with their files; gives DVC's error, or ""."""
        command = [sys.executable, "-m", "dvc", "exp", "pull", "-q", "-r", source.remote, source.git]
        done = subprocess.run([*command, *names], cwd=self.root, capture_output=True, text=True, check=False)
        return done.stderr.strip() if done.returncode else ""

    def figures(
        self, source: Source, names: Iterable[str], paths: Sequence[str], key: str
    ) -> dict[str, dict[str, float]]:
        """`key` of each metrics file that has it, by experiment and then by the file's name."""
        asked = [(name, path) for name in names for path in paths]
        lines = "".join(f"{experiment_ref(source.commit, name)}:{path}\n" for name, path in asked)
        found: dict[str, dict[str, float]] = {}
        output = git(self.root, "cat-file", "--batch", text=lines).encode(errors="surrogateescape") if asked else b""
        for name, path in asked:
            header, _, output = output.partition(b"\n")
            if header.endswith(b" missing"):
                continue
            size = int(header.split()[-1])
            value = _figure(output[:size], key)
            output = output[size + 1 :]
            if value is not None:
                found.setdefault(name, {})[f"{Path(path).stem} {key}"] = value
        return found

    def remote(self, named: str) -> tuple[str, str]:
        """Name and URL of a DVC remote, given by name, URL or path; of the default one if `named` is empty.

        A project without a remote gets a folder in .dvc/tmp. Raises UserError for what is neither name, URL nor path.
        """
        known, default = self._remotes()
        named = named or default or str(self.home.parent / "remote")
        if named in known:
            return named, known[named]
        if not re.search(r"[/\\:]", named):
            raise UserError(
                f"--remote {named!r} is neither URL nor path nor a remote of this project, which has "
                f"{', '.join(known) or 'none'}."
            )
        url = named if "://" in named else str(Path(named).expanduser().resolve())
        return next((name for name in known if known[name] == url), REMOTE), url

    def keep_remote(self, name: str, url: str) -> None:
        """Save a new remote in .dvc/config.local, as the default if there is none, so that `dvc pull` finds it."""
        from dvc.config import Config

        known, default = self._remotes()
        if known.get(name) != url:
            with Config(str(self.root / ".dvc")).edit("local") as edited:
                local: Any = edited
                local.setdefault("remote", {})[name] = {"url": url}
                local.setdefault("core", {}).setdefault("remote", default or name)

    def _remotes(self) -> tuple[dict[str, str], str]:
        """The URL of every remote that the project knows, by name, and the name of the default one."""
        from dvc.config import Config

        config: dict[str, Any] = Config(str(self.root / ".dvc"))
        urls = {name: settings.get("url", "") for name, settings in config.get("remote", {}).items()}
        return urls, config.get("core", {}).get("remote", "")


def open_project(root: Path, name: str) -> Project:
    """The project at `root`; UserError if that is not the root of a Git and DVC project."""
    if not (root / ".git").exists() or not (root / ".dvc").is_dir():
        raise UserError(f"{root} is not the root of a project with Git and DVC: run this in the project's root folder.")
    return Project(root.resolve(), name)


def _figure(data: bytes, key: str) -> float | None:
    try:
        value = json.loads(data).get(key)
    except (ValueError, AttributeError):
        return None
    return float(value) if isinstance(value, int | float) else None
