"""Published data sets: their files, their sources, the sample and the splits. No test leaves this machine."""

import errno
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.cli import check
from cnnlab.core import datasets, params, schema
from cnnlab.core.datasets import Split
from cnnlab.core.errors import UserError, run_command
from cnnlab.core.split import stratified_split
from cnnlab.data import catalogue, debian, fetch, formats, sample, sources
from cnnlab.data.catalogue import DATA_SETS, FASHION_MNIST, DataFile, DataSet
from cnnlab.data.formats import read_idx
from stages import download, page, vae_download
from tests import report_lab
from tests.report_lab import ROOT

FOLDER = schema.Folder(path="data/pictures", side=28, mode="grey")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def tiny_files() -> dict[str, bytes]:
    """Four small IDX files by their published names, decompressed: two classes, 4 x 4 pixels."""
    generator = np.random.default_rng(0)
    contents = {}
    for stem, count in (("train", 20), ("t10k", 10)):
        contents[f"{stem}-images-idx3-ubyte.gz"] = idx(generator.integers(0, 256, (count, 4, 4)))
        contents[f"{stem}-labels-idx1-ubyte.gz"] = idx(np.arange(count) % 2)
    return contents


CONTENTS = tiny_files()
IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = CONTENTS
PUBLISHED = {name: gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}


