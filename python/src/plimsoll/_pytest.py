"""The pytest plugin: `pytest --detect-leaks`.

Without the option it registers options and markers and does nothing else. With it each test that passed is repeated
before its wider fixtures go, judged, and failed in its call phase if the verdict is a leak that passes the threshold.
Repetitions run outside pytest's capture, log and warning hooks, whose records would grow with every run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import warnings
from dataclasses import replace
from typing import Any, Dict, Generator, Iterator, List, Optional, Set, Tuple

import pytest

from . import _screen
from ._counters import implementation_gap
from ._judge import session_judge
from ._judging import glance_at, prepare, verdict_on
from ._repeat import Repetition
from ._report import failure, long_message, short_message
from ._rounds import Limits, NotRepeatable, freezer
from ._verdict import INCONCLUSIVE, LEAK, MIB, NOT_REPEATABLE, Verdict, describe

_ENVIRONMENT = "DETECT_MEMORY_LEAKS"
_KINDS = {"unit": 2.0, "integration": 10.0, "long": 50.0}
_PLUGIN = "plimsoll-session"
_NAMED_BEFORE = "the culprit was named in an earlier run"
_NOT_NAMED = "the budget left no time to name the culprit: judge this test alone, or raise --leak-budget"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the interface, and ours."""
    group = parser.getgroup("plimsoll", "memory leaks")
    group.addoption("--detect-leaks", action="store_true", default=False, help="Enable memory leak detection")
    group.addoption(
        "--leak-threshold-mb",
        type=float,
        default=5.0,
        metavar="MB",
        help="Memory growth threshold in MB (default: 5.0)",
    )
    group.addoption(
        "--leak-report",
        action="store_true",
        default=False,
        help="Generate detailed allocation report on failure",
    )
    group.addoption(
        "--leak-mode",
        choices=("threshold", "rate"),
        default="threshold",
        help="threshold: a proven leak fails when observed or projected growth passes the threshold (default); "
        "rate: any proven leak fails",
    )
    group.addoption("--leak-json", metavar="PATH", default=None, help="Write the verdict on every test to PATH")
    group.addoption(
        "--leak-budget",
        metavar="TIME",
        default=None,
        help="Time for repetition: 10m, 90s, 50%% of the suite's time, or none for no limit "
        "(default: no limit up to 200 tests, 50%% beyond)",
    )
    group.addoption(
        "--leak-changed",
        metavar="REF",
        default=None,
        help="Judge tests in files that changed since the git revision REF first",
    )
    parser.addini(
        "leak_thresholds",
        type="args",
        default=[],
        help="MB by kind of test, e.g. unit=2 integration=10 long=50",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers; and, if asked for, what does the work."""
    config.addinivalue_line("markers", "skip_leak_detection: do not repeat this test to look for memory leaks")
    config.addinivalue_line(
        "markers",
        "leak_check(kind=None, threshold_mb=None, mode=None, cpu_s=None): how this test is judged for memory leaks; "
        "kind is unit, integration or long",
    )
    asked = os.environ.get(_ENVIRONMENT, "").strip().lower() in ("1", "true", "yes")
    if asked or config.getoption("--detect-leaks"):
        gap = implementation_gap()
        if gap is not None:
            config.issue_config_time_warning(pytest.PytestWarning(f"--detect-leaks does nothing: {gap}"), 2)
            return
        config.pluginmanager.register(_Leaks(config), _PLUGIN)


def _thresholds(config: pytest.Config) -> Dict[str, float]:
    found = dict(_KINDS)
    for entry in config.getini("leak_thresholds"):
        kind, equals, text = entry.partition("=")
        try:
            found[kind] = float(text)
        except ValueError:
            equals = ""
        if not equals or found[kind] < 0:
            raise pytest.UsageError(f"leak_thresholds: {entry!r} is not KIND=MB, for example unit=2")
    return found


class _Terms:
    """How one test is judged."""

    def __init__(self, item: pytest.Item, kinds: Dict[str, float]) -> None:
        config = item.config
        megabytes = float(config.getoption("--leak-threshold-mb"))
        self.mode = str(config.getoption("--leak-mode"))
        for name, limit in kinds.items():
            if item.get_closest_marker(name) is not None:
                megabytes = limit
        marker = item.get_closest_marker("leak_check")
        self.marked = marker is not None
        self.limits = Limits()
        if marker is not None:
            given = dict(marker.kwargs)
            if marker.args:
                given.setdefault("kind", marker.args[0])
            unknown = set(given) - {"kind", "threshold_mb", "mode", "cpu_s"}
            if unknown or len(marker.args) > 1:
                raise pytest.UsageError(f"{item.nodeid}: leak_check takes kind, threshold_mb, mode and cpu_s")
            kind = str(given["kind"]) if given.get("kind") is not None else None
            if kind is not None and kind not in kinds:
                raise pytest.UsageError(f"{item.nodeid}: leak_check knows no kind {kind!r}: {', '.join(kinds)}")
            megabytes = kinds.get(kind or "", megabytes)
            if given.get("threshold_mb") is not None:
                megabytes = float(given["threshold_mb"])
            self.mode = str(given.get("mode") or self.mode)
            if self.mode not in ("threshold", "rate"):
                raise pytest.UsageError(f"{item.nodeid}: leak_check knows no mode {self.mode!r}: threshold, rate")
            if given.get("cpu_s") is not None:
                seconds = float(given["cpu_s"])
                patient = min(seconds, self.limits.patient_cpu_s)
                self.limits = Limits(cpu_s=seconds, patient_cpu_s=patient, wall_s=10 * seconds)
        self.threshold_bytes = megabytes * MIB
        timeout = _timeout(item)
        if timeout is not None:
            # What repetition may take of the time that somebody else watches.
            self.limits = Limits(
                cpu_s=min(self.limits.cpu_s, timeout / 3),
                patient_cpu_s=min(self.limits.patient_cpu_s, timeout / 6),
                wall_s=timeout / 3,
            )


def _timeout(item: pytest.Item) -> Optional[float]:
    """Seconds that a timeout plugin gives this test, if one does."""
    marker = item.get_closest_marker("timeout")
    value: Any = None
    if marker is not None:
        value = marker.args[0] if marker.args else marker.kwargs.get("timeout")
    if value is None:
        value = getattr(item.config.option, "timeout", None)
    try:
        return float(value) if value else None
    except (TypeError, ValueError):
        return None


class _Null(io.TextIOBase):
    """Takes output and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


class _Quiet:
    """Where output and warnings of repetitions go: nowhere, and in no list that grows."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._captures = self._capture is not None and self._capture.is_globally_capturing()
        self._null = _Null()

    def drop(self) -> None:
        """Empties what capture has kept so far; it would grow with every repetition."""
        if self._captures:
            self._capture.read_global_capture()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with warnings.catch_warnings():
            # Filters stay, so that a warning that is an error still is; the record of pytest is left alone.
            warnings.showwarning = _ignore_warning
            if self._captures:
                self._capture.resume_global_capture()
                try:
                    yield
                finally:
                    self.drop()
                    self._capture.suspend_global_capture(in_=False)
            else:
                with contextlib.redirect_stdout(self._null), contextlib.redirect_stderr(self._null):
                    yield

    @contextlib.contextmanager
    def lightly(self) -> Iterator[None]:
        """The same for what says nothing as a rule, at a hundredth of the cost: descriptors are not redirected."""
        kept = sys.stdout, sys.stderr, warnings.showwarning
        sys.stdout = sys.stderr = self._null
        warnings.showwarning = _ignore_warning
        try:
            yield
        finally:
            sys.stdout, sys.stderr, warnings.showwarning = kept


def _ignore_warning(*_: Any, **__: Any) -> None:
    return None


class _Leaks:
    """One session with leak detection on."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kinds = _thresholds(config)
        self._quiet: Optional[_Quiet] = None
        self._repeating = False
        self._late: Dict[str, BaseException] = {}
        self._verdicts: Dict[str, Verdict] = {}
        #: Tests that grew, or did before, and that there was no time to measure.
        self._waiting: Set[str] = set()
        self._results: List[Tuple[str, Dict[str, Any]]] = []
        self._missing: Optional[str] = None
        self._began = False
        self._is_worker = hasattr(config, "workerinput")
        self._screen = _screen.Screen(config)

    # -- the session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What has to be there before anything is counted."""
        if not session.items or self._config.getoption("collectonly", False):
            return
        with self._screen.spending():
            self._missing = prepare()
            freezer.hold()
            self._screen.begin(session.items)
        self._began = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Gives back what was taken."""
        if self._began:
            freezer.release()
            session_judge().stop()
        self._screen.end(self._results)
        path = self._config.getoption("--leak-json")
        if path and not self._is_worker:
            self._write_json(path)

    # -- one test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Counts what is there before the test."""
        if not self._repeating:
            self._screen.enter(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Repeats the test after its first run, and fails it for a leak."""
        if self._repeating:
            return (yield)
        self._screen.call()
        result = yield
        self._screen.leave()
        if not self._began:
            return result
        marks = {mark.name for mark in item.iter_markers()}
        if "skip_leak_detection" in marks:
            return result
        verdict = self._verdicts.get(item.nodeid)
        if verdict is None:
            verdict = self._look(item, self._screen.wants(item, marked="leak_check" in marks))
            if verdict is None:
                return result
            self._verdicts[item.nodeid] = verdict
            item.user_properties.extend(_properties(verdict))
        if not verdict.is_leak:
            return result
        terms = _Terms(item, self._kinds)
        found = failure(verdict, terms.threshold_bytes, terms.mode)
        if found is not None:
            if self._config.getoption("--leak-report"):
                message = long_message(item.nodeid, verdict, found, terms.threshold_bytes)
            else:
                message = short_message(verdict, found, terms.threshold_bytes)
            pytest.fail("\n".join(message), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Reports what the early teardown raised where it belongs."""
        if self._repeating:
            return (yield)
        try:
            result = yield
        finally:
            late = self._late.pop(item.nodeid, None)
        if late is not None:
            raise late
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """Sends the verdict along with the report: to the terminal, to JUnit, from a worker to its controller."""
        report = yield
        if call.when == "call":
            verdict = self._verdicts.get(item.nodeid)
            document: Dict[str, Any] = {"screened": True}
            if verdict is not None:
                document = verdict.to_json()
                document["text"] = describe(verdict)
            elif item.nodeid in self._waiting:
                document["waiting"] = True
            elif not report.passed or item.get_closest_marker("skip_leak_detection") is not None:
                document = {"skipped": True}
            report.plimsoll = document
        return report

    def _look(self, item: pytest.Item, how: str) -> Optional[Verdict]:
        """A glance, and measuring where that is wanted or the glance saw growth; None if neither was affordable."""
        verdict: Optional[Verdict] = None
        if how == _screen.GLANCE:
            with self._screen.spending(glances=True):
                verdict = self._judge(item, None)
            if verdict is None and self._screen.measures(item):
                how = _screen.MEASURE
            elif verdict is None:
                how = _screen.WAIT
        if how == _screen.WAIT:
            self._waiting.add(item.nodeid)
        if how == _screen.MEASURE:
            known = self._screen.culprit(item)
            explains = known is None and self._screen.explains()
            with self._screen.spending() as spent:
                verdict = self._judge(item, _Terms(item, self._kinds).limits, explains)
                spent.explains = explains and verdict is not None and verdict.culprit is not None
            if verdict is not None and verdict.is_leak and not explains:
                why = _NAMED_BEFORE if known is not None else _NOT_NAMED
                verdict = replace(verdict, culprit=known, reason="; ".join(filter(None, (verdict.reason, why))))
        return verdict

    def _judge(self, item: pytest.Item, limits: Optional[Limits], explain: bool = True) -> Optional[Verdict]:
        """Repeats within limits; without, a glance, which may be None."""
        if self._quiet is None:
            self._quiet = _Quiet(self._config)
        quiet = self._quiet
        repetition = Repetition(item)
        request, funcargs = getattr(item, "_request", None), getattr(item, "funcargs", None)
        self._repeating = True
        try:
            if limits is None and repetition.is_silent:
                try:
                    with quiet.lightly():
                        return glance_at(repetition.operation(), cpu_s=_screen.GLANCE_CPU_S)
                except Exception:
                    # Perhaps for the lack of a descriptor under its output: once more, with everything that it had.
                    pass
            with quiet():
                if repetition.way != "direct":
                    try:
                        repetition.release()
                    except BaseException as error:
                        self._late[item.nodeid] = error
                        return Verdict(NOT_REPEATABLE, f"its own teardown failed: {_said(error)}")
                operation, between = repetition.operation(), quiet.drop
                if limits is None:
                    return glance_at(operation, cpu_s=_screen.GLANCE_CPU_S, between=between)
                return verdict_on(operation, limits=limits, explain=explain, between=between)
        except NotRepeatable as error:
            return Verdict(NOT_REPEATABLE, f"a repetition failed: {error}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Verdict(NOT_REPEATABLE, f"a repetition failed: {_said(error)}")
        finally:
            self._repeating = False
            repetition.restore()
            if request is not None:
                item._request = request  # type: ignore[attr-defined]
                item.funcargs = funcargs  # type: ignore[attr-defined]

    # -- what is said at the end

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps verdicts; in a controller those of its workers."""
        document = getattr(report, "plimsoll", None)
        if report.when == "call" and document is not None:
            self._results.append((report.nodeid, document))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many were judged, screened and skipped; whatever is not "no leak" by name."""
        if self._is_worker or not self._results:
            return
        judged = [(nodeid, d) for nodeid, d in self._results if "verdict" in d]
        screened = sum(1 for _, d in self._results if d.get("screened"))
        skipped = len(self._results) - len(judged) - screened
        counts: Dict[str, int] = {}
        for _, document in judged:
            counts[document["verdict"]] = counts.get(document["verdict"], 0) + 1
        terminalreporter.section("memory leaks")
        told = ", ".join(f"{counts[o]} {o}" for o in (LEAK, "no leak", INCONCLUSIVE, NOT_REPEATABLE) if o in counts)
        line = f"{len(judged)} judged" + (f" ({told})" if told else "")
        terminalreporter.write_line(f"{line}, {screened} screened only, {skipped} skipped")
        waiting = sum(1 for _, d in self._results if d.get("waiting"))
        if waiting:
            terminalreporter.write_line(f"{waiting} suspected, and left to the next run: the budget was spent")
        for nodeid, document in judged:
            if document["verdict"] == "no leak":
                continue
            first, *rest = document["text"]
            terminalreporter.write_line(f"{nodeid}: {first}")
            if document["verdict"] == LEAK:
                for more in rest:
                    terminalreporter.write_line(f"    {more}")
        gaps = sorted({gap for _, document in judged for gap in document.get("gaps", ())})
        for gap in gaps:
            terminalreporter.write_line(f"gap: {gap}")
        if self._missing is not None:
            terminalreporter.write_line(f"no judge: {self._missing}")

    def _write_json(self, path: str) -> None:
        document = {
            "schema": "plimsoll.pytest/1",
            "python": sys.version.split()[0],
            "tests": [{"nodeid": nodeid, **{k: v for k, v in d.items() if k != "text"}} for nodeid, d in self._results],
        }
        try:
            with open(path, "w", encoding="utf-8") as out:
                json.dump(document, out, indent=1)
                out.write("\n")
        except OSError as error:
            warnings.warn(pytest.PytestWarning(f"--leak-json: {path} cannot be written: {error}"), stacklevel=1)


def _said(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _properties(verdict: Verdict) -> List[Tuple[str, object]]:
    found: List[Tuple[str, object]] = [
        ("plimsoll.verdict", verdict.outcome),
        ("plimsoll.repetitions", verdict.operations),
    ]
    if verdict.bytes_per_op is not None:
        found.append(("plimsoll.bytes_per_run", round(verdict.bytes_per_op, 2)))
    found.extend((f"plimsoll.{name}_per_run", round(rate, 4)) for name, rate in verdict.counts_per_op.items())
    if verdict.culprit is not None:
        found.extend(
            (f"plimsoll.{name}", value)
            for name, value in (
                ("holder", verdict.culprit.holder),
                ("site", verdict.culprit.added or verdict.culprit.site),
            )
            if value
        )
    return found
