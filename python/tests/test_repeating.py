"""Repetition is faithful: fixtures, classes, event loops, workers, plugins; and it does not grow by itself."""

import json
import re
import subprocess
import sys

import pytest

from plimsoll._counters import forget_lookups


@pytest.fixture(scope="module")
def verdicts_on(tmp_path_factory):
    """Verdicts by case, all cases of a table judged in one session, each a file of its own."""
    known = {}

    def run(cases):
        if id(cases) in known:
            return known[id(cases)]
        folder = tmp_path_factory.mktemp("cases")
        names = {f"test_{re.sub('[^a-z]', '_', name)}.py": name for name in cases}
        for file, name in names.items():
            (folder / file).write_text(cases[name] + "\n")
        arguments = ["--detect-leaks", "--leak-threshold-mb=10000", "--leak-json=leaks.json"]
        arguments += ["-p", "no:cacheprovider", "-p", "no:django"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-W", "ignore", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1), done.stdout
        found = {}
        for test in json.loads((folder / "leaks.json").read_text())["tests"]:
            found.setdefault(names[test["nodeid"].split("::")[0]], []).append(test["verdict"])
        known[id(cases)] = found
        return found

    return run


def verdicts(result):
    """The line that counts."""
    return next(line for line in result.stdout.lines if " judged" in line)


def test_function_fixtures_are_renewed_and_wider_ones_kept(session):
    source = """
    import pytest
    made = {"function": 0, "module": 0, "torn": 0}
    @pytest.fixture(scope="module")
    def wide():
        made["module"] += 1
        yield object()
        made["torn"] += 1
    @pytest.fixture
    def narrow(wide):
        made["function"] += 1
        value = []
        yield value
        assert value == [1]
    def test_it(narrow, wide):
        assert narrow == []
        narrow.append(1)
    def test_after(wide):
        assert made["function"] > 12
        assert made["module"] == 1
        assert made["torn"] == 0
    """
    result = session(source, "--detect-leaks")
    result.assert_outcomes(passed=2)
    assert verdicts(result) == "2 judged (2 no leak), 0 screened only, 0 skipped"


FLAT = {
    "tmp_path": "def test_it(tmp_path): (tmp_path / 'a').write_text('x')",
    "monkeypatch": "def test_it(monkeypatch): monkeypatch.setenv('A', '1')",
    "capsys": "def test_it(capsys):\n    print('hi')\n    assert capsys.readouterr().out == 'hi\\n'",
    "capfd": "def test_it(capfd):\n    print('hi')\n    assert capfd.readouterr().out == 'hi\\n'",
    "prints": "def test_it(): print('x' * 10000)",
    "warns": "import warnings\ndef test_it(): warnings.warn('careful')",
    "logs": "import logging\ndef test_it(): logging.getLogger('a').warning('b')",
    "caplog": "import logging\ndef test_it(caplog):\n    logging.warning('b')\n    assert caplog.records",
    "finalizer": "def test_it(request): request.addfinalizer(lambda: None)",
    "record_property": "def test_it(record_property): record_property('a', 1)",
    "recwarn": "import warnings\ndef test_it(recwarn):\n    warnings.warn('x')\n    assert len(recwarn) == 1",
    "unittest": "import unittest\nclass TestIt(unittest.TestCase):\n    def test_it(self): self.assertTrue(self)",
    "xunit": "class TestIt:\n    def setup_method(self): self.x = 1\n    def test_it(self): assert self.x == 1",
    "class": "class TestIt:\n    def test_it(self):\n        self.x = [self]\n        assert self.x",
    "asyncio": "import pytest, asyncio\n@pytest.mark.asyncio\nasync def test_it(): await asyncio.sleep(0)",
    "anyio": "import pytest, anyio\n@pytest.mark.anyio\nasync def test_it(): await anyio.sleep(0)\n"
    "@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
    "parametrised": "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n): [0] * n",
    "subprocess": "import subprocess, sys\ndef test_it(): subprocess.run(['true'], check=True)",
    "cycles": "def test_it():\n    a = []\n    a.append(a)",
    "thread": "import threading\ndef test_it():\n    t = threading.Thread(target=int)\n    t.start()\n    t.join()",
    "imports": "import sys\ndef test_it():\n    sys.modules.pop('json.tool', None)\n    import json.tool",
    "doctest-like exception": "import pytest\ndef test_it():\n    with pytest.raises(KeyError): {}['a']",
}


@pytest.mark.parametrize("name", FLAT)
def test_repetition_itself_does_not_grow(verdicts_on, name):
    found = verdicts_on(FLAT)[name]
    assert found and set(found) == {"no leak"}


def test_names_that_were_looked_up_once_are_let_go_of():
    for name in [f"visit_{number:05}" for number in range(3_000)]:
        getattr(str, name, None)
    kept = sys.getallocatedblocks()
    forget_lookups()
    assert sys.getallocatedblocks() < kept - 500


LEAKY = {
    "unittest": "import unittest\nclass TestIt(unittest.TestCase):\n    kept = []\n"
    "    def test_it(self): self.kept.append(object())",
    "class": "class TestIt:\n    kept = []\n    def test_it(self): self.kept.append(self)",
    "asyncio": "import pytest, asyncio\nKEPT = []\n@pytest.mark.asyncio\nasync def test_it(): KEPT.append([0] * 50)",
    "anyio": "import pytest\nKEPT = []\n@pytest.mark.anyio\nasync def test_it(): KEPT.append([0] * 50)\n"
    "@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
    "fixture": "import pytest\nKEPT = []\n@pytest.fixture\ndef thing(): KEPT.append(object())\n"
    "def test_it(thing): pass",
    "module fixture": "import pytest\n@pytest.fixture(scope='module')\ndef kept(): return []\n"
    "def test_it(kept): kept.append(object())",
    "caplog": "KEPT = []\ndef test_it(caplog): KEPT.append(object())",
}


@pytest.mark.parametrize("name", LEAKY)
def test_leaks_are_found_however_the_test_is_run(verdicts_on, name):
    assert verdicts_on(LEAKY)[name] == ["leak"]


def test_a_hook_of_the_user_is_called_for_each_repetition(session):
    hook = "calls = []\ndef pytest_runtest_setup(item): calls.append(1)\ndef pytest_unconfigure(): print(len(calls))"
    source = "KEPT = []\ndef test_it(): KEPT.append('x' * 100)"
    result = session(source, "--detect-leaks", "-s", "--leak-mode=rate", conftest=hook)
    assert verdicts(result) == "1 judged (1 leak), 0 screened only, 0 skipped"
    assert int(result.stdout.lines[-1]) > 12


def test_outcomes_that_are_no_pass_are_left_alone(session):
    source = """
    import pytest
    def test_fails(): assert 0
    def test_skips(): pytest.skip("no")
    @pytest.mark.xfail
    def test_xfails(): assert 0
    @pytest.fixture
    def broken(): raise RuntimeError("fixture")
    def test_errors(broken): pass
    @pytest.fixture
    def late():
        yield
        raise RuntimeError("late")
    def test_tears_down_badly(late): pass
    """
    plain = session(source).parseoutcomes()
    watched = session(source, "--detect-leaks")
    assert watched.parseoutcomes() == plain
    watched.stdout.fnmatch_lines(
        ["*test_tears_down_badly: not repeatable: its own teardown failed: RuntimeError: late*"]
    )


def test_what_cannot_be_repeated_is_said_and_no_failure(session):
    source = """
    import os, pytest
    done = []
    def test_once():
        assert not done
        done.append(1)
    def test_skips_later():
        if len(done) > 1: pytest.skip("enough")
        done.append(1)
    def test_exits_later():
        done.append(1)
        if len(done) > 6: raise SystemExit(3)
    """
    result = session(source, "--detect-leaks")
    result.assert_outcomes(passed=3)
    assert "not repeatable" in verdicts(result)
    result.stdout.fnmatch_lines(["*test_once: not repeatable: a repetition failed: AssertionError*"])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_workers_give_the_same_verdicts(session, pytester, workers):
    pytest.importorskip("xdist")
    source = """
    KEPT = []
    def test_leaky(): KEPT.append("x" * 100 + str(len(KEPT)))
    def test_flat(): pass
    def test_tmp(tmp_path): pass
    """
    result = session(source, "--detect-leaks", "-n", workers)
    result.assert_outcomes(passed=2, failed=1)
    assert verdicts(result) == "3 judged (1 leak, 2 no leak), 0 screened only, 0 skipped"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("pytest_rerunfailures", ("--reruns", "2")), ("pytest_cov", ("--cov=.",)), ("pytest_timeout", ("--timeout=30",))],
)
def test_beside_other_plugins(session, module, arguments):
    pytest.importorskip(module)
    source = """
    KEPT = []
    def test_leaky(): KEPT.append("x" * 100 + str(len(KEPT)))
    def test_flat(): pass
    """
    result = session(source, "--detect-leaks", *arguments)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (1, 1)
    assert "KEPT (list)" in result.stdout.str()


