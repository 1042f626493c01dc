"""Leak assertions for code that is not a test of pytest: `check`, `no_leak`, and a mixin for unittest."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
from types import TracebackType
from typing import Any, Callable, List, Optional, Tuple, Type, Union

from ._counters import DESCRIPTORS, LIVE_BYTES, TASKS, THREADS, Counters
from ._judging import session_counters, verdict_on
from ._rounds import Limits
from ._verdict import INCONCLUSIVE, MIB, NO_LEAK, Verdict, describe, size

_UNITS = {"b": 1, "kib": 1024, "kb": 1024, "mib": MIB, "mb": MIB, "gib": 1024 * MIB, "gb": 1024 * MIB}


class LeakError(AssertionError):
    """An assertion about memory that does not hold; `verdict` says more where there is one."""

    def __init__(self, message: str, verdict: Optional[Verdict] = None) -> None:
        super().__init__(message)
        self.verdict = verdict


def check(operation: Callable[[], Any], *, cpu_s: float = 1.2, explain: bool = True) -> Verdict:
    """Repeats `operation` in growing rounds and returns the verdict; a coroutine function runs in a loop of its own.

    The verdict is true unless a leak was proven, so that `assert plimsoll.check(f)` is a test. Nothing that the
    operation returns is kept. Its exceptions pass through.

    # Errors
    `ValueError` if `cpu_s` is not positive.
    """
    if not cpu_s > 0:
        raise ValueError(f"cpu_s is seconds of CPU time, above 0, not {cpu_s!r}")
    limits = Limits(cpu_s=cpu_s, patient_cpu_s=min(cpu_s, Limits.patient_cpu_s))
    if inspect.iscoroutinefunction(operation):
        loop = asyncio.new_event_loop()
        try:
            return verdict_on(lambda: loop.run_until_complete(operation()), limits=limits, explain=explain)
        finally:
            loop.close()
    return verdict_on(operation, limits=limits, explain=explain)


def parse_size(limit: Union[int, float, str]) -> float:
    """Bytes from a number or a text such as `64 KiB` or `1.5 MB` (binary both).

    # Errors
    `ValueError` if it is neither.
    """
    if isinstance(limit, (int, float)) and not isinstance(limit, bool):
        value = float(limit)
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", str(limit).lower())
        if match is None or match.group(2) not in _UNITS:
            raise ValueError(f"{limit!r} is no size: give bytes, or a text such as '64 KiB'")
        value = float(match.group(1)) * _UNITS[match.group(2)]
    if not value >= 0:
        raise ValueError(f"a limit of {limit!r} can never hold")
    return value


class no_leak:
    """`with no_leak(limit="64 KiB"):` the block leaves at most so many live bytes, and no descriptor, thread or task.

    One run cannot tell a leak from what is made once: this is a limit, and not a verdict. `check` gives a verdict.
    `growth_bytes` holds what was left afterwards. An exception of the block passes through unchecked.
    """

    def __init__(self, limit: Union[int, float, str] = "64 KiB", *, things: bool = True) -> None:
        self.limit_bytes = parse_size(limit)
        self.growth_bytes: Optional[float] = None
        self._things = things
        self._counters: Counters = session_counters()

    def _reading(self) -> Tuple[float, ...]:
        gc.collect()
        gc.collect()
        counters = self._counters
        counters.restart()
        counters.read(0)
        return tuple(counters.value(0, counter) for counter in (LIVE_BYTES, DESCRIPTORS, THREADS, TASKS))

    def __enter__(self) -> no_leak:
        # Once for what a first reading makes.
        self._reading()
        self._before = self._reading()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None:
            return
        after = self._reading()
        grown, opened, started, pending = (now - was for now, was in zip(after, self._before))
        self.growth_bytes = grown
        found: List[str] = []
        if grown > self.limit_bytes:
            found.append(f"{size(grown)} of live memory (limit: {size(self.limit_bytes)})")
        if self._things:
            for count, word in ((opened, "open descriptors"), (started, "threads"), (pending, "unfinished tasks")):
                if count > 0:
                    found.append(f"{count:.0f} {word}")
        if found:
            raise LeakError(f"the block left {', '.join(found)}")


class LeakTestMixin:
    """For `unittest.TestCase`: `self.assertNoLeak(operation)` and `self.assertNoGrowth(limit)`."""

    def assertNoLeak(self, operation: Callable[[], Any], *, cpu_s: float = 1.2, strict: bool = False) -> Verdict:
        """Fails if repetition proves a leak; with `strict` also if it cannot rule one out."""
        verdict = check(operation, cpu_s=cpu_s)
        if verdict.is_leak or (strict and verdict.outcome != NO_LEAK):
            raise LeakError("\n".join(describe(verdict, "call")), verdict)
        if verdict.outcome == INCONCLUSIVE:
            skip = getattr(self, "skipTest", None)
            if skip is not None:
                skip("\n".join(describe(verdict, "call")))
        return verdict

    def assertNoGrowth(self, limit: Union[int, float, str] = "64 KiB") -> no_leak:
        """A context whose block may leave at most `limit`."""
        return no_leak(limit)
