"""dvc.yaml against the code: what a stage declares covers what it imports, and no more; what may open the test set."""

import difflib
import inspect
import shlex
from functools import cache
from pathlib import Path

import grimp
import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from cnnlab import models
from cnnlab.core import artifacts, params, schema
from cnnlab.inference.session import default_model_path

ROOT = Path(__file__).parent.parent
PACKAGE = Path("src/cnnlab")


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


def needed_sources(words: list[str]) -> set[Path]:
    """The source files that a stage's command imports, the architecture that it trains or exports included."""
    script = next(word for word in words if word.endswith(".py"))
    start = script.removesuffix(".py").replace("/", ".")
    found = {start} | imports().find_upstream_modules(start)
    found |= {"cnnlab.architectures." + name for name in architectures(words) if "cnnlab.models" in found}
    return set(map(source_file, found)) - {PACKAGE / "__init__.py"}


def architectures(words: list[str]) -> set[str]:
    """The architectures that a command names, or whose ablation it names; all of them for the stage `check`."""
    ablations = params.load(ROOT / "params.yaml").ablations
    if "stages/check.py" in words:
        return set(models.names())
    if "stages/ablate.py" in words:
        return {ablations[word].baseline for word in words if word in ablations}
    return set(words) & set(models.names())


def covers(dep: str, path: Path) -> bool:
    return path == Path(dep) or Path(dep) in path.parents


def stage_names() -> list[str]:
    return sorted(pipeline())


@pytest.mark.parametrize("stage", stage_names())
def test_a_stage_depends_on_what_it_imports(stage):
    words, deps, _ = pipeline()[stage]
    missing = {str(path) for path in needed_sources(words) if not any(covers(dep, path) for dep in deps)}
    assert not missing, f"{stage}: dvc.yaml must name the folders of {sorted(missing)} among its deps"


@pytest.mark.parametrize("stage", stage_names())
def test_a_stage_depends_on_no_source_that_it_does_not_import(stage):
    words, deps, _ = pipeline()[stage]
    needed = needed_sources(words)
    sources = {dep for dep in deps if dep.startswith(("src/", "stages/"))}
    unused = {dep for dep in sources if not any(covers(dep, path) for path in needed)}
    assert not unused, f"{stage}: nothing of {sorted(unused)} is imported; take it out of its deps in dvc.yaml"


def test_the_pipeline_stays_readable():
    text = (ROOT / "dvc.yaml").read_text()
    stages = len(YAML(typ="safe").load(text)["stages"])
    assert len(text.splitlines()) < 25 * stages
    assert sum(line.strip().startswith(("- src/", "- stages/")) for line in text.splitlines()) <= 6 * stages
    assert [path.name for path in ROOT.glob("*/dvc.yaml")] == []


def keys(block: object, path: str = "") -> dict[str, str]:
    """Every key below a block of settings, by its dotted path."""
    found = {}
    if isinstance(block, dict):
        for key, value in block.items():
            found |= {f"{path}{key}": str(key)} | keys(value, f"{path}{key}.")
    return found


def test_the_lock_has_no_stage_that_the_pipeline_lacks():
    locked = YAML(typ="safe").load((ROOT / "dvc.lock").read_text())["stages"]
    assert not set(locked) - set(pipeline())


def test_no_setting_has_a_name_that_dvc_ignores():
    # DVC's run-cache drops parameters called size or nfiles, at any depth (its issue 10296): a change would do nothing.
    settings = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert {path for path, key in keys(settings).items() if key in ("size", "nfiles")} == set()


def changed_lines(before: str, after: str) -> int:
    """How many lines of `after` are not in `before` at their place, or are missing."""
    lines = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return sum(max(b - a, d - c) for kind, a, b, c, d in lines.get_opcodes() if kind != "equal")


