"""What every test shares: one thread, how many inputs hypothesis tries, and which tests may be skipped."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tools import chromium

# Small tensors gain nothing from threads, and the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest --hypothesis-profile=…: `make check` takes few inputs, `make test` 500 and always the same, `make fuzz` 10,000.
SLOW_INPUTS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
for name, inputs in (("check", 30), ("test", 500), ("fuzz", 10_000)):
    settings.register_profile(
        name, max_examples=inputs, deadline=None, derandomize=name != "fuzz", suppress_health_check=SLOW_INPUTS
    )
settings.load_profile("test")

# A test may be skipped for these reasons alone; any other one fails the run, so that none is forgotten.
ALLOWED_SKIPS = (
    r"node and npm are not installed",
    r"npm is not installed",
    r"needs the whole Fashion-MNIST",
    r"could not import 'torchvision",
    r"playwright is not installed",
    r"no Chromium here: ",
    r"Chromium has no WebGPU here",
    r"only glibc's malloc hands memory back so soon",
    r"no small disk to fill here: mounting one needs root",
    r"(onnxruntime|opencv) could not be installed from a package registry: ",
    r"onnxruntime's C\+\+ package is not installed",
    r"strace is not (installed|allowed here)",
    r"fake CUDA tensors cannot start here: ",
    r"no network namespaces here, which need root and iproute2: ",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium.find()
    if not path:
        pytest.skip(chromium.MISSING)
    with chromium.start(path) as started:
        yield started


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> Iterator[None]:
    """Where numbers under 1e-38 count as zero, as in a process that trains, the next test shall not notice."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests first: they take longest, and `make test` has two processes."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REFUSED] = []


REFUSED: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what was skipped for a reason that is not allowed; pytest's own summary (-ra) has the others."""
    if config.stash[REFUSED]:
        terminalreporter.section("skipped for a reason that tests/conftest.py does not allow", red=True)
        for line in config.stash[REFUSED]:
            terminalreporter.line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    for report in reporter.stats.get("skipped", []) if reporter else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
            session.config.stash[REFUSED].append(f"{report.nodeid}: {reason}")
    if session.config.stash[REFUSED]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
