"""Runs the test suites of well-known pure-Python packages with `--detect-leaks`, and tells every leak that is reported.

    python python/bench/packages.py [--into target/packages] [NAME...]

Each source distribution is fetched from PyPI and installed with what its tests need into a virtual environment of its
own. The suite is run plain and then with the option; tests that fail plainly are no business of ours, tests that pass
plainly and fail with the option are. Whether a leak is real is for a reader to say: holder and line are printed, and
what was found out about each stands in `LEAKS` below. Exits with 1 if a leak is reported that is not explained there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

#: Version, what its tests need, and where they are.
PACKAGES = {
    "attrs": ("25.3.0", ["hypothesis", "cloudpickle"], "tests"),
    "click": ("8.2.1", [], "tests"),
    "itsdangerous": ("2.2.0", ["freezegun"], "tests"),
    "jinja2": ("3.1.6", ["trio"], "tests"),
    "more-itertools": ("10.7.0", [], "tests"),
    "packaging": ("25.0", ["pretend"], "tests"),
    "pluggy": ("1.6.0", [], "testing"),
    "toolz": ("1.0.0", [], "toolz"),
    "markupsafe": ("3.0.2", [], "tests"),
    "werkzeug": ("3.1.3", ["ephemeral-port-reserve", "cffi", "cryptography", "watchdog"], "tests"),
}
#: What was found out about leaks that are reported: a pattern of the test's name and its holder, and why it is right.
LEAKS: dict[str, list[tuple[str, str]]] = {
    "click": [
        (
            r" closure cell `cache` of click\._compat\._make_cached_stream_func",
            "real: each echo to a new stream stays in click's cache of streams, a WeakKeyDictionary whose values are "
            "their keys (100 invocations leave 100 `_NamedTextIOWrapper` alive)",
        )
    ],
    "jinja2": [
        (
            r"TestModuleLoader::test_\w+ .*(_rewrite_cache|_importer_cache|_directory_cache)",
            "real, of pytest and of the library, not of jinja2: a `ModuleLoader` imports from a package named by its "
            "`id` and from an archive that each test makes anew, so that pytest's import hook keeps the names (170 in "
            "100 runs), `sys.path_importer_cache` and `zipimport._zip_directory_cache` each archive (100 in 100)",
        )
    ],
    "toolz": [
        (
            "test_inspect_wrapped_property",
            "real: each call with a new class stays in `toolz._signatures.signatures`, a dict that nothing empties",
        )
    ],
}
HERE = Path(__file__).resolve().parent


def fetch(name: str, version: str, folder: Path) -> Path:
    """The unpacked source distribution."""
    spelled = re.compile(re.escape(name).replace(r"\-", "[-_]"), re.IGNORECASE)
    if not list(folder.glob("*.tar.gz")):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name]
        subprocess.run([*command, f"{name}=={version}", "-d", str(folder)], check=True)
        archive = next(folder.glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(folder)
    return next(entry for entry in folder.iterdir() if entry.is_dir() and spelled.match(entry.name))


def environment(folder: Path, source: Path, needs: list[str]) -> Path:
    """The interpreter of a virtual environment that has the package, its needs and this plugin."""
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, str(source), "-e", str(HERE.parent), "pytest>=8,<9", *needs], check=True)
        (folder / "done").touch()
    return python


def run(python: Path, source: Path, tests: str, *arguments: str) -> tuple[dict[str, str], float, str]:
    """Outcomes by test, seconds, and what was printed."""
    begun = time.monotonic()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "DETECT_"))}
    options = ["-q", "-p", "no:cacheprovider", "-rA", "--tb=line", "-W", "default"]
    done = subprocess.run(
        [str(python), "-m", "pytest", tests, *options, *arguments],
        cwd=source,
        env=kept,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3600,
    )
    outcomes = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S+::.*?)(?: - .*)?$", line)
        if match:
            outcomes[match.group(2)] = match.group(1)
    return outcomes, time.monotonic() - begun, done.stdout + done.stderr


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(PACKAGES)} (all)")
    asked.add_argument("--into", default="target/packages", help="where sources and environments are kept")
    asked.add_argument("--budget", default="none", help="--leak-budget of the runs: none judges every test")
    given = asked.parse_args()
    into = Path(given.into).resolve()
    unexplained = changed = 0
    for name in given.names or PACKAGES:
        version, needs, tests = PACKAGES[name]
        source = fetch(name, version, into / f"{name}-{version}")
        python = environment(into / f"{name}-{version}-env", source, needs)
        told = into / f"{name}.json"
        told.unlink(missing_ok=True)
        plain, plain_s, said = run(python, source, tests)
        if not plain:
            print(f"{name} {version}: no test ran\n{said[-2000:]}")
            return 2
        arguments = ("--detect-leaks", "--leak-mode=rate", f"--leak-budget={given.budget}", f"--leak-json={told}")
        checked, checked_s, said = run(python, source, tests, *arguments)
        (into / f"{name}.log").write_text(said)
        verdicts = {test["nodeid"]: test for test in json.loads(told.read_text())["tests"]}
        counts: dict[str, int] = {}
        for test in verdicts.values():
            outcome = str(test.get("verdict", "skipped" if test.get("skipped") else "screened"))
            counts[outcome] = counts.get(outcome, 0) + 1
        listed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        print(f"{name} {version}: {len(plain)} tests, {plain_s:.0f} s plain, {checked_s:.0f} s with: {listed}")
        leaks = {nodeid for nodeid, test in verdicts.items() if test.get("verdict") == "leak"}
        for nodeid in sorted(leaks):
            test = verdicts[nodeid]
            culprit = test.get("culprit") or {}
            named = f"{nodeid} {culprit.get('holder')}"
            why = next((why for part, why in LEAKS.get(name, []) if re.search(part, named)), None)
            unexplained += why is None
            rate = test.get("rate_bytes_per_op")
            holder = culprit.get("holder") or test.get("reason")
            grows = f"{rate:.0f} B" if rate is not None else str(test.get("counts_per_op"))
            print(f"  leak {nodeid}: +{grows} a run over {test['operations']}, {holder} "
                  f"at {culprit.get('added')} / {culprit.get('site')}: {why or 'NOT EXPLAINED'}")  # fmt: skip
        for nodeid, outcome in plain.items():
            now = checked.get(nodeid)
            if outcome == "PASSED" and now != "PASSED" and nodeid not in leaks:
                changed += 1
                print(f"  {nodeid} passed plainly and now: {now}")
        sys.stdout.flush()
    print(f"leaks not explained: {unexplained}; outcomes changed: {changed}")
    return 1 if unexplained or changed else 0


if __name__ == "__main__":
    sys.exit(main())
