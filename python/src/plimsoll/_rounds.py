"""Repeats an operation in growing rounds and counts after each: flat, or a record for the judge.

The first rounds are as many as fit in 40 ms (or 12 calls): if no counter grew over the last four, the operation is
flat, and the least growth that would have been seen is said. Anything else goes on in rounds that double, so that
caches, pools and free lists have time to fill, until the judge is sure or the CPU budget is spent. Nothing here says
leak by itself.

What existed before the first round is frozen for the collector (`gc.freeze`), so that collections and counts cost what
is new and not what the program weighs.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ._counters import (
    DESCRIPTORS,
    LIVE_BYTES,
    NAMES,
    TASKS,
    THREADS,
    Counters,
    descriptor_limit,
    forget_lookups,
    resident_bytes,
)
from ._judge import Answer, Judge, JudgeMissing

#: Growth over the last four rounds below which a counter is level: in all, and per operation. The first covers what
#: allocators and the interpreter keep by their own clock (glibc's thread cache, free lists); the second is the floor.
#: A small first figure costs time and not truth: what is not level is judged.
_LEVEL: Dict[int, Tuple[float, float]] = {
    LIVE_BYTES: (256.0, 4.0),
    DESCRIPTORS: (0.0, 0.005),
    THREADS: (0.0, 0.005),
    TASKS: (0.0, 0.005),
}
_LAST = 4
_FIRST_ROUNDS = 8
_ROUNDS_A_STAGE = 4
_WARM_UP = 3
_FEW = 10
#: CPython 3.12 starts with a few hundred frozen objects; a program that freezes has many more.
_FROZEN_AT_START = 1000
_MOST = 250
#: Growth per operation that fell to this share of what it was before fades.
_FADED = 0.7
_FADES = "it grew ever more slowly over the few operations that there was time for: raise `cpu_s`"
#: A glance: repetitions between two readings, at least and at most. The most is for a list that gains pointers: it
#: grows by an eighth at a time, and is level in between; one of a test's own is still short.
_GLANCE_LEAST, _GLANCE_MOST = 8, 40
#: Growth above which a glance is not level, per operation: half a pointer, the floor of bytes.
_GLANCE_BYTES = 4.0


@dataclass(frozen=True)
class Limits:
    """How far repetition may go. CPU seconds, not wall: a loaded machine must not change a verdict."""

    flat_cpu_s: float = 0.040
    flat_operations: int = 12
    #: A leak verdict waits for so many operations, or for so much CPU: what fills looks like a leak until it is full.
    patient_operations: int = 16_000
    patient_cpu_s: float = 0.30
    #: Where operations are dear, so many of them still, or all the CPU there is: what comes to rest within two hundred
    #: (allocators, and libraries that look at every module) looks like a leak after a hundred.
    dear_operations: int = 1_000
    cpu_s: float = 1.20
    wall_s: float = 60.0
    memory_bytes: int = 256 * 1024 * 1024
    threads: int = 128


@dataclass
class Record:
    """What repetition found. `outcome` is `flat`, `leak`, `no leak`, `inconclusive` or `not repeatable`."""

    outcome: str
    reason: str = ""
    operations: int = 0
    cpu_s: float = 0.0
    #: Growth per operation that would have been noticed.
    would_have_seen: float = 0.0
    answers: Dict[str, Answer] = field(default_factory=dict)
    #: Growth from the first reading to the last, by counter.
    grown: Dict[str, float] = field(default_factory=dict)
    readings: Dict[str, List[float]] = field(default_factory=dict)
    at: List[int] = field(default_factory=list)
    #: The outcome is out because a guard (memory, descriptors) stopped repetition.
    guarded: Optional[str] = None
    gaps: List[str] = field(default_factory=list)


class NotRepeatable(Exception):
    """A repetition did not do what the first call did."""


class Freezer:
    """Takes what exists out of the collector's sight, so that collecting costs what is new.

    A program that froze something itself is left alone. Within `hold()` (a whole test session) the frozen set is only
    added to, which saves a full collection per measurement; `thaw` gives everything back for as long as it lasts.
    """

    def __init__(self) -> None:
        self._ours = False
        self._held = False

    def _freeze(self) -> None:
        if not self._ours and gc.get_freeze_count() > _FROZEN_AT_START:
            return
        gc.collect()
        gc.freeze()
        self._ours = True

    def _unfreeze(self) -> None:
        if self._ours:
            gc.unfreeze()
            self._ours = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Everything that exists now is frozen inside."""
        self._freeze()
        try:
            yield
        finally:
            if not self._held:
                self._unfreeze()

    @contextmanager
    def thawed(self) -> Iterator[None]:
        """Nothing is frozen by us inside: frozen objects are neither listed nor found as referrers.

        Both ways cost nothing, so that only the look itself is paid for and no collection of everything.
        """
        was = self._ours
        self._unfreeze()
        try:
            yield
        finally:
            if was:
                gc.freeze()
                self._ours = True

    def hold(self) -> None:
        """Stays frozen between measurements until `release`."""
        self._held = True
        self._freeze()

    def refresh(self) -> None:
        """Collects what became garbage while it was frozen."""
        if self._ours:
            self._unfreeze()
            self._freeze()

    def release(self) -> None:
        """Ends `hold`."""
        self._held = False
        self._unfreeze()


