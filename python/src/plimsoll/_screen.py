"""Which tests are repeated where not all can be, and how thoroughly.

Each test is run once anyway, and cheap counters around it rank it among the others. Time for repetition is a share of
the suite's own. It goes first to what earlier runs could not settle, to changed files and to what is marked; then to
suspects by rank; and what is left to a sample that rotates: every run goes on where the last one ended, until all had
their turn. A turn is a glance, a few repetitions between two readings; only what grows under it is measured. To prove
leaks comes before naming their culprits. What a run could not afford is remembered in pytest's cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import zlib
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

import pytest

from ._counters import NativeHeap
from ._verdict import Culprit

#: Selections up to this size are judged whole.
_WHOLE = 200
#: Of the suite's own time: what repetition may take, and what the rotating sample may take of it.
_SHARE = 0.5
_SAMPLE = 0.5
#: Of that share, what may be spent where it is counted. The rest goes to what is not: the judge's own process, the
#: session's begin and end, what was said of each test.
_SEEN = 0.85
#: What the hooks around each test cost, in seconds, which is repetition's to pay as well.
_HOOKS_S = 40e-6
#: Counters that would take more than this share of the suite's time are left out: the interpreter walks all its arenas
#: to say how much it has handed out.
_COUNTING = 0.03
#: What a glance repeats at least, and the CPU seconds it may take for more.
_GLANCE_RUNS = 10
GLANCE_CPU_S = 150e-6
_SUSPECT_QUANTILE = 0.9
#: What measuring a leak takes, and finding its culprit, about; only to leave something for others.
_MEASURING_S, _EXPLAINING_S = 0.15, 0.7
#: Of the time for repetition, what looking for culprits may take.
_EXPLAINED = 0.25
_REMEMBERED = 500
_CACHE = "plimsoll/screen"
#: How a test is looked at.
NOT, WAIT, GLANCE, MEASURE = "not", "wait", "glance", "measure"


def parse_budget(text: Optional[str]) -> Any:
    """`(seconds, share)`, one of which is None; both None for no limit.

    # Errors
    `pytest.UsageError` if the text is neither a time, a share nor `none`.
    """
    if text is None or text == "none":
        return None, None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|%)", text.strip())
    if match is None:
        raise pytest.UsageError(f"--leak-budget: {text!r} is no time: 10m, 90s, 50% or none")
    value = float(match.group(1))
    if match.group(2) == "%":
        return None, value / 100
    return value * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[match.group(2)], None


def changed_files(root: str, revision: str) -> Set[str]:
    """Files that differ from a git revision, absolute.

    # Errors
    `pytest.UsageError` if git does not know it.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
        names = _git(root, "diff", "--name-only", revision, "--") + _git(
            root, "ls-files", "--others", "--exclude-standard", "--full-name"
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise pytest.UsageError(f"--leak-changed {revision}: {said.strip()}") from error
    return {os.path.realpath(os.path.join(top, name)) for name in names.splitlines() if name}


def _git(root: str, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


@dataclass
class Spending:
    """What time was spent on."""

    explains: bool = False


class Screen:
    """The choice, for one session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = _now()
        text = config.getoption("--leak-budget")
        self._seconds, self._share = parse_budget(text)
        self._asked = text is not None
        self._whole = True
        #: Whether the selection was seen.
        self._knows = False
        self._mallinfo: Callable[[], Optional[int]] = NativeHeap().read
        self._tests = 0
        #: Seconds of repetition, and the part of them that the sample took.
        self._spent = [0.0, 0.0]
        self._sampled = [0.0, 0.0]
        self._explained = [0.0, 0.0]
        self._glances = 0
        self._changed: Set[str] = set()
        #: What earlier runs left: leaks, tests that grew and were not measured, and who had a turn already.
        self._leaks: Dict[str, Optional[Culprit]] = {}
        self._waiting: Set[str] = set()
        self._turned: Set[int] = set()
        #: How many of this selection had none.
        self._firsts = 0
        self._deltas: List[int] = []
        self._delta = 0
        self._entered = 0
        self._counts = False
        self._counted = 0
        self._counting_s = 0.0
        self._called = 0.0
        self._call_s = 0.0

    def begin(self, items: List[pytest.Item]) -> None:
        """Knows the selection."""
        self._knows = True
        self._decide(len(items))
        revision = self._config.getoption("--leak-changed")
        if revision:
            self._changed = changed_files(str(self._config.rootpath), revision)
            if self._whole and not self._asked:
                # Naming files that matter means that the others matter less.
                self._share, self._whole = _SHARE, False
        if self._whole:
            return
        begun = time.process_time()
        for _ in range(4):
            self._count()
        self._counting_s = (time.process_time() - begun) / 2
        self._recall({item.nodeid for item in items})

    def _decide(self, tests: int) -> None:
        """Whether all of so many tests are measured."""
        if not self._asked and tests > _WHOLE:
            self._share = _SHARE
        self._whole = self._seconds is None and self._share is None

    def _recall(self, selected: Set[str]) -> None:
        """What earlier runs left that concerns this selection."""
        self._firsts = len(selected)
        cache = getattr(self._config, "cache", None)
        kept = cache.get(_CACHE, None) if cache is not None else None
        if not isinstance(kept, dict):
            return
        try:
            leaks = [(nodeid, told) for nodeid, told in kept["leaks"].items() if nodeid in selected]
            self._leaks = {nodeid: Culprit.of_json(told) if told else None for nodeid, told in leaks}
            self._waiting = selected & set(kept["waiting"])
            self._turned = {int(key) for key in kept["turned"]}
            self._firsts = sum(_key(nodeid) not in self._turned for nodeid in selected)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Somebody else's, or of another version: this run starts anew.
            self._leaks, self._waiting, self._turned = {}, set(), set()

    def end(self, results: Iterable[Tuple[str, Dict[str, Any]]]) -> None:
        """Remembers, from what was reported on each test, what the next run begins with.

        Reports are what a controller knows of its workers. Without a cache the next run starts anew.
        """
        cache = getattr(self._config, "cache", None)
        known = list(results)
        if not self._knows and known:
            # A controller, whose workers ran the tests.
            self._decide(len(known))
            self._recall({nodeid for nodeid, _ in known})
        if cache is None or self._whole or not known or hasattr(self._config, "workerinput"):
            return
        leaks = {nodeid: told.get("culprit") for nodeid, told in known if told.get("verdict") == "leak"}
        waiting = [nodeid for nodeid, told in known if told.get("waiting")]
        judged = {_key(nodeid) for nodeid, told in known if "verdict" in told}
        turned = self._turned | judged
        if judged <= self._turned or turned.issuperset(_key(nodeid) for nodeid, _ in known):
            # Nobody is left, or only those who cost more than there is: the rotation begins anew.
            turned = set()
        document = {
            "leaks": dict(list(leaks.items())[-_REMEMBERED:]),
            "waiting": waiting[-_REMEMBERED:],
            "turned": sorted(turned),
        }
        cache.set(_CACHE, document)

    # -- around the phases of every test

    def enter(self, item: pytest.Item) -> None:
        """The test begins with its set-up."""
        if self._whole:
            return
        self._tests += 1
        # Whoever is repeated anyway need not be ranked; nor is ranking worth much of the time of tests that take none.
        elapsed = time.process_time() - self._began[1]
        is_cheap = self._counting_s * self._tests < _COUNTING * elapsed
        self._counts = is_cheap and not self._affords_turn(item, self._call_s)
        if self._counts:
            self._counted += 1
            self._entered = self._count()

    def call(self) -> None:
        """Its call begins."""
        self._called = time.monotonic()

    def leave(self) -> None:
        """Its call ended."""
        if self._whole:
            return
        self._call_s = time.monotonic() - self._called
        if self._counts:
            self._delta = self._count() - self._entered

    def _count(self) -> int:
        """Blocks of the interpreter and bytes of the C allocator, in about the same coin."""
        return sys.getallocatedblocks() * 64 + (self._mallinfo() or 0)

    # -- the choice

    def wants(self, item: pytest.Item, marked: bool) -> str:
        """How this test is looked at now."""
        if self._whole or marked or self._is_changed(item):
            return MEASURE
        nodeid = item.nodeid
        if nodeid in self._waiting:
            self._waiting.discard(nodeid)
            return GLANCE if self._affords() else WAIT
        if nodeid in self._leaks:
            return GLANCE if self._affords(self._reserve()) else WAIT
        if self._counts:
            rank = bisect_left(self._deltas, self._delta) / len(self._deltas) if self._deltas else 1.0
            insort(self._deltas, self._delta)
            if rank >= _SUSPECT_QUANTILE:
                return GLANCE if self._affords(self._reserve()) else WAIT
        if not self._affords_turn(item, self._call_s):
            return NOT
        self._firsts -= _key(nodeid) not in self._turned
        self._glances += 1
        return GLANCE

    def measures(self, item: pytest.Item) -> bool:
        """Whether what grew under a glance can be measured now. What was found before gives way to what was not."""
        return self._affords(_MEASURING_S + (self._reserve() if item.nodeid in self._leaks else 0.0))

    def culprit(self, item: pytest.Item) -> Optional[Culprit]:
        """Who an earlier run said is to blame."""
        return self._leaks.get(item.nodeid)

    def explains(self) -> bool:
        """Whether there is time to look for the culprit of a leak. To prove the others comes first."""
        if self._whole:
            return True
        return self._affords(_EXPLAINING_S) and self._affords(_EXPLAINING_S, _EXPLAINED, self._explained)

    def _is_changed(self, item: pytest.Item) -> bool:
        return bool(self._changed) and os.path.realpath(str(item.path)) in self._changed

    def _reserve(self) -> float:
        """What those that wait since an earlier run will take."""
        return len(self._waiting) * _MEASURING_S

    def _affords(self, needed_s: float = 0.0, part: float = 1.0, pot: Optional[List[float]] = None) -> bool:
        """Whether so much more is within the budget, or this part of it: by the clock and by CPU time.

        The clock is what somebody waits by; what other programs do on the machine changes only the clock.
        """
        pot = self._spent if pot is None else pot
        if self._seconds is not None:
            return pot[0] + needed_s < part * float(self._seconds)
        for clock, now in enumerate(_now()):
            suite = now - self._began[clock] - self._spent[clock]
            limit = _SEEN * float(self._share or 0.0) * suite
            limit -= self._tests * _HOOKS_S + self._counted * self._counting_s
            if pot[clock] + needed_s >= part * limit:
                return False
        return True

    def _affords_turn(self, item: pytest.Item, call_s: float) -> bool:
        needed = _GLANCE_RUNS * call_s
        if _key(item.nodeid) in self._turned:
            # Again, if there is enough for all who had no turn yet.
            needed += self._firsts * self._sampled[0] / max(self._glances, 1)
        return self._affords(needed, _SAMPLE, self._sampled)

    @contextlib.contextmanager
    def spending(self, glances: bool = False) -> Iterator[Spending]:
        """Counts what is done inside as time for repetition; for glances, or where a culprit was looked for."""
        begun, spending = _now(), Spending()
        try:
            yield spending
        finally:
            for clock, now in enumerate(_now()):
                seconds = now - begun[clock]
                self._spent[clock] += seconds
                if glances:
                    self._sampled[clock] += seconds
                if spending.explains:
                    self._explained[clock] += seconds


def _now() -> Tuple[float, float]:
    return time.monotonic(), time.process_time()


def _key(nodeid: str) -> int:
    return zlib.crc32(nodeid.encode())
