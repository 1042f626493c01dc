"""Options, variable, marker and messages of the interface, to the letter."""

import json
import re
from xml.etree import ElementTree

import pytest

from plimsoll import Culprit, Verdict
from plimsoll._report import failure, long_message, short_message

MIB = 1024 * 1024

LEAKY = """
    KEPT = []
    def test_example():
        KEPT.append("x" * 1000 + str(len(KEPT)))
    def test_flat():
        assert sum(range(10)) == 45
"""


def a_leak(**changes):
    """A verdict as the measurement makes it."""
    values = {
        "outcome": "leak",
        "operations": 1603,
        "bytes_per_op": 5517.0,
        "low": 5500.0,
        "high": 5530.0,
        "observed_bytes": 8.42 * MIB,
        "observed_operations": 1600,
        "culprit": Culprit(
            kind="str",
            holder="store.KEPT (list)",
            site="/path/to/file.py:123",
            pattern="global reference",
            entries_per_op=1.0,
            allocations=(
                (3.24 * MIB / 1600, "/path/to/file.py:123"),
                (2.15 * MIB / 1600, "/path/to/file.py:456"),
                (1.89 * MIB / 1600, "/path/to/file.py:789"),
            ),
        ),
    }
    return Verdict(**{**values, **changes})


def test_short_message_is_the_interface_then_ours():
    verdict = a_leak()
    found = failure(verdict, 5 * MIB, "threshold")
    assert "\n".join(short_message(verdict, found, 5 * MIB)) == (
        "Memory leak detected: 8.42 MB growth (threshold: 5.00 MB).\n"
        "Run with --leak-report for details.\n"
        "leak: +5.39 KiB per run (95 % CI 5.37 KiB … 5.4 KiB), 1,603 repetitions\n"
        "growth: observed over 1,600 repetitions\n"
        "held by store.KEPT (list), +1 entry per run, of str; allocated at /path/to/file.py:123\n"
        "pattern: global reference"
    )


def test_long_message_is_the_interface_then_ours():
    verdict = a_leak()
    found = failure(verdict, 5 * MIB, "threshold")
    lines = long_message("tests/test_memory_stability.py::test_example", verdict, found, 5 * MIB)
    assert "\n".join(lines[:9]) == (
        "======================================================================\n"
        "MEMORY LEAK DETECTED: tests/test_memory_stability.py::test_example\n"
        "Memory growth: 8.42 MB (threshold: 5.00 MB)\n"
        "======================================================================\n"
        "\n"
        "Top 10 memory allocations:\n"
        "  +3.24 MB: /path/to/file.py:123\n"
        "  +2.15 MB: /path/to/file.py:456\n"
        "  +1.89 MB: /path/to/file.py:789"
    )
    assert lines[9:11] == ["", "leak: +5.39 KiB per run (95 % CI 5.37 KiB … 5.4 KiB), 1,603 repetitions"]


@pytest.mark.parametrize(
    ("changes", "mode", "why"),
    [
        ({}, "threshold", "observed over"),
        ({"observed_bytes": 1000.0}, "threshold", "projected over 100,000 runs"),
        ({"observed_bytes": 10.0, "bytes_per_op": 8.0}, "threshold", None),
        ({"observed_bytes": 10.0, "bytes_per_op": 8.0}, "rate", "any proven leak fails"),
        ({"outcome": "inconclusive"}, "rate", None),
        ({"outcome": "no leak"}, "threshold", None),
        ({"outcome": "not repeatable"}, "rate", None),
        (
            {"bytes_per_op": None, "observed_bytes": 0.0, "counts_per_op": {"descriptors": 1.0}},
            "threshold",
            "open files",
        ),
    ],
)
def test_what_fails_a_test_is_said(changes, mode, why):
    found = failure(a_leak(**changes), 5 * MIB, mode)
    assert (found is None) if why is None else (why in found.why)


def test_the_option_fails_the_leaky_test_only(session):
    result = session(LEAKY, "--detect-leaks")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [
            r"Memory leak detected: \d+\.\d\d MB growth \(threshold: 5\.00 MB\)\.",
            r"Run with --leak-report for details\.",
            r"leak: \+1\.0\d KiB per run \(95 % CI .*\), [\d,]+ repetitions",
            r"growth: .*",
            r"held by test_it\.KEPT \(list\), \+1 entry per run, of str; added at .*test_it\.py:3",
        ]
    )


