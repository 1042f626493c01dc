"""What a failed test says: the interface of `--detect-leaks` to the letter, our verdict after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from ._counters import descriptor_limit
from ._verdict import MIB, PROJECTED_RUNS, Verdict, describe, number

_RULE = "=" * 70


@dataclass(frozen=True)
class Failure:
    """Why a leak fails a test: the growth that is reported, over how many runs, and in which words."""

    growth_bytes: float
    runs: int
    why: str


def failure(verdict: Verdict, threshold_bytes: float, mode: str) -> Optional[Failure]:
    """Whether a verdict fails its test, and by which figure."""
    if not verdict.is_leak:
        return None
    observed, projected = max(verdict.observed_bytes, 0.0), verdict.projected_bytes()
    runs = verdict.observed_operations
    if observed > threshold_bytes:
        return Failure(observed, runs, f"observed over {runs:,} repetitions")
    if projected > threshold_bytes:
        return Failure(projected, PROJECTED_RUNS, f"projected over {PROJECTED_RUNS:,} runs at the measured rate")
    opened = verdict.counts_per_op.get("descriptors", 0.0)
    limit = descriptor_limit()
    if opened > 0 and limit is not None and opened * PROJECTED_RUNS > limit:
        why = f"projected: the limit of {limit:,} open files is reached after {number(int(limit / opened))} runs"
        return Failure(observed, runs, why)
    things = {name: rate for name, rate in verdict.counts_per_op.items() if name != "descriptors"}
    if things:
        name, rate = max(things.items(), key=lambda entry: entry[1])
        why = f"projected: {number(int(rate * PROJECTED_RUNS))} {name} after {PROJECTED_RUNS:,} runs"
        return Failure(observed, runs, why)
    if mode == "rate":
        return Failure(observed, runs, "any proven leak fails (--leak-mode=rate)")
    return None


def megabytes(size: float) -> str:
    """As the interface writes it: binary megabytes, two decimals."""
    return f"{size / MIB:.2f} MB"


def short_message(verdict: Verdict, found: Failure, threshold_bytes: float) -> List[str]:
    """The message of a failed test."""
    return [
        f"Memory leak detected: {megabytes(found.growth_bytes)} growth (threshold: {megabytes(threshold_bytes)}).",
        "Run with --leak-report for details.",
        *_ours(verdict, found),
    ]


def long_message(nodeid: str, verdict: Verdict, found: Failure, threshold_bytes: float) -> List[str]:
    """The same with `--leak-report`."""
    lines = [
        _RULE,
        f"MEMORY LEAK DETECTED: {nodeid}",
        f"Memory growth: {megabytes(found.growth_bytes)} (threshold: {megabytes(threshold_bytes)})",
        _RULE,
        "",
        "Top 10 memory allocations:",
    ]
    allocations = verdict.culprit.allocations if verdict.culprit is not None else ()
    lines.extend(f"  +{megabytes(size * found.runs)}: {place}" for size, place in allocations)
    if not allocations:
        lines.append("  (no allocation line is known)")
    return [*lines, "", *_ours(verdict, found)]


def _ours(verdict: Verdict, found: Failure) -> List[str]:
    first, *rest = describe(verdict)
    return [first, f"growth: {found.why}", *rest]
