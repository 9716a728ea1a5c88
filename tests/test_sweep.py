"""The sweep: its grid and tables as functions; the real command on a toy pipeline, a real cluster and real kills."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from cnnlab.cli.main import app
from cnnlab.core import params
from cnnlab.core.errors import UserError
from cnnlab.sweep import cluster
from cnnlab.sweep.board import summarise
from cnnlab.sweep.grid import expand
from cnnlab.sweep.run import Options, run_sweep
from cnnlab.sweep.targets import Stage, _named, compared
from cnnlab.sweep.unit import difference

ROOT = Path(__file__).parent.parent

WORK = """
import json, os, sys, time
from pathlib import Path
import toy
stage, name, *values = sys.argv[1:]
model, figures = Path(f"models/{name}.pt"), Path(f"metrics/test/{name}.json")
if stage == "train":
    with open(os.environ["TOY_LOG"], "a") as log:
        log.write(" ".join(values) + "\\n")
    if values[0] == "elu":
        sys.exit("elu is broken")
    time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
    model.parent.mkdir(exist_ok=True)
    model.write_text(" ".join(values) + " 0" * (10_000_000 if values[0] == "gelu" else 0))
else:
    act, seed = model.read_text().split()[:2]
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps({"accuracy": len(act) / toy.SCALE + int(seed) / 100, "source": toy.__file__}))
"""
PIPELINE = """
stages:
  download:
    cmd: mkdir -p data && echo 12 > data/x
    outs: [data/x]
  train:
    foreach: {lenet: {act: "${act}"}, vgg: {act: "none"}}
    do:
      cmd: python work.py train ${key} ${item.act} ${seed}
      deps: [data/x]
      outs: ["models/${key}.pt"]
  evaluate:
    foreach: [lenet, vgg]
    do:
      cmd: python work.py evaluate ${item}
      deps: ["models/${item}.pt"]
      metrics: ["metrics/test/${item}.json": {cache: false}]
"""


def run(folder: Path, command: str, *, fails: int = 0, **environment: str) -> str:
    """Run a shell command; gives stdout and stderr together."""
    done = subprocess.run(
        command, shell=True, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=_environment(folder, **environment), timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == fails, f"{command}\n{done.stdout}"
    return done.stdout


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`cnnlab sweep` in a process group of its own, as a terminal starts it; gone at the end."""
    command = [sys.executable, "-c", "from cnnlab.cli.main import main; main()", "sweep", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=_environment(folder, **environment), start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _environment(folder: Path, **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = f"{folder / 'src'}{os.pathsep}{ROOT / 'src'}"  # these very ones, wherever the package is installed from
    toy = {"PYTHONPATH": sources, "TOY_LOG": str(folder.parent / "toy.log")}
    return {**os.environ, "PATH": path, **toy, **more}


def trained(folder: Path) -> list[str]:
    """`act seed` of each training that was begun, in order."""
    log = folder.parent / "toy.log"
    return log.read_text().splitlines() if log.exists() else []


def experiments(folder: Path) -> set[str]:
    return {line.rpartition("/")[2] for line in run(folder, "git for-each-ref refs/exps").splitlines()}


def until(met, seconds: float = 300) -> None:
    """Wait for a condition; what it waits for always comes unless the code is wrong."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def points_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The units of work under a process."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is one too
            found += [child] if "cnnlab.sweep.point" in " ".join(child.cmdline()) else []
    return found


def alive(processes: list[psutil.Process]) -> bool:
    """Whether any still runs."""
    return any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in (folder / ".dvc" / "tmp" / "sweep").rglob("clone") if path.is_dir()]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory) -> Path:
    """A toy pipeline with the laboratory's own settings, reproduced and committed, at a path with a space."""
    folder = tmp_path_factory.mktemp("toy") / "my lab"
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "work.py").write_text(WORK)
    (folder / "src").mkdir()
    (folder / "src" / "toy.py").write_text("SCALE = 10\n")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / ".gitignore").write_text("/data/*\n/models/\n__pycache__/\n")
    run(folder, "git init -q && git config user.name t && git config user.email t@example.com")
    run(folder, "dvc init -q && dvc config core.analytics false && dvc repro -q && git add -A && git commit -qm start")
    return folder


