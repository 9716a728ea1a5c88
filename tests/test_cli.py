"""The command line as a whole: help, version, and mistakes that are refused before anything heavy is imported."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cnnlab.cli.main import app

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_cuts_no_word(command):
    long, short = (
        CliRunner().invoke(app, [*command.split(), flag], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
        for flag in ("--help", "-h")
    )
    assert long.exit_code == short.exit_code == 0
    assert long.output == short.output
    assert max(map(len, long.output.splitlines())) <= 80
    cut = re.findall(r"\S*…", re.sub(r"PICTURE…|KEY=V,V…", "", long.output))
    assert cut == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_argument_has_help_that_ends_like_a_sentence(command):
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        if parameter.name != "help":
            assert parameter.help, f"{command}: {parameter.name} has no help"
            assert parameter.help[0].isupper() or parameter.help.startswith("float"), parameter.help
            assert parameter.help.endswith("."), parameter.help


def test_the_version_is_that_of_the_package():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output == f"cnnlab {version('cnnlab')}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["models", "--layers", "vg"], "there is no architecture 'vg' (did you mean 'vgg'?)"),
        (["models", "--shape", "28"], "--shape is '28'"),
        (["sample", "--class", "x", "--prior"], "--class and --prior exclude each other"),
    ],
)
def test_a_wrong_word_is_refused_before_torch_is_imported(words, told):
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules))\n"
        "from cnnlab.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "command",
    [["sample"], ["reconstruct", "x.png"], ["project", "x.png"], ["features", "x", "--layer", "a", "-o", "x.npz"]],
)
def test_outside_the_project_it_says_where_to_go(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command)
    assert "here: run `dvc repro` in the project's root folder." in str(result.exception)


def test_ctrl_c_promises_only_what_is_kept():
    for code, promise in (
        ("from cnnlab.core.errors import run_app; run_app(app)", False),
        ("from cnnlab.core.errors import run_command; run_command(app)", True),
    ):
        program = f"def app() -> None:\n    raise KeyboardInterrupt\n{code}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 130
        assert "Stopped." in done.stderr
        assert ("kept" in done.stderr) == promise
