"""Plimsoll for Python: does this leak, how fast, how sure, and who holds the memory.

    verdict = plimsoll.check(operation)          # repeated, judged, explained
    with plimsoll.no_leak(limit="64 KiB"): ...   # one run, one limit
    plimsoll.MemoryMonitor(per_session="10 MB", total_system="150 MB").start()

`pytest --detect-leaks` needs no import. Nothing is counted, started or patched by importing this package.
"""

from __future__ import annotations

from ._assertions import LeakError, LeakTestMixin, check, no_leak
from ._monitor import Alert, MemoryMonitor
from ._verdict import Culprit, Verdict

__all__ = ["Alert", "Culprit", "LeakError", "LeakTestMixin", "MemoryMonitor", "Verdict", "check", "no_leak"]
__version__ = "0.1.0"