def data_file(name: str, content: bytes) -> DataFile:
    """The catalogue's entry for a file that is published as .gz."""
    published = gzip.compress(content, mtime=0)
    return DataFile(name, hashlib.md5(published).hexdigest(), hashlib.sha256(content).hexdigest())


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A small published data set without mirrors and without Debian's package, in an empty project folder."""
    files = tuple(data_file(name, content) for name, content in CONTENTS.items())
    entry = DataSet(
        "tiny", "Tiny letters", ("a", "b"), (1, 4, 4), "idx", files, "Tiny", "free", "here", light_on_dark=True
    )
    monkeypatch.setitem(DATA_SETS, "tiny", entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(sources.USER_FOLDER, raising=False)
    monkeypatch.setattr(sources, "addresses", lambda entry: [])
    monkeypatch.setitem(DATA_SETS, "fashion_mnist", replace(FASHION_MNIST, debian_package=""))
    return entry


class Mirror(http.server.ThreadingHTTPServer):
    """A server on this machine: `answers` maps a file's name to its bytes, a status code, or a way to fail."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, bytes | int | str] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a Mirror's requests."""

    server: Mirror

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.server.asked.append(name)
        answer = self.server.answers.get(name, 404)
        if answer == "silence":
            time.sleep(1)
            return
        self.send_response(answer if isinstance(answer, int) else 200)
        content = answer if isinstance(answer, bytes) else b"x" * 9
        self.send_header("Content-Length", str(999 if answer == "break off" else len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def mirrors(tiny: DataSet, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mirror, Mirror]]:
    """Two mirrors of the data set."""
    with Mirror() as first, Mirror() as second:
        for mirror in (first, second):
            threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(sources, "addresses", lambda entry: [first.address, second.address])
        yield first, second
        first.shutdown()
        second.shutdown()


def put(folder: str | Path, files: dict[str, bytes]) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (Path(folder) / name).write_bytes(content)


def names(folder: str | Path) -> list[str]:
    """What a folder holds, sorted."""
    return sorted(path.name for path in Path(folder).iterdir())


def got(entry: DataSet) -> fetch.Fetched:
    return fetch.fetch(entry.name, FOLDER, budget="quick", seed=0)


def assert_whole(fetched: fetch.Fetched) -> None:
    assert fetched.train.images.tobytes() == CONTENTS[IMAGES][16:]
    assert fetched.test.labels.tolist() == [0, 1] * 5
    assert fetched.train.images.shape == (20, 1, 4, 4)
    assert (fetched.train.images.dtype, fetched.train.labels.dtype) == (np.uint8, np.int64)


# --- IDX files


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_is_read_as_it_was_written(tmp_path, suffix):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = idx(array)
    (tmp_path / f"x{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    assert np.array_equal(read_idx(tmp_path / f"x{suffix}"), array)


@pytest.mark.parametrize("name", ["x", "x.gz"])
@pytest.mark.parametrize(
    "content", [b"", b"words", idx(np.zeros((2, 3)))[:-1], idx(np.zeros((2, 3))) + b"x", b"\0\0\x0d\x02" + bytes(8)]
)
def test_what_is_no_idx_file_is_refused(tmp_path, name, content):
    for written in (content, gzip.compress(content)):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(UserError, match="is not IDX of unsigned bytes"):
            read_idx(tmp_path / name)


# --- Sources


@pytest.mark.parametrize("folder", ["data/raw/tiny", "data/Tiny/raw", "data"])
@pytest.mark.parametrize("packed", [True, False])
def test_files_in_the_project_are_used(tiny, folder, packed):
    files = PUBLISHED if packed else {name.removesuffix(".gz"): content for name, content in CONTENTS.items()}
    put(folder, files)
    fetched = got(tiny)
    assert_whole(fetched)
    assert (fetched.origin, fetched.notes) == (folder, ())


@pytest.mark.parametrize("inside", ["", "tiny", "raw/tiny", "Tiny/raw"])
def test_the_users_folder_is_used(tiny, tmp_path, monkeypatch, inside):
    put(tmp_path / "mine" / inside, PUBLISHED)
    monkeypatch.setenv(sources.USER_FOLDER, str(tmp_path / "mine"))
    assert_whole(got(tiny))


def test_each_file_comes_from_the_first_source_that_has_it(tiny, mirrors, tmp_path, monkeypatch):
    put("data/raw/tiny", {IMAGES: PUBLISHED[IMAGES]})
    put(tmp_path / "mine", {LABELS: PUBLISHED[LABELS]})
    monkeypatch.setenv(sources.USER_FOLDER, str(tmp_path / "mine"))
    first, second = mirrors
    first.answers = {TEST_IMAGES: PUBLISHED[TEST_IMAGES]}
    second.answers = {TEST_LABELS: PUBLISHED[TEST_LABELS]}
    fetched = got(tiny)
    assert_whole(fetched)
    assert (first.asked, second.asked) == ([TEST_IMAGES, TEST_LABELS], [TEST_LABELS])
    assert fetched.origin == f"data/raw/tiny, {tmp_path / 'mine'}, {first.address}, {second.address}"
    assert fetched.notes == (f"{first.address}{TEST_LABELS} is refused: HTTP 404",)
    assert Path("data/raw/tiny", TEST_IMAGES).read_bytes() == PUBLISHED[TEST_IMAGES]


def test_what_was_fetched_is_not_fetched_again(tiny, mirrors):
    mirrors[0].answers = dict(PUBLISHED)
    assert_whole(got(tiny))
    assert_whole(got(tiny))
    assert len(mirrors[0].asked) == 4


WRONG = {
    "is not a whole gzip file": PUBLISHED[IMAGES][:-10],
    "has the wrong checksum": gzip.compress(CONTENTS[IMAGES][:-1] + b"?"),
}
WRONG_KINDS = [*WRONG.items(), ("is not a whole gzip file", b"<html>Please log in</html>")]


@pytest.mark.parametrize(("fault", "wrong"), WRONG_KINDS)
def test_a_wrong_file_is_renamed_and_the_next_source_tried(tiny, tmp_path, monkeypatch, fault, wrong):
    put("data/raw/tiny", {**PUBLISHED, IMAGES: wrong})
    put(tmp_path / "mine", PUBLISHED)
    monkeypatch.setenv(sources.USER_FOLDER, str(tmp_path / "mine"))
    fetched = got(tiny)
    assert_whole(fetched)
    assert Path("data/raw/tiny", f"{IMAGES}.bad").read_bytes() == wrong
    assert not Path("data/raw/tiny", IMAGES).exists()
    assert fetched.notes == (f"data/raw/tiny/{IMAGES}: {fault} (renamed to {IMAGES}.bad)",)


def test_a_wrong_file_elsewhere_is_named_but_not_touched(tiny, tmp_path, monkeypatch):
    put("data", {IMAGES: b"<html>"})  # another set's, perhaps: the MNIST family shares its file names
    put(tmp_path / "mine", {**PUBLISHED, IMAGES: WRONG["has the wrong checksum"]})
    monkeypatch.setenv(sources.USER_FOLDER, str(tmp_path / "mine"))
    with pytest.raises(UserError) as raised:
        got(tiny)
    assert f"data/{IMAGES}: is not a whole gzip file" in str(raised.value)
    assert f"{tmp_path / 'mine' / IMAGES}: has the wrong checksum" in str(raised.value)
    assert names(tmp_path / "mine") == sorted(PUBLISHED)
    assert names("data") == [IMAGES]


def test_what_is_no_regular_file_is_refused(tiny):
    put("data/raw/tiny", {name: PUBLISHED[name] for name in (LABELS, TEST_IMAGES, TEST_LABELS)})
    Path("data/raw/tiny", IMAGES).mkdir()
    with pytest.raises(UserError, match="is not a regular file"):
        got(tiny)


@pytest.mark.parametrize(
    ("answer", "told"),
    [(WRONG["has the wrong checksum"], "has the wrong checksum"), ("break off", "broke off"), (403, "HTTP 403")],
)
def test_a_wrong_download_is_told_and_the_next_mirror_asked(tiny, mirrors, answer, told):
    first, second = mirrors
    first.answers = {**PUBLISHED, IMAGES: answer}
    second.answers = dict(PUBLISHED)
    fetched = got(tiny)
    assert_whole(fetched)
    assert second.asked == [IMAGES]
    assert len(fetched.notes) == 1
    assert fetched.notes[0].startswith(f"{first.address}{IMAGES} ")
    assert told in fetched.notes[0]
    assert names("data/raw/tiny") == sorted(PUBLISHED)  # nothing half-written stays


def test_without_any_source_one_message_says_what_was_tried(tiny, mirrors, monkeypatch):
    put("data/raw/tiny", {LABELS: PUBLISHED[LABELS]})
    monkeypatch.setenv(sources.USER_FOLDER, "/nowhere")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setattr(sources, "addresses", lambda entry: [dead, "http://no.such.host.invalid/", mirrors[0].address])
    with pytest.raises(UserError) as raised:
        got(tiny)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"tiny: {IMAGES}, {TEST_IMAGES}, {TEST_LABELS} cannot be found or downloaded. Tried:"
    assert f"  - data/: has no {IMAGES}, {TEST_IMAGES}, {TEST_LABELS}" in lines
    assert f"  - {sources.USER_FOLDER}: /nowhere is not a folder" in lines
    assert f"  - {dead}: not reached ([Errno 111] Connection refused)" in lines
    assert any(line.startswith("  - http://no.such.host.invalid/: not reached (Failed to resolve") for line in lines)
    assert f"  - {mirrors[0].address}{IMAGES} is refused: HTTP 404" in lines
    assert "data/raw/tiny/" in lines[-1]
    assert sources.USER_FOLDER in lines[-1]
    assert names("data/raw/tiny") == [LABELS]


def test_a_silent_server_is_asked_once(tiny, mirrors, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.1)
    mirrors[0].answers = dict.fromkeys(PUBLISHED, "silence")
    mirrors[1].answers = dict(PUBLISHED)
    assert_whole(got(tiny))
    assert mirrors[0].asked == [IMAGES]


def test_a_disk_that_is_full_is_told_and_nothing_half_written_stays(tiny, mirrors, monkeypatch):
    mirrors[0].answers = dict(PUBLISHED)
    put("data/raw/tiny", {LABELS: PUBLISHED[LABELS]})
    open_well = Path.open

    class Full(io.FileIO):
        def write(self, data, /):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str = "r", *rest, **more):
        return Full(path, mode) if mode == "wb" else open_well(path, mode, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        with pytest.raises(UserError, match="data/raw/tiny cannot be written: No space left"):
            got(tiny)
    assert names("data/raw/tiny") == [LABELS]


def test_the_origin_never_reaches_the_data_sets_own_files(tiny, tmp_path, monkeypatch):
    put("data/raw/tiny", PUBLISHED)
    one = got(tiny)
    put(tmp_path / "mine", PUBLISHED)
    monkeypatch.setenv(sources.USER_FOLDER, str(tmp_path / "mine"))
    for name in PUBLISHED:
        Path("data/raw/tiny", name).unlink()
    other = got(tiny)
    assert one.origin != other.origin
    assert one.info == other.info


def test_pictures_and_labels_must_belong_together(tiny):
    put("x", {IMAGES: PUBLISHED[IMAGES], LABELS: PUBLISHED[TEST_LABELS]})
    paths = {name: Path("x", IMAGES if "images" in name else LABELS) for name in PUBLISHED}
    with pytest.raises(UserError, match="does not hold tiny: another shape or other classes"):
        formats.read_files(tiny, paths)


# --- Debian's package


def fake_programs(folder: Path, monkeypatch: pytest.MonkeyPatch, apt_get: str) -> None:
    """Shell scripts in the place of apt-get, and of dpkg-deb: a package is a tar archive."""
    put(
        folder, {"apt-get": f"#!/bin/sh\n{apt_get}\n".encode(), "dpkg-deb": b'#!/bin/sh\nmkdir $3; tar xf "$2" -C $3\n'}
    )
    for path in folder.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def package(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def packaged(tiny: DataSet, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    entry = replace(tiny, debian_package="dataset-tiny", debian_folder="usr/share/tiny-that-is-nowhere")
    monkeypatch.setitem(DATA_SETS, "tiny", entry)
    return entry


def repacked(entry: DataSet) -> dict[str, bytes]:
    """The files in a package, compressed again as Debian does."""
    return {f"./{entry.debian_folder}/{name}": gzip.compress(data, 1, mtime=7) for name, data in CONTENTS.items()}


def test_debians_package_is_fetched_and_unpacked(packaged, tmp_path, monkeypatch):
    put(tmp_path, {"package": package(repacked(packaged))})
    fake_programs(tmp_path / "bin", monkeypatch, f"cp {tmp_path}/package x.deb")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fetched = got(packaged)
    assert_whole(fetched)
    assert fetched.origin == "Debian's package dataset-tiny"
    assert names("data/raw/tiny") == sorted(PUBLISHED)
    assert names(tmp_path) == ["bin", "data", "package"]  # the temporary folder is gone


def test_an_old_package_list_is_renewed_without_root(packaged, tmp_path, monkeypatch):
    put(tmp_path, {"package": package(repacked(packaged))})
    script = f"""case "$*" in
*"Dir::State::lists="*update*) echo done >> {tmp_path}/updated;;
*"Dir::State::lists="*download*) cp {tmp_path}/package x.deb;;
*) echo "E: Unable to locate package dataset-tiny" >&2; exit 100;; esac"""
    fake_programs(tmp_path / "bin", monkeypatch, script)
    assert_whole(got(packaged))
    assert (tmp_path / "updated").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'E: Unable to locate package dataset-tiny' >&2; exit 100",
            "apt-get update failed: Unable to locate package dataset-tiny",
        ),
        (
            'case "$*" in *update*) echo "W: Failed to fetch lists" >&2;; *) exit 100;; esac',
            "Failed to fetch lists",
        ),
        ("echo > x.deb", "dpkg-deb failed: "),
    ],
)
def test_a_package_that_does_not_come_is_one_more_reason(packaged, tmp_path, monkeypatch, script, reason):
    fake_programs(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(UserError) as raised:
        got(packaged)
    assert "Debian's package dataset-tiny: not installed; " in str(raised.value)
    assert reason in str(raised.value)
    assert not Path("data/raw/tiny").exists()


def test_a_package_without_the_files_is_told(packaged, tmp_path, monkeypatch):
    put(tmp_path, {"package": package({"./usr/share/doc": b"x"})})
    fake_programs(tmp_path / "bin", monkeypatch, f"cp {tmp_path}/package x.deb")
    with pytest.raises(UserError, match=f"dataset-tiny: {IMAGES} is not a regular file"):
        got(packaged)


def test_a_program_that_hangs_is_ended(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "LIMIT", 0.3)
    fake_programs(tmp_path / "bin", monkeypatch, "exec sleep 60")
    with pytest.raises(UserError, match=r"apt-get update took over 0.3 s"):
        got(packaged)


def test_a_machine_without_apt_is_reported(packaged, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get is not on this machine"):
        got(packaged)


# --- CIFAR-10


def test_the_cifar_archive_is_read_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 32, 32), np.uint8)
    members = {
        name: pickle.dumps({b"data": images[at].reshape(2, -1), b"labels": [at, 9]}, protocol=2)
        for at, name in enumerate(formats.CIFAR_TRAIN + formats.CIFAR_TEST)
    }
    Path("x.tar.gz").write_bytes(gzip.compress(package({**members, "cifar-10-batches-py/batches.meta": b"x"})))
    train, test = formats.read_cifar(Path("x.tar.gz"))
    assert np.array_equal(train.images, images[:5].reshape(10, 3, 32, 32))
    assert test.labels.tolist() == [5, 9]
    assert (train.images.dtype, train.labels.dtype) == (np.uint8, np.int64)
    assert names(tmp_path) == ["x.tar.gz"]


def test_a_wrong_cifar_archive_is_refused(tmp_path):
    path = tmp_path / "x.tar.gz"
    whole = gzip.compress(package({"x": bytes(100_000)}))
    for content in (whole, whole[:-20], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not the archive of CIFAR-10"):
            formats.read_cifar(path)


# --- The catalogue, the sample, the entry


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in DATA_SETS.values() if entry.torchvision], ids=lambda it: it.name)
def test_the_catalogue_agrees_with_torchvision(entry):
    datasets = pytest.importorskip("torchvision.datasets")
    known = getattr(datasets, entry.torchvision)
    assert all(address.startswith("http") and address.endswith("/") for address in sources.addresses(entry))
    published = dict(getattr(known, "resources", None) or [(known.url.rpartition("/")[2], known.tgz_md5)])
    assert {file.name: file.md5 for file in entry.files} == published
    names = tuple(str(name).partition(" - ")[0] for name in getattr(known, "classes", entry.class_names))
    assert names == entry.class_names


def test_the_catalogue_is_whole():
    for name, entry in DATA_SETS.items():
        assert entry.name == name
        assert len(entry.class_names) == len(set(entry.class_names)) >= 2
        assert all(re.fullmatch(r"[0-9a-f]{32}", file.md5) for file in entry.files)
        assert all(re.fullmatch(r"([0-9a-f]{64})?", file.content_sha256) for file in entry.files)
        assert entry.title
    assert catalogue.names() == (*DATA_SETS, "folder")
    offered = re.findall(r"\w+", (ROOT / "params.yaml").read_text())
    assert {*catalogue.names(), catalogue.FACES} <= set(offered)  # in the comments


def test_the_sample_ships_small_and_balanced():
    assert sample.PATH.stat().st_size < 1_000_000
    train, test = sample.load_sample()
    for split, count in ((train, 150), (test, 60)):
        assert split.images.shape == (10 * count, 1, 28, 28)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert np.bincount(split.labels).tolist() == [count] * 10
        assert 0.2 < (split.images > 0).mean() < 0.8
    pictures = [image.tobytes() for split in (train, test) for image in split.images]
    assert len(set(pictures)) == len(pictures)


def test_the_sample_is_what_the_whole_set_gives():
    search = sources.Search(FASHION_MNIST)
    root = Path(__file__).parent.parent
    named = os.environ.get(sources.USER_FOLDER)
    folders = [root / "data/raw/fashion_mnist", Path("/usr/share/datasets/fashion-mnist")]
    sources._look(search, "", [*folders, *([Path(named)] if named else [])])
    if search.missing:
        pytest.skip("needs the whole Fashion-MNIST")
    built = sample.build_sample(*formats.read_files(FASHION_MNIST, search.paths))
    with np.load(sample.PATH, allow_pickle=False) as shipped:
        assert sorted(shipped) == sorted(built)
        for name, array in built.items():
            assert array.dtype == shipped[name].dtype
            assert array.tobytes() == shipped[name].tobytes(), name


def test_the_sample_is_drawn_from_each_part_alone():
    def whole(count: int, start: int) -> Split:
        images = np.arange(start, start + count, dtype=np.uint16).view(np.uint8).reshape(count, 1, 1, 2)
        return Split(images, np.arange(count) % 2)

    drawn = sample.build_sample(whole(1000, 0), whole(500, 5000))
    assert drawn["train_images"].view(np.uint16).max() < 1000
    assert drawn["test_images"].view(np.uint16).min() >= 5000
    assert np.bincount(drawn["test_labels"]).tolist() == [60, 60]
    assert np.array_equal(drawn["train_labels"], drawn["train_indices"] % 2)


def test_a_damaged_sample_is_reported(tmp_path, monkeypatch):
    for content in (sample.PATH.read_bytes()[:1000], b""):
        monkeypatch.setattr(sample, "PATH", tmp_path / "x.npz")
        sample.PATH.write_bytes(content)
        with pytest.raises(UserError, match="is damaged or missing"):
            sample.load_sample()
        monkeypatch.undo()


def test_smoke_takes_the_sample_without_looking_anywhere(tiny, monkeypatch):
    monkeypatch.setattr(fetch, "obtain", lambda entry: pytest.fail("looked for files"))
    fetched = fetch.fetch("fashion_mnist", FOLDER, budget="smoke", seed=0)
    assert len(fetched.train.labels) == 1500
    assert fetched.info.name == "fashion_mnist"
    assert "sample" in fetched.info.source
    assert "sample" in fetched.origin


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    told = r"dataset 'fashion_mnits' is not a known data set. Did you mean 'fashion_mnist'\? Known are .*kmnist"
    with pytest.raises(UserError, match=told):
        fetch.fetch("fashion_mnits", FOLDER, budget="quick", seed=0)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("  dataset: same", "  dataset: sam", "vae.dataset 'sam' is not a known data set. Did you mean 'same'?"),
        ("  dataset: fashion_mnist\n", "  dataset: mnits\n", "study.dataset 'mnits' is not a known data set."),
        ("googlenet: {relu: all, norm: none}", "googlenet: {relu: al, norm: none}", "option 'relu' is 'al'"),
        ("relu: {network: lenet, change: {act: relu}", "relu: {network: lenet, change: {act: rely}", "'act' is 'rely'"),
    ],
)
def test_check_finds_what_only_the_vae_or_the_study_would_meet(tmp_path, monkeypatch, before, after, told):
    text = (Path(__file__).parent.parent / "params.yaml").read_text()
    assert text.count(before) == 1
    (tmp_path / "params.yaml").write_text(text.replace(before, after))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        check.check()
    assert told in str(error.value)


