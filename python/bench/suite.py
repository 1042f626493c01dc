"""What `--detect-leaks` costs a suite of many trivial tests, and which planted leaks it finds from run to run.

    python python/bench/suite.py [--tests 8000] [--runs 3] [--pairs 3]

Writes a suite into a folder of its own, with leaks planted in twenty of its tests, then runs it plain and with the
option in turns. The ratio is of CPU time of the whole process tree, pair by pair; a plain run beside another plain run
tells what such a ratio is worth on this machine. The option keeps its memory (pytest's cache) from one run to the
next, as on a developer's machine. Needs pytest and this package in the interpreter that runs it, and the judge.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

#: What leaks, as people write it: the test's lines, and those above it. `{n}` is a number of its own.
LEAKS = {
    "nothing in a list": ("KEPT_{n} = []", "def test_{n}():\n    KEPT_{n}.append(None)"),
    "numbers in a set": (
        "import itertools\nNEXT_{n} = itertools.count(1000)\nSEEN_{n} = set()",
        "def test_{n}():\n    SEEN_{n}.add(next(NEXT_{n}))",
    ),
    "an object in a list": ("KEPT_{n} = []", "def test_{n}():\n    KEPT_{n}.append(object())"),
    "text in a dict": ("BY_NAME_{n} = {{}}", "def test_{n}():\n    BY_NAME_{n}[len(BY_NAME_{n})] = 'x' * 400"),
    "an endless cache": (
        "import functools, itertools\nNEXT_{n} = itertools.count()\n"
        "@functools.lru_cache(maxsize=None)\ndef look_up_{n}(number):\n    return [number]",
        "def test_{n}():\n    assert look_up_{n}(next(NEXT_{n}))",
    ),
    "a closure": (
        "def make_{n}():\n    seen = []\n    def add():\n        seen.append([0] * 10)\n    return add\n"
        "add_{n} = make_{n}()",
        "def test_{n}():\n    add_{n}()",
    ),
    "a class attribute": (
        "class Registry_{n}:\n    entries = []",
        "def test_{n}():\n    Registry_{n}().entries.append({{'a': 1}})",
    ),
    "native memory": (
        "import ctypes\nLIBC_{n} = ctypes.CDLL(None)\nLIBC_{n}.malloc.restype = ctypes.c_void_p",
        "def test_{n}():\n    LIBC_{n}.malloc(300)",
    ),
    "a descriptor": ("import os", "def test_{n}():\n    os.open('/dev/null', os.O_RDONLY)"),
    "a function fixture": (
        "import pytest\nMADE_{n} = []\n@pytest.fixture\ndef thing_{n}():\n    MADE_{n}.append(object())\n    yield 1\n",
        "def test_{n}(thing_{n}):\n    assert thing_{n} == 1",
    ),
}
#: What the other tests are.
FLAT = (
    "def test_{n}():\n    assert {n} + 1 > {n}",
    "def test_{n}():\n    assert sorted([3, 1, {n}])[0] in (1, {n})",
    "def test_{n}():\n    assert '{n}'.isdigit()",
    "class Test{n}:\n    def test_it(self):\n        assert {{'a': {n}}}['a'] == {n}",
)
IN_A_FILE = 100
OF_EACH = 2


def write(folder: Path, tests: int) -> dict[str, str]:
    """The suite; leaky tests by node id, with what they leak."""
    planted: dict[str, str] = {}
    leaks = [(kind, source) for _ in range(OF_EACH) for kind, source in LEAKS.items()]
    # Spread evenly, at no multiple of the file's length.
    places = {int((index + 0.37) * tests / len(leaks)): entry for index, entry in enumerate(leaks)}
    for first in range(0, tests, IN_A_FILE):
        head, body = [], []
        for number in range(first, min(first + IN_A_FILE, tests)):
            if number in places:
                kind, (above, test) = places[number]
                head.append(above.format(n=number))
                body.append(test.format(n=number))
                planted[f"test_{first:05}.py::test_{number}"] = kind
            else:
                body.append(FLAT[number % len(FLAT)].format(n=number))
        (folder / f"test_{first:05}.py").write_text("\n".join(head + body) + "\n")
    return planted


def run(folder: Path, *arguments: str) -> float:
    """CPU seconds of one session and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    environment.pop("DETECT_MEMORY_LEAKS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("--tests", type=int, default=8000)
    asked.add_argument("--runs", type=int, default=3, help="runs in a row that may find a leak")
    asked.add_argument("--pairs", type=int, default=3, help="pairs that the ratio is the median of")
    asked.add_argument("--json", action="store_true", help="print one JSON document")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = write(folder, given.tests)
        (folder / "pytest.ini").write_text("[pytest]\n")
        run(folder)
        same, ratios, found_by_run = [], [], []
        found: set[str] = set()
        wrong: set[str] = set()
        for number in range(max(given.runs, given.pairs)):
            plain = run(folder)
            leaks = run(folder, "--detect-leaks", "--leak-mode=rate", "--leak-json=leaks.json")
            again = run(folder)
            ratios.append(leaks / ((plain + again) / 2))
            same.append(again / plain)
            if number < given.runs:
                told = json.loads((folder / "leaks.json").read_text())["tests"]
                named = {test["nodeid"] for test in told if test.get("verdict") == "leak"}
                found |= named & set(planted)
                wrong |= named - set(planted)
                found_by_run.append(len(found))
            print(
                f"run {number + 1}: plain {plain:.2f} s, with --detect-leaks {leaks:.2f} s, ratio {ratios[-1]:.2f} "
                f"(plain beside plain {same[-1]:.2f}), found {len(found)} of {len(planted)}, wrong {len(wrong)}",
                file=sys.stderr,
            )
    document = {
        "python": sys.version.split()[0],
        "tests": given.tests,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_plain": round(statistics.median(same), 3),
        "planted": len(planted),
        "found_after_run": found_by_run,
        "missed": sorted(f"{nodeid}: {kind}" for nodeid, kind in planted.items() if nodeid not in found),
        "wrong": sorted(wrong),
    }
    if given.json:
        print(json.dumps(document, indent=1))
    else:
        print(
            f"Python {document['python']}, {given.tests} tests: ratio {document['ratio']} "
            f"(plain beside plain {document['ratio_of_plain']}); leaks found after each run: "
            f"{', '.join(map(str, found_by_run))} of {len(planted)}; wrong: {len(wrong)}"
        )
        for line in document["missed"]:
            print(f"  missed {line}")


if __name__ == "__main__":
    main()
