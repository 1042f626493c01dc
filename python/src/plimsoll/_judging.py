"""The one way to judge an operation, for plugin, assertions and unittest mixin: count, ask, name the culprit."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, List, Optional

from ._counters import Counters, implementation_gap
from ._culprit import find
from ._judge import Judge, JudgeMissing, session_judge
from ._rounds import Limits, freezer, glance, measure
from ._verdict import INCONCLUSIVE, LEAK, Verdict, of_record

_counters: List[Counters] = []


def session_counters() -> Counters:
    """The counters of this process, made once: their buffers are then in every reading alike."""
    if not _counters:
        _counters.append(Counters())
    return _counters[0]


def prepare(judge: Optional[Judge] = None) -> Optional[str]:
    """Starts what has to be there before anything is counted; what is missing, if anything is."""
    gap = implementation_gap()
    if gap is not None:
        return gap
    session_counters()
    try:
        (judge or session_judge()).start()
    except JudgeMissing as missing:
        return str(missing)
    return None


def glance_at(
    operation: Callable[[], None], *, cpu_s: float, between: Callable[[], None] = lambda: None
) -> Optional[Verdict]:
    """No leak, from a few repetitions; or None: it has to be judged. Exceptions pass through."""
    gap = implementation_gap()
    if gap is not None:
        return Verdict(INCONCLUSIVE, gap)
    record = glance(operation, counters=session_counters(), cpu_s=cpu_s, between=between)
    return None if record is None else of_record(record)


def verdict_on(
    operation: Callable[[], None],
    *,
    limits: Optional[Limits] = None,
    explain: bool = True,
    between: Callable[[], None] = lambda: None,
) -> Verdict:
    """Repeats `operation` and judges it. Its exceptions pass through."""
    gap = implementation_gap()
    if gap is not None:
        return Verdict(INCONCLUSIVE, gap)
    judge = session_judge()
    # Without a judge "flat" can still be said; `measure` hears of the absence when it has something to ask.
    prepare(judge)
    counters = session_counters()
    verdict = of_record(measure(operation, judge=judge, limits=limits, counters=counters, between=between))
    if verdict.outcome != LEAK or not explain:
        return verdict
    with freezer.frozen():
        culprit = find(operation, verdict, counters, between)
    if culprit.bounded is not None and not verdict.counts_per_op:
        entries, limit = culprit.bounded
        # It grows as surely as a leak does, and will stop: nobody can prove more by measuring less than its limit.
        return replace(
            verdict,
            outcome=INCONCLUSIVE,
            reason=f"it fills {culprit.holder}, which is bounded ({entries:,} of {limit:,} entries)",
            culprit=culprit,
        )
    return replace(verdict, culprit=culprit)
