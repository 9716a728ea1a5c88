"""The runner of full-scale runs: it does what fits into the minutes, keeps every record, and goes on."""

import json
import time

import pytest

from benchmarks import full_scale
from cnnlab.core.errors import UserError


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The runs that are made, none of which trains; a run of seed 1 takes for ever."""
    runs = []

    def record(name, seed, device):
        runs.append((name, seed))
        while seed == 1 and len(runs) < 100:
            time.sleep(0.01)
        return {"run": name, "seed": seed} | dict.fromkeys(full_scale.FIGURES, 0.5)

    monkeypatch.setattr(full_scale, "_record", record)
    monkeypatch.setattr(full_scale, "_ablation_record", record)
    return runs


def run(output, **options):
    settings = {"runs": "lenet-modern,relu", "seeds": 2, "device": "cpu", "minutes": 0.001, "output": output}
    full_scale.main(**settings | options)


def test_after_its_minutes_it_stops_and_the_same_command_goes_on(made, tmp_path, capsys):
    output = tmp_path / "records.json"
    run(output)
    assert [(each["run"], each["seed"]) for each in json.loads(output.read_text())] == [
        ("lenet-modern", 0),
        ("relu", 0),
    ]
    assert "2 runs are left; the same command goes on from there." in capsys.readouterr().out
    made.clear()
    run(output)
    assert made == [("lenet-modern", 1)]  # what was finished is not made again
    run(output, seeds=1, minutes=0)
    assert f"Every run is in {output}." in capsys.readouterr().out


def test_all_is_every_run_and_every_ablation(made, tmp_path):
    run(tmp_path / "records.json", runs="all", seeds=1, minutes=0)
    names = [name for name, _ in made]
    assert names[: len(full_scale.RUNS)] == list(full_scale.RUNS)
    assert {"relu", "mynet-plain"} <= set(names)


def test_a_device_that_cannot_train_is_refused_at_once(made, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device is 'cuda'"):
        run(tmp_path / "records.json", device="cuda")
    assert made == []
