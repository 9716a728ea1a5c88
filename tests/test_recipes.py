"""CONTRIBUTING's recipes, followed as they stand in a copy of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from cnnlab.core import params
from tests.project_copy import ROOT, copy_project


def recipe(title: str) -> str:
    """One chapter of CONTRIBUTING.md."""
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(chapter: str, language: str) -> list[str]:
    """Its code blocks of a language, without the indentation of a list around them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", chapter, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def insert(path: Path, after: str, text: str) -> None:
    """Put a text behind the one line of a file that begins with `after`."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.startswith(after)]
    assert len(places) == 1, f"{path.name} has {len(places)} lines that begin with {after!r}"
    lines.insert(places[0] + 1, text)
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What Git holds or would hold, as a repository of its own."""
    return copy_project(tmp_path / "lab")


def run(project: Path, *words: str) -> str:
    """Run a program on the project's own sources; gives what it prints."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        words, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def stages(project: Path) -> set[str]:
    with Repo(str(project)) as repo:
        return {stage.name for stage in repo.index.stages}


def changed(project: Path) -> set[str]:
    status = subprocess.run(["git", "status", "--porcelain"], cwd=project, text=True, capture_output=True, check=True)
    return {line[3:] for line in status.stdout.splitlines()}


def add_architecture(project: Path) -> None:
    chapter = recipe("Add an architecture")
    (code,), (block, stage, curve, file) = blocks(chapter, "python"), blocks(chapter, "yaml")
    (project / "src/cnnlab/architectures/tiny.py").write_text(code, encoding="utf-8")
    insert(project / "params.yaml", "models:", block)
    insert(project / "dvc.yaml", "      resnet: {", stage)
    insert(project / "dvc.yaml", "        plots/train/resnet.csv: ", curve)
    insert(project / "dvc.yaml", "  resnet: {path: ", file)


def test_the_architecture_recipe_takes_three_files_and_makes_its_stages(project: Path):
    before = stages(project)
    add_architecture(project)
    assert changed(project) == {"src/cnnlab/architectures/tiny.py", "params.yaml", "dvc.yaml"}
    assert stages(project) - before == {f"{stage}@tiny" for stage in ("train", "export", "evaluate", "embed")}
    run(project, "cnnlab", "check")


@pytest.mark.slow
def test_the_architecture_recipe_passes_the_contract_and_trains(project: Path):
    add_architecture(project)
    run(
        project,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/test_models.py",
        "tests/test_wiring.py",
        "-k",
        "tiny or every",
    )
    settings = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(settings.replace("budget: quick", "budget: smoke"))
    run(project, "dvc", "repro", "evaluate@tiny", "embed@tiny")
    assert (project / "models/tiny.int8.onnx").is_file()
    assert (project / "plots/embed/tiny.png").is_file()


def test_the_ablation_recipe_takes_one_line_and_makes_one_stage(project: Path):
    before = stages(project)
    (line,) = blocks(recipe("Add an ablation"), "yaml")
    insert(project / "params.yaml", "ablations:", line)
    assert changed(project) == {"params.yaml"}
    name = line.split(":")[0].strip()
    assert stages(project) - before == {f"ablate@{name}"}
    params.load(project / "params.yaml")