@pytest.mark.parametrize("key", ["dataset", "vae.dataset"])
@pytest.mark.parametrize("command", ["check", "stage"])
def test_an_unknown_data_set_is_refused_before_any_work(tiny, monkeypatch, capsys, key, command):
    text = settings_with("smoke", "fashion_mnist")
    place = "  dataset: same" if key == "vae.dataset" else "\ndataset: fashion_mnist"
    assert place in text
    Path("params.yaml").write_text(text.replace(place, f"{place.partition(':')[0]}: fashion-mnist"))
    run = {"check": check.check, "stage": vae_download.main if key == "vae.dataset" else download.main}[command]
    monkeypatch.setattr("sys.argv", [command])
    with pytest.raises(SystemExit) as raised:
        run_command(run)
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert f"params.yaml: {key} 'fashion-mnist' is not a known data set. Did you mean 'fashion_mnist'?" in error
    assert error.count("\n") == 1


def test_what_is_fetched_can_be_saved_and_loaded(tiny):
    put("data/raw/tiny", PUBLISHED)
    fetched = got(tiny)
    datasets.save_dataset(fetched.info, fetched.train, fetched.test)
    assert datasets.load_info("tiny") == fetched.info
    assert np.array_equal(datasets.load_split("tiny", "test").images, fetched.test.images)


