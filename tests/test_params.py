"""params.yaml: the file that ships is right, and every kind of fault gives one sentence."""

from pathlib import Path

import pytest

from cnnlab import models
from cnnlab.core import params, schema
from cnnlab.core.errors import UserError

SHIPPED = Path(__file__).parent.parent / "params.yaml"


def test_the_file_that_ships_is_right():
    settings = params.load(SHIPPED)
    assert settings.budget == "quick"
    assert settings.recipe == "modern"
    assert settings.run("lenet") == settings.models["lenet"].modern.quick.model_copy(update={"passes": 40})
    assert settings.options("lenet")["act"] == settings.act


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("act: sigmoid", "act: swish", ["act", "'swish'", "'sigmoid'", "'silu'"]),
        ("act: sigmoid", "atc: sigmoid", ["unknown key 'atc'", "did you mean 'act'?"]),
        ("  side: 64 ", "  size: 64 ", ["unknown key 'folder.size'", "did you mean 'side'"]),
        ("    side: 32 ", "    size: 32 ", ["unknown key 'vae.lfw.size'", "did you mean 'side'"]),
        ("seed: 0", "seed: zero", ["seed", "'zero'", "integer"]),
        ("seed: 0", "seed: -1", ["seed", "-1", "greater than or equal to 0"]),
        ("seed: 0", "seed: true", ["seed", "True", "integer"]),
        ("channels:\n- 6\n- 16", "channels: [6]", ["channels", "[6]", "2 items"]),
        ("channels:\n- 6\n- 16", "channels: [6, 0]", ["channels.1", "0", "greater than"]),
        ("budget: quick", "budget: tiny", ["budget", "'tiny'", "'smoke', 'quick' or 'full'"]),
        ("device: auto", "device: gpu", ["device", "'gpu'", "cuda:N"]),
        ("batch_size: 128}", "batch_sise: 128}", ["batch_sise", "did you mean 'batch_size'?", "learning_rate"]),
        ("dataset: fashion_mnist", "dataset: ../mnist", ["dataset", "'../mnist'", "pattern"]),
        ("{steps: 126, batch", "{steps: 0, batch", ["models.lenet.modern.smoke.steps", "0", "than or equal to 1"]),
        ("seed: 0", "seed: 0\nseed: 1", ["duplicate key"]),
        ("seed: 0", "seed: [0", ["not readable YAML"]),
        ("budget: quick", "", ["'budget' is missing"]),
        ("{act: relu}", "{atc: relu}", ["'relu'", "'atc'", "lenet does not have", "act, norm, pool"]),
        ("relu: {baseline: lenet", "relu: {baseline: alexnet", ["'relu'", "'alexnet'", "lenet, mynet"]),
        ("  max-pool: {", "  relu: {", ["duplicate key"]),
        # The user's own name for a block may be the name of a key.
        (
            "  relu: {baseline: lenet, change",
            "  baseline: {baseline: lenet, chnge",
            ["'ablations.baseline.chnge'", "did you mean 'change'?"],
        ),
        ("  relu: {", "  lenet: {", ["duplicate key"]),
        ("passes: {smoke: 10, quick: 40, full: 200}", "passes: 3", ["passes is 3", "lines of `key: value`."]),
        ("options: {width: 16}", "options: 5", ["models.swift.options is 5", "lines of `key: value`."]),
        ("{baseline: lenet, change: {act: relu}}", "relu", ["ablations.relu is 'relu'", "lines of `key: value`."]),
        ("  relu: {", "  ../relu: {", ["ablations.../relu", "pattern"]),
        ("change: {act: relu}", "change: {}", ["'relu'", "changes 0 options", "a baseline's own entry"]),
        ("  mynet: {baseline: mynet, change: {}}\n", "", ["'mynet-plain'", "'mynet', which has no entry of its own"]),
        (
            "batch_size: 128\n      seeds: 2",
            "batch_size: 128\n      seeds: 0",
            ["baselines.lenet.quick.seeds", "0", "than or equal to 2"],
        ),
        (
            "batch_size: 128\n      seeds: 2",
            "batch_size: 128\n      seds: 2",
            ["'baselines.lenet.quick.seds'", "'seeds'"],
        ),
    ],
)
def test_a_fault_names_key_value_and_what_is_allowed(tmp_path, old, new, told):
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        params.load(path)
    for part in told:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_several_faults_are_counted(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("seed: 0", "seed: x").replace("budget: quick", "budget: y"))
    with pytest.raises(UserError, match="1 more fault"):
        params.load(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="root folder"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- budget\n", "quick\n"])
def test_a_file_without_settings_is_told_so(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml: it should hold lines of `key: value`\.$"):
        params.load(path)


def test_an_unknown_architecture_lists_the_known():
    with pytest.raises(UserError, match=r"'alexnet'.*lenet, mynet"):
        params.load(SHIPPED).run("alexnet")


def test_flags_become_options():
    flags = ["--act", "relu", "--channels", "6", "--channels", "16", "--dropout", "0.5", "--kernel-size", "3"]
    assert params.parse_flags(flags) == {"act": "relu", "channels": [6, 16], "dropout": 0.5, "kernel_size": 3}
    flags = ["--small", "--no-bias", "--width", "-1", "--deep"]
    assert params.parse_flags(flags) == {"small": True, "bias": False, "width": -1, "deep": True}
    with pytest.raises(UserError, match="pairs"):
        params.parse_flags(["--act", "relu", "tanh"])


def test_a_flag_without_its_value_is_refused():
    with pytest.raises(UserError, match="option 'act' is True"):
        models.check_options("lenet", params.parse_flags(["--act"]))


# Passes over the training pictures of Fashion-MNIST that each network makes, by recipe and budget, as its committed
# figures have them. smoke trains on the sample, of 1,350 pictures or, plain, 1,500.
PASSES = {
    ("lenet", "modern"): (6, 10, 50), ("lenet", "plain"): (2, 6, 50),
    ("mynet", "modern"): (3, 4, 50), ("mynet", "plain"): (1, 2, 50),
    ("vgg", "modern"): (3, 4, 100), ("vgg", "plain"): (1, 2, 50),
    ("nin", "modern"): (1, 0.417, 50), ("nin", "plain"): (0.5, 0.2, 50),
    ("googlenet", "modern"): (1, 2, 50), ("googlenet", "plain"): (0.5, 0.5, 50),
    ("resnet", "modern"): (1, 1.5, 50), ("resnet", "plain"): (0.5, 0.5, 50),
    ("swift", "modern"): (3, 10, 60), ("swift", "plain"): (1, 2, 50),
}  # fmt: skip


@pytest.mark.parametrize(("network", "recipe"), PASSES)
def test_fashion_mnist_has_the_steps_that_its_figures_are_of(network, recipe):
    settings = params.load(SHIPPED)
    for budget, passes in zip(("smoke", "quick", "full"), PASSES[network, recipe], strict=True):
        pictures = {"modern": (1350, 54_000), "plain": (1500, 60_000)}[recipe][budget != "smoke"]
        chosen = settings.model_copy(update={"budget": budget, "recipe": recipe})
        asked, run = chosen.run(network), chosen.run(network).fitted(pictures)
        steps = round(passes * schema.steps_in_pass(pictures, asked.batch_size))
        assert run.steps == steps * asked.batch_size // run.batch_size, (budget, asked)
        if (budget, recipe) != ("smoke", "plain"):
            assert run == asked


@pytest.mark.parametrize("pictures", [2, 5, 20, 130, 902, 5000, 54_000])
def test_few_pictures_have_small_batches_and_no_more_passes_than_allowed(pictures):
    run = schema.Run(steps=2000, passes=20, batch_size=256).fitted(pictures)
    assert run.batch_size == min(256, max(8, pictures // schema.LEAST_BATCHES))
    assert run.steps == min(2000 * 256 // run.batch_size, 20 * schema.steps_in_pass(pictures, run.batch_size))
    assert run.fitted(pictures) == run


@pytest.mark.parametrize(("momentum", "rate"), [(0.0, 0.2), (0.9, 0.1)])
def test_smaller_batches_lower_the_rate_by_the_rule_of_their_optimizer(momentum, rate):
    run = schema.Run(steps=2000, batch_size=256, learning_rate=0.4, momentum=momentum)
    assert run.fitted(64 * schema.LEAST_BATCHES).learning_rate == pytest.approx(rate)


def test_own_pictures_are_augmented_under_recipe_modern_alone():
    shipped = params.load(SHIPPED)
    assert not shipped.run("lenet").flip
    for recipe in ("modern", "plain"):
        run = shipped.model_copy(update={"dataset": "folder", "recipe": recipe}).run("lenet")
        assert (run.flip, run.shift) == ((True, shipped.folder.shift) if recipe == "modern" else (False, 0))
