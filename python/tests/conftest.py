"""Where the judge is, and test sessions of their own."""

import os
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).resolve().parents[2]


def pytest_configure():
    """The binary of this checkout, unless another is named."""
    if "PLIMSOLL_BINARY" not in os.environ:
        built = [_ROOT / "target" / profile / "plimsoll" for profile in ("release", "debug")]
        found = [str(path) for path in built if path.exists()]
        if not found and shutil.which("plimsoll") is None:
            raise pytest.UsageError("no `plimsoll` binary: run `cargo build` first, or set PLIMSOLL_BINARY")
        if found:
            os.environ["PLIMSOLL_BINARY"] = found[0]


@pytest.fixture
def session(pytester, monkeypatch):
    """Runs pytest in a process of its own, with the plugin that is installed."""
    monkeypatch.delenv("DETECT_MEMORY_LEAKS", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source, *arguments, **files):
        pytester.makepyfile(test_it=source)
        if files:
            pytester.makepyfile(**files)
        plugins = ["-p", "no:cacheprovider"]
        if not any(argument.startswith("--ds=") for argument in arguments):
            # Its fixtures are set up for every test, and make each repetition dear.
            plugins += ["-p", "no:django"]
        return pytester.runpytest_subprocess(*plugins, "-W", "ignore", *arguments)

    return run
