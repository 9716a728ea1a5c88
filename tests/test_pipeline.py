"""The real pipeline by the real dvc commands, on the smoke budget and the sample that ships; README's experiments."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from cnnlab import models

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def commands() -> list[str]:
    """Every command of README's chapter on experiments."""
    chapter = (ROOT / "README.md").read_text().split("## Experiments")[1].split("\n## ")[0]
    lines = [
        line.split(" # ")[0].strip()
        for block in re.findall(r"```\n(.*?)```", chapter, re.S)
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


SHOW = next(command for command in commands() if command.startswith("dvc exp show"))


def run(project: Path, command: str, *, fails: int = 0, **variables: str) -> str:
    """Run a shell command in the project, with 120 columns; gives stdout and stderr together."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"COLUMNS": "120"} | variables
    done = subprocess.run(
        command, shell=True, cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == fails, f"{command}\n{done.stdout}"
    return done.stdout


def ran(output: str) -> set[str]:
    """The stages that DVC really ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def restored(output: str) -> set[str]:
    """The stages whose outputs DVC took from its cache."""
    return {line.split("'")[1] for line in output.splitlines() if "is cached - skipping run" in line}


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Where tests/trace/sitecustomize.py writes what each stage of the project's first `dvc repro` opened and read."""
    return tmp_path_factory.mktemp("trace")


@pytest.fixture(scope="module")
def lab(tmp_path_factory, trace):
    """What Git holds or would hold, copied to a path with a space and an é, after one `dvc repro` on budget smoke."""
    project = tmp_path_factory.mktemp("lab") / "my lab é"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("budget: quick", "budget: smoke"))
    run(project, "git init -q && git config user.name t && git config user.email t@example.com")
    run(project, "git add -A && git commit -qm start")
    searched = os.pathsep.join(filter(None, (str(ROOT / "tests" / "trace"), os.environ.get("PYTHONPATH"))))
    run(project, "dvc repro", CNNLAB_TRACE=str(trace), PYTHONPATH=searched)
    run(project, "git add -A && git commit -qm reproduced")
    return project


@pytest.fixture
def project(lab):
    """That folder; what a test's experiments left in it is put back, also where the test failed."""
    yield lab
    if run(lab, "git status --porcelain"):
        run(lab, "git checkout -q . && dvc checkout -q && dvc exp remove -q --all-commits")


def test_a_second_repro_does_nothing(project):
    assert ran(run(project, "dvc repro")) == set()
    assert run(project, "git status --porcelain") == ""


@dataclass(frozen=True)
class Traced:
    """A stage as dvc.yaml declares it, and as it was seen."""

    deps: set[str]
    outs: set[str]
    params: set[str]
    flags: set[str]
    opened: set[str]
    read: set[str]
    tables: set[str]


@pytest.fixture(scope="module")
def traced(lab, trace) -> dict[str, Traced]:
    """Every stage: its declared paths and settings, what it opened below the project, and the settings that it read."""
    records = {tuple(found["command"]): found for found in map(json.loads, (p.read_text() for p in trace.iterdir()))}
    stages = {}
    with Repo(str(lab)) as repo:
        for stage in repo.index.stages:
            command = shlex.split(stage.cmd)
            found = records[tuple(command[command.index("python") + 1 :])]
            settings = [dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)]
            stages[stage.name] = Traced(
                deps={dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)},
                outs={out.def_path for out in stage.outs},
                params=set(chain.from_iterable(settings)),
                # A network's options are flags of its command: dvc.yaml reads them from its block, or LeNet's switches.
                flags={word.removeprefix("--") for word in command if word.startswith("--")}
                | {f"models.{word}.options" for word in command},
                opened=set(filter(None, (place(name, lab) for name in found["opened"]))),
                read=set(found["settings"]),
                tables=set(found["tables"]),
            )
    return stages


def place(name: str, project: Path) -> str:
    """Where an opened file lies in the project; empty if elsewhere, hidden, an installed package, or Python's.

    The package may be imported from the checkout that runs the tests. A temporary file counts as what it becomes.
    Sources are left out: test_wiring.py compares imports, and checkpoints are named after a hash of every source.
    """
    path = Path(name)
    path = path.with_name(re.sub(r"^\.(.+)\.[^.]+\.tmp$", r"\1", path.name))
    for root in (project, ROOT):
        if path.is_relative_to(root) and path.suffix not in (".py", ".pyc"):
            relative = path.relative_to(root)
            return "" if relative.parts[0].startswith(".") or "site-packages" in relative.parts else str(relative)
    return ""