def test_the_report_block(session):
    result = session(LEAKY, "--detect-leaks", "--leak-report")
    text = result.stdout.str()
    block = re.search(
        r"^={70}\nMEMORY LEAK DETECTED: test_it\.py::test_example\nMemory growth: (\d+\.\d\d) MB "
        r"\(threshold: 5\.00 MB\)\n={70}\n\nTop 10 memory allocations:\n  \+(\d+\.\d\d) MB: (\S+):3\n",
        text,
        re.MULTILINE,
    )
    assert block, text
    growth, top = float(block.group(1)), float(block.group(2))
    assert top == pytest.approx(growth, rel=0.1)
    assert block.group(3).endswith("test_it.py")


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("true", True), ("yes", True), ("YES", True), ("0", False), ("", False), ("on", False)],
)
def test_the_variable(session, monkeypatch, value, on):
    monkeypatch.setenv("DETECT_MEMORY_LEAKS", value)
    result = session("def test_flat(): pass")
    assert ("memory leaks" in result.stdout.str()) is on


def test_without_the_option_nothing_happens(session):
    result = session(LEAKY)
    result.assert_outcomes(passed=2)
    assert "memory leaks" not in result.stdout.str()


def test_the_threshold_is_read_as_a_number(session):
    result = session(LEAKY, "--detect-leaks", "--leak-threshold-mb=10000")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 judged (1 leak, 1 no leak), 0 screened only, 0 skipped"])
    assert session(LEAKY, "--detect-leaks", "--leak-threshold-mb=x").ret == 4


def test_the_marker_skips(session):
    source = """
    import pytest
    KEPT = []
    @pytest.mark.skip_leak_detection
    def test_large_data_structure():
        KEPT.append([0] * 1000)
    """
    result = session(source, "--detect-leaks", "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["0 judged, 0 screened only, 1 skipped"])


def test_kinds_modes_and_markers_of_our_own(session, pytester):
    source = """
    import pytest
    KEPT = []
    def leak():
        KEPT.append(object())
    def test_small():
        leak()
    @pytest.mark.leak_check(mode="rate")
    def test_rate():
        leak()
    @pytest.mark.leak_check("unit")
    def test_unit():
        leak(), KEPT.append(str(len(KEPT)))
    @pytest.mark.leak_check(threshold_mb=0.01)
    def test_own():
        leak()
    @pytest.mark.unit
    def test_named():
        leak(), KEPT.append(str(len(KEPT)))
    """
    pytester.makeini("[pytest]\nmarkers = unit\nleak_thresholds = unit=1.5")
    result = session(source, "--detect-leaks")
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(["*threshold: 1.50 MB*", "*threshold: 0.01 MB*"])


def test_wrong_marker_arguments_are_named(session):
    source = """
    import pytest
    @pytest.mark.leak_check(treshold=3)
    def test_it():
        pass
    """
    result = session(source, "--detect-leaks")
    assert "leak_check takes kind, threshold_mb, mode and cpu_s" in result.stdout.str()


def test_json_and_junit(session, pytester):
    session(LEAKY, "--detect-leaks", "--leak-json=leaks.json", "--junitxml=junit.xml")
    document = json.loads((pytester.path / "leaks.json").read_text())
    assert document["schema"] == "plimsoll.pytest/1"
    leaky, flat = document["tests"]
    assert (leaky["verdict"], flat["verdict"]) == ("leak", "no leak")
    assert leaky["rate_ci_low"] < leaky["rate_bytes_per_op"] < leaky["rate_ci_high"]
    assert leaky["culprit"]["holder"] == "test_it.KEPT (list)"
    assert flat["would_have_seen_bytes_per_op"] < 10
    cases = {c.get("name"): c for c in ElementTree.parse(pytester.path / "junit.xml").iter("testcase")}
    properties = {p.get("name"): p.get("value") for p in cases["test_example"].iter("property")}
    assert properties["plimsoll.verdict"] == "leak"
    assert properties["plimsoll.holder"] == "test_it.KEPT (list)"


def test_without_a_judge_it_is_inconclusive_and_named(session, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_BINARY", "/nowhere/plimsoll")
    result = session(LEAKY, "--detect-leaks")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "2 judged (1 no leak, 1 inconclusive), 0 screened only, 0 skipped",
            "test_it.py::test_example: inconclusive: PLIMSOLL_BINARY names /nowhere/plimsoll, which is no program*",
        ]
    )