@pytest.fixture
def project(reproduced, tmp_path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(reproduced, tmp_path / "my lab")
    return tmp_path / "my lab"


# What is named, as a function


def test_stages_are_named_with_their_file_or_without():
    both = ("more/dvc.yaml:embed@a", "more/dvc.yaml:embed@b")
    stages = {name: Stage("", frozenset(), ()) for name in ("evaluate@lenet", *both)}
    for given, meant in (
        ("evaluate", ("evaluate@lenet",)), ("dvc.yaml", ("evaluate@lenet",)), ("embed@a", both[:1]),
        (both[1], both[1:]), ("embed", both), ("more/dvc.yaml:embed", both), ("more/dvc.yaml", both),
    ):  # fmt: skip
        assert _named(stages, [given]) == meant
    with pytest.raises(UserError, match="did you mean 'embed@a'"):
        _named(stages, ["embd@a"])


# The grid, as functions


def test_a_grid_is_expanded_as_dvc_does_with_the_seeds_innermost():
    points = expand(["act=relu,tanh", "channels=[6,16],[3,8]"], 2, "s")
    assert [point.overrides for point in points[:3]] == [
        ("act=relu", "channels=[6,16]", "seed=0"),
        ("act=relu", "channels=[6,16]", "seed=1"),
        ("act=relu", "channels=[3,8]", "seed=0"),
    ]
    assert len(points) == 8
    assert [point.settings["seed"] for point in expand(["seed=range(3,6)"], 0, "s")] == ["3", "4", "5"]


def test_a_name_depends_on_the_settings_alone():
    one = {point.name for point in expand(["pool=avg,max", "act=relu"], 2, "s")}
    assert one == {point.name for point in expand(["act=relu", "pool=max,avg"], 2, "s")}
    assert "s-act=relu-pool=max-seed=1" in one
    assert expand(["channels=[6,16]"], 0, "s")[0].name == "s-channels=6,16"


@pytest.mark.parametrize("setting", ["x='a b'", "x=a..b", "x='a~b'", "x='é'", "x=a.lock", "x=" + "a" * 300, "x={a:1}"])
def test_every_name_is_one_that_git_takes_and_no_two_are_the_same(setting):
    names = [expand([text], 0, "s")[0].name for text in (setting, setting.replace("a", "b"), "x=ab")]
    assert len(set(names)) == (2 if setting == "x='é'" else 3)
    for name in names:
        assert not subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=False).returncode, name


def test_a_setting_given_twice_is_one_point():
    assert len(expand(["act=relu,relu"], 0, "s")) == 1


@pytest.mark.parametrize(
    ("settings", "seeds", "name", "told"),
    [
        ([], 0, "s", "nothing to sweep"),
        (["act"], 0, "s", "-S act"),
        (["lr=interval(0,1)"], 0, "s", "-S lr=interval(0,1)"),
        (["seed=1,2"], 3, "s", "--seeds"),
        (["act=relu"], 0, "a/b", "--name"),
    ],
)
def test_a_wrong_grid_is_one_sentence(settings, seeds, name, told):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        expand(settings, seeds, name)
    assert told in str(error.value)


def test_what_is_compared_are_the_keys_that_differ_and_seeds_only_where_nothing_else_is_set():
    assert compared(expand(["act=relu,tanh", "pool=max"], 2, "s")) == {"act": ["relu", "tanh"]}
    assert compared(expand(["act=relu"], 2, "s")) == {"act": ["relu"]}
    assert compared(expand([], 2, "s")) == {"seed": ["0", "1"]}


