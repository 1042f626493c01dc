"""The Python probe: observes the process it is loaded into and answers the hub over a private Unix socket.

Loaded by a `sitecustomize` before any code of the subject, so it is written to be harmless first:

- one thread that `threading` does not know of, started with the primitives as they were before anybody patched them
  (gevent, eventlet); it keeps no process alive, prints nothing, and every entry to it is in try/except;
- no signal, hook, environment variable or module attribute is changed; what it imports is the standard library's;
- only samples may be dropped, when the hub does not keep up, and they are counted;
- if the hub goes away the probe lets go of everything. A fork connects anew, as itself.

Tracing (tracemalloc) and the census of containers happen only between the marks of an explanation, after the verdict.
Frames: u32 LE body length, u8 type (0 JSON), body. `testdata/probe` holds transcripts that every probe must pass.
"""

from __future__ import annotations

import _socket
import _thread
import gc
import json
import os
import select
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ._counters import NativeHeap, PythonHeap, forget_lookups

_PROTOCOL = 1
#: Commands are small; a larger frame is not from our hub.
_INBOX_BYTES = 16 * 1024
#: The one that runs, and those behind it.
_MOST_COMMANDS = 17
_MOST_PASSES = 6
_MOST_ROWS = 200
#: Share of a core that samples may take. The allocator walks all its pools to say what it has handed out, so those of a
#: large program are dear: they come less often then than was asked for, each with its own time.
_MOST_SAMPLING = 0.008
_CAPABILITIES = ["collect", "mark", "gauges", "resources", "census", "bye"]
#: What a sample tells beside bytes: collections so far, ours included, in all and by generation.
_COLLECTIONS = ["gc_count", "gc_generation/0", "gc_generation/1", "gc_generation/2", "gc_uncollectable"]
_SCHEMA = ["heap_used", "heap_total", "external", *_COLLECTIONS]


def _original(module: Any, name: str) -> Any:
    """A primitive as it was when the process began, also where the probe came later than who replaces them."""
    monkey = sys.modules.get("gevent.monkey")
    found = monkey.get_original(module.__name__, name) if monkey is not None else getattr(module, name)
    if not isinstance(found, (type(len), type)):
        # Somebody else's, who may have it wait for the very loop that it would observe.
        raise TypeError(f"{module.__name__}.{name} was replaced")
    return found


_start_thread = _original(_thread, "start_new_thread")
_poll = _original(select, "poll")
_POLLIN, _POLLOUT = select.POLLIN, select.POLLOUT
_monotonic, _thread_time = time.monotonic, time.thread_time
_write_wait_ms = 200


def _now_us() -> int:
    """Microseconds on CLOCK_MONOTONIC, which the hub shares."""
    return int(_monotonic() * 1e6)


def _fold(name: str) -> str:
    """Names vary with ids (`worker-17`): runs of digits become `#`, so that they say one kind."""
    kind, in_digits = "", False
    for character in name[:80]:
        digit = character in "0123456789"
        if not digit:
            kind += character
        elif not in_digits:
            kind += "#"
        in_digits = digit
    return kind


class _Heap:
    """Live bytes after a collection: the interpreter's allocator and the C allocator, exact both."""

    def __init__(self) -> None:
        self.python, self.native = PythonHeap(), NativeHeap()
        self.gaps = [gap for gap in (self.python.gap, self.native.gap) if gap]

    def live(self) -> int:
        return (self.python.read() or 0) + (self.native.read() or 0)

    def values(self, live: bool) -> Dict[str, float]:
        used, external = self.python.read() or 0, self.native.read() or 0
        total = self.python.total() or used
        values: Dict[str, float] = {"heap_used": used, "heap_total": total, "external": external}
        if live:
            values["live_bytes"] = used + external
            # What the C allocator keeps for later is resident and nobody's: it belongs to the heap, not to a leak.
            values["heap_physical"] = total + (self.native.free() or 0)
        return values


