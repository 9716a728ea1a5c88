"""One sweep from its options to its tables."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.core import params
from cnnlab.core.artifacts import is_stream, write_csv
from cnnlab.core.errors import UserError
from cnnlab.core.params import OWN_PICTURES
from cnnlab.data.catalogue import FACES
from cnnlab.sweep import cluster
from cnnlab.sweep.board import Board, Row, print_rows, summarise
from cnnlab.sweep.clone import Source, experiment_message, forget_locations, git, make_clone
from cnnlab.sweep.coordinator import Coordinator, Harvest, Job
from cnnlab.sweep.grid import Point, expand
from cnnlab.sweep.project import Project, open_project
from cnnlab.sweep.targets import Work, plan_work

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    settings: Sequence[str]
    seeds: int = 0
    targets: Sequence[str] = ()
    name: str = "sweep"
    workers: int | None = None
    scheduler: str = ""
    remote: str = ""
    git: str = ""
    allow_dirty: bool = False
    metric: str = "accuracy"
    lower_is_better: bool = False
    output: Path | None = None


def run_sweep(root: Path, options: Options, check: Callable[[Path], object]) -> int:
    """Run the unfinished points of a grid and write its tables; gives the number of points that failed.

    `check` raises UserError for a params file with a wrong value. Every UserError comes before the first point runs.
    """
    forget_locations()
    points = expand(options.settings, options.seeds, options.name)
    project = open_project(root, options.name)
    if options.scheduler:
        cluster.inspect(options.scheduler)  # fails early if it is not there
    with project.lock():
        url = _reachable(options.git, project.root)
        source = project.source(
            url, project.remote(options.remote), allow_dirty=options.allow_dirty, pictures=_own_pictures(root, points)
        )
        if source.dirty:  # the baseline does not have these changes, so the name must show them
            mark = f"-dirty-{project.tree(source)[:7]}"
            points = [replace(point, name=point.name + mark) for point in points]
        job = Job(project, source, _prepare(project, source, points, options.targets, check), options.metric)
        logs = _run(job, points, options)
        _report(job, points, options.output or project.home / "results.csv")
        git(project.root, "update-ref", "-d", source.ref)
    for name, log in logs.items():
        print(f"Failed: {name}; its log is {log}")
    return len(logs)


def _own_pictures(root: Path, points: Sequence[Point]) -> tuple[str, ...]:
    """The folders below the project's root from which any of the points reads the user's own pictures."""
    base = params.load(root / "params.yaml")
    settings = {
        "dataset": base.dataset, "folder.path": base.folder.path, "vae.dataset": base.vae.dataset,
        "vae.lfw.path": base.vae.lfw.path,
    }  # fmt: skip
    found: set[str] = set()
    for point in points:
        used = settings | point.settings
        if OWN_PICTURES in (used["dataset"], used["vae.dataset"]):
            found.add(used["folder.path"])
        if used["vae.dataset"] == FACES:
            found.add(used["vae.lfw.path"])
    return tuple(sorted(path for path in found if not Path(path).is_absolute() and (root / path).is_dir()))


def _reachable(url: str, root: Path) -> str:
    """The Git remote's path or URL: this project, a remote given by name, or `url` itself."""
    if not url:
        return str(root)
    if url in git(root, "remote").split():
        return git(root, "remote", "get-url", "--push", url).strip()
    return str(Path(url).resolve()) if Path(url).exists() else url


def _prepare(
    project: Project, source: Source, points: Sequence[Point], named: Sequence[str], check: Callable[[Path], object]
) -> Work:
    """Check the grid in a clone, and push the files that the points start from to the DVC remote."""
    from dvc.repo import Repo

    with _scratch(project.home / "plan") as folder:
        make_clone(source, folder / "clone", folder)
        with chdir(folder / "clone"):
            with _writing(source.url), Repo() as repo:
                _try_remote(repo)
            work = plan_work(points, named, check)
            added = [f"{name}.dvc" for name in source.pictures if Path(f"{name}.dvc").is_file()]
            with _writing(source.url), Repo() as repo:
                repo.push(targets=[*work.targets, *added], with_deps=True)
    project.keep_remote(source.remote, source.url)
    return work


@contextmanager
def _writing(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every kind of remote raises its own
        reason = (str(error.__cause__ or "") or str(error) or repr(error)).splitlines()[0].rstrip(".")
        raise UserError(f"The DVC remote {url} cannot be written: {reason}.") from None


def _try_remote(repo: "Repo") -> None:
    """Write a small object to the DVC remote and remove it, if the remote allows that."""
    from dvc_objects.fs.local import localfs

    remote, data = repo.cloud.get_remote_odb(), os.urandom(16)
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe"
        probe.write_bytes(data)
        oid = hashlib.md5(data, usedforsecurity=False).hexdigest()
        remote.add(str(probe), localfs, oid, on_error=None)
    with suppress(Exception):
        remote.fs.remove(remote.oid_to_path(oid))


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, deleted afterwards. Deletes first what a killed sweep has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(job: Job, points: Sequence[Point], options: Options) -> Mapping[str, Path]:
    """Run the unfinished points and pull the others; gives the logs of the points that failed."""
    names = [point.name for point in points]
    finished = job.project.finished(job.source, names, experiment_message(job.work.targets))
    left = [point for point in points if point.name not in finished]
    print(
        f"{len(points)} points of {', '.join(job.work.targets)}: {len(finished)} finished before, {len(left)} to run."
    )
    shutil.rmtree(job.project.home / "logs", ignore_errors=True)  # of an earlier run
    rows = {name: Row("done" if name in finished else "queued") for name in names}
    with (
        _scratch(job.project.home / "scratch") as scratch,
        _cluster(options, len(left), scratch) as (address, found),
        Board(options.name, rows, *found, options.lower_is_better) as board,
        closing(Harvest(job, board)) as harvest,
    ):
        board.figures(job.figures(finished))
        if left:
            Coordinator(address, job, board, harvest).run(left)
    return board.logs


@contextmanager
def _cluster(options: Options, points: int, scratch: Path) -> "Iterator[tuple[str, tuple[int, str]]]":
    """The scheduler's address, how many points run at a time, and the dashboard's address."""
    if options.scheduler:
        yield options.scheduler, cluster.inspect(options.scheduler)
    elif not points:
        yield "", (1, "")
    else:
        devices = cluster.gpus()
        workers, threads = cluster.size(options.workers, points, len(devices))
        with cluster.local_cluster(workers, threads, devices, scratch) as local:
            of = f", a GPU each ({', '.join(devices)})" if devices else ""
            print(
                f"{workers} workers of {threads} threads on this machine{of}; Dask's dashboard: {local.dashboard_link}"
            )
            yield local.scheduler_address, (workers, local.dashboard_link)


def _report(job: Job, points: Sequence[Point], path: Path) -> None:
    """Print the results and write two tables: a row for each setting to `path`, a row for each point next to it."""
    figures = job.figures([point.name for point in points])
    rows = summarise(points, figures)
    measured = list(dict.fromkeys(what for found in figures.values() for what in found))
    each = [
        {"experiment": point.name, **point.settings, **{what: figures[point.name].get(what, "") for what in measured}}
        for point in points
        if point.name in figures
    ]
    write_csv(path, rows)
    if each and not is_stream(path):
        write_csv(path.with_name(f"{path.stem}-points.csv"), each)
    print_rows(rows)
    print(f"{path}: this table; `dvc exp show` has the {len(each)} experiments.")
