"""Which tests are repeated where not all can be: suspects, changed files, what was marked, and a sample that rotates.

Each test is run once anyway; cheap counters around its phases rank it among the others. Time spent on repetition stays
within the budget. What a run could not afford is remembered in pytest's cache and judged first in the next.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import zlib
from bisect import bisect_left, insort
from typing import Any, Callable, List, Optional, Set

import pytest

from ._counters import NativeHeap

#: Selections up to this size are judged whole.
_WHOLE = 200
#: Repetition that a large suite may spend before its own time has added up.
_CREDIT_S = 2.0
_SHARE = 0.5
#: Every run judges one in so many of those that nothing speaks against.
_ROTATION = 8
_SUSPECT_QUANTILE = 0.9
_REMEMBERED = 500
_CACHE = "plimsoll/screen"


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


class Screen:
    """The choice, for one session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        text = config.getoption("--leak-budget")
        self._seconds, self._share = parse_budget(text)
        self._asked = text is not None
        self._whole = True
        self._native = NativeHeap()
        self._mallinfo: Callable[[], Optional[int]] = self._native.read
        self._entered = 0
        self._entered_at = 0.0
        self._delta = 0
        self._deltas: List[int] = []
        self._spent = 0.0
        self._tests = 0.0
        self._changed: Set[str] = set()
        self._waiting: Set[str] = set()
        self._unjudged: List[str] = []
        self._run = 0

    def begin(self, items: List[pytest.Item]) -> None:
        """Knows the selection."""
        if not self._asked and len(items) > _WHOLE:
            self._share = _SHARE
        self._whole = self._seconds is None and self._share is None
        revision = self._config.getoption("--leak-changed")
        if revision:
            self._changed = changed_files(str(self._config.rootpath), revision)
            if self._whole and not self._asked:
                # Naming files that matter means that the others matter less.
                self._share, self._whole = _SHARE, False
        cache = getattr(self._config, "cache", None)
        if cache is not None and not self._whole:
            kept = cache.get(_CACHE, None) or {}
            self._run = int(kept.get("run", 0)) + 1
            self._waiting = set(kept.get("waiting", []))

    def end(self) -> None:
        """Remembers what was not affordable. Without a cache the next run starts anew."""
        cache = getattr(self._config, "cache", None)
        if cache is None or self._whole or not self._run or hasattr(self._config, "workerinput"):
            return
        cache.set(_CACHE, {"run": self._run, "waiting": self._unjudged[-_REMEMBERED:]})

    # -- around the phases of every test

    def enter(self) -> None:
        """A phase begins."""
        if not self._whole:
            self._entered_at = time.monotonic()
            self._entered = sys.getallocatedblocks() * 64 + (self._mallinfo() or 0)

    def leave(self, item: pytest.Item) -> None:
        """A phase ended."""
        if not self._whole:
            self._delta += sys.getallocatedblocks() * 64 + (self._mallinfo() or 0) - self._entered
            self._tests += time.monotonic() - self._entered_at

    def wants(self, item: pytest.Item, marked: bool) -> bool:
        """Whether this test is to be repeated now."""
        if self._whole:
            return True
        delta, self._delta = self._delta, 0
        rank = bisect_left(self._deltas, delta) / len(self._deltas) if self._deltas else 1.0
        insort(self._deltas, delta)
        if marked or self._is_changed(item):
            return True
        suspect = rank >= _SUSPECT_QUANTILE or item.nodeid in self._waiting
        turn = zlib.crc32(item.nodeid.encode()) % _ROTATION == self._run % _ROTATION
        if not suspect and not turn:
            return False
        if self._affordable():
            return True
        if suspect:
            self._unjudged.append(item.nodeid)
        return False

    def _is_changed(self, item: pytest.Item) -> bool:
        return bool(self._changed) and os.path.realpath(str(item.path)) in self._changed

    def _affordable(self) -> bool:
        if self._seconds is not None:
            return self._spent < float(self._seconds)
        return self._spent < _CREDIT_S + float(self._share or 0.0) * self._tests

    def judged(self, item: pytest.Item, seconds: float, suspicious: bool) -> None:
        """What a judgement took."""
        self._spent += seconds
