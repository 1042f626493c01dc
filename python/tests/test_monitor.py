"""The memory monitor: the vectors that every implementation passes, and what it leaves: nothing."""

import gc
import json
import threading
from pathlib import Path

import pytest

import plimsoll
from plimsoll._monitor import ACTIONS, Reading

MIB = 1024 * 1024
VECTORS = sorted((Path(__file__).parents[2] / "testdata" / "monitor").glob("*.json"))
OPTIONS = {
    "perSession": "per_session",
    "totalSystem": "total_system",
    "alertThreshold": "alert_threshold",
    "hysteresis": "hysteresis",
    "growthPerMinute": "growth_per_minute",
    "growthWindowMs": "growth_window_ms",
    "heapFull": "heap_full",
    "components": "components",
    "cooldownMs": "cooldown_ms",
    "dryRun": "dry_run",
}


def near(value):
    """Figures are the same but for rounding."""
    if isinstance(value, list):
        return [near(item) for item in value]
    return pytest.approx(value, rel=1e-9) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def test_there_are_vectors():
    assert len(VECTORS) >= 15


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_vectors_hold(path):
    vector = json.loads(path.read_text())
    state = {"now": 0.0, "reading": Reading(), "evict_to": None}
    sources, events = {}, []

    def act(action):
        def taken(alert):
            if action == "evict" and state["evict_to"] is not None:
                monitor.charge(alert.session, state["evict_to"])

        return taken

    options = dict(vector["options"])
    actions = {action: act(action) for action in options.pop("actions", ())}
    monitor = plimsoll.MemoryMonitor(
        **{OPTIONS[name]: value for name, value in options.items()},
        actions=actions,
        clock=lambda: state["now"],
        read=lambda: state["reading"],
    )

    def heard(alert):
        assert alert.message and (alert.session or "") in alert.message
        who = [part for part in (alert.session, alert.component) if part is not None]
        events.append([alert.severity, alert.type, *who, alert.value])

    monitor.on("alert", heard)
    for severity in ("warning", "error", "critical", "recovered"):
        monitor.on(f"alert:{severity}", lambda alert, severity=severity: check(alert.severity == severity))
    monitor.on("action", lambda taken: events.append(["action", taken.action]))

    def check(holds):
        assert holds

    for step in vector["steps"]:
        state["now"] = step.get("at_ms", state["now"] * 1000) / 1000
        events.clear()
        if "register" in step:
            name = step["register"]
            sources[name] = 0
            monitor.register(name, (lambda name=name: sources[name]) if step["source"] else None)
        elif "source" in step:
            name, said = step["source"]
            sources[name] = said
        elif "charge" in step:
            assert monitor.charge(*step["charge"]) == step["fits"], step
        elif "end" in step:
            assert monitor.end(step["end"]) == step["ended"], step
        elif "evict_to" in step:
            state["evict_to"] = step["evict_to"]
        elif "sample" in step:
            state["reading"] = Reading(**step["sample"])
            monitor.tick()
        else:
            metrics = monitor.metrics()
            for name, expected in step["status"].items():
                found = metrics[name]
                assert found == (near(expected) if isinstance(expected, (int, float)) else expected), (step, name)
        assert events == near(step["events"]), step


def test_it_ticks_by_itself_and_stops():
    ticked = threading.Event()

    def read():
        ticked.set()
        return Reading(1, 10**12)

    told = threading.Event()
    monitor = plimsoll.MemoryMonitor(interval_ms=1, read=read).on("alert:critical", lambda alert: told.set())
    with monitor:
        assert ticked.wait(30)
        assert told.wait(30)
    assert not any(thread.name == "plimsoll-monitor" for thread in threading.enumerate())


def test_the_process_is_read_and_collected():
    kept = [bytearray(1000) for _ in range(30_000)]
    monitor = plimsoll.MemoryMonitor(total_system=1, actions={"collect": True, "callback": lambda alert: 1 / 0})
    taken = []
    monitor.on("action", lambda what: taken.append((what.action, type(what.error).__name__)))
    before = gc.get_stats()[2]["collections"]
    metrics = monitor.tick()
    assert metrics["live_bytes"] > 1000 * len(kept)
    assert metrics["total_bytes"] > 1000 * len(kept)
    assert metrics["total_bytes_are"] == "resident"
    assert gc.get_stats()[2]["collections"] == before + 1
    assert taken == [("collect", "NoneType"), ("callback", "ZeroDivisionError")]


def test_sessions_that_come_and_go_leave_nothing():
    monitor = plimsoll.MemoryMonitor()

    def session():
        monitor.charge("a", 11 * MIB, "cache")
        monitor.end("a")

    assert plimsoll.check(session).outcome == "no leak"
    assert monitor.metrics()["sessions"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"alert_threshold": 0},
        {"interval_ms": 0},
        {"per_session": "x"},
        {"total_system": -1},
        {"hysteresis": -1},
        {"components": {"cache": "much"}},
        {"actions": {"restart": True}},
    ],
)
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError):
        plimsoll.MemoryMonitor(**arguments)


def test_the_list_of_actions_is_in_order():
    assert ACTIONS == ("collect", "clear caches", "evict", "callback")


def test_a_charge_is_a_number_of_bytes():
    with pytest.raises(ValueError, match="charged bytes"):
        plimsoll.MemoryMonitor().charge("a", float("nan"))


def test_unknown_events_are_refused():
    with pytest.raises(ValueError, match="alert:warning"):
        plimsoll.MemoryMonitor().on("alert:warnign", print)
