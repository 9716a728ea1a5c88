"""`cnnlab serve` as a process: the same answers as `cnnlab predict --json`, limits, and errors in one sentence."""

import http.client
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from cnnlab.cli.predict import to_json
from cnnlab.cli.server import Bucket
from cnnlab.data.sample import load_sample
from cnnlab.inference.predict import predict
from cnnlab.inference.session import Model, default_model_path

pytestmark = pytest.mark.slow
MOST = 50_000  # bytes of a picture


def picture(index: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(load_sample()[1].images[index, 0]).resize((140, 140)).save(buffer, format="PNG")
    return buffer.getvalue()


def started(folder, *options: str) -> tuple[subprocess.Popen, int]:
    """A server on a free port, and that port."""
    script = "import sys; from cnnlab.cli.main import main; sys.argv[0] = 'cnnlab'; main()"
    command = [sys.executable, "-c", script, "serve", "--model", str(default_model_path()), "--port", "0", *options]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"127\.0\.0\.1:(\d+)/", line)
    assert found, line + (process.stderr.read() if process.stderr else "")
    return process, int(found[1])


def stop(process: subprocess.Popen) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def assert_ended_well(process: subprocess.Popen) -> None:
    """It ends with 0 and has printed one line on stderr: which network answers."""
    code, said = stop(process)
    assert code == 0
    assert [line.split(" for ")[0] for line in said.splitlines()] == ["Answers from Swift"]


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<!DOCTYPE html><title>a page</title>")
    process, port = started(folder, "--max-bytes", str(MOST), "--rate", "100000")
    yield port
    assert_ended_well(process)


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_answer_is_that_of_predict(port):
    model = Model.load(default_model_path())
    (expected,) = predict(model, [picture()], top=2)
    status, text = ask(port, "POST", "/predict?top=2", picture())
    assert (status, json.loads(text)) == (200, json.loads(to_json(expected)))
    assert len(json.loads(text)["top"]) == 2


def test_the_page_is_served(port):
    assert ask(port, "GET", "/") == (200, "<!DOCTYPE html><title>a page</title>")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "sentence"),
    [
        ("POST", "/predict", b"no picture", {}, 400, "is not a picture"),
        ("POST", "/predict", b"", {}, 400, "is empty"),
        ("POST", "/predict", picture()[:300], {}, 400, "is cut off"),
        ("POST", "/predict", b"x" * (MOST + 1), {}, 413, "over 50,000 bytes"),
        ("POST", "/predict?top=0", picture(), {}, 400, "top must be a whole number"),
        ("POST", "/predict?top=x", picture(), {}, 400, "top must be a whole number"),
        ("POST", "/predict", picture(), {"Content_Type": "multipart/form-data; boundary=x"}, 415, "not a form"),
        ("GET", "/predict", None, {}, 405, "GET / and POST /predict"),
        ("GET", "/etc/passwd", None, {}, 404, "GET / and POST /predict"),
        ("GET", "/../params.yaml", None, {}, 404, "GET / and POST /predict"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(port, method, path, body, headers, status, sentence):
    found, text = ask(port, method, path, body, **headers)
    assert found == status
    assert sentence in json.loads(text)["error"]


def test_a_longer_body_than_was_announced_is_cut_at_the_limit(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    chunks = iter([b"x" * 10_000] * 20)
    try:
        connection.request("POST", "/predict", chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server hung up before all was sent
    finally:
        connection.close()


def test_another_host_name_is_refused(port):
    assert ask(port, "GET", "/", Host="evil.example")[0] == 400


def test_many_at_once_get_their_own_answers(port):
    model = Model.load(default_model_path())
    expected = [json.loads(to_json(answer)) for answer in predict(model, [picture(i) for i in range(8)])]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: ask(port, "POST", "/predict", picture(i % 8)), range(64)))
    assert [status for status, _ in found] == [200] * 64
    assert [json.loads(text) for _, text in found] == [expected[i % 8] for i in range(64)]


def test_too_many_requests_are_told_to_wait(tmp_path):
    process, port = started(tmp_path, "--rate", "1")
    with ThreadPoolExecutor(8) as pool:  # all at once: in turn, a busy machine would take a second for each
        answers = list(pool.map(lambda _: ask(port, "POST", "/predict", picture()), range(8)))
    assert any(status == 200 for status, _ in answers)
    assert any(status == 429 and "more than 1 requests per second" in text for status, text in answers)
    status, text = ask(port, "GET", "/")
    assert status == 404
    assert "dvc repro" in json.loads(text)["error"]
    assert_ended_well(process)


def test_a_port_in_use_is_named(tmp_path, port):
    script = "import sys; from cnnlab.cli.main import main; main()"
    command = [sys.executable, "-c", script, "serve", "--model", str(default_model_path()), "--port", str(port)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"port {port} cannot be used" in ended.stderr


def test_the_bucket_fills_at_its_rate():
    now = 0.0
    bucket = Bucket(2, lambda: now)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 0.6
    assert [bucket.take() for _ in range(2)] == [True, False]