def test_the_table_has_mean_and_spread_over_seeds_and_counts_what_is_finished():
    points = expand(["act=relu,tanh"], 3, "s")
    figures = {point.name: {"lenet accuracy": 0.8 + int(point.settings["seed"]) / 10} for point in points[:3]}
    first, second = summarise(points, figures)
    assert first["act"] == "relu"
    assert first["finished"] == 3
    assert first["lenet accuracy"] == pytest.approx(0.9)
    assert first["lenet accuracy std"] == pytest.approx(0.1)
    assert (first["lenet accuracy min"], first["lenet accuracy max"]) == pytest.approx((0.8, 1.0))
    assert second["finished"] == 0
    assert second["lenet accuracy"] == ""


def test_another_version_is_named():
    assert difference({"Python": "3.11", "dvc": "3.67"}, {"Python": "3.11", "dvc": "3.67", "more": "1"}) == ""
    told = difference({"Python": "3.11", "dvc": "3.67", "torch": "2"}, {"Python": "3.12", "dvc": "3.67"})
    assert "Python 3.12, not 3.11" in told
    assert "torch none, not 2" in told


def test_a_local_cluster_takes_all_cores_and_two_workers_for_each_gpu(monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 8)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 64 << 30)
    assert cluster.size(None, 100, 0) == (8, 1)
    assert cluster.size(None, 3, 0) == (3, 2)
    assert cluster.size(2, 100, 0) == (2, 4)
    assert cluster.size(None, 100, 3) == (6, 1)
    assert cluster.size(None, 100, 16) == (8, 1)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 8 << 30)
    assert cluster.size(None, 100, 0) == (4, 2)


def test_the_recipes_are_whole_and_name_only_options_that_exist():
    recipes = ROOT / "docs" / "scaling"
    assert not subprocess.run(["bash", "-n", recipes / "sweep.sbatch"], check=False).returncode
    kinds = [part["kind"] for part in YAML(typ="safe").load_all((recipes / "sweep.yaml").read_text())]
    assert sorted(kinds) == ["Deployment", "Deployment", "Job", "Service"]
    known = {option for parameter in get_command(app).commands["sweep"].params for option in parameter.opts}  # type: ignore
    for path in (*recipes.iterdir(), ROOT / "docs" / "scaling.md"):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            if "cnnlab sweep" in line and not line.startswith("#"):
                used = {word for word in line.partition("cnnlab sweep")[2].split() if word.startswith("--")}
                assert used <= known, path


# The command on a toy pipeline


@pytest.mark.slow
def test_a_sweep_gives_experiments_reports_what_fails_and_runs_nothing_twice(project):
    output = run(project, "cnnlab sweep -S act=relu,elu --seeds 2 --workers 2", fails=1)
    assert experiments(project) == {"sweep-act=relu-seed=0", "sweep-act=relu-seed=1"}
    assert sorted(trained(project)) == ["elu 0", "elu 1", "relu 0", "relu 1"]  # LeNet alone: act changes nothing else
    logs = sorted((project / ".dvc/tmp/sweep/sweep/logs").iterdir())
    assert [log.name for log in logs] == ["sweep-act=elu-seed=0.log", "sweep-act=elu-seed=1.log"]
    assert "elu is broken" in logs[0].read_text()
    assert str(logs[0]) in output
    assert "http://127.0.0.1:" in output
    with (project / ".dvc/tmp/sweep/sweep/results.csv").open() as file:
        rows = {row["act"]: row for row in csv.DictReader(file)}
    assert float(rows["relu"]["lenet accuracy"]) == pytest.approx(0.405)
    assert rows["elu"]["finished"] == "0"
    again = run(project, "cnnlab sweep -S act=relu,elu --seeds 2 --workers 1", fails=1)
    assert "2 finished before, 2 to run" in again
    assert sorted(trained(project)) == ["elu 0", "elu 0", "elu 1", "elu 1", "relu 0", "relu 1"]
    assert leftovers(project) == []
    assert run(project, "git status --porcelain") == ""
    shown = run(project, "dvc exp show --csv")
    assert "sweep-act=relu-seed=1" in shown
    run(project, "dvc exp apply sweep-act=relu-seed=1")
    assert (project / "models/lenet.pt").read_text() == "relu 1"
    assert "act" in run(project, "dvc params diff")


