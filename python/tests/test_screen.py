"""A suite that cannot afford to measure each test: glances, what carries over from run to run, and the budget."""

import json

import pytest

SUITE = """
    import itertools
    KEPT, ROWS, NEXT, CACHE, TEXTS = [], [], itertools.count(), {}, {}
    def test_flat(): assert sorted([2, 1]) == [1, 2]
    def test_leaky(): KEPT.append(object())
    def test_fills(): CACHE.setdefault(next(NEXT) % 20, object())
    def test_pointers(): ROWS.append(None)
    def test_text(): TEXTS[len(TEXTS)] = str(len(TEXTS)) * 100
"""


@pytest.fixture
def run(session, pytester):
    """One run of a suite that keeps pytest's cache; what was said of each test, by name."""

    def run(source, *arguments):
        arguments = ("-p", "cacheprovider", "--detect-leaks", "--leak-mode=rate", "--leak-json=leaks.json", *arguments)
        result = session(source, *arguments)
        told = json.loads((pytester.path / "leaks.json").read_text())["tests"]
        return result, {test["nodeid"].split("::")[1]: test for test in told}

    return run


def kept(pytester):
    """What the next run begins with."""
    return json.loads((pytester.path / ".pytest_cache" / "v" / "plimsoll" / "screen").read_text())


def test_a_glance_clears_what_is_flat_and_the_rest_is_measured(run):
    result, told = run(SUITE, "--leak-budget=60s")
    verdicts = {name: test["verdict"] for name, test in told.items()}
    leaks = {"test_leaky", "test_pointers", "test_text"}
    assert verdicts == {name: "leak" if name in leaks else "no leak" for name in told}
    result.assert_outcomes(passed=2, failed=3)
    assert told["test_flat"]["operations"] < 400 < told["test_leaky"]["operations"]
    assert told["test_leaky"]["culprit"]["holder"] == "test_it.KEPT (list)"


def test_leaks_and_their_culprits_carry_over(run, pytester):
    run(SUITE, "--leak-budget=60s")
    assert sorted(kept(pytester)["leaks"]) == [f"test_it.py::test_{name}" for name in ("leaky", "pointers", "text")]
    _, told = run(SUITE, "--leak-budget=60s")
    assert told["test_leaky"]["verdict"] == "leak"
    assert told["test_leaky"]["culprit"]["holder"] == "test_it.KEPT (list)"
    assert "named in an earlier run" in told["test_leaky"]["reason"]


def test_what_there_was_no_time_for_waits_and_is_said(run, pytester):
    run(SUITE, "--leak-budget=60s")
    # Known leaks, and no time at all: they are told as waiting, and are not forgotten.
    result, told = run(SUITE, "--leak-budget=0.001ms")
    assert not any("verdict" in test for test in told.values())
    # Whatever else stands out by its counters may wait too.
    waiting = {name for name, test in told.items() if test.get("waiting")}
    assert waiting >= {"test_leaky", "test_pointers", "test_text"}
    result.stdout.fnmatch_lines([f"{len(waiting)} suspected, and left to the next run: *"])
    assert len(kept(pytester)["waiting"]) == len(waiting)
    _, told = run(SUITE, "--leak-budget=60s")
    assert told["test_leaky"]["verdict"] == "leak"


def test_a_foreign_cache_is_no_error(run, pytester):
    folder = pytester.path / ".pytest_cache" / "v" / "plimsoll"
    folder.mkdir(parents=True)
    (folder / "screen").write_text('{"run": 3, "waiting": 7}')
    result, told = run("def test_flat(): pass", "--leak-budget=60s")
    result.assert_outcomes(passed=1)
    assert told["test_flat"]["verdict"] == "no leak"


def test_workers_leave_the_same_for_the_next_run(run, pytester):
    pytest.importorskip("xdist")
    run(SUITE, "--leak-budget=60s", "-n", "2")
    assert "test_it.py::test_leaky" in kept(pytester)["leaks"]
