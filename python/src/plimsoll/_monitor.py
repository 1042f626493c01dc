"""Budgets per session and for the process, with alerts: `MemoryMonitor(per_session=…, total_system=…)`.

The same monitor as in the npm package and in Rust: what it raises and does is fixed by the vectors in
`testdata/monitor`. A session's bytes are what the program reports for it; they are never the process's heap divided by
the number of sessions. The process is read at each tick, by a thread that `start` starts.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from ._assertions import parse_size
from ._counters import Counters, resident_bytes
from ._verdict import MIB, size

WARNING, ERROR, CRITICAL, RECOVERED = "warning", "error", "critical", "recovered"
_RANKS = (None, WARNING, ERROR, CRITICAL)
_EVENTS = ("alert", "alert:warning", "alert:error", "alert:critical", "alert:recovered", "sample", "action")
#: Actions in the order in which they are taken.
ACTIONS = ("collect", "clear caches", "evict", "callback")
#: Readings that a window keeps at most; of closer ones the lowest counts.
_SLOTS = 120
#: Readings below which there is no growth.
_FEWEST = 6

Size = Union[int, float, str]
Listener = Callable[[Any], Any]


@dataclass(frozen=True)
class Alert:
    """What passed a line."""

    #: `session`, `component`, `system` or `growth`.
    type: str
    #: `warning`, `error`, `critical`; `recovered` ends what was raised before.
    severity: str
    message: str
    session: Optional[str] = None
    component: Optional[str] = None
    value: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One look at the process; what is not known is None."""

    live_bytes: Optional[int] = None
    #: What the budget of the process is about.
    total_bytes: Optional[int] = None
    #: Percent of a limit that is in use; Python has none of its own.
    heap_full_percent: Optional[float] = None
    #: `resident`, or `live` where resident memory is not known.
    total_is: str = "resident"


@dataclass(frozen=True)
class Taken:
    """An action that was taken, or failed; in a dry run all but the callback are only told."""

    action: str
    alert: Alert
    error: Optional[BaseException] = None


@dataclass
class _Part:
    bytes: float = 0.0
    state: Optional[str] = None


@dataclass
class _Session:
    source: Optional[Callable[[], float]] = None
    said: Optional[float] = None
    state: Optional[str] = None
    #: A charge that names no component has an empty name.
    parts: Dict[str, _Part] = field(default_factory=dict)

    def bytes(self) -> Optional[float]:
        if self.source is not None:
            return self.said
        return sum(part.bytes for part in self.parts.values()) if self.parts else None


