"""From "it grows" to who holds it and where it is made; only after the judge has said leak.

The holder by growth of containers and their referrers (`_holders`), the line by tracemalloc over a few operations, the
line of native memory, descriptors and threads by reading their counters line by line. Warnings that Python gives for
free (unclosed files, coroutines never awaited, tasks destroyed while pending) are joined to it.
"""

from __future__ import annotations

import atexit
import gc
import logging
import sys
import threading
import time
import tracemalloc
import types
import warnings
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from ._counters import Counters, unfinished_tasks
from ._holders import (
    Lengths,
    Path,
    Searcher,
    entries,
    is_cache,
    is_user_file,
    kind_name,
    kind_of_entries,
    limit_of,
    named_sizes,
)
from ._rounds import freezer
from ._verdict import Culprit, Verdict

_CPU_S = 0.05
_MOST = 100
_FEWEST = 6
_TRACED = 24
#: The same where each keeps so much that a few of them keep this.
_MOST_BYTES = 64 * 1024 * 1024
_LEAST = 2
#: More than the blocks of one size that glibc keeps for a thread: those it hands out unseen.
_STEPPED = 16
_FRAMES = 25
_CANDIDATES = 4
_TOP = 10
#: Share of the growth that Python's own tracer has to see; below it, memory was allocated past it.
_SEEN_BY_TRACER = 0.5


def find(
    operation: Callable[[], None],
    verdict: Verdict,
    counters: Counters,
    between: Callable[[], None] = lambda: None,
) -> Culprit:
    """Repeats a leaking operation some more and says who holds what it leaves. Its exceptions pass through."""
    cost = verdict.cpu_s / max(verdict.operations, 1)
    # What each of them keeps is there until the program ends.
    room = max(int(_MOST_BYTES / max(verdict.bytes_per_op or 0.0, 1.0)), _LEAST)
    count = min(max(min(int(_CPU_S / max(cost, 1e-6)), _MOST), _FEWEST), room)
    lines = _Lines(operation, min(count, _TRACED), between)
    sites = lines.find()
    holder = _Holders(operation, count, between).find()
    counts = verdict.counts_per_op
    bytes_per_op = sum(size for size, _ in sites) or None
    judged = verdict.bytes_per_op or 0.0
    is_native = judged > 0 and (bytes_per_op or 0.0) < _SEEN_BY_TRACER * judged
    pattern = next((_THINGS[name] for name in _THINGS if name in counts), holder.pattern)
    kind = holder.kind
    site = sites[0][1] if sites else None
    added: Optional[str] = None
    if holder.container is not None:
        container = holder.container
        added = _Stepper(operation, lambda: float(entries(container)), room).find()
    if counts or (is_native and added is None):
        stepped = _Stepper(operation, _reader(counters, counts), room).find()
        if stepped is not None:
            site = stepped
            if is_native:
                sites = ((judged - (bytes_per_op or 0.0), stepped), *sites)
    if is_native and holder.name is None and not counts:
        pattern = "native block"
        kind = "native memory that Python does not see"
    return Culprit(
        kind=kind,
        holder=holder.name,
        site=site,
        added=added,
        pattern=pattern,
        entries_per_op=holder.entries_per_op,
        bytes_per_op=bytes_per_op,
        allocations=tuple(sites[:_TOP]),
        evidence=tuple(lines.evidence),
        bounded=holder.bounded,
        others=tuple(holder.others),
    )


#: Patterns of what is counted one by one, the more telling first.
_THINGS = {"tasks": "pending promises/tasks", "threads": "threads", "descriptors": "descriptors"}


def _reader(counters: Counters, counts: Dict[str, float]) -> Callable[[], float]:
    """What to read around each line: the thing that leaks, else native memory."""
    descriptors = counters._descriptors
    if "descriptors" in counts and descriptors is not None:
        return lambda: float(descriptors())
    if "threads" in counts:
        return lambda: float(threading.active_count())
    if "tasks" in counts:
        return lambda: float(unfinished_tasks())
    native = counters.native_heap
    return lambda: float(native.read() or 0)


