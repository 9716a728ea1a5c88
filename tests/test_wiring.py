"""dvc.yaml against the code: each stage depends on just the source files that it imports, and opens what it may."""

import ast
import shlex
from functools import cache
from pathlib import Path

import grimp
import pytest
from dvc.repo import Repo

from cnnlab import models, params

ROOT = Path(__file__).parent.parent


@cache
def pipeline() -> dict[str, tuple[list[str], set[str], set[str]]]:
    """Every stage: its command's words, its dependencies and its outputs (paths)."""
    stages = {}
    with Repo(str(ROOT)) as repo:
        for stage in repo.index.stages:
            deps = {dep.def_path for dep in stage.deps if not hasattr(dep, "params")}
            stages[stage.name] = shlex.split(stage.cmd), deps, {out.def_path for out in stage.outs}
    return stages


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("cnnlab", "stages", exclude_type_checking_imports=True, cache_dir=None)


def source_file(module: str) -> Path:
    """The file of a module, relative to the project's root."""
    base = Path(*module.split("."))
    base = base if module.startswith("stages") else Path("src") / base
    return base / "__init__.py" if (ROOT / base).is_dir() else base.with_suffix(".py")


def says_something(path: Path) -> bool:
    """Whether a file holds more than a docstring."""
    body = ast.parse((ROOT / path).read_text()).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def needed_sources(words: list[str]) -> set[str]:
    """The source files that a stage's command imports, the architecture that it names included."""
    script = next(word for word in words if word.endswith(".py"))
    start = script.removesuffix(".py").replace("/", ".")
    found = {start} | imports().find_upstream_modules(start)
    if "cnnlab.models" in found:
        for name in set(words) & set(models.names()):
            module = f"cnnlab.models.{name}"
            found |= {module} | imports().find_upstream_modules(module)
    found |= {parent for module in found for parent in parents(module)}
    found -= {"cnnlab"}  # its __init__ holds how a process treats its garbage, on which no result hangs
    return {str(path) for path in map(source_file, found) if says_something(path)}


def parents(module: str) -> list[str]:
    """The packages around a module: Python runs their __init__ too."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def stage_names() -> list[str]:
    return sorted(pipeline())


@pytest.mark.parametrize("stage", stage_names())
def test_a_stage_depends_on_just_what_it_imports(stage):
    words, deps, _ = pipeline()[stage]
    declared = {dep for dep in deps if dep.endswith(".py")}
    needed = needed_sources(words)
    assert declared == needed, (
        f"{stage}: missing in dvc.yaml {sorted(needed - declared)}, not imported {sorted(declared - needed)}"
    )


CHOOSERS = ("train", "export", "vae_train", "vae_export")


@pytest.mark.parametrize("stage", [name for name in stage_names() if name.split("@")[0] in CHOOSERS])
def test_what_chooses_never_depends_on_the_test_set(stage):
    _, deps, _ = pipeline()[stage]
    data = {dep for dep in deps if dep.startswith("data/")}
    assert data
    assert all(dep.endswith(("/train", "/dataset.json")) for dep in data), data


def test_every_architecture_is_in_the_registry_the_settings_and_the_pipeline():
    settings = params.load(ROOT / "params.yaml")
    trained = {name.split("@")[1] for name in pipeline() if name.startswith("train@")}
    assert sorted(settings.models) == models.names() == sorted(trained)


@pytest.mark.parametrize("name", models.names())
def test_architectures_do_not_import_each_other(name):
    others = {f"cnnlab.models.{other}" for other in models.names()} - {f"cnnlab.models.{name}"}
    assert not imports().find_upstream_modules(f"cnnlab.models.{name}") & others


def test_stages_are_short():
    for path in (ROOT / "stages").glob("*.py"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 60, f"{path.name} has {len(lines)} lines: a stage reads, calls, writes"