def test_database_transactions_of_a_framework(session):
    pytest.importorskip("pytest_django")
    settings = """
    SECRET_KEY, USE_TZ = "x", True
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    """
    source = """
    import pytest
    from django.contrib.auth.models import Group
    KEPT = []
    @pytest.mark.django_db
    def test_rolled_back():
        assert Group.objects.count() == 0
        Group.objects.create(name="a")
    @pytest.mark.django_db
    def test_leaky():
        assert Group.objects.count() == 0
        KEPT.append([Group.objects.create(name="a")] * 100)
    """
    result = session(source, "--detect-leaks", "--leak-mode=rate", "--ds=settings_here", settings_here=settings)
    result.assert_outcomes(passed=1, failed=1)
    assert "held by test_it.KEPT (list)" in result.stdout.str()


def test_an_application_of_the_whole_session_is_kept(session):
    source = """
    import pytest
    class App:
        made = 0
        def __init__(self):
            App.made += 1
            self.requests = []
    @pytest.fixture(scope="session")
    def app():
        yield App()
    @pytest.fixture
    def client(app):
        return lambda path: app.requests.append(path + "?" * 100 + str(len(app.requests)))
    def test_leaky(client):
        client("/")
    def test_fixed(app):
        assert App.made == 1
        app.requests.clear()
    """
    result = session(source, "--detect-leaks", "--leak-mode=rate")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*held by fixture `app` (session scope)*(list), +1 entry per run*"])