@pytest.mark.parametrize(
    ("there", "back", "lines"),
    [
        ("act=leaky_relu", "act=sigmoid", 1),
        ("dataset=folder", "dataset=fashion_mnist", 1),
        ("folder.path=/srv/pictures of mine", "folder.path=data/pictures", 1),
        ("channels=[12,32]", "channels=[6,16]", 2),
        ("models.vgg.options.dropout=0.25", "models.vgg.options.dropout=0.5", 1),
        ("baselines.lenet.full.rates=[0.01]", "baselines.lenet.full.rates=[0.03,0.1,0.3,0.9]", 4),
        ("vae.likelihood=continuous_bernoulli", "vae.likelihood=bernoulli", 1),
    ],
)
def test_dvc_changes_the_line_of_a_setting_and_no_other(tmp_path, there, back, lines):
    # What `dvc exp run -S` calls. A line that this moves would be in the diff of every experiment.
    file = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    file.write_text(before)
    apply_overrides(file, [there])
    assert changed_lines(before, file.read_text()) == lines
    apply_overrides(file, [back])
    assert file.read_text() == before


def test_a_new_data_set_reruns_what_fetches_alone():
    catalogue = PACKAGE / "data" / "catalogue.py"
    rerun = {name for name, (_, deps, _) in pipeline().items() if any(covers(dep, catalogue) for dep in deps)}
    assert rerun == {"check", "download", "vae_download"}


CHOOSERS = ("train", "export", "vae_train", "vae_export")


@pytest.mark.parametrize("stage", [name for name in stage_names() if name.split("@")[0] in CHOOSERS])
def test_what_chooses_never_depends_on_the_test_set(stage):
    _, deps, _ = pipeline()[stage]
    data = {dep for dep in deps if dep.startswith("data/")}
    assert data
    assert all(dep.endswith(("/train", "/dataset.json")) for dep in data), data


def test_dvc_sees_its_files_in_the_folder_of_data_and_git_no_picture():
    # DVC looks for .dvc files where no folder on the way is ignored, so that `dvc push` and `dvc gc` know of them.
    with Repo(str(ROOT)) as repo:
        ignored = {name: repo.scm.is_ignored(f"{ROOT}/data/{name}") for name in ("", "pictures.dvc", "pictures/a.png")}
    assert ignored == {"": False, "pictures.dvc": False, "pictures/a.png": True}


def test_no_stage_writes_into_the_package():
    outs = {out for _, _, written in pipeline().values() for out in written}
    assert {out for out in outs if out.startswith(("src/", "stages/"))} == set()


def test_no_stage_depends_on_the_network_that_ships():
    # `make ship` takes it from a finished run, which would be stale at once.
    shipped = default_model_path().relative_to(ROOT)
    assert not [stage for stage, (_, deps, _) in pipeline().items() if any(covers(dep, shipped) for dep in deps)]


def test_every_architecture_is_in_the_registry_the_settings_and_the_pipeline():
    settings = params.load(ROOT / "params.yaml")
    trained = {name.split("@")[1] for name in pipeline() if name.startswith("train@")}
    assert sorted(settings.models) == models.names() == sorted(trained)


def test_every_architecture_is_in_the_plot_of_all_networks_and_among_the_artifacts():
    listed = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    (plot,) = (plot["Validation accuracy of every network"] for plot in listed["plots"])
    assert set(plot["y"]) == {str(artifacts.curve_path(name)) for name in models.names()}
    paths = {name: about["path"] for name, about in listed["artifacts"].items()}
    lacking = [name for name in models.names() if paths.get(name) != str(artifacts.onnx_path(name))]
    assert not lacking


def test_every_switch_of_lenet_is_an_option_a_setting_and_a_flag_of_its_stage():
    settings = params.load(ROOT / "params.yaml")
    switches = set(schema.Switches.model_fields)
    _self, _shape, _classes, *options = inspect.signature(models.load("lenet").__init__).parameters
    words, _, _ = pipeline()["train@lenet"]
    assert set(options) == switches
    assert set(settings.baselines["lenet"].options) == switches
    assert {word.removeprefix("--") for word in words if word.startswith("--")} == switches


@pytest.mark.parametrize("name", models.names())
def test_an_architecture_imports_torch_and_the_models_room_alone(name):
    found = imports().find_upstream_modules(f"cnnlab.architectures.{name}")
    rooms = {module.split(".")[1] for module in found if "." in module}
    assert rooms <= {"models", "core"}


def test_loading_weights_does_not_import_the_trainer():
    for module in ("cnnlab.models.classifier", "cnnlab.vae.model", "stages.export", "stages.vae_export"):
        found = imports().find_upstream_modules(module)
        assert not {name for name in found if name.startswith("cnnlab.training")}, module
