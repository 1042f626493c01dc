"""What the probe counts between the marks of an explanation: containers that gained, types, lines that allocated.

Every figure is a gain since the first census of the explanation, so that whoever compares windows needs no names before
they exist. Tracing is on for these windows only. Runs in the probe's thread: the interpreter hands the lock over every
few milliseconds, so that only single calls (a collection, a list of all objects) stop the subject.
"""

from __future__ import annotations

import tracemalloc
from typing import Any, Dict, List, Optional, Tuple

from ._holders import Lengths, Path, Searcher, is_user_file, kind_name, kind_of_entries

_FRAMES = 12
_MOST = 40
_NAMED = 8
#: Entries gained in a window of hundreds of operations below which there is nothing to tell from chance.
_LEAST = 8

Row = Tuple[str, str, int]


class Explanation:
    """Gains since its first census."""

    def __init__(self) -> None:
        self._lengths: Optional[Lengths] = None
        self._lines: Dict[str, int] = {}
        self._names: Dict[int, Tuple[str, bool]] = {}
        self._traces = False

    def end(self) -> None:
        """Tracing stops, if it is ours."""
        if self._traces and tracemalloc.is_tracing():
            tracemalloc.stop()

    def rows(self) -> List[Row]:
        """One row per container, type and line that gained.

        Nothing is collected here: whoever asks has just had that done, and it is the one call that would stop a large
        program for longer than all others together.
        """
        if self._lengths is None:
            self._lengths = Lengths()
            # Afterwards: what is traced takes several times as long, and remembering makes a number for each object.
            self._traces = not tracemalloc.is_tracing()
            if self._traces:
                tracemalloc.start(_FRAMES)
            self._lines = self._by_line()
            # Kinds that are absent here were counted, and are zero.
            return [("holders", "none", 0), ("types", "none", 0), ("allocated", "none", 0)]
        lines = self._by_line()
        grown, types = self._lengths.grown(_LEAST)
        rows: List[Row] = self._holders(grown)
        before = _by_name(self._lengths.types)
        for family, now, was in (("types", _by_name(types), before), ("allocated", lines, self._lines)):
            gains = {name: count - was.get(name, 0) for name, count in now.items()}
            top = sorted(((gain, name) for name, gain in gains.items() if gain > 0), reverse=True)[:_MOST]
            rows.extend((family, name, gain) for gain, name in top)
        return rows

    def _holders(self, candidates: List[Tuple[int, Any]]) -> List[Row]:
        own = {id(vars(self)), id(self._lines), id(self._names)}
        candidates = [entry for entry in candidates if id(entry[1]) not in own][:_MOST]
        searcher = Searcher([candidates, *candidates])
        found: List[Tuple[bool, int, str]] = []
        named = 0
        for gained, thing in candidates:
            known = self._names.get(id(thing))
            if known is None:
                if named >= _NAMED:
                    continue
                named += 1
                path = searcher.path(thing)
                known = self._names[id(thing)] = (_name(path, thing), path is not None and path.is_user)
            if known[0]:
                found.append((known[1], gained, known[0]))
        # Those of the subject's own modules, if there are any; else whatever gained.
        of_user = [entry for entry in found if entry[0]]
        return [("holders", name, gained) for _, gained, name in (of_user or found)]

    def _by_line(self) -> Dict[str, int]:
        """Bytes alive that were allocated since tracing began, by the innermost line of the subject's own."""
        if not tracemalloc.is_tracing():
            return {}
        lines: Dict[str, int] = {}
        for statistic in tracemalloc.take_snapshot().statistics("traceback"):
            frames = list(statistic.traceback)
            innermost = frames[-1].filename
            if innermost == tracemalloc.__file__ or "_plimsoll_carrier" in innermost:
                continue
            place = next((f for f in reversed(frames) if is_user_file(f.filename)), frames[-1])
            name = f"{place.filename}:{place.lineno}"
            lines[name] = lines.get(name, 0) + statistic.size
        return lines


def _by_name(types: Dict[type, int]) -> Dict[str, int]:
    counts: Dict[str, int] = {}
    for kind, count in types.items():
        name = kind_name(kind)
        counts[name] = counts.get(name, 0) + count
    return counts


def _name(path: object, thing: object) -> str:
    if not isinstance(path, Path):
        return ""
    text = str(path)
    if text.startswith(("plimsoll.", "_plimsoll", "tracemalloc.")):
        return ""
    if not text.startswith("lru_cache"):
        text += f" ({type(thing).__name__})"
    held = kind_of_entries(thing)
    # The reader of rows takes the name apart again here.
    return f"{text} of {held}" if held else text


__all__ = ["Explanation"]