def within(path: str, declared: set[str], separator: str) -> bool:
    """Whether a path is one of the declared ones or lies below one of them."""
    return any(path == name or path.startswith(name + separator) for name in declared)


def some(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """The stages that have any."""
    return {stage: names for stage, names in found.items() if names}


UNDECLARED = {"params.yaml", "data/raw"}  # DVC depends on settings by key, and leaves what was downloaded alone


def test_stages_open_only_what_dvc_yaml_declares(traced):
    found = {
        name: sorted(path for path in stage.opened if not within(path, stage.deps | stage.outs | UNDECLARED, "/"))
        for name, stage in traced.items()
    }
    assert some(found) == {}


def test_stages_read_only_the_settings_that_dvc_yaml_declares(traced):
    found = {
        name: sorted(key for key in stage.read if not within(key, stage.params | stage.flags, "."))
        for name, stage in traced.items()
        if "params.yaml" not in stage.deps
    }
    assert some(found) == {}


# Declared, and read only for other data sets or options than this run's.
READ_ELSEWHERE = {
    "download": {"folder.path", "folder.side", "folder.mode", "seed"},
    "train": {"folder.flip", "folder.shift"},
    "vae_download": {"budget", "seed", "folder.path", "folder.side", "folder.mode", "vae.lfw.path", "vae.lfw.side"},
}


def test_stages_read_every_setting_that_dvc_yaml_declares(traced):
    found = {
        name: sorted(
            key for key in stage.params - READ_ELSEWHERE.get(name.split("@")[0], set())
            if not any(within(read, {key}, ".") or within(key, {read}, ".") for read in stage.read | stage.tables)
        )
        for name, stage in traced.items()
    }  # fmt: skip
    assert some(found) == {}


# Declared, and opened only in other circumstances than this run's.
OPENED_ELSEWHERE = {
    "data/sources/fashion_mnist", "data/sources/vae",  # what DVC watches: the user's pictures behind a link, if named
    "data/vae/test", "features",  # by the page's live part, if `make page-assets` has fetched what it needs
    "study",  # by the page, once there are records in it
}  # fmt: skip


def test_stages_open_every_file_and_folder_that_dvc_yaml_declares(traced):
    found = {
        name: sorted(
            dep for dep in stage.deps - OPENED_ELSEWHERE
            if not dep.startswith(("src/", "stages/")) and not any(within(path, {dep}, "/") for path in stage.opened)
        )
        for name, stage in traced.items()
    }  # fmt: skip
    assert some(found) == {}


def test_every_network_learned_something_and_is_measured(project):
    for name in models.names():
        figures = json.loads((project / "metrics" / "test" / f"{name}.json").read_text())
        assert figures["accuracy"] > 0.3, name
        assert figures["accuracy_95_low"] < figures["accuracy"] < figures["accuracy_95_high"]


def test_a_clean_clone_finds_nothing_to_run(project, tmp_path):
    run(project, f"git clone -q . '{tmp_path}/clone'")
    assert ran(run(tmp_path / "clone", "dvc repro --dry --allow-missing")) == set()


def test_another_clone_gives_the_same_bytes(project, tmp_path):
    clone = tmp_path / "another place"
    run(project, f"git clone -q . '{clone}'")
    shutil.rmtree(clone / "metrics")
    shutil.rmtree(clone / "plots")
    run(clone, "dvc repro --single-item check download vae_download")
    # Two chains side by side, in another folder, with nothing in the cache.
    vae = "python stages/vae_train.py && python stages/vae_export.py"
    run(clone, f"({vae}) & dvc repro embed@lenet evaluate@lenet && wait $!")
    made = {path for top in ("models", "features", "metrics", "plots") for path in (clone / top).rglob("*")}
    made = {path.relative_to(clone) for path in made if path.is_file() and path.parent.name != "timing"}
    assert {Path(f"models/{name}") for name in ("lenet.onnx", "lenet.int8.onnx", "vae_encoder.onnx")} <= made
    differing = [str(path) for path in made if (clone / path).read_bytes() != (project / path).read_bytes()]
    assert differing == []


def test_act_reruns_lenet_alone_and_back_comes_from_the_cache(project):
    there = run(project, "dvc exp run -S act=relu")
    assert "train@lenet" in ran(there)
    assert ran(there) == {"check", "train@lenet", "export@lenet", "evaluate@lenet", "embed@lenet", "page"}
    back = run(project, "dvc exp run -S act=sigmoid")
    assert "train@lenet" not in ran(back)
    assert "'train@lenet' is cached" in back
    again = run(project, "dvc exp run -S act=relu")
    assert "train@lenet" not in ran(again)
    assert "act" in run(project, "dvc params diff")
    assert "metrics/lenet.json" in run(project, "dvc metrics diff")


def test_an_edited_architecture_runs_its_own_network_alone(project):
    file = project / "src/cnnlab/architectures/vgg.py"
    text = file.read_text()
    file.write_text(text + "# edited\n")
    # those that depend on the file itself
    assert ran(run(project, "dvc repro --dry")) == {"check", "train@vgg", "export@vgg"}
    file.write_text(text)


@pytest.mark.parametrize("target", ["embed@lenet", "vae_train", "compare"])
def test_a_stage_is_run_by_its_name(project, target):
    assert f"'{target}' didn't change" in run(project, f"dvc repro {target}")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("act=rleu", "act is 'rleu'"),
        ("models.vgg.options.dropout=5", "option 'dropout' is 5"),
        ("ablations.relu.change.act=rleu", "option 'act' is 'rleu'"),
        ("dataset=fasion_mnist", "'fasion_mnist' is not a known data set"),
        ("folder.path=nowhere -S dataset=folder", "nowhere is not a folder"),
    ],
)
def test_a_wrong_setting_ends_an_experiment_before_anything_is_made_or_deleted(project, setting, told):
    output = run(project, f"dvc exp run -S {setting}", fails=255)
    assert told in output
    assert ran(output) == {"check"}
    run(project, "git checkout -q params.yaml")
    assert run(project, "git status --porcelain") == ""
    if "dataset" in setting:  # DVC itself takes away the data of the other name before it runs a stage; README says so
        run(project, "dvc checkout -q")
    assert "up to date" in run(project, "dvc status")


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def test_the_tables_of_figures_fit_120_columns(project):
    run(project, "dvc exp run -n all -S seed=1")
    # --all: two seeds may by chance give a network the same accuracy, which `dvc metrics diff` leaves out
    for command in ("dvc metrics show", "dvc metrics diff --all HEAD all", "dvc params diff HEAD all", SHOW):
        text = run(project, command)
        assert widest(text) <= 120, text
        assert "…" not in text
        assert all(name in text for name in (["seed"] if "params" in command else models.names())), text


