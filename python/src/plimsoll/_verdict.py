"""The verdict on one operation, in the words of the whole project, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from ._rounds import Record

LEAK, NO_LEAK, INCONCLUSIVE, NOT_REPEATABLE = "leak", "no leak", "inconclusive", "not repeatable"

MIB = 1024 * 1024
#: Over how many runs growth is projected against a threshold in megabytes: a service that does it each second, a day.
PROJECTED_RUNS = 100_000

#: Counters that are things, with their singular and plural.
_THINGS = {
    "descriptors": ("open descriptor", "open descriptors"),
    "threads": ("thread", "threads"),
    "tasks": ("unfinished task", "unfinished tasks"),
}


@dataclass(frozen=True)
class Culprit:
    """Type x holder x line, as far as each is known."""

    kind: Optional[str] = None
    holder: Optional[str] = None
    #: Where what stays is allocated, `file:line`.
    site: Optional[str] = None
    #: Where the holder gains its entries, `file:line`.
    added: Optional[str] = None
    pattern: Optional[str] = None
    #: Entries that the holder gains per operation.
    entries_per_op: Optional[float] = None
    bytes_per_op: Optional[float] = None
    #: `(bytes per operation, file:line)`, the largest first.
    allocations: Tuple[Tuple[float, str], ...] = ()
    #: What else was seen: unclosed files, coroutines never awaited.
    evidence: Tuple[str, ...] = ()
    #: The holder has a limit and has not reached it: `(entries, limit)`.
    bounded: Optional[Tuple[int, int]] = None
    #: Other containers that grow, the next first.
    others: Tuple[str, ...] = ()

    def to_json(self) -> Dict[str, Any]:
        """Plain values, for reports."""
        return {
            "kind": self.kind,
            "holder": self.holder,
            "site": self.site,
            "added": self.added,
            "pattern": self.pattern,
            "entries_per_op": self.entries_per_op,
            "bytes_per_op": self.bytes_per_op,
            "allocations": [[size, place] for size, place in self.allocations],
            "evidence": list(self.evidence),
            "others": list(self.others),
        }

    @classmethod
    def of_json(cls, document: Dict[str, Any]) -> Culprit:
        """What `to_json` gave.

        # Errors
        `TypeError` or `ValueError` if it is something else.
        """
        values = dict(document)
        values["allocations"] = tuple((float(size), str(place)) for size, place in values["allocations"])
        values["evidence"] = tuple(map(str, values["evidence"]))
        values["others"] = tuple(map(str, values["others"]))
        return cls(**values)

    def sentence(self) -> str:
        """One line for a person."""
        parts = []
        if self.holder:
            held = f"held by {self.holder}"
            if self.entries_per_op:
                word = "entry" if self.entries_per_op == 1 else "entries"
                held += f", +{number(self.entries_per_op)} {word} per run"
            if self.kind:
                held += f", of {self.kind}"
            parts.append(held)
        elif self.kind:
            parts.append(self.kind)
        if self.added:
            parts.append(f"added at {self.added}")
        if self.site and self.site != self.added:
            parts.append(f"allocated at {self.site}")
        return "; ".join(parts) or "nobody in Python holds it: native memory, or a container of another module"


@dataclass(frozen=True)
class Verdict:
    """What repetition says about one operation."""

    outcome: str
    reason: str = ""
    operations: int = 0
    cpu_s: float = 0.0
    #: Live bytes per operation with its 95 % interval; None where bytes are not what grows.
    bytes_per_op: Optional[float] = None
    low: Optional[float] = None
    high: Optional[float] = None
    #: Things per operation that leak: descriptors, threads, tasks.
    counts_per_op: Dict[str, float] = field(default_factory=dict)
    would_have_seen: float = 0.0
    observed_bytes: float = 0.0
    #: Operations that `observed_bytes` were measured over.
    observed_operations: int = 0
    pattern: str = ""
    culprit: Optional[Culprit] = None
    gaps: Tuple[str, ...] = ()

    @property
    def is_leak(self) -> bool:
        """Whether growth was proven."""
        return self.outcome == LEAK

    def projected_bytes(self, runs: int = PROJECTED_RUNS) -> float:
        """Growth over so many runs at the measured rate."""
        return max(self.bytes_per_op or 0.0, 0.0) * runs

    def __bool__(self) -> bool:
        """True if nothing speaks against it: `assert plimsoll.check(f)` fails on a leak only."""
        return not self.is_leak

    def __str__(self) -> str:
        return "\n".join(describe(self))

    def to_json(self) -> Dict[str, Any]:
        """Plain values, for reports."""
        document: Dict[str, Any] = {
            "verdict": self.outcome,
            "reason": self.reason,
            "operations": self.operations,
            "cpu_s": round(self.cpu_s, 4),
            "rate_bytes_per_op": self.bytes_per_op,
            "rate_ci_low": self.low,
            "rate_ci_high": self.high,
            "counts_per_op": dict(self.counts_per_op),
            "would_have_seen_bytes_per_op": self.would_have_seen,
            "observed_bytes": self.observed_bytes,
            "observed_operations": self.observed_operations,
            "pattern": self.pattern,
            "gaps": list(self.gaps),
        }
        if self.culprit is not None:
            document["culprit"] = self.culprit.to_json()
        return document


def of_record(record: Record) -> Verdict:
    """The verdict that a record of rounds is."""
    live = record.answers.get("live_bytes")
    leaks = {name: a for name, a in record.answers.items() if a.verdict == "leak"}
    counts = {name: a.rate or 0.0 for name, a in leaks.items() if name in _THINGS}
    pattern = next((a.pattern for a in leaks.values()), "")
    gives_bytes = live is not None and (live.verdict == "leak" or bool(counts))
    outcome = NO_LEAK if record.outcome == "flat" else record.outcome
    reason = record.reason
    if record.guarded and record.guarded not in reason:
        reason = f"{record.guarded}; {reason}" if reason else record.guarded
    return Verdict(
        outcome=outcome,
        reason=reason,
        operations=record.operations,
        cpu_s=record.cpu_s,
        bytes_per_op=live.rate if live is not None and gives_bytes else None,
        low=live.low if live is not None and gives_bytes else None,
        high=live.high if live is not None and gives_bytes else None,
        counts_per_op=counts,
        would_have_seen=record.would_have_seen,
        observed_bytes=record.grown.get("live_bytes", 0.0),
        observed_operations=record.at[-1] - record.at[0] if record.at else 0,
        pattern=pattern,
        gaps=tuple(record.gaps),
    )


def number(value: float) -> str:
    """A count with three significant digits, thousands separated."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """Bytes in binary units, three significant digits."""
    magnitude = abs(value)
    for limit, unit, scale in ((1024, "B", 1), (MIB, "KiB", 1024), (1024 * MIB, "MiB", MIB)):
        if magnitude < limit * 0.9995:
            scaled = value / scale
            return f"{scaled:.3g} {unit}" if abs(scaled) < 999.5 else f"{scaled:.0f} {unit}"
    return f"{value / (1024 * MIB):.3g} GiB"


def growth(verdict: Verdict, per: str = "run") -> str:
    """The rate with its interval, and the things that leak."""
    parts = []
    if verdict.bytes_per_op is not None:
        rate = f"+{size(verdict.bytes_per_op)} per {per}"
        if verdict.low is not None and verdict.high is not None:
            rate += f" (95 % CI {size(verdict.low)} … {size(verdict.high)})"
        parts.append(rate)
    for name, count in sorted(verdict.counts_per_op.items()):
        one, many = _THINGS[name]
        parts.append(f"+{number(round(count, 3))} {one if 0.9995 < count < 1.0005 else many} per {per}")
    return ", ".join(parts)


def describe(verdict: Verdict, per: str = "run") -> List[str]:
    """The verdict in lines, the answer first."""
    runs = f"{verdict.operations:,} repetitions"
    if verdict.outcome == LEAK:
        lines = [f"leak: {growth(verdict, per)}, {runs}"]
        if verdict.reason:
            lines.append(f"note: {verdict.reason}")
        if verdict.culprit is not None:
            lines.append(verdict.culprit.sentence())
            if verdict.culprit.pattern:
                lines.append(f"pattern: {verdict.culprit.pattern}")
            lines.extend(verdict.culprit.evidence)
        return lines
    if verdict.outcome == NO_LEAK:
        seen = f"would have seen {size(verdict.would_have_seen)} per {per} or more"
        detail = f"; {verdict.reason}" if verdict.reason else ""
        return [f"no leak: {runs}, {seen}{detail}"]
    return [f"{verdict.outcome}: {verdict.reason or 'no reason was given'} ({runs})"]