@pytest.mark.slow
def test_a_killed_worker_a_second_start_a_killed_coordinator_and_a_restart(project):
    arguments = ("-S", "act=relu,tanh", "--seeds", "2", "--workers", "2")
    with started(project, *arguments, TOY_SECONDS="4") as first:
        until(lambda: len(trained(project)) == 2)
        victim, *_ = points_of(first)
        stages = victim.children(recursive=True)
        assert stages
        victim.parent().kill()  # the Dask worker, in the middle of a training
        until(lambda: not alive([victim, *stages]), 60)
        second = run(project, f"cnnlab sweep {' '.join(arguments)}", fails=2)
        assert "running already" in second
        assert str(first.pid) in second
        until(lambda: experiments(project) and points_of(first))
        orphans = points_of(first)
        first.kill()
        until(lambda: not alive(orphans), 60)
    finished = experiments(project)
    before = len(trained(project))
    output = run(project, f"cnnlab sweep {' '.join(arguments)}")
    assert len(experiments(project)) == 4
    assert f"{len(finished)} finished before" in output
    assert len(trained(project)) - before <= 4 - len(finished)
    assert leftovers(project) == []


@pytest.mark.slow
def test_each_local_worker_has_a_gpu_and_threads_of_its_own_and_there_is_a_dashboard(tmp_path):
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    with (
        cluster.local_cluster(3, 5, ["4", "GPU-7"], tmp_path) as local,
        cluster.connect(local.scheduler_address) as client,
    ):
        client.wait_for_workers(3)
        found = client.run(lambda: [os.environ.get(name) for name in names])
        with urllib.request.urlopen(local.dashboard_link) as page:
            assert b"<html" in page.read()
    assert sorted(found.values()) == [["4", "5"], ["4", "5"], ["GPU-7", "5"]]


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running_and_nothing_behind(project):
    with started(project, "-S", "act=relu", "--workers", "1", TOY_SECONDS="60") as process:
        until(lambda: len(trained(project)) == 1)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    until(lambda: not alive(children), 60)
    assert leftovers(project) == []


# Clusters that are there already


def dask(*arguments: str, folder: Path, inside: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
    """Start `dask scheduler` or `dask worker`, possibly inside something else."""
    command = [*inside, str(Path(sys.executable).parent / "dask"), *arguments]
    with (folder.parent / "dask.log").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, env=_environment(folder, **environment), start_new_session=True
        )


def joined(folder: Path) -> int:
    """How many workers have found their scheduler so far."""
    return (folder.parent / "dask.log").read_text().count("Registered to:")