def _collections() -> Dict[str, float]:
    """What the collector says of itself."""
    generations = gc.get_stats()
    counts: List[float] = [generation["collections"] for generation in generations]
    uncollectable = sum(generation["uncollectable"] for generation in generations)
    return dict(zip(_COLLECTIONS, [sum(counts), *counts, uncollectable]))


class _Command:
    def __init__(self, message: Dict[str, Any]) -> None:
        self.id = message.get("id")
        self.op = str(message.get("op"))
        arguments = message.get("args")
        self.args: Dict[str, Any] = arguments if isinstance(arguments, dict) else {}
        limit = message.get("deadline_ms")
        self.begun = _now_us()
        self.deadline = self.begun + limit * 1e3 if isinstance(limit, (int, float)) and limit > 0 else float("inf")


class _Late(Exception):
    pass


class _Violation(Exception):
    pass


class Probe:
    """One conversation with the hub."""

    def __init__(self, config: Dict[str, str], load: Callable[[str], Any]) -> None:
        self._config = config
        self._load = load
        self._socket: Any = None
        self._inbox = b""
        self._queue: List[_Command] = []
        self._heap: Optional[_Heap] = None
        self._period = 0.0
        self._next_sample = 0.0
        self._sequence = 0
        self._dropped = 0
        self._explanation: Any = None
        self._ended = False
        self._operations: Dict[str, Callable[[_Command], Optional[Dict[str, Any]]]] = {
            "collect": self._collect,
            "census": self._census,
            "resources": lambda command: self._rows(command, self._resources()),
            "gauges": lambda command: {
                "at_us": _now_us(),
                "values": {**self._measured().values(live=False), **_collections()},
            },
            "mark": self._mark,
            "bye": self._bye,
        }

    # -- life

    def start(self) -> None:
        """Starts the thread; the subject's own code goes on at once."""
        _start_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._connect()
            self._hello()
            while not self._ended:
                self._turn()
        except BaseException:
            # Nothing of ours may reach the subject: what fails ends the probe.
            pass
        finally:
            self.release()

    def release(self) -> None:
        """Lets go of everything."""
        self._ended = True
        _after_fork.clear()
        explanation, self._explanation = self._explanation, None
        try:
            if explanation is not None:
                explanation.end()
        except BaseException:
            pass
        self._close()

    def forget(self) -> None:
        """In a child: the connection is the parent's; only our copy of its descriptor goes."""
        self._ended = True
        self._explanation = None
        self._close()

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            try:
                connection.close()
            except BaseException:
                pass

    def _connect(self) -> None:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | getattr(_socket, "SOCK_CLOEXEC", 0))
        os.set_inheritable(connection.fileno(), False)
        connection.connect(self._config["socket"])
        connection.setblocking(False)
        self._socket = connection

    def _measured(self) -> _Heap:
        if self._heap is None:
            self._heap = _Heap()
        return self._heap

    # -- talking

    def _send(self, message: Dict[str, Any]) -> None:
        self._write(message, None)

    def _write(self, message: Dict[str, Any], patience_ms: Optional[int]) -> bool:
        """Writes a frame; false if it did not begin within the patience. A frame that began is finished."""
        connection = self._socket
        if connection is None:
            raise _Violation("closed")
        body = json.dumps(message, separators=(",", ":")).encode("ascii")
        rest = memoryview(len(body).to_bytes(4, "little") + b"\0" + body)
        poller = None
        begun = False
        while rest:
            try:
                sent = connection.send(rest)
                rest = rest[sent:]
                begun = True
            except (BlockingIOError, InterruptedError):
                if patience_ms is not None and not begun:
                    return False
                if poller is None:
                    poller = _poll()
                    poller.register(connection.fileno(), _POLLOUT)
                poller.poll(_write_wait_ms)
        return True

    def _offer(self, message: Dict[str, Any]) -> None:
        """Sends what may be lost: dropped and counted where the hub does not keep up."""
        if self._dropped and self._write({"type": "drop", "n": self._dropped}, 0):
            self._dropped = 0
        if self._dropped or not self._write(message, 0):
            self._dropped += 1

    def _hello(self) -> None:
        heap = self._measured()
        gaps = [{"what": "live bytes", "why": gap} for gap in heap.gaps]
        gaps.append({"what": "gc pauses", "why": "CPython tells how often it collected, and not for how long"})
        argv = list(getattr(sys, "orig_argv", None) or getattr(sys, "argv", None) or [])
        self._send(
            {
                "type": "hello",
                "proto": _PROTOCOL,
                "token": self._config["token"],
                "pid": os.getpid(),
                "ppid": os.getppid(),
                "isolate": 0,
                "main": True,
                "name": None,
                "runtime": "python",
                "version": sys.version.split()[0],
                "caps": _CAPABILITIES,
                "gaps": gaps,
                "argv": [str(word)[:512] for word in argv[:32]],
                "exec_argv": [],
                # CPython knows no limit of its own.
                "heap_limit": 0,
            }
        )

    # -- listening

    def _turn(self) -> None:
        if self._queue:
            self._execute(self._queue.pop(0))
            self._take(0)
            return
        wait = -1.0
        if self._period:
            wait = max(self._next_sample - _monotonic(), 0.0) * 1000
        self._take(wait)
        if self._period and not self._ended and _monotonic() >= self._next_sample:
            self._next_sample = _monotonic() + max(self._period, self._sample() / _MOST_SAMPLING)

    def _take(self, wait_ms: float) -> None:
        """Takes in what has arrived."""
        connection = self._socket
        if connection is None:
            raise _Violation("closed")
        poller = _poll()
        poller.register(connection.fileno(), _POLLIN)
        if not poller.poll(None if wait_ms < 0 else int(wait_ms) + (wait_ms > 0)):
            return
        try:
            piece = connection.recv(_INBOX_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        if not piece:
            raise _Violation("the hub is gone")
        self._inbox += piece
        while len(self._inbox) >= 5:
            length = int.from_bytes(self._inbox[:4], "little")
            if length > _INBOX_BYTES - 5:
                raise _Violation("a frame that is not from our hub")
            if len(self._inbox) < 5 + length:
                break
            kind, body = self._inbox[4], self._inbox[5 : 5 + length]
            self._inbox = self._inbox[5 + length :]
            if kind == 0:
                message = json.loads(body)
                if not isinstance(message, dict):
                    raise _Violation("not a message")
                self._dispatch(message)

    def _dispatch(self, message: Dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "config":
            self._configure(message)
        elif kind == "cmd":
            command = _Command(message)
            if len(self._queue) >= _MOST_COMMANDS:
                self._fail(command, "busy", "too many commands wait")
            else:
                self._queue.append(command)
        elif kind == "cancel":
            for command in [c for c in self._queue if c.id == message.get("id")]:
                self._queue.remove(command)
                self._fail(command, "cancelled", "cancelled before it began")

    def _configure(self, message: Dict[str, Any]) -> None:
        rate = message.get("hz")
        rate = min(max(float(rate), 0.0), 100.0) if isinstance(rate, (int, float)) else 0.0
        self._period = 1 / rate if rate else 0.0
        if rate:
            self._next_sample = _monotonic()
            self._send({"type": "schema", "names": _SCHEMA})

    def _sample(self) -> float:
        """Takes a sample; the CPU seconds that it took."""
        begun = _thread_time()
        values = {**self._measured().values(live=False), **_collections()}
        at, sequence = _now_us(), self._sequence
        self._sequence += 1
        self._offer({"type": "s", "seq": sequence, "at_us": at, "values": [values[name] for name in _SCHEMA]})
        return float(_thread_time() - begun)

    # -- operations

    def _execute(self, command: _Command) -> None:
        operation = self._operations.get(command.op)
        command.begun = _now_us()
        if operation is None:
            self._fail(command, "unsupported", "unknown operation " + command.op[:40])
            return
        try:
            answer = operation(command)
        except _Late as late:
            self._fail(command, "deadline", str(late))
        except _Violation:
            raise
        except Exception as error:
            self._fail(command, "refused", f"{type(error).__name__}: {error}"[:200])
        else:
            if answer is not None:
                self._send({"type": "reply", "id": command.id, "ok": answer})

    def _fail(self, command: _Command, kind: str, message: str) -> None:
        self._send({"type": "reply", "id": command.id, "error": {"kind": kind, "message": message}})

    def _collect(self, command: _Command) -> Dict[str, Any]:
        """Collections, each of which may run finalisers that let go of more, until two readings agree."""
        heap = self._measured()
        forget_lookups()
        seen, passes, settled = -1, 0, False
        while passes < _MOST_PASSES and not settled:
            if _now_us() > command.deadline:
                raise _Late(f"after {passes} collections")
            gc.collect()
            passes += 1
            live = heap.live()
            settled = seen >= 0 and abs(live - seen) <= max(256, live * 1e-4)
            seen = live
        values = heap.values(live=True)
        at = _now_us()
        return {"at_us": at, "values": values, "passes": passes, "settled": settled, "pause_us": at - command.begun}

    def _census(self, command: _Command) -> Optional[Dict[str, Any]]:
        scope = command.args.get("scope")
        if scope != "resources":
            self._fail(command, "unsupported", f"unknown scope {str(scope)[:40]}")
            return None
        rows = self._resources()
        if self._explanation is not None:
            rows += self._explanation.rows()
        return self._rows(command, rows)

    def _rows(self, command: _Command, rows: List[Tuple[str, str, int]]) -> Dict[str, Any]:
        at = _now_us()
        listed = [{"family": family, "kind": kind, "count": count} for family, kind, count in rows]
        return {"at_us": at, "method": "exact", "rows": listed, "gaps": [], "pause_us": at - command.begun}

    def _resources(self) -> List[Tuple[str, str, int]]:
        """Threads by name, unfinished asyncio tasks by coroutine. Imports nothing that the subject did not."""
        counts: Dict[Tuple[str, str], int] = {}

        def add(family: str, kind: str) -> None:
            counts[(family, kind)] = counts.get((family, kind), 0) + 1

        threading = sys.modules.get("threading")
        for thread in list(getattr(threading, "_active", {}).values()):
            add("threads", _fold(str(getattr(thread, "_name", "thread"))))
        tasks = sys.modules.get("asyncio.tasks")
        for registry in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):
            try:
                known = list(getattr(tasks, registry, ()))
            except RuntimeError:
                # Changed while it was read, by another thread's loop.
                continue
            for task in known:
                if not task.done():
                    coroutine = task.get_coro()
                    add("tasks", _fold(str(getattr(coroutine, "__qualname__", type(coroutine).__name__))))
        ordered = sorted(counts.items(), key=lambda entry: -entry[1])[:_MOST_ROWS]
        return [(family, kind, count) for (family, kind), count in ordered]

    def _mark(self, command: _Command) -> Dict[str, Any]:
        mark = command.args.get("mark")
        if mark == "explanation_start" and self._explanation is None:
            self._explanation = self._load("_explain").Explanation()
        elif mark == "explanation_end" and self._explanation is not None:
            self._explanation.end()
            self._explanation = None
        return {}

    def _bye(self, command: _Command) -> None:
        self._send({"type": "reply", "id": command.id, "ok": {}})
        self._ended = True


_running: List[Probe] = []
#: What a forked child does, until the probe lets go. A hook cannot be taken back, so it is made of nothing of ours.
_after_fork: List[Callable[[], None]] = []
_HOOK = "lambda calls: lambda: [call() for call in calls]"


def start(config: Dict[str, str], load: Callable[[str], Any]) -> None:
    """Starts the probe of this process, and of each that will be forked from it. Never raises."""

    def begin() -> None:
        try:
            probe = Probe(config, load)
            _running[:] = [probe]
            probe.start()
        except BaseException:
            pass

    def forked() -> None:
        for probe in _running:
            probe.forget()
        begin()

    begin()
    if hasattr(os, "register_at_fork"):
        _after_fork.append(forked)
        os.register_at_fork(after_in_child=eval(_HOOK, {})(_after_fork))