def test_the_page_of_plots_needs_no_network_and_begins_with_what_changed(project, tmp_path):
    run(project, "dvc exp run -n relu -S act=relu")
    run(project, f"dvc plots diff HEAD relu -o '{tmp_path}/page'")
    page = tmp_path / "page" / "index.html"
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?:""", page.read_text())
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here to open the page with")
    options = "--headless --no-sandbox --disable-gpu --virtual-time-budget=20000"
    drawn = run(tmp_path, f"{browser} {options} --user-data-dir='{tmp_path}/user' --dump-dom '{page.as_uri()}' 2>&1")
    changed, shown = map(int, re.findall(r"(\d+) of (\d+) plots changed", drawn)[-1])
    assert 5 < changed < shown / 2
    plots, folded = drawn.split('<main id="plots">')[1].split("<details>")
    first = re.findall(r'<div id="([^"]+)"[^>]* class="plot', plots)
    assert len(first) == changed
    assert all("lenet" in name or name.startswith("Validation_accuracy") for name in first), first
    assert "plots_train_vgg_csv" in folded
    assert re.search(r"<canvas|<svg", plots)


def test_an_artifact_is_fetched_by_its_name_from_a_clone_and_a_store(project, tmp_path):
    run(project, f"dvc remote add --local --default store '{tmp_path}/store' && dvc push -q models/mynet.onnx")
    run(project, f"git clone -q . '{tmp_path}/clone'")
    clone = tmp_path / "clone"
    run(clone, "git config user.name t && git config user.email t@example.com && git tag -a mynet@v1.0.0 -m MyNet")
    run(clone, f"dvc remote add --local --default store '{tmp_path}/store'")
    run(tmp_path, "dvc artifacts get clone mynet")
    assert (tmp_path / "mynet.onnx").read_bytes() == (project / "models/mynet.onnx").read_bytes()
    run(project, "dvc remote remove --local store")


def test_plots_are_shown_once_each(project):
    data = json.loads(run(project, "dvc plots show --json"))["data"]
    names = [name.split("dvc.yaml::")[-1] for name in data]
    assert len(names) == len(set(names))
    assert {f"plots/train/{arch}.csv" for arch in ("lenet", "vgg")} <= set(names)


def test_training_never_opens_the_test_set(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".dvc", ".git", "test"))
    shutil.copytree(project / "data", copy / "data", dirs_exist_ok=True, ignore=shutil.ignore_patterns("test"))
    assert not list((copy / "data").rglob("test"))
    run(copy, "python stages/train.py lenet --act relu --pool max")
    run(copy, "python stages/export.py lenet")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("s/^act: .*/act: swish/", "act is 'swish'"),
        ("s/^budget: .*/budget: tiny/", "budget is 'tiny'"),
        ("s/relu: all/relu: some/", ""),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(project, tmp_path, change, told):
    copy = tmp_path / "copy"
    copy.mkdir()
    text = run(project, f"sed '{change}' params.yaml")
    (copy / "params.yaml").write_text(text)
    output = run(copy, "cnnlab check", fails=2)
    assert told in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1


def test_an_architecture_that_does_not_exist(project):
    output = run(project, "python stages/train.py alexnet", fails=2)
    assert "'alexnet'" in output
    assert "lenet" in output
    assert "Traceback" not in output


PATIENCE = 600  # seconds for a queue to end


def wait_for_the_queue(project) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = run(project, "dvc queue status")
        if not re.search(r"\b(Queued|Running)\b", status.split("Worker status")[0]):
            return status
        time.sleep(2)
    raise AssertionError(status)


@pytest.fixture
def plain_project(project, tmp_path):
    """The same in a folder with a plain name: DVC's queue writes the path of its cache as ASCII, and fails on an é."""
    copy = Path(shutil.copytree(project, tmp_path / "my lab", symlinks=True, ignore=shutil.ignore_patterns("tmp")))
    run(copy, "git reset -q HEAD~1")  # as after a first run: the figures are not in a commit yet
    return copy