# --- The stage


def settings_with(budget: str, dataset: str) -> str:
    """The text of params.yaml with another budget and data set."""
    text = (ROOT / "params.yaml").read_text()
    for key, value in (("budget", budget), ("dataset", dataset)):
        text = re.sub(rf"^{key}: \w+", f"{key}: {value}", text, count=1, flags=re.MULTILINE)
    return text


def run_stage(monkeypatch: pytest.MonkeyPatch, budget: str, dataset: str) -> int:
    """Run the stage in the current folder with changed settings; its exit code."""
    Path("params.yaml").write_text(settings_with(budget, dataset))
    monkeypatch.setattr("sys.argv", ["download.py"])
    with pytest.raises(SystemExit) as raised:
        run_command(download.main)
    return int(raised.value.code or 0)


def test_the_stage_writes_the_data_and_says_so_in_one_line(tiny, monkeypatch, capsys):
    assert run_stage(monkeypatch, budget="smoke", dataset="fashion_mnist") == 0
    assert len(datasets.load_split("fashion_mnist", "train").labels) == 1500
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "1,500 training and 600 test pictures of 1x28x28 in 10 classes" in said
    assert "nothing is downloaded" in said
    assert "data/fashion_mnist" in said


def test_a_failed_stage_leaves_what_was_there(tiny, monkeypatch, capsys):
    put("data/fashion_mnist", {"dataset.json": b"older"})
    assert run_stage(monkeypatch, budget="quick", dataset="fashion_mnist") == 2
    error = capsys.readouterr().err
    assert f"  - {sources.USER_FOLDER}: not set" in error
    assert "Traceback" not in error
    assert Path("data/fashion_mnist/dataset.json").read_bytes() == b"older"


