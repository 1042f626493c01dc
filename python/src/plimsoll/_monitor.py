"""Budgets per session and for the process, with alerts: `MemoryMonitor(per_session=…, total_system=…)`.

The same monitor as in the npm package. A session's bytes are what the program reports for it; they are never the
process's heap divided by the number of sessions. The process is read at each tick, by a thread that `start` starts.
"""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ._assertions import parse_size
from ._counters import Counters, resident_bytes
from ._verdict import MIB, size

WARNING, ERROR, CRITICAL = "warning", "error", "critical"
#: Growth above this many bytes a minute is an alert of its own.
_GROWTH_PER_MINUTE = 1.0 * MIB
_HISTORY = 60

Listener = Callable[["Alert"], Any]


@dataclass(frozen=True)
class Alert:
    """What is above its budget."""

    type: str
    severity: str
    message: str
    session: Optional[str] = None
    value: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One look at the process."""

    at_s: float
    live_bytes: Optional[int]
    resident_bytes: Optional[int]
    sessions: Dict[str, float] = field(default_factory=dict)


class MemoryMonitor:
    """Watches budgets and tells listeners of `alert:warning` (80 %), `alert:error` (100 %) and `alert:critical`.

    `per_session` and `total_system` are bytes or texts such as `10 MB`; `alert_threshold` is in percent; the interval
    is in milliseconds, as in the other packages. `clock` and `read` are there for tests.
    """

    def __init__(
        self,
        per_session: Union[int, str] = "10 MB",
        total_system: Union[int, str] = "150 MB",
        alert_threshold: float = 80.0,
        interval_ms: float = 60_000.0,
        *,
        growth_per_minute: Union[int, float, str] = _GROWTH_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
        read: Optional[Callable[[], Tuple[Optional[int], Optional[int]]]] = None,
    ) -> None:
        if not 0 < alert_threshold <= 100:
            raise ValueError(f"alert_threshold is percent, above 0 and at most 100, not {alert_threshold!r}")
        if not interval_ms > 0:
            raise ValueError(f"interval_ms is milliseconds, above 0, not {interval_ms!r}")
        self.per_session_bytes = parse_size(per_session)
        self.total_system_bytes = parse_size(total_system)
        self.alert_threshold = alert_threshold
        self.interval_s = interval_ms / 1000
        self.growth_per_minute_bytes = parse_size(growth_per_minute)
        self._clock = clock
        self._counters = Counters(capacity=1)
        self._read = read or self._read_process
        self._listeners: Dict[str, List[Listener]] = {}
        self._sessions: Dict[str, float] = {}
        self._raised: Dict[Tuple[str, Optional[str]], str] = {}
        self._history: List[Reading] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def _read_process(self) -> Tuple[Optional[int], Optional[int]]:
        return self._counters.live_bytes(), resident_bytes()

    # -- listeners

    def on(self, event: str, listener: Listener) -> MemoryMonitor:
        """Calls `listener(alert)` at `alert:warning`, `alert:error`, `alert:critical` or `alert` (all of them)."""
        if event not in ("alert", "alert:warning", "alert:error", "alert:critical"):
            raise ValueError(f"no event is called {event!r}: alert, alert:warning, alert:error, alert:critical")
        self._listeners.setdefault(event, []).append(listener)
        return self

    def off(self, event: str, listener: Listener) -> None:
        """Stops calling it."""
        listeners = self._listeners.get(event, [])
        if listener in listeners:
            listeners.remove(listener)

    # -- sessions

    def charge(self, session: str, used_bytes: float) -> None:
        """What a session holds, as the program knows it."""
        with self._lock:
            self._sessions[session] = float(used_bytes)

    def release(self, session: str) -> None:
        """The session ended."""
        with self._lock:
            self._sessions.pop(session, None)
            for key in [key for key in self._raised if key[1] == session]:
                del self._raised[key]

    # -- life

    def start(self) -> None:
        """Ticks every interval in a daemon thread, until `stop`. Starting twice does nothing."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="plimsoll-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> MemoryMonitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            try:
                self.tick()
            except Exception:
                # A listener that raises must not end the watch.
                continue

    def tick(self) -> List[Alert]:
        """Takes a reading, and raises alerts for what newly passed a line. Returns them."""
        live, resident = self._read()
        with self._lock:
            reading = Reading(self._clock(), live, resident, dict(self._sessions))
            self._history.append(reading)
            del self._history[:-_HISTORY]
        alerts = self._budget_alerts(reading) + self._growth_alerts()
        for alert in alerts:
            for event in (f"alert:{alert.severity}", "alert"):
                for listener in list(self._listeners.get(event, ())):
                    listener(alert)
        return alerts

    def metrics(self) -> Dict[str, Any]:
        """Bytes by session (reported), of the process (measured), growth per minute, sessions."""
        with self._lock:
            last = self._history[-1] if self._history else None
            sessions = dict(self._sessions)
        return {
            "sessions": len(sessions),
            "session_bytes": sessions,
            "session_bytes_are": "reported",
            "live_bytes": last.live_bytes if last else None,
            "resident_bytes": last.resident_bytes if last else None,
            "growth_bytes_per_minute": self._growth(),
            "collections": [generation["collections"] for generation in gc.get_stats()],
        }

    # -- lines that can be passed

    def _level(self, value: float, limit: float, full: str) -> Optional[str]:
        if value >= limit:
            return full
        return WARNING if value >= limit * self.alert_threshold / 100 else None

    def _changed(self, kind: str, session: Optional[str], level: Optional[str]) -> bool:
        """Whether the state is a worse one than was last told; a state that recovered may be told again."""
        order = [None, WARNING, ERROR, CRITICAL]
        was = self._raised.get((kind, session))
        if level is None:
            self._raised.pop((kind, session), None)
        else:
            self._raised[(kind, session)] = level
        return order.index(level) > order.index(was)

    def _budget_alerts(self, reading: Reading) -> List[Alert]:
        found: List[Alert] = []
        for session, used in sorted(reading.sessions.items()):
            level = self._level(used, self.per_session_bytes, ERROR)
            if self._changed("session", session, level) and level is not None:
                text = f"session {session}: {size(used)} of {size(self.per_session_bytes)}"
                found.append(Alert("session", level, text, session, used, self.per_session_bytes))
        used = float(reading.resident_bytes or reading.live_bytes or 0)
        level = self._level(used, self.total_system_bytes, CRITICAL)
        if self._changed("system", None, level) and level is not None:
            text = f"process: {size(used)} of {size(self.total_system_bytes)}"
            found.append(Alert("system", level, text, None, used, self.total_system_bytes))
        return found

    def _growth(self) -> Optional[float]:
        """Bytes a minute over the readings kept, by the median of slopes from each to the one half a record later."""
        with self._lock:
            known = [(r.at_s, r.live_bytes) for r in self._history if r.live_bytes is not None]
        half = len(known) // 2
        slopes = sorted(
            (later - now) / (then - at) * 60
            for (at, now), (then, later) in zip(known, known[half:])
            if half and then > at
        )
        return slopes[len(slopes) // 2] if len(known) >= 6 and slopes else None

    def _growth_alerts(self) -> List[Alert]:
        rate = self._growth()
        level = ERROR if rate is not None and rate > self.growth_per_minute_bytes else None
        if not self._changed("growth", None, level) or rate is None:
            return []
        text = f"process grows by {size(rate)} a minute (limit: {size(self.growth_per_minute_bytes)})"
        return [Alert("growth", ERROR, text, None, rate, self.growth_per_minute_bytes)]