def test_readmes_commands_run_as_they_stand(plain_project, tmp_path):
    project = plain_project
    store = tmp_path / "store"
    run(project, f"git init -q --bare '{tmp_path}/origin' && git remote add origin '{tmp_path}/origin'")
    told = {}
    for command in commands():
        told[command] = run(project, command.replace("/srv/store", f"'{store}'"))
        if "queue start" in command and not command.endswith("-j 1"):
            status = wait_for_the_queue(project)
            assert "Failed" not in status, run(
                project, "dvc queue logs $(dvc queue status | awk '/Failed/ {print $1; exit}')"
            )
            told[command] = status
    assert len(told) > 15
    first, back = told["dvc exp run -n relu -S act=relu"], told["dvc exp run -S act=sigmoid"]
    touched = ran(first) | restored(first)  # an earlier test may have run this very change
    assert {name.split("@")[1].split("-")[0] for name in touched if "@" in name} == {"lenet"}
    assert "train@lenet" not in ran(back)
    assert told["dvc queue start -j 2"].count("Success") == 4
    assert "act" in told[SHOW]
    assert widest(told[SHOW]) <= 120
    assert told["dvc metrics diff HEAD relu"].splitlines()[1].split()[:2] == ["metrics/lenet.json", "lenet"]
    assert "relu" in run(project, f"dvc exp list '{tmp_path}/origin'")
    assert "lenet-relu" in run(project, "git branch")
    assert list(store.rglob("*"))
    names = run(project, "dvc exp list --name-only").split()
    assert "relu" not in names
    run(project, f"dvc exp apply {names[0]}")  # after the clean-up it has all its files
    assert "not in cache" not in run(project, "dvc status")
    assert (project / "models/lenet.onnx").is_file()