def test_a_data_set_added_to_the_catalogue_alone_goes_all_the_way_to_the_page(tmp_path, monkeypatch, capsys):
    """The recipe "Add a data set" of CONTRIBUTING: one entry, and its files in data/raw/."""
    stems = (("train", report_lab.TRAIN), ("t10k", report_lab.TEST))
    images = {f"{stem}-images-idx3-ubyte.gz": idx(np.full((n, 28, 28), 7)) for stem, n in stems}
    labels = {f"{stem}-labels-idx1-ubyte.gz": idx(np.arange(n) % 3) for stem, n in stems}
    contents = {name: (images | labels)[name] for name in CONTENTS}
    files = tuple(data_file(name, content) for name, content in contents.items())
    classes = ("alpha", "beta", "gamma")
    entry = DataSet(
        "greek", "Greek letters", classes, (1, 28, 28), "idx", files, "", "free", "here", light_on_dark=True
    )
    monkeypatch.setitem(DATA_SETS, entry.name, entry)
    monkeypatch.chdir(tmp_path)
    put("data/raw/greek", {name: gzip.compress(content) for name, content in contents.items()})
    assert run_stage(monkeypatch, budget="quick", dataset="greek") == 0
    check.check("params.yaml")

    used = report_lab.settings(dataset="greek")
    report_lab.trained(used, classes)
    monkeypatch.setattr(params, "load", lambda: used)
    page.main()
    assert "Greek letters" in Path("report/index.html").read_text(encoding="utf-8")