def stop(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_a_cluster_outlives_the_coordinator_and_the_coordinator_the_cluster(project, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    scheduler = ("scheduler", "--host", address.split(":")[0], "--port", address.split(":")[1], "--no-dashboard")
    worker = ("worker", f"tcp://{address}", "--nthreads", "1", "--local-directory", str(tmp_path / "w"))
    running = [dask(*scheduler, folder=project), dask(*worker, folder=project, TOY_SECONDS="20")]
    try:
        arguments = ("-S", "act=relu,tanh", "--scheduler", f"tcp://{address}")
        with started(project, *arguments) as sweep:
            until(lambda: len(trained(project)) == 1)
            sweep.kill()
        with started(project, *arguments) as sweep:
            until(lambda: len(trained(project)) == 2)
            assert len(experiments(project)) == 1  # the point that was running was joined, not started again
            stop(*running)
            running = [dask(*scheduler, folder=project), dask(*worker, folder=project)]
            output, _ = sweep.communicate(timeout=600)
    finally:
        stop(*running)
    assert sweep.returncode == 0, output
    assert "is gone" in output
    assert "is back" in output
    assert trained(project) in (["relu 0", "tanh 0", "tanh 0"], ["tanh 0", "relu 0", "relu 0"])
    assert len(experiments(project)) == 2


@pytest.fixture
def two_hosts():
    """Two network namespaces that see each other under addresses of their own."""
    commands = """ip netns add sweep-a && ip netns add sweep-b
        ip link add sweep-a-veth netns sweep-a type veth peer name sweep-b-veth netns sweep-b
        ip -n sweep-a addr add 10.213.0.1/24 dev sweep-a-veth && ip -n sweep-b addr add 10.213.0.2/24 dev sweep-b-veth
        ip -n sweep-a link set sweep-a-veth up && ip -n sweep-b link set sweep-b-veth up
        ip -n sweep-a link set lo up && ip -n sweep-b link set lo up
        ip netns exec sweep-b unshare --mount true"""
    remove = "ip netns del sweep-a; ip netns del sweep-b"
    try:
        made = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no network namespaces here, which need root and iproute2: {made.stderr.strip()}")
        yield
    finally:
        subprocess.run(["sh", "-c", remove], capture_output=True, check=False)


STORE = """
import http.server, pathlib
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        path = pathlib.Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        path.write_bytes(data)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("10.213.0.1", 8000), Handler).serve_forever()
"""


@pytest.mark.slow
def test_workers_on_another_host_that_shares_nothing_but_the_network(project, tmp_path, two_hosts):
    here = ("ip", "netns", "exec", "sweep-a")
    there = f"mount -t tmpfs none '{tmp_path}' && exec \"$@\""  # the other host does not see the project
    (tmp_path / "store").mkdir()
    (tmp_path / "scratch").mkdir()
    run(tmp_path, "git init -q --bare hub.git")
    git = ["git", "daemon", f"--base-path={tmp_path}", "--export-all", "--enable=receive-pack", "--listen=10.213.0.1"]
    store = [sys.executable, "-c", STORE]
    address = "tcp://10.213.0.1:8786"
    running = [
        subprocess.Popen([*here, *git], start_new_session=True, stderr=subprocess.DEVNULL),
        subprocess.Popen([*here, *store], cwd=tmp_path / "store", start_new_session=True, stderr=subprocess.DEVNULL),
        dask("scheduler", "--host", "10.213.0.1", "--port", "8786", "--no-dashboard", folder=project, inside=here),
        dask(
            "worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path / "w"),
            folder=project,
            inside=("ip", "netns", "exec", "sweep-b", "unshare", "--mount", "sh", "-c", there, "sh"),
        ),
    ]  # fmt: skip
    try:
        options = "--git git://10.213.0.1/hub.git --remote http://10.213.0.1:8000/dvc"
        output = run(project, f"{' '.join(here)} cnnlab sweep -S act=relu,tanh --scheduler {address} {options}")
    finally:
        stop(*running)
    assert "2 points" in output
    assert len(experiments(project)) == 2
    assert trained(project) == []  # not on this host's disk
    assert list((tmp_path / "store" / "dvc").rglob("*"))
    run(project, "dvc exp apply sweep-act=tanh")  # pulled: no network needed any more
    assert (project / "models/lenet.pt").read_text() == "tanh 0"


@pytest.mark.slow
def test_a_worker_with_a_full_disk_or_another_package_passes_its_points_on(project, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", small], check=False, stderr=-3).returncode:
        pytest.skip("no small disk to fill here: mounting one needs root")
    address = f"127.0.0.1:{free_port()}"
    worker = ("worker", f"tcp://{address}", "--nthreads", "1", "--no-dashboard", "--local-directory")
    scheduler = ("scheduler", "--host", "127.0.0.1", "--port", address.split(":")[1], "--no-dashboard")
    running = [dask(*scheduler, folder=project)]
    running += [dask(*worker, str(disk), folder=project) for disk in (small, tmp_path / "large")]
    try:
        until(lambda: joined(project) == 2)
        output = run(project, f"cnnlab sweep -S act=gelu --seeds 2 --scheduler tcp://{address}")
        assert "rejected by" in output
        assert "small" in output
        assert len(experiments(project)) == 2
        odd = tmp_path / "odd" / "dvc-9.9.dist-info" / "METADATA"
        odd.parent.mkdir(parents=True)
        odd.write_text("Metadata-Version: 2.1\nName: dvc\nVersion: 9.9\n")
        running.append(dask(*worker, str(tmp_path / "odd"), folder=project, PYTHONPATH=str(tmp_path / "odd")))
        until(lambda: joined(project) == 3)
        output = run(project, f"cnnlab sweep -S act=tanh --scheduler tcp://{address}", fails=2)
        assert "1 of 3 workers" in output
        assert "dvc 9.9, not " in output
        assert len(output.splitlines()) == 1
    finally:
        stop(*running)
        subprocess.run(["umount", small], check=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # DVC's own
def test_bad_input_is_one_sentence_before_anything_runs(project, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cluster, "UNREACHABLE", 1)
    act = ["act=relu,tanh"]
    for options, told in (
        (Options(act, scheduler=f"tcp://127.0.0.1:{free_port()}"), "cannot be reached"),
        (Options(act, scheduler="nowhere"), "cannot be reached"),
        (Options(["atc=relu,tanh"]), "did you mean 'act'?"),
        (Options(["act=relu,swish"]), "act is 'swish'"),
        (Options(["other.yaml:x=1"]), "no file other.yaml"),
        (Options(["act=sigmoid"]), "change no stage"),
        (Options(act, targets=["evalute@lenet"]), "did you mean 'evaluate@lenet'?"),
        (Options(act, remote="elsewhere"), "--remote 'elsewhere'"),
        (Options(act, remote=f"{tmp_path}/file/x"), "cannot be written"),
        (Options(act, git=f"{tmp_path}/file/x"), "cannot be written"),
    ):
        with pytest.raises(UserError, match=r"\A[^\n]+\Z") as error:
            run_sweep(project, options, check=params.load)
        assert told in str(error.value)
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(UserError, match=r"data/x.*dvc pull"):
        run_sweep(project, Options(act), check=params.load)
    with pytest.raises(UserError, match="root of a project"):
        run_sweep(tmp_path, Options(act), check=params.load)
    assert trained(project) == []
    assert experiments(project) == set()


@pytest.mark.slow
def test_a_dirty_workspace_is_refused_or_taken_along(project):
    (project / "src" / "toy.py").write_text("SCALE = 5\n")
    (project / "new.txt").write_text("")
    output = run(project, "cnnlab sweep -S act=relu", fails=2)
    assert "src/toy.py" in output
    assert "--allow-dirty" in output
    before = run(project, "git status --porcelain")
    run(project, "cnnlab sweep -S act=relu --allow-dirty")
    assert run(project, "git status --porcelain") == before
    (name,) = experiments(project)
    assert name.startswith("sweep-act=relu-dirty-")
    ref = run(project, "git for-each-ref --format='%(refname)' refs/exps").strip()
    figures = json.loads(run(project, f"git show '{ref}:metrics/test/lenet.json'"))
    assert figures["accuracy"] == 0.8
    assert figures["source"].endswith("/clone/src/toy.py")  # not the project's, which may change meanwhile
    assert run(project, f"git show '{ref}:new.txt'") == ""


@pytest.mark.slow
def test_what_git_sets_for_a_hook_and_names_of_any_bytes_do_no_harm(project):
    (project / "caf\udce9.txt").write_text("")
    (project / "e\x1b[31mred.txt").write_text("")
    (project / "src" / "toy.py").write_text("SCALE = 5\n")
    output = run(project, "cnnlab sweep -S act=relu", fails=2, GIT_DIR=str(project / ".git"))
    assert "caf\\udce9.txt" in output
    assert "\x1b" not in output
    output = run(project, "cnnlab sweep -S act=relu --allow-dirty", fails=2)
    assert "DVC cannot take caf\\udce9.txt along" in output
    (project / "caf\udce9.txt").unlink()
    (project / "e\x1b[31mred.txt").unlink()
    before = run(project, "git config --list --local && git remote -v")
    (project / "real.csv").write_text("old")
    (project / "link.csv").symlink_to("real.csv")
    run(project, "cnnlab sweep -S act=relu --allow-dirty -o link.csv", GIT_DIR=str(project / ".git"), GIT_PREFIX="src/")
    assert run(project, "git config --list --local && git remote -v") == before
    assert (project / "link.csv").is_symlink()
    assert "relu" in (project / "real.csv").read_text()
    assert len(experiments(project)) == 1


COUNT = """
import json, sys
from pathlib import Path
found = [path for path in Path(sys.argv[1]).glob("*/*.png") if path.read_text()]
Path("metrics/test").mkdir(parents=True, exist_ok=True)
Path("metrics/test/count.json").write_text(json.dumps({"accuracy": len(found)}))
"""
COUNTED = """
  count:
    cmd: python count.py ${folder.path} ${seed}
    deps: ["${folder.path}"]
    metrics: [metrics/test/count.json: {cache: false}]
"""


@pytest.mark.slow
def test_every_point_sees_the_users_own_pictures_that_git_ignores(project):
    for name in ("boots/1.png", "boots/2.png", "bags/1.png"):
        path = project / "data" / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (project / "count.py").write_text(COUNT)
    with (project / "dvc.yaml").open("a") as file:
        file.write(COUNTED)
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("\ndataset: fashion_mnist", "\ndataset: folder"))
    run(project, "git add -A && git commit -qm pictures")
    run(project, "cnnlab sweep --seeds 2 --targets count --workers 2 -o out.csv")
    with (project / "out.csv").open() as file:
        assert [row["count accuracy"] for row in csv.DictReader(file)] == ["3.0"]
    ref = run(project, "git for-each-ref --format='%(refname)' refs/exps").splitlines()[0]
    assert "pictures" not in run(project, f"git ls-tree -r --name-only '{ref}'")


def test_pictures_on_another_machine_are_one_sentence(tmp_path):
    from cnnlab.sweep.clone import Source, make_clone

    run(tmp_path, "git init -q up && cd up && mkdir .dvc && touch .dvc/config && git add -A")
    run(tmp_path / "up", "git -c user.name=t -c user.email=t@example.com commit -qm start && git branch sweep")
    commit = run(tmp_path / "up", "git rev-parse HEAD").strip()
    source = Source(
        str(tmp_path / "up"), "sweep", commit, False, "r", str(tmp_path), "/elsewhere", "/elsewhere", "x", ("pics",)
    )
    with pytest.raises(UserError, match=r"^pics is on the machine .* run `dvc add pics` and commit, or "):
        make_clone(source, tmp_path / "clone", tmp_path / "keep")


@pytest.mark.slow
def test_the_real_pipeline_on_the_smoke_budget(tmp_path):
    project = tmp_path / "lab"
    project.mkdir()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    run(project, "git init -q && git config user.name t && git config user.email t@example.com")
    run(project, "git add -A && git commit -qm start")
    run(project, "cnnlab sweep -S act=relu,tanh -S budget=smoke --workers 2")
    assert experiments(project) == {"sweep-act=relu-budget=smoke", "sweep-act=tanh-budget=smoke"}
    with (project / ".dvc/tmp/sweep/sweep/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["act"] for row in rows] == ["relu", "tanh"]
    assert all(float(row["lenet accuracy"]) > 0.5 for row in rows)
    assert "vgg accuracy" not in rows[0]
    names = sorted(experiments(project))
    drawn = run(project, f"dvc plots diff {' '.join(names)} --targets plots/train/lenet.csv --json")
    assert all(name in drawn for name in names)