freezer = Freezer()


class _Stop(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Rounds:
    """One measurement of one operation."""

    def __init__(
        self,
        operation: Callable[[], None],
        counters: Counters,
        judge: Judge,
        limits: Limits,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._operation = operation
        self._counters = counters
        self._judge = judge
        self._limits = limits
        self._between = between
        self._done = 0
        #: CPU of the operations alone: how much a reading costs is no reason to be less patient.
        self._operations_cpu = 0.0
        self._looks = 0
        #: How often bytes were called a leak so far, and the rate that was seen then.
        self._looks_of_leak = 0
        self._leak_rate = 0.0
        self._cpu_begin = time.process_time()
        self._wall_begin = time.monotonic()
        self._rss = resident_bytes()
        descriptors = descriptor_limit()
        self._descriptor_room = 1024 if descriptors is None else min(max(descriptors // 4, 16), 1024)
        self._threads = threading.active_count()

    # -- pieces

    def _cpu(self) -> float:
        return time.process_time() - self._cpu_begin

    def _run(self, count: int) -> None:
        operation = self._operation
        begun = time.process_time()
        for _ in range(count):
            operation()
        self._operations_cpu += time.process_time() - begun
        self._done += count

    def _read(self) -> None:
        self._between()
        forget_lookups()
        # Twice: what the first collection finalises may let go of more.
        gc.collect()
        if gc.collect():
            gc.collect()
        self._counters.read(self._done)

    def _round(self, size: int) -> None:
        """A round, in pieces small enough for the guards to see in time."""
        left = size
        while left:
            piece = min(left, max(size // 8, 1))
            self._run(piece)
            left -= piece
            self._guard()
        self._read()

    def _guard(self) -> None:
        now = resident_bytes()
        if self._rss is not None and now is not None and now - self._rss > self._limits.memory_bytes:
            raise _Stop(f"repetition stopped: it had added {self._limits.memory_bytes >> 20} MiB")
        if threading.active_count() - self._threads > self._limits.threads:
            raise _Stop(f"repetition stopped: it had started {self._limits.threads} threads")
        if self._counters.rows:
            opened = self._descriptors() - self._counters.value(0, DESCRIPTORS)
            if opened > self._descriptor_room:
                raise _Stop(f"repetition stopped: it had opened {int(opened)} descriptors")

    def _things(self) -> float:
        return self._descriptors() + threading.active_count()

    def _descriptors(self) -> float:
        reader = self._counters._descriptors
        return float(reader()) if reader is not None else 0.0

    def _grows(self) -> List[int]:
        """Counters that are not level over the last rounds."""
        growing = []
        for counter, (absolute, per_op) in _LEVEL.items():
            growth, operations = self._counters.growth(counter, _LAST)
            growth = max(growth, self._steady(counter))
            if growth > max(absolute, per_op * operations):
                growing.append(counter)
        return growing

    def _steady(self, counter: int) -> float:
        """Growth of the last rounds had none of them let go of anything: a cache that is emptied once hides a leak."""
        counters = self._counters
        last = counters.rows - 1
        if last < _LAST:
            return 0.0
        steps = sorted(
            counters.value(row, counter) - counters.value(row - 1, counter) for row in range(last - _LAST + 1, last + 1)
        )
        return _LAST * steps[1]

    def _would_have_seen(self) -> float:
        """Bytes per operation that the last rounds would have shown."""
        _, operations = self._counters.growth(LIVE_BYTES, _LAST)
        absolute, per_op = _LEVEL[LIVE_BYTES]
        return max(absolute / max(operations, 1), per_op)

    # -- the measurement

    def measure(self) -> Record:
        """Runs it to its end. Exceptions of the operation pass through."""
        record = self._measure()
        counters = self._counters
        record.operations = self._done
        record.cpu_s = self._cpu()
        record.gaps = list(counters.gaps)
        record.at = counters.all_operations()
        for counter, name in enumerate(NAMES):
            column = counters.column(counter)
            record.readings[name] = column
            if column:
                record.grown[name] = column[-1] - column[0]
        return record

    def _measure(self) -> Record:
        limits, counters = self._limits, self._counters
        counters.restart()
        things = self._things()
        begun = time.process_time()
        self._run(1)
        cost = time.process_time() - begun
        for _ in range(_WARM_UP - 1):
            begun = time.process_time()
            self._run(1)
            cost = min(cost, time.process_time() - begun)
        size = min(max(int(limits.flat_cpu_s / (cost + 1e-6) / _FIRST_ROUNDS), 1), _MOST)
        if self._things() - things >= _WARM_UP - 1:
            # Threads and descriptors are few and dear: short rounds, so that there are readings before a guard speaks.
            size = min(size, _FEW)
        rounds = _FIRST_ROUNDS if size > 1 else max(limits.flat_operations - self._done, _LAST + 1)
        modules = len(sys.modules)
        try:
            with freezer.frozen():
                self._read()
                for _ in range(rounds):
                    self._round(size)
                if len(sys.modules) != modules:
                    # Rounds that import do not count.
                    counters.restart()
                    self._read()
                    for _ in range(_LAST + 1):
                        self._round(size)
                if not self._grows():
                    return Record("flat", would_have_seen=self._would_have_seen())
                return self._go_on(size)
        except _Stop as stop:
            return self._stopped(stop.why)

    def _go_on(self, size: int) -> Record:
        """Doubles the rounds until the judge is sure."""
        limits, counters = self._limits, self._counters
        if self._judge.missing is not None:
            # Something grows and nobody can say what that means: more repetitions would not either.
            return Record("inconclusive", reason=self._judge.missing)
        idle = self._idle()
        while True:
            spent = self._cpu()
            per_op = max(self._operations_cpu / max(self._done, 1), 1e-7)
            affordable = int((limits.cpu_s - spent) / per_op / _ROUNDS_A_STAGE) + 1
            patient = self._done >= limits.patient_operations or (
                self._operations_cpu >= limits.patient_cpu_s and self._done >= limits.dear_operations
            )
            out = (
                spent >= limits.cpu_s
                or affordable < size
                or counters.rows + _ROUNDS_A_STAGE >= counters.capacity
                or time.monotonic() - self._wall_begin > limits.wall_s
            )
            if patient or out:
                record = self._judged(idle)
                is_settled = record.outcome != "leak" or self._agrees(record, out)
                if is_settled and (record.outcome != "inconclusive" or out):
                    return record
                if out:
                    return Record("inconclusive", reason=_FADES, answers=record.answers)
            if not patient:
                left = max(limits.patient_cpu_s - self._operations_cpu, per_op * (limits.dear_operations - self._done))
                affordable = min(affordable, int(left / per_op / _ROUNDS_A_STAGE) + 1)
            # The next stage doubles what was done, or ends where the budget does; one shorter than the last would look
            # level for no other reason than that little was done in it.
            size = max(min(size * 2, affordable), size)
            for _ in range(_ROUNDS_A_STAGE):
                self._round(size)
                if time.monotonic() - self._wall_begin > limits.wall_s:
                    break
            if not self._grows():
                return Record("flat", would_have_seen=self._would_have_seen(), reason="it grew at first, then stopped")

    def _idle(self) -> float:
        """Bytes per operation that other threads add by themselves, where there are any."""
        counters = self._counters
        if threading.active_count() <= 1 or counters.rows < 2:
            return 0.0
        _, operations = counters.growth(LIVE_BYTES, _LAST)
        # As long as the rounds took: other threads live by the clock.
        wall = min((time.monotonic() - self._wall_begin) / 2, 0.25)
        # What waiting needs is made and used before the first reading: it would count as growth.
        wake = threading.Event()
        wake.wait(0.001)
        gc.collect()
        before = counters.live_bytes()
        wake.wait(wall)
        gc.collect()
        after = counters.live_bytes()
        if before is None or after is None or operations == 0:
            return 0.0
        grown = after - before
        absolute, _ = _LEVEL[LIVE_BYTES]
        return max(grown - absolute, 0.0) / operations if grown > absolute else 0.0

    def _judged(self, idle: float, guarded: Optional[str] = None) -> Record:
        counters = self._counters
        operations = counters.all_operations()
        growing = self._grows() or [LIVE_BYTES]
        self._looks += 1
        answers: Dict[str, Answer] = {}
        try:
            for counter in growing:
                name = NAMES[counter]
                answers[name] = self._judge.ask(
                    name,
                    operations,
                    counters.column(counter),
                    alpha=0.01 / len(growing),
                    look=self._looks,
                    idle_growth_per_op=idle if counter == LIVE_BYTES else 0.0,
                    warm_up=_WARM_UP,
                )
        except JudgeMissing as missing:
            return Record("inconclusive", reason=str(missing), guarded=guarded)
        outcomes = [a.verdict for a in answers.values()]
        if "leak" in outcomes:
            if self._fades() and all(name == NAMES[LIVE_BYTES] for name, a in answers.items() if a.verdict == "leak"):
                return Record("inconclusive", reason=_FADES, answers=answers, guarded=guarded)
            return Record("leak", answers=answers, guarded=guarded)
        seen = self._would_have_seen()
        if all(outcome == "no_leak" for outcome in outcomes):
            return Record("no leak", answers=answers, would_have_seen=seen, guarded=guarded)
        reason = next(a.reason for a in answers.values() if a.verdict != "no_leak")
        return Record("inconclusive", reason=reason, answers=answers, would_have_seen=seen, guarded=guarded)

    def _agrees(self, record: Record, out: bool) -> bool:
        """Whether a leak of bytes grows as fast as when it was first called one, a doubling ago.

        Free lists and pools take thousands of operations to fill, which looks like a leak until then. There is nothing
        to compare with where the budget allows one look only, and no need to after many operations.
        """
        leaks = {name: answer for name, answer in record.answers.items() if answer.verdict == "leak"}
        if set(leaks) != {NAMES[LIVE_BYTES]}:
            return True
        if self._looks_of_leak == 0 and self._done >= self._limits.patient_operations:
            return True
        rate, before = leaks[NAMES[LIVE_BYTES]].rate or 0.0, self._leak_rate
        first = self._looks_of_leak == 0
        self._looks_of_leak += 1
        self._leak_rate = rate
        return out if first else rate >= _FADED * before

    def _fades(self) -> bool:
        """Whether growth became slower, after so few operations that it may yet stop."""
        counters = self._counters
        if self._done >= self._limits.dear_operations:
            return False
        late, operations = counters.growth(LIVE_BYTES, _LAST)
        whole, of_all = counters.growth(LIVE_BYTES, counters.rows)
        early, before = whole - late, of_all - operations
        return before > 0 and late / max(operations, 1) < _FADED * early / before

    def _stopped(self, why: str) -> Record:
        """A guard ended it: the finding is judged by what there is."""
        self._read()
        record = self._judged(0.0, guarded=why)
        if record.outcome == "inconclusive":
            record.reason = f"{why}; {record.reason}"
        return record


def measure(
    operation: Callable[[], None],
    *,
    judge: Judge,
    limits: Optional[Limits] = None,
    counters: Optional[Counters] = None,
    between: Callable[[], None] = lambda: None,
) -> Record:
    """Repeats `operation` and says what became of this process's counters. `between` runs before each reading."""
    counters = counters if counters is not None else Counters()
    return Rounds(operation, counters, judge, limits or Limits(), between).measure()


def glance(
    operation: Callable[[], None],
    *,
    counters: Counters,
    cpu_s: float,
    between: Callable[[], None] = lambda: None,
) -> Optional[Record]:
    """A few repetitions between two readings, for a suite that cannot afford to measure each of its tests.

    Flat, with the least growth that would have shown, or None: something grew, twice in a row, and whether that is a
    leak is for `measure` to find out. `cpu_s` is what the repetitions between two readings may take where more than the
    least are affordable.

    What Python allocates is told by its tracer and not by its allocator, which would walk all of a large program to say
    it: a glance costs what the test costs, and every test of a suite can have one. What is traced takes several times
    as long, which repetitions between readings are sized by.
    """
    cpu_begin = time.process_time()
    traced, native = tracemalloc.get_traced_memory, counters.native_heap.read
    bound = 0.0

    def look(count: int) -> bool:
        """Repeats so often and reads; whether nothing is more than at the reading before."""
        for _ in range(count):
            operation()
        between()
        forget_lookups()
        gc.collect()
        counters.read(count, traced()[0] + (native() or 0), objects=False)
        return counters.rows > 1 and not _grew(counters, bound)

    with freezer.frozen(), _tracing():
        # What looking needs (the tracer's own tables too), and what the first repetitions leave, is there before the
        # first reading that counts.
        look(1)
        cost = float("inf")
        for _ in range(_WARM_UP - 1):
            begun = time.process_time()
            operation()
            cost = min(cost, time.process_time() - begun)
        count = min(max(int(cpu_s / max(cost, 1e-6)), _GLANCE_LEAST), _GLANCE_MOST)
        bound = _GLANCE_BYTES * count
        look(1)
        counters.restart()
        look(1)
        # A test that stops the tracer has to be measured.
        flat = (look(count) or look(count)) and tracemalloc.is_tracing()
    if not flat:
        return None
    return Record(
        "flat",
        operations=_WARM_UP + 2 + count * (counters.rows - 1),
        cpu_s=time.process_time() - cpu_begin,
        would_have_seen=_GLANCE_BYTES,
        gaps=list(counters.gaps),
    )


@contextmanager
def _tracing() -> Iterator[None]:
    """What is allocated inside is counted by Python's tracer, which is left as it was."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start(1)
    try:
        yield
    finally:
        tracemalloc.stop()


def _grew(counters: Counters, bound_bytes: float) -> bool:
    """Whether anything was more at the last reading than at the one before, bytes by more than their bound."""
    last = counters.rows - 1
    for counter in _LEVEL:
        growth = counters.value(last, counter) - counters.value(last - 1, counter)
        if growth > (bound_bytes if counter == LIVE_BYTES else 0.0):
            return True
    return False


__all__ = ["Limits", "NotRepeatable", "Record", "freezer", "glance", "measure"]
