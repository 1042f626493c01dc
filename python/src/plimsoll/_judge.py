"""Asks the one judge: `plimsoll analyze --stream`, one child for a whole session, JSON lines, one verdict a line.

Nothing here decides. A judge that is missing, dies or answers nonsense is `JudgeMissing` with the reason, and whoever
asked then says "inconclusive".
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

#: A verdict takes about a millisecond; a machine that swaps takes longer.
_PATIENCE_S = 20.0
#: A measurement asks again after each doubling; the judge divides its probability of a false leak by that.
_MOST_LOOKS = 6


class JudgeMissing(Exception):
    """There is no judge to ask; says what is missing and what to do."""


@dataclass(frozen=True)
class Answer:
    """What the judge says about one series."""

    verdict: str
    pattern: str
    confidence: float
    rate: Optional[float]
    low: Optional[float]
    high: Optional[float]
    detectable: Optional[float]
    reason: str


def find_binary() -> str:
    """The `plimsoll` binary: `PLIMSOLL_BINARY`, next to this package or its interpreter, else on PATH."""
    named = os.environ.get("PLIMSOLL_BINARY")
    if named:
        if os.path.isfile(named) and os.access(named, os.X_OK):
            return named
        raise JudgeMissing(f"PLIMSOLL_BINARY names {named}, which is no program")
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in (here, os.path.join(here, "bin"), sysconfig.get_path("scripts") or here):
        candidate = os.path.join(folder, "plimsoll")
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    found = shutil.which("plimsoll")
    if found is None:
        raise JudgeMissing(
            "the `plimsoll` binary was not found (PLIMSOLL_BINARY, next to the package, PATH): "
            "install it, or set PLIMSOLL_BINARY to its path"
        )
    return found


class Judge:
    """The child that judges. Started before anything is counted, so that its pipes are in every reading alike."""

    def __init__(self) -> None:
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._pid = 0
        self._ids = 0
        self._rest = b""
        self.missing: Optional[str] = None

    def start(self) -> None:
        """Starts the child and warms up what asking allocates once.

        # Errors
        `JudgeMissing` if there is no binary, or it does not answer.
        """
        if self._child is not None and self._pid == os.getpid() and self._child.poll() is None:
            return
        if self.missing is not None:
            raise JudgeMissing(self.missing)
        try:
            binary = find_binary()
            environment = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "PLIMSOLL_FORMAT")}
            self._child = subprocess.Popen(
                [binary, "analyze", "--stream"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
            )
            self._pid = os.getpid()
            self._rest = b""
            flat = [0.0] * 6
            self.ask("live_bytes", [i * 10 for i in range(6)], flat)
        except JudgeMissing as error:
            self.missing = str(error)
            self.stop()
            raise
        except OSError as error:
            self.missing = f"the `plimsoll` binary could not be started: {error}"
            self.stop()
            raise JudgeMissing(self.missing) from error

    def stop(self) -> None:
        """Ends the child; standard input's end is its sign to go."""
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        if self._pid != os.getpid():
            # A fork of the session: the child belongs to our parent.
            child.returncode = 0
            return
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def ask(
        self,
        metric: str,
        operations: Sequence[float],
        values: Sequence[float],
        *,
        seconds: Optional[Sequence[float]] = None,
        alpha: float = 0.01,
        look: int = 1,
        floor: Optional[float] = None,
        idle_growth_per_op: float = 0.0,
        settled: bool = True,
        warm_up: int = 0,
        limit: Optional[float] = None,
    ) -> Answer:
        """The verdict on one series over operations.

        # Errors
        `JudgeMissing` if the child is gone, silent or answers with an error.
        """
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise JudgeMissing(self.missing or "the judge was not started")
        self._ids += 1
        terms: Dict[str, Any] = {
            "alpha": alpha,
            "look": look,
            "looks": _MOST_LOOKS,
            "settled": settled,
            "warm_up_operations": warm_up,
            "idle_growth_per_op": idle_growth_per_op,
        }
        if floor is not None:
            terms["floor"] = floor
        if limit is not None:
            terms["limit"] = limit
        request = {
            "id": self._ids,
            "series": {
                "metric": metric,
                "axis": "op",
                # What the judge reads off the clock is not used on this axis; one second an operation keeps the
                # rates of both axes equal.
                "t_s": list(seconds) if seconds is not None else [float(n) for n in operations],
                "ops": [float(n) for n in operations],
                "value": [None if v != v else float(v) for v in values],
                "collected": True,
            },
            "terms": terms,
        }
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line(child))
        except (OSError, ValueError) as error:
            self.missing = f"the `plimsoll` binary stopped answering: {error}"
            self.stop()
            raise JudgeMissing(self.missing) from error
        if answer.get("error"):
            raise JudgeMissing(f"the judge refused a series: {answer['error']}")
        return Answer(
            verdict=str(answer["verdict"]),
            pattern=str(answer.get("pattern") or ""),
            confidence=float(answer.get("confidence") or 0.0),
            rate=answer.get("rate_bytes_per_op"),
            low=answer.get("rate_ci_low"),
            high=answer.get("rate_ci_high"),
            detectable=answer.get("detectable_bytes_per_s"),
            reason=str(answer.get("reason") or ""),
        )

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdout is not None
        deadline = time.monotonic() + _PATIENCE_S
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            ready = select.select([child.stdout], [], [], max(left, 0))[0]
            if not ready:
                raise OSError(f"no answer within {_PATIENCE_S:.0f} s")
            piece = child.stdout.read(65536)
            if not piece:
                raise OSError(f"it ended with status {child.wait()}")
            self._rest += piece
        line, self._rest = self._rest.split(b"\n", 1)
        return line


_session: List[Judge] = []


def session_judge() -> Judge:
    """The judge of this process, made at the first call."""
    if not _session:
        _session.append(Judge())
    return _session[0]


def interpreter() -> str:
    """Implementation and version, for reports."""
    return f"{sys.implementation.name} {sys.version.split()[0]}"
