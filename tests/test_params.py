"""params.yaml: the file that ships is right, and every kind of fault is told in one sentence."""

from pathlib import Path

import pytest

from cnnlab.core import params
from cnnlab.core.errors import UserError

SHIPPED = Path(__file__).parent.parent / "params.yaml"


def test_the_file_that_ships_is_right():
    settings = params.load(SHIPPED)
    assert settings.budget == "quick"
    assert settings.recipe == "modern"
    assert settings.run("lenet") == settings.models["lenet"].modern.quick
    assert settings.options("lenet")["act"] == settings.act


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("act: sigmoid", "act: swish", ["act", "'swish'", "'sigmoid'", "'silu'"]),
        ("act: sigmoid", "atc: sigmoid", ["unknown key 'atc'", "did you mean 'act'?"]),
        ("  side: 64 ", "  size: 64 ", ["unknown key 'folder.size'", "it is called 'side' now"]),
        ("    side: 32 ", "    size: 32 ", ["unknown key 'vae.lfw.size'", "it is called 'side' now"]),
        ("    plain:", "    report:", ["unknown key 'models.lenet.report'", "it is called 'plain' now"]),
        ("seed: 0", "seed: zero", ["seed", "'zero'", "integer"]),
        ("seed: 0", "seed: -1", ["seed", "-1", "greater than or equal to 0"]),
        ("seed: 0", "seed: true", ["seed", "True", "integer"]),
        ("channels:\n- 6\n- 16", "channels: [6]", ["channels", "[6]", "2 items"]),
        ("channels:\n- 6\n- 16", "channels: [6, 0]", ["channels.1", "0", "greater than"]),
        ("budget: quick", "budget: tiny", ["budget", "'tiny'", "'smoke', 'quick' or 'full'"]),
        ("device: auto", "device: gpu", ["device", "'gpu'", "cuda:N"]),
        ("batch_size: 128}", "batch_sise: 128}", ["batch_sise", "did you mean 'batch_size'?", "learning_rate"]),
        ("{epochs: 6, batch", "{epochs: 0, batch", ["models.lenet.modern.smoke.epochs", "0", "greater than 0"]),
        ("dataset: fashion_mnist", "dataset: ../mnist", ["dataset", "'../mnist'", "pattern"]),
        ("seed: 0", "seed: 0\nseed: 1", ["duplicate key"]),
        ("seed: 0", "seed: [0", ["not readable YAML"]),
        ("budget: quick", "", ["'budget' is missing"]),
        ("{act: tanh}", "{atc: tanh}", ["'tanh'", "'atc'", "lenet does not have", "act, norm, pool"]),
        ("relu: {baseline: lenet", "relu: {baseline: alexnet", ["'relu'", "'alexnet'", "lenet, mynet"]),
        ("  tanh: {", "  relu: {", ["duplicate key"]),
        ("  tanh: {", "  lenet: {", ["duplicate key"]),
        ("  tanh: {", "  ../tanh: {", ["ablations.../tanh", "pattern"]),
        ("change: {act: tanh}", "change: {}", ["'tanh'", "changes 0 options", "a baseline's own entry"]),
        ("  mynet: {baseline: mynet, change: {}}\n", "", ["'mynet-plain'", "'mynet', which has no entry of its own"]),
        (
            "batch_size: 128, seeds: 2}",
            "batch_size: 128, seeds: 0}",
            ["baselines.lenet.quick.seeds", "0", "than or equal to 2"],
        ),
        ("batch_size: 128, seeds: 2}", "batch_size: 128, seds: 2}", ["'baselines.lenet.quick.seds'", "'seeds'"]),
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


def test_an_unknown_architecture_lists_the_known():
    with pytest.raises(UserError, match=r"'alexnet'.*lenet, mynet"):
        params.load(SHIPPED).run("alexnet")


def test_flags_become_options():
    flags = ["--act", "relu", "--channels", "6", "--channels", "16", "--dropout", "0.5", "--kernel-size", "3"]
    assert params.parse_flags(flags) == {"act": "relu", "channels": [6, 16], "dropout": 0.5, "kernel_size": 3}
    with pytest.raises(UserError, match="pairs"):
        params.parse_flags(["--act"])