class _Growth:
    """By the rule of the documents: readings of a window, the median of the slopes between its halves. No verdict."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._begun: Optional[float] = None
        self._readings: List[Tuple[float, float, int]] = []

    def add(self, at_s: float, used: float) -> None:
        if self._begun is None:
            self._begun = at_s
        slot = math.floor((at_s - self._begun) / (self._window_s / _SLOTS))
        if not self._readings or self._readings[-1][2] != slot:
            self._readings.append((at_s, used, slot))
        elif used < self._readings[-1][1]:
            self._readings[-1] = (at_s, used, slot)
        self._readings = [reading for reading in self._readings if reading[0] >= at_s - self._window_s]

    def per_minute(self) -> Optional[float]:
        readings = self._readings
        half = len(readings) // 2
        if len(readings) < _FEWEST or readings[-1][0] - readings[0][0] < self._window_s / 2:
            return None
        slopes = sorted(
            (later - now) / (then - at) * 60 for (at, now, _), (then, later, _) in zip(readings, readings[half:])
        )
        return slopes[len(slopes) // 2]


class MemoryMonitor:
    """Watches budgets and tells listeners of `alert:warning` (80 %), `alert:error` and `alert:critical` (above 100).

    A severity is left only where the value is `hysteresis` percent of the budget below its line; `alert:recovered`
    says that all is well again. `per_session`, `total_system` and `components` are bytes or texts such as `10 MB`;
    thresholds are percent, intervals milliseconds, as in the other packages. `clock` and `read` are there for tests.

    `actions` are taken in this order: `collect` (True for the garbage collector) and `clear caches` where the process
    is critical, at most once in `cooldown_ms`; `evict` where a session is above its budget; `callback` always. Each is
    called with the alert; what is not given is not done.
    """

    def __init__(
        self,
        per_session: Size = "10 MB",
        total_system: Size = "150 MB",
        alert_threshold: float = 80.0,
        interval_ms: float = 60_000.0,
        *,
        hysteresis: float = 5.0,
        growth_per_minute: Size = MIB,
        growth_window_ms: float = 600_000.0,
        heap_full: float = 90.0,
        components: Optional[Mapping[str, Size]] = None,
        actions: Optional[Mapping[str, Union[bool, Listener]]] = None,
        cooldown_ms: float = 60_000.0,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
        read: Optional[Callable[[], Reading]] = None,
    ) -> None:
        for name, percent in (("alert_threshold", alert_threshold), ("heap_full", heap_full)):
            if not 0 < percent <= 100:
                raise ValueError(f"{name} is percent, above 0 and at most 100, not {percent!r}")
        if not 0 <= hysteresis <= 100:
            raise ValueError(f"hysteresis is percent, 0 to 100, not {hysteresis!r}")
        for name, milliseconds in (("interval_ms", interval_ms), ("growth_window_ms", growth_window_ms)):
            if not milliseconds > 0:
                raise ValueError(f"{name} is milliseconds, above 0, not {milliseconds!r}")
        unknown = [name for name in actions or () if name not in ACTIONS]
        if unknown:
            raise ValueError(f"no action is called {unknown[0]!r}: {', '.join(ACTIONS)}")
        self.per_session_bytes = parse_size(per_session)
        self.total_system_bytes = parse_size(total_system)
        self.alert_threshold = alert_threshold
        self.hysteresis = hysteresis
        self.interval_s = interval_ms / 1000
        self.growth_per_minute_bytes = parse_size(growth_per_minute)
        self.heap_full = heap_full
        self.component_bytes = {name: parse_size(limit) for name, limit in (components or {}).items()}
        self._actions = dict(actions or {})
        self._cooldown_s = cooldown_ms / 1000
        self._dry_run = dry_run
        self._clock = clock
        self._counters = Counters(capacity=1)
        self._read = read or self._read_process
        self._listeners: Dict[str, List[Listener]] = {}
        self._sessions: Dict[str, _Session] = {}
        self._states: Dict[str, Optional[str]] = {}
        self._growth = _Growth(growth_window_ms / 1000)
        self._total: Optional[int] = None
        self._last = Reading()
        self._last_taken: Dict[str, float] = {}
        # Never held while anybody is told: who is told may charge, and stop.
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def _read_process(self) -> Reading:
        live, resident = self._counters.live_bytes(), resident_bytes()
        return Reading(live, live, total_is="live") if resident is None else Reading(live, resident)

    # -- listeners

    def on(self, event: str, listener: Listener) -> MemoryMonitor:
        """Calls `listener(alert)` at `alert` (all of them) or `alert:` and a severity.

        `sample` gives metrics, `action` a `Taken`.
        """
        if event not in _EVENTS:
            raise ValueError(f"no event is called {event!r}: {', '.join(_EVENTS)}")
        self._listeners.setdefault(event, []).append(listener)
        return self

    def off(self, event: str, listener: Listener) -> None:
        """Stops calling it."""
        listeners = self._listeners.get(event, [])
        if listener in listeners:
            listeners.remove(listener)

    def _emit(self, event: str, what: Any) -> None:
        for listener in list(self._listeners.get(event, ())):
            listener(what)

    # -- sessions

    def register(self, session: str, source: Optional[Callable[[], float]] = None) -> None:
        """Makes a session known; with a `source`, its bytes are asked at each tick."""
        with self._lock:
            known = self._sessions.setdefault(session, _Session())
            known.source, known.said = source, None

    def charge(self, session: str, used_bytes: float, component: str = "") -> bool:
        """What a session, or this component of it, holds now, as the program knows it.

        Alerts and actions come before it returns whether both are within their budgets.
        """
        if not used_bytes >= 0:
            raise ValueError(f"a session is charged bytes, not {used_bytes!r}")
        with self._lock:
            part = self._sessions.setdefault(session, _Session()).parts.setdefault(component, _Part())
            part.bytes = float(used_bytes)
        self._look_at_session(session)
        self._look_at_component(session, component)
        with self._lock:
            known = self._sessions.get(session)
            if known is None:
                return True
            within = (known.bytes() or 0) <= self.per_session_bytes
            held = known.parts[component].bytes if component in known.parts else 0
            return within and held <= self.component_bytes.get(component, math.inf)

    def end(self, session: str) -> bool:
        """The session is over; whether there was one."""
        with self._lock:
            known = self._sessions.pop(session, None)
        if known is None:
            return False
        if known.state is not None:
            self._raise(self._alert("session", RECOVERED, 0.0, self.per_session_bytes, session))
        for component, part in sorted(known.parts.items()):
            if part.state is not None:
                limit = self.component_bytes[component]
                self._raise(self._alert("component", RECOVERED, 0.0, limit, session, component))
        return True

    # -- life

    def start(self) -> None:
        """Ticks now and every interval in a daemon thread, until `stop`. Starting twice does nothing."""
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
        while True:
            try:
                self.tick()
            except Exception:
                # A listener that raises must not end the watch.
                pass
            if self._stop.wait(self.interval_s):
                return

    def tick(self) -> Dict[str, Any]:
        """Looks at process and sessions, and raises what newly passed a line. Returns the metrics."""
        reading = self._read()
        with self._lock:
            sources = {name: known.source for name, known in sorted(self._sessions.items())}
        for name, source in sources.items():
            if source is not None:
                said = float(source())
                with self._lock:
                    if name in self._sessions:
                        self._sessions[name].said = said
        with self._lock:
            self._last = reading
            if reading.live_bytes is not None:
                self._growth.add(self._clock(), reading.live_bytes)
            if reading.total_bytes is not None:
                self._total = reading.total_bytes
        for name in sources:
            self._look_at_session(name)
            with self._lock:
                known = self._sessions.get(name)
                components = sorted(known.parts) if known is not None else []
            for component in components:
                self._look_at_component(name, component)
        total = reading.total_bytes
        self._look("system", CRITICAL, total, self.total_system_bytes, warns=True)
        self._look("growth", ERROR, self._growth.per_minute(), self.growth_per_minute_bytes)
        self._look("pressure", WARNING, reading.heap_full_percent, self.heap_full)
        metrics = self.metrics()
        self._emit("sample", metrics)
        return metrics

    def metrics(self) -> Dict[str, Any]:
        """Bytes by session (reported), of the process (measured), growth per minute (a plain slope), sessions."""
        with self._lock:
            sessions = {name: known.bytes() for name, known in sorted(self._sessions.items())}
            components: Dict[str, float] = {}
            for known in self._sessions.values():
                for name, part in known.parts.items():
                    if name:
                        components[name] = components.get(name, 0) + part.bytes
            return {
                "sessions": len(sessions),
                "session_bytes": sessions,
                "session_bytes_are": "reported",
                "components": components,
                "live_bytes": self._last.live_bytes,
                "total_bytes": self._total,
                "total_bytes_are": self._last.total_is,
                "growth_bytes_per_minute": self._growth.per_minute(),
                "growth_is": "a plain slope",
                "collections": [generation["collections"] for generation in gc.get_stats()],
            }

    # -- lines that can be passed

    def _next(self, was: Optional[str], value: float, limit: float, above: str, warns: bool) -> Optional[str]:
        """A severity is left only where the value is below its line by more than the hysteresis."""
        slack = limit * self.hysteresis / 100
        if value > limit or (was == above and value >= limit - slack):
            return above
        warns_at = limit * self.alert_threshold / 100 if warns else math.inf
        if value >= warns_at or (was is not None and value >= warns_at - slack):
            return WARNING
        return None

    @staticmethod
    def _told(was: Optional[str], now: Optional[str]) -> Optional[str]:
        if now is None:
            return None if was is None else RECOVERED
        return now if _RANKS.index(now) > _RANKS.index(was) else None

    def _look_at_session(self, session: str) -> None:
        with self._lock:
            known = self._sessions.get(session)
            value = known.bytes() if known is not None else None
            if known is None or value is None:
                return
            was = known.state
            known.state = self._next(was, value, self.per_session_bytes, ERROR, True)
            told = self._told(was, known.state)
        if told is not None:
            self._raise(self._alert("session", told, value, self.per_session_bytes, session))

    def _look_at_component(self, session: str, component: str) -> None:
        limit = self.component_bytes.get(component)
        with self._lock:
            known = self._sessions.get(session)
            part = known.parts.get(component) if known is not None else None
            if limit is None or part is None:
                return
            was, value = part.state, part.bytes
            part.state = self._next(was, value, limit, ERROR, True)
            told = self._told(was, part.state)
        if told is not None:
            self._raise(self._alert("component", told, value, limit, session, component))

    def _look(self, kind: str, above: str, value: Optional[float], limit: float, *, warns: bool = False) -> None:
        if value is None:
            return
        with self._lock:
            was = self._states.get(kind)
            self._states[kind] = self._next(was, value, limit, above, warns)
            told = self._told(was, self._states[kind])
        if told is not None:
            self._raise(self._alert(kind, told, float(value), limit))

    @staticmethod
    def _alert(
        kind: str,
        severity: str,
        value: float,
        limit: float,
        session: Optional[str] = None,
        component: Optional[str] = None,
    ) -> Alert:
        who = {
            "session": f"session {session}",
            "component": f"{component} of session {session}",
            "system": "the process",
            "growth": "growth",
            "pressure": "the heap",
        }[kind]
        over = " recovered" if severity == RECOVERED else ""
        if kind == "growth":
            figure = f"{size(value)} a minute, limit {size(limit)}, by a plain slope, which is no verdict"
        elif kind == "pressure":
            figure = f"{value:.3g} % full, limit {limit:.3g} %"
        else:
            figure = f"{size(value)} of {size(limit)}"
        return Alert(kind, severity, f"{who}{over}: {figure}", session, component, value, limit)

    def _raise(self, alert: Alert) -> None:
        self._emit(f"alert:{alert.severity}", alert)
        self._emit("alert", alert)
        if alert.severity == RECOVERED:
            return
        if alert.severity == CRITICAL:
            self._take("collect", alert)
            self._take("clear caches", alert)
        if alert.severity == ERROR and alert.session is not None:
            self._take("evict", alert)
        self._take("callback", alert)

    def _take(self, action: str, alert: Alert) -> None:
        """An action that raises stops neither the others nor the monitor."""
        act = self._actions.get(action)
        if act is None or act is False:
            return
        if action in ("collect", "clear caches"):
            now = self._clock()
            if now - self._last_taken.get(action, -math.inf) < self._cooldown_s:
                return
            self._last_taken[action] = now
        error: Optional[BaseException] = None
        if not self._dry_run or action == "callback":
            try:
                if callable(act):
                    act(alert)
                else:
                    gc.collect()
            except Exception as raised:
                error = raised
        self._emit("action", Taken(action, alert, error))
