"""Plimsoll for Python: does this leak, how fast, how sure, and who holds the memory."""

from __future__ import annotations

from ._verdict import Culprit, Verdict

__all__ = ["Culprit", "Verdict"]