# --- Splits

LABELLINGS = st.lists(st.integers(2, 30), min_size=1, max_size=6)


@given(LABELLINGS, st.floats(0.01, 0.99), st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
def test_a_split_takes_its_share_of_each_class(counts, share, seed, random):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    random.shuffle(labels)
    labels = np.array(labels)
    train, held_out = stratified_split(labels, share, seed)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    for part in (train, held_out):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    for label, count in enumerate(counts):
        taken = (labels[held_out] == label).sum()
        assert 1 <= taken <= count - 1
        assert abs(taken - share * count) <= 0.5 + 1e-9 or taken in (1, count - 1)


def test_a_split_is_a_function_of_its_seed():
    labels = np.arange(1000) % 7
    first, again, other = (stratified_split(labels, 0.1, seed)[1] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Written down, so that a change of NumPy's stream is seen before it silently trains on other pictures.
    assert hashlib.sha256(first.tobytes()).hexdigest()[:16] == "de807af5a79bbb4d"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_split_refuses_an_impossible_share(share):
    with pytest.raises(UserError, match="between 0 and 1"):
        stratified_split(np.arange(10) % 2, share, 0)


def test_a_split_refuses_a_class_of_one():
    with pytest.raises(UserError, match="class 5 has one picture"):
        stratified_split(np.array([1, 1, 5]), 0.5, 0)