def _run(operation: Callable[[], None], count: int) -> None:
    for _ in range(count):
        operation()


def _collect(between: Callable[[], None]) -> None:
    between()
    gc.collect()
    gc.collect()


class _Holders:
    """The container that grows."""

    def __init__(self, operation: Callable[[], None], count: int, between: Callable[[], None]) -> None:
        self._operation, self._count, self._between = operation, count, between
        self.name: Optional[str] = None
        self.kind: Optional[str] = None
        self.pattern: Optional[str] = None
        self.entries_per_op: Optional[float] = None
        self.bounded: Optional[Tuple[int, int]] = None
        self.others: List[str] = []
        #: The container itself, for the line that adds to it.
        self.container: Any = None

    def find(self) -> _Holders:
        _run(self._operation, 1)
        _collect(self._between)
        registered = atexit._ncallbacks()
        with freezer.thawed():
            before, sizes = Lengths(), {name: size for name, (size, _) in named_sizes().items()}
        _run(self._operation, self._count)
        _collect(self._between)
        # All that is listed now was made by these operations and stayed.
        made = gc.get_objects()
        with freezer.thawed():
            candidates, _ = before.grown(max(self._count // 2, 1))
            searcher = Searcher([made, candidates, *candidates])
            if self._by_container(candidates, searcher) or self._by_name(sizes):
                return self
        # Once more: what was made once in so many operations is no growth.
        once = _count_kinds(made)
        del made, candidates, searcher, before
        gc.freeze()
        _run(self._operation, self._count)
        _collect(self._between)
        again = gc.get_objects()
        with freezer.thawed():
            self._by_type(once, again, Searcher([again]))
        gained = (atexit._ncallbacks() - registered) / (2 * self._count)
        if self.name is None and gained > 0.5:
            # A list of the interpreter's that no object refers to.
            self.name, self.entries_per_op, self.pattern = (
                "functions registered with atexit",
                gained,
                "global reference",
            )
        return self

    def _by_container(self, candidates: List[Tuple[int, Any]], searcher: Searcher) -> bool:
        # Those that gain whole entries per operation first, then the most; the user's own before all others, so that
        # there is no need to go on once one of them was found.
        candidates = sorted(candidates, key=lambda entry: (entry[0] % self._count != 0, -entry[0]))
        searcher.ignore(candidates)
        ranked: List[Tuple[int, Path, Any]] = []
        for gained, thing in candidates[: 3 * _CANDIDATES]:
            path = searcher.path(thing)
            if path is not None and path.root.startswith("lru_cache") and not is_cache(thing):
                # The dictionary inside a cache; the cache itself is a candidate too, and knows its limit.
                continue
            if path is None or str(path).startswith(("plimsoll.", "_pytest.", "pluggy.")):
                continue
            if path.is_user:
                ranked.insert(0, (gained, path, thing))
                break
            ranked.append((gained, path, thing))
        if not ranked:
            return False
        gained, path, thing = ranked[0]
        self.name = str(path) if str(path).startswith("lru_cache") else f"{path} ({type(thing).__name__})"
        self.entries_per_op = gained / self._count
        self.kind = kind_of_entries(thing)
        self.pattern = _pattern(path, thing)
        self.bounded = limit_of(thing)
        self.container = thing
        self.others = [str(entry[1]) for entry in ranked[1:_CANDIDATES]]
        return True

    def _by_name(self, before: Dict[str, int]) -> bool:
        """What is replaced by something larger grows under its name."""
        found: List[Tuple[int, str, Any]] = []
        for name, (size, thing) in named_sizes().items():
            gained = size - before.get(name, size)
            if gained >= max(self._count // 2, 1):
                found.append((gained, name, thing))
        if not found:
            return False
        found.sort(key=lambda entry: -entry[0])
        gained, name, thing = found[0]
        self.name = f"{name} ({type(thing).__name__})"
        self.entries_per_op = gained / self._count
        self.kind = kind_of_entries(thing)
        self.pattern = "closure capture" if " cell `" in name else "global reference"
        self.others = [entry[1] for entry in found[1:_CANDIDATES]]
        return True

    def _by_type(self, once: Dict[type, int], made: List[Any], searcher: Searcher) -> None:
        """No container grows: objects hang on each other (a linked list, tracebacks, frames)."""
        counts = _count_kinds(made)
        least = max(self._count // 2, 1)
        growing = [kind for kind, gained in counts.items() if min(gained, once.get(kind, 0)) >= least]
        growing.sort(key=lambda kind: (kind.__module__ == "builtins", -counts[kind]))
        for kind in growing[:_CANDIDATES]:
            self.kind = kind_name(kind)
            self.entries_per_op = counts[kind] / self._count
            of_kind = [thing for thing in made if type(thing) is kind]
            # A chain hangs on its newest link or on its oldest.
            for thing in (of_kind[-1], of_kind[0]):
                path = searcher.path(thing)
                if path is not None and not str(path).startswith("plimsoll."):
                    self.name = str(path)
                    self.pattern = path.pattern
                    return


def _count_kinds(things: List[Any]) -> Dict[type, int]:
    counts: Dict[type, int] = {}
    for thing in things:
        counts[type(thing)] = counts.get(type(thing), 0) + 1
    return counts


def _pattern(path: Path, thing: Any) -> str:
    text = str(path)
    if text.startswith("lru_cache"):
        return "unbounded map/cache"
    if text.startswith("logging.") or ".handlers" in text:
        return "logger handlers"
    words = ("listener", "callback", "handler", "observer", "subscriber", "hook")
    if any(word in text.lower() for word in words):
        return "event listeners"
    if path.pattern in ("closure capture", "default argument", "suspended frame"):
        return str(path.pattern)
    return "unbounded map/cache" if isinstance(thing, (dict, set, weakref.WeakKeyDictionary)) else "global reference"


class _Lines:
    """Where what stays was allocated, by tracemalloc; with the warnings that were given meanwhile."""

    def __init__(self, operation: Callable[[], None], count: int, between: Callable[[], None]) -> None:
        self._operation, self._count, self._between = operation, count, between
        self.evidence: List[str] = []

    def find(self) -> Tuple[Tuple[float, str], ...]:
        if tracemalloc.is_tracing():
            self.evidence.append("tracemalloc is in use by the test itself: no allocation line")
            _run(self._operation, 1)
            return ()
        destroyed = _Destroyed()
        logging.getLogger("asyncio").addHandler(destroyed)
        tracemalloc.start(_FRAMES)
        try:
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                _run(self._operation, 2)
                _collect(self._between)
                before = _by_traceback()
                del given[:]
                _run(self._operation, self._count)
                _collect(self._between)
                self._warned(given)
            if not tracemalloc.is_tracing():
                self.evidence.append("the test stops tracemalloc: no allocation line")
                return ()
            after = _by_traceback()
        finally:
            tracemalloc.stop()
            logging.getLogger("asyncio").removeHandler(destroyed)
        self.evidence.extend(sorted(destroyed.messages))
        lines: Dict[str, float] = {}
        for trace, (size, count) in after.items():
            old_size, old_count = before.get(trace, (0, 0))
            # What stays once is no leak; containers that double keep one block and grow it.
            more = count - old_count
            if size <= old_size or (more < self._count // 2 and (more > 0 or trace not in before)):
                continue
            place = _user_line(trace)
            if place is not None:
                lines[place] = lines.get(place, 0.0) + (size - old_size) / self._count
        ranked = sorted(((size, place) for place, size in lines.items()), reverse=True)
        ranked.sort(key=lambda entry: (not is_user_file(entry[1].rsplit(":", 1)[0]), -entry[0]))
        return tuple(ranked)

    def _warned(self, given: List[warnings.WarningMessage]) -> None:
        seen: Dict[str, int] = {}
        for warning in given:
            text = str(warning.message)
            if isinstance(warning.message, ResourceWarning):
                place = _allocated_at(warning.source)
                text = f"ResourceWarning: {text.split(' <', 1)[0]}" + (f", opened at {place}" if place else "")
            elif isinstance(warning.message, RuntimeWarning) and "never awaited" in text:
                text = f"RuntimeWarning: {text}"
            else:
                continue
            seen[text] = seen.get(text, 0) + 1
        self.evidence.extend(f"{text} ({times / self._count:.3g} per run)" for text, times in sorted(seen.items()))


class _Destroyed(logging.Handler):
    """Hears asyncio say that a pending task was destroyed."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.messages: Dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().split("\n", 1)[0]
        if "was destroyed but it is pending" in text:
            self.messages["asyncio: " + text] = None


_Trace = Tuple[Tuple[str, int], ...]


def _by_traceback() -> Dict[_Trace, Tuple[int, int]]:
    snapshot = tracemalloc.take_snapshot()
    found: Dict[_Trace, Tuple[int, int]] = {}
    for statistic in snapshot.statistics("traceback"):
        # The most recent call comes last.
        frames = tuple((frame.filename, frame.lineno) for frame in statistic.traceback)
        if _made_by_us(frames):
            continue
        size, count = found.get(frames, (0, 0))
        found[frames] = (size + statistic.size, count + statistic.count)
    return found


def _made_by_us(frames: _Trace) -> bool:
    """Allocated by our own bookkeeping: the innermost frame is ours, or tracemalloc's own."""
    innermost = frames[-1][0]
    return innermost.startswith(_PACKAGE) or innermost == tracemalloc.__file__


_PACKAGE = __file__.rsplit("/", 1)[0] + "/"


def _user_line(frames: _Trace) -> Optional[str]:
    """The innermost line of the user's own, else the innermost one."""
    for filename, line in reversed(frames):
        if is_user_file(filename):
            return f"{filename}:{line}"
    filename, line = frames[-1]
    return None if filename.startswith("<") else f"{filename}:{line}"


def _allocated_at(thing: Any) -> Optional[str]:
    trace = tracemalloc.get_object_traceback(thing) if thing is not None else None
    if trace is None:
        return None
    return _user_line(tuple((frame.filename, frame.lineno) for frame in trace))


class _Stepper:
    """Which line of the user's makes a figure grow: entries of a container, native memory, descriptors, threads."""

    def __init__(self, operation: Callable[[], None], read: Callable[[], float], room: int) -> None:
        self._operation = operation
        self._read = read
        self._most = min(_STEPPED, room)
        self._lines: Dict[str, float] = {}
        self._user: Dict[types.CodeType, bool] = {}
        self._last: Optional[str] = None
        self._value = 0.0

    def _settle(self) -> None:
        now = self._read()
        if self._last is not None:
            self._lines[self._last] = self._lines.get(self._last, 0.0) + now - self._value
        self._value = now

    def _trace(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        is_user = self._user.get(code)
        if is_user is None:
            is_user = self._user[code] = is_user_file(code.co_filename)
        if not is_user:
            return None
        self._settle()
        if event == "return":
            caller = frame.f_back
            self._last = None
            if caller is not None and is_user_file(caller.f_code.co_filename):
                self._last = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        else:
            self._last = f"{code.co_filename}:{frame.f_lineno}"
        return self._trace

    def find(self) -> Optional[str]:
        if sys.gettrace() is not None:
            # A debugger or coverage is at work there.
            return None
        _run(self._operation, 1)
        begun = time.process_time()
        sys.settrace(self._trace)
        try:
            for _ in range(self._most):
                self._value = self._read()
                self._last = None
                self._operation()
                self._settle()
                if time.process_time() - begun > _CPU_S:
                    break
        finally:
            sys.settrace(None)
        if not self._lines:
            return None
        place, most = max(self._lines.items(), key=lambda entry: entry[1])
        return place if most > 0 else None
