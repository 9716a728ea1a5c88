"""What a grid changes in the pipeline: which stages run, where their figures are, and which files they start from."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cnnlab.core.errors import UserError
from cnnlab.sweep.clone import git
from cnnlab.sweep.grid import SEED, Point

MEASURES = re.compile(r"(^|/)test[/.]")  # metrics/test/lenet.json, metrics/vae/test.json


@dataclass(frozen=True)
class Work:
    """The stages that each point runs, and the metrics files that they write."""

    targets: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A stage: its command, files and settings as text, the stages before it, and its metrics files."""

    signature: str
    upstream: frozenset[str]
    metrics: tuple[str, ...]


Stages = dict[str, Stage]


def compared(points: Sequence[Point]) -> dict[str, list[str]]:
    """The keys that differ between points, with their values; all keys if none differs.

    The seed counts only if nothing else is set, because it repeats what is compared.
    """
    values = {key: list(dict.fromkeys(point.settings[key] for point in points)) for key in points[0].settings}
    others = {key: found for key, found in values.items() if key != SEED}
    return {key: found for key, found in others.items() if len(found) > 1} or others or values


def plan_work(points: Sequence[Point], named: Sequence[str], check: Callable[[Path], object]) -> Work:
    """The stages that are named, or else the measurements that the grid changes.

    Works in the current folder, which is a clone. `check` reads a params file and raises UserError for a wrong value;
    it sees each value of the grid once. Raises UserError for an unknown key or stage, for a grid that changes nothing,
    and for files that the points start from if neither DVC's cache nor its remote has them.
    """
    first, base = points[0].settings, _stages()
    changed: set[str] = set()
    needed: set[str] = set()
    for key, values in compared(points).items():
        for value in values:
            _apply(first | {key: value}, check)
        without = {other: first[other] for other in first if other != key}
        pair = [first | {key: value} for value in values[:2]]
        seen = [_stages_with(settings) for settings in (pair if len(pair) > 1 else [without, *pair])]
        changed |= _differing(*seen)
        for stages in seen:
            stale = _with_dependents(stages, _differing(base, stages))
            needed |= {before for name in stale for before in stages[name].upstream} - stale
    targets = _named(base, named) if named else _measurements(base, _with_dependents(base, changed))
    _demand(sorted(needed & _with_upstream(base, targets)))
    return Work(targets, tuple(path for name in targets for path in base[name].metrics))


def _apply(settings: Mapping[str, str], check: Callable[[Path], object]) -> None:
    """Write settings into the clone's params files, as `dvc exp run -S` would."""
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides

    git(".", "checkout", "-q", "--", ".")
    for path, overrides in to_path_overrides(f"{key}={value}" for key, value in settings.items()).items():
        if not Path(path).is_file():
            raise UserError(f"-S {path}:…: there is no file {path} in the commit.")
        try:
            apply_overrides(Path(path), overrides)
        except DvcException:
            for override in overrides:
                _apply_one(Path(path), override)
        if path == "params.yaml":
            check(Path(path))


def _apply_one(path: Path, override: str) -> None:
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides
    from dvc.utils.serialize import PARSERS

    try:
        apply_overrides(path, [override])
    except DvcException:
        key = override.partition("=")[0]
        known = list(_keys(PARSERS[path.suffix](path.read_text(), path)))
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"-S {override}: {path.name} has no key {key!r}; {hint}+{key}=… would add one.") from None


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def _stages_with(settings: Mapping[str, str]) -> Stages:
    _apply(settings, lambda _: None)
    found = _stages()
    git(".", "checkout", "-q", "--", ".")
    return found


def _stages() -> Stages:
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    found: Stages = {}
    try:
        with Repo() as repo:
            for stage in repo.index.stages:
                params = [dep.read_params() for dep in stage.deps if isinstance(dep, ParamsDependency)]
                files = [file.def_path for file in (*stage.deps, *stage.outs)]
                upstream = frozenset(other.addressing for other in repo.index.graph.successors(stage))
                metrics = tuple(
                    out.def_path for out in stage.outs if out.is_decorated and out.def_path.endswith(".json")
                )
                found[stage.addressing] = Stage(repr((stage.cmd, files, params)), upstream, metrics)
    except DvcException as error:
        raise UserError(f"dvc.yaml cannot be used: {str(error).splitlines()[0]}") from None
    return found


def _differing(one: Stages, other: Stages) -> set[str]:
    return {name for name in other if name not in one or one[name].signature != other[name].signature}


def _with_dependents(stages: Stages, names: set[str]) -> set[str]:
    more = {name for name, stage in stages.items() if stage.upstream & names} | names
    return names if more == names else _with_dependents(stages, more)


def _with_upstream(stages: Stages, names: Iterable[str]) -> set[str]:
    found = set(names)
    more = found.union(*(stages[name].upstream for name in found))
    return found if more == found else _with_upstream(stages, more)


def _named(stages: Stages, named: Sequence[str]) -> tuple[str, ...]:
    """The stages that are meant, by name, by file and name, or by file; `evaluate` means every `evaluate@…`."""
    called = {}
    for stage in stages:
        file, _, name = stage.rpartition(":")
        called[stage] = {stage, stage.split("@")[0], name, name.split("@")[0], file or "dvc.yaml"}
    for name in named:
        if not any(name in names for names in called.values()):
            near = get_close_matches(name, sorted(set().union(*called.values())), n=1)
            hint = f": did you mean {near[0]!r}?" if near else "; `dvc stage list --all` has them all."
            raise UserError(f"--targets {name}: there is no such stage{hint}")
    return tuple(stage for stage, names in called.items() if not names.isdisjoint(named))


def _measurements(stages: Stages, affected: set[str]) -> tuple[str, ...]:
    """The affected stages that measure on a test set; if there are none, those that no other stage needs."""
    measuring = [name for name in stages if name in affected and any(map(MEASURES.search, stages[name].metrics))]
    leaves = [name for name in stages if name in affected and not any(name in s.upstream for s in stages.values())]
    if not affected:
        raise UserError("These settings change no stage of the pipeline: name what to run with --targets.")
    return tuple(measuring or leaves)


def _demand(needed: Sequence[str]) -> None:
    """Raise UserError for outputs of these stages that are in neither DVC's cache nor its remote."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        stages = [stage for stage in repo.index.stages if stage.addressing in needed]
        outs = [out for stage in stages for out in stage.outs if out.use_cache]
        missing = [out for out in outs if not out.hash_info or out.changed_cache()]
        if missing:
            with suppress(DvcException):
                repo.fetch(targets=[out.stage.addressing for out in missing])
        gone = [out.def_path for out in missing if not out.hash_info or out.changed_cache()]
    if gone:
        raise UserError(
            f"The points start from {', '.join(gone)}, which DVC has neither in its cache nor in its remote: "
            f"run `dvc pull`, or `dvc repro {' '.join(needed)}` and commit."
        )
