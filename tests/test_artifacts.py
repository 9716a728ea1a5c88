"""Files are written whole or not at all, and read back as they were."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError


def _fail_midway(path):
    with artifacts.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="killed"):
        _fail_midway(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_gives_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.npy could not be written: No space left on device"):
        artifacts.write_array(path, np.zeros(3))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_rounded_and_finite(tmp_path):
    path = tmp_path / "deep" / "m.json"
    artifacts.write_json(path, {"b": np.float32(1 / 3), "a": np.int64(2), "c": "é"})
    assert path.read_text() == '{\n  "a": 2,\n  "b": 0.333333,\n  "c": "é"\n}\n'
    assert artifacts.read_json(path) == {"a": 2, "b": 0.333333, "c": "é"}
    with pytest.raises(ValueError, match="finite"):
        artifacts.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["a"] == 2


def test_csv_has_a_header_and_rounded_floats(tmp_path):
    artifacts.write_csv(tmp_path / "c.csv", [{"epoch": 1.0, "loss": 2 / 3}, {"epoch": 2.0, "loss": 0.25}])
    assert (tmp_path / "c.csv").read_text() == "epoch,loss\n1.0,0.666667\n2.0,0.25\n"


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', }"])
def test_a_broken_array_is_a_user_error(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match="whole"):
        artifacts.read_array(tmp_path / "a.npy")


def test_a_data_set_comes_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = DatasetInfo("toys", ("ball", "<script>"), 1, 2, 3, "MIT", "made", True)
    train = Split(np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3), np.array([0, 1, 0, 1]))
    test = Split(train.images[:2], train.labels[:2])
    datasets.save_dataset(info, train, test)
    assert datasets.load_info("toys") == info
    np.testing.assert_array_equal(datasets.load_split("toys", "train").images, train.images)
    np.testing.assert_array_equal(datasets.load_split("toys", "test").labels, test.labels)


def test_missing_files_say_what_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro"):
        datasets.load_info("fashion_mnist")
    with pytest.raises(UserError, match="dvc repro"):
        datasets.load_split("fashion_mnist", "train")


# Paths that are no plain file


def test_a_link_is_followed_to_the_file_that_it_names(tmp_path):
    real, link, dangling = tmp_path / "real.csv", tmp_path / "link.csv", tmp_path / "dangling.csv"
    real.write_text("old")
    link.symlink_to("real.csv")
    dangling.symlink_to("made.csv")
    artifacts.write_text(link, "new")
    artifacts.write_text(dangling, "made")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert (tmp_path / "made.csv").read_text() == "made"
    assert dangling.is_symlink()


def test_a_link_into_dvcs_protected_cache_is_replaced_and_the_cache_stays(tmp_path):
    held, link = tmp_path / "cache", tmp_path / "model.onnx"
    held.write_text("held")
    held.chmod(0o444)
    link.symlink_to(held)
    artifacts.write_text(link, "new")
    assert held.read_text() == "held"
    assert not link.is_symlink()
    assert link.read_text() == "new"


def test_a_loop_of_links_is_one_sentence(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UserError, match="could not be written: "):
        artifacts.write_text(tmp_path / "a" / "x", "")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    artifacts.write_text(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("redirected", [True, False])
def test_standard_output_by_name_is_written_to_wherever_it_leads(tmp_path, name, redirected):
    code = f"from cnnlab.core import artifacts; print('before', flush=True); artifacts.write_text({name!r}, 'after')"
    with (tmp_path / "out").open("w") as file:
        stdout = file if redirected else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", code], text=True, stdout=stdout, check=True)
    assert ((tmp_path / "out").read_text() if redirected else done.stdout) == "before\nafter"


def test_a_device_stays_a_device(tmp_path):
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_text("")
    except OSError:
        null = Path("/dev/null")  # without the right to make one: a write may not replace this one either
    assert artifacts.is_stream(null)
    artifacts.write_text(null, "gone")
    assert stat.S_ISCHR(null.stat().st_mode)


# How commands end


def ended(code: str, *shell: str) -> subprocess.CompletedProcess[str]:
    """A command that runs `code` under errors.run_app."""
    program = f"import sys, errno\nfrom cnnlab.core.errors import run_app\ndef app():\n    {code}\nrun_app(app)"
    words = [sys.executable, "-c", program]
    return subprocess.run(["sh", "-c", f'"$@" {" ".join(shell)}', "sh", *words], text=True, capture_output=True)


@pytest.mark.parametrize(
    ("code", "shell", "told"),
    [
        ("print('x')", "> /dev/full", "standard output cannot be written: No space left on device."),
        ("print('x' * 99999)", "> /dev/full", "standard output cannot be written: No space left on device."),
        ("raise OSError(errno.ENOSPC, 'No space left on device')", "", "or name another folder in TMPDIR."),
        ("open('/nowhere/x')", "", "'/nowhere/x': No such file or directory."),
        ("raise MemoryError", "", "this needs more memory than there is."),
        (
            "raise RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate')",
            "",
            "more memory than there is.",
        ),
    ],
)
def test_what_the_system_refuses_is_one_sentence(code, shell, told):
    done = ended(code, shell)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.endswith(f"{told}\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_fault_of_the_program_keeps_its_traceback():
    done = ended("raise RuntimeError('a bug')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&-", "| true"])
def test_a_closed_stream_is_no_fault(shell):
    done = ended("print('x' * 99999, flush=True)", shell)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