def test_a_repetition_that_hangs_is_ended_by_the_timeout(session):
    pytest.importorskip("pytest_timeout")
    source = """
    import time
    done = []
    def test_it():
        done.append(1)
        if len(done) > 5: time.sleep(600)
    """
    result = session(source, "--detect-leaks", "--timeout=2", "--timeout-method=signal")
    outcomes = result.parseoutcomes()
    assert outcomes.get("passed", 0) + outcomes.get("failed", 0) == 1
    assert "repetition failed: Failed: Timeout" in result.stdout.str()


def test_another_interpreter_is_told_and_tests_still_run(session):
    conftest = "import plimsoll._pytest as p\np.implementation_gap = lambda: 'pypy is not supported: why'"
    result = session("def test_it(): pass", "--detect-leaks", "-W", "default", conftest=conftest)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*--detect-leaks does nothing: pypy is not supported: why"])


def test_uncaptured_output_is_not_multiplied(session):
    result = session("def test_it(): print('once only')", "--detect-leaks", "-s")
    assert result.stdout.str().count("once only") == 1


FAULTS = {
    "environment": "import os\ndef test_it(): os.environ['A'] = os.environ.get('A', '') [:5] + 'x'",
    "forks": "import os\ndef test_it():\n    pid = os.fork()\n    if not pid: os._exit(0)\n    os.waitpid(pid, 0)",
    "allocates": "def test_it(): bytearray(400_000_000)",
    "opens 10,000 files": "import contextlib\ndef test_it():\n    with contextlib.ExitStack() as s:\n"
    "        for _ in range(10000): s.enter_context(open('/dev/null'))",
    "background threads": "import threading, pytest\n@pytest.fixture(scope='module', autouse=True)\ndef busy():\n"
    "    stop = threading.Event()\n    t = threading.Thread(target=lambda: stop.wait())\n    t.start()\n    yield\n"
    "    stop.set()\n    t.join()\ndef test_it(): pass",
    "frozen": "import gc\ngc.collect(); gc.freeze()\ndef test_it(): pass",
    "own tracemalloc": "import tracemalloc\ndef test_it():\n    tracemalloc.start()\n    tracemalloc.stop()",
    "collector off": "import gc\ngc.disable()\ndef test_it():\n    a = []\n    a.append(a)",
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_tests_change_no_outcome(session, name):
    if name == "opens 10,000 files":
        import resource

        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 10_100:
            pytest.skip("may not open 10,000 files here")
    result = session(FAULTS[name], "--detect-leaks")
    result.assert_outcomes(passed=1)
    assert "judged" in verdicts(result)
    assert "(1 no leak)" in verdicts(result) or "inconclusive" in verdicts(result)


def test_a_leak_of_memory_by_the_megabyte_is_stopped_in_time(session):
    result = session("KEPT = []\ndef test_it(): KEPT.append(bytearray(20_000_000))", "--detect-leaks")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*repetition stopped: it had added 256 MiB*"])


def test_a_read_only_directory(session, pytester):
    result = session("def test_it(): pass", "--detect-leaks", "--leak-json=/proc/leaks.json")
    result.assert_outcomes(passed=1)
