"""`make verify-gpu` without a GPU: what it says, what it keeps, and every part tried out on a CPU."""

import json
import time

import pytest
import torch

from cnnlab.core import params
from cnnlab.core.errors import UserError
from tools import verify_gpu


@pytest.fixture
def lab():
    data = verify_gpu.read_data(tiny=True)
    settings = params.load(verify_gpu.ROOT / "params.yaml")
    return verify_gpu.Lab(torch.device("cpu"), settings, *data, True, time.monotonic() + 600)


def run(**options):
    verify_gpu.main(**{"device": "cpu", "tiny": True, "minutes": 9.0, "only": "", "output": None} | options)


def test_without_a_gpu_it_ends_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="verify-gpu needs an NVIDIA GPU that torch can use: "):
        run(device="cuda")


def test_after_a_part_that_failed_the_others_run_and_everything_is_kept(monkeypatch, tmp_path):
    asked = []

    def apart(name, words, seconds):
        asked.append(name)
        assert words[:3] == ["--device", "cpu", "--tiny"]
        assert seconds <= verify_gpu.PARTS[name][1]
        if name == "smoke":
            return {"passed": False, "error": "RuntimeError: CUDA error"}
        return {"passed": True, "figures": {}, "seconds": 1.0}

    monkeypatch.setattr(verify_gpu, "attempt_apart", apart)
    with pytest.raises(UserError, match="smoke failed on cpu"):
        run(output=tmp_path / "gpu.json")
    assert asked == list(verify_gpu.PARTS)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["parts"]["smoke"]["error"] == "RuntimeError: CUDA error"
    assert kept["parts"]["speed"]["passed"]
    assert {"device", "torch", "commit", "python"} <= set(kept["surroundings"])


def test_the_parts_fit_into_nine_minutes_but_for_the_last_ones():
    limits = [seconds for name, (_, seconds) in verify_gpu.PARTS.items() if name not in ("accuracy", "two_processes")]
    assert sum(limits) + 2 * len(limits) <= 9 * 60


def test_a_part_may_raise_anything(lab):
    def broken(lab):
        raise RuntimeError("CUDA error: device-side assert triggered")

    outcome = verify_gpu.attempt(broken, lab)
    assert not outcome["passed"]
    assert outcome["error"] == "RuntimeError: CUDA error: device-side assert triggered"
    assert any("broken" in line for line in outcome["where"])


def test_a_process_that_does_not_end_is_given_up():
    outcome = verify_gpu.attempt_apart("smoke", ["--device", "cpu", "--tiny"], 1.0)
    assert outcome["error"] == "not finished within 1 s"
    assert verify_gpu.attempt_apart("smoke", [], 0.5)["error"] == "no time was left"


def test_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="there is no part 'smokes'; known are smoke, replays"):
        run(only="smokes")


@pytest.mark.slow
@pytest.mark.parametrize("name", verify_gpu.PARTS)
def test_every_part_runs_on_a_cpu(lab, name):
    outcome = verify_gpu.attempt(verify_gpu.PARTS[name][0], lab)
    assert outcome["passed"], outcome
    json.dumps(outcome)


@pytest.mark.slow
def test_a_part_in_a_process_of_its_own_gives_its_figures():
    outcome = verify_gpu.attempt_apart("replays", ["--device", "cpu", "--tiny"], 300)
    assert outcome["passed"], outcome
    assert outcome["figures"]["lenet"]["same_bytes"]
