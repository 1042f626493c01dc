"""What memray recorded, for other tools: `python _memray.py FORMAT MOMENT RECORD OUTPUT`.

Formats are `pprof`, `speedscope` and `folded`; moments are `peak` (alive when most was) and `unfreed` (in the end).
Read through memray's public `FileReader`, whose file format is its own, so this runs in an interpreter that has memray.
Nothing here needs Plimsoll: the command line carries this file and starts it.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import sys
from typing import Any, Callable, Dict, Iterable, List, Tuple

#: Function, file, line.
Frame = Tuple[str, str, int]
#: From the root to the leaf; with blocks and bytes.
Stacks = Dict[Tuple[Frame, ...], List[int]]

#: What memory allocated outside every Python function hangs on.
_NOBODY: Frame = ("no Python frame", "", 0)


def read(record: str, moment: str) -> Stacks:
    """Blocks and bytes by stack, of all threads together."""
    reader: Any = importlib.import_module("memray").FileReader(record)
    asked = (
        reader.get_leaked_allocation_records if moment == "unfreed" else reader.get_high_watermark_allocation_records
    )
    is_native = bool(getattr(reader.metadata, "has_native_traces", False))
    stacks: Stacks = {}
    for allocation in asked(merge_threads=True):
        trace = allocation.hybrid_stack_trace() if is_native else allocation.stack_trace()
        frames = tuple((str(function), str(file), int(line)) for function, file, line in reversed(trace))
        found = stacks.setdefault(frames or (_NOBODY,), [0, 0])
        found[0] += allocation.n_allocations
        found[1] += allocation.size
    return stacks


def folded(stacks: Stacks) -> bytes:
    """A line per stack, frames from root to leaf, then bytes: for flamegraph.pl, inferno and their kind."""

    def name(frame: Frame) -> str:
        function, file, line = frame
        text = f"{function} ({file}:{line})" if file else function
        return text.replace(";", ",").replace("\n", " ")

    lines = sorted(f"{';'.join(map(name, frames))} {size}\n" for frames, (_, size) in stacks.items())
    return "".join(lines).encode()


def speedscope(stacks: Stacks) -> bytes:
    """The JSON of speedscope.app."""
    frames: Dict[Frame, int] = {}
    samples = [[frames.setdefault(frame, len(frames)) for frame in stack] for stack in stacks]
    weights = [size for _, size in stacks.values()]
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "plimsoll",
        "shared": {"frames": [{"name": name, "file": file, "line": line} for name, file, line in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": "memory",
                "unit": "bytes",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }
    return json.dumps(document).encode()


def pprof(stacks: Stacks) -> bytes:
    """pprof's protocol buffer (profile.proto), packed with gzip."""
    strings: Dict[str, int] = {"": 0}
    functions: Dict[Tuple[str, str], int] = {}
    locations: Dict[Frame, int] = {}

    def text(word: str) -> int:
        return strings.setdefault(word, len(strings))

    kinds = [_pair(text(kind), text(unit)) for kind, unit in (("inuse_objects", "count"), ("inuse_space", "bytes"))]
    parts = [_bytes(1, kind) for kind in kinds]
    for frames, values in stacks.items():
        # Numbers begin at 1; the leaf comes first.
        at = [locations.setdefault(frame, len(locations) + 1) for frame in reversed(frames)]
        parts.append(_bytes(2, _bytes(1, _packed(at)) + _bytes(2, _packed(values))))
    for (function, file, line), number in locations.items():
        owner = functions.setdefault((function, file), len(functions) + 1)
        parts.append(_bytes(4, _number(1, number) + _bytes(4, _number(1, owner) + _number(2, line))))
    for (function, file), number in functions.items():
        name = text(function)
        names = _number(2, name) + _number(3, name) + _number(4, text(file))
        parts.append(_bytes(5, _number(1, number) + names))
    parts.append(_number(14, text("inuse_space")))
    parts.extend(_bytes(6, word.encode("utf-8", "replace")) for word in strings)
    return gzip.compress(b"".join(parts), mtime=0)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(max(value, 0))


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _packed(values: Iterable[int]) -> bytes:
    return b"".join(map(_varint, values))


def _pair(kind: int, unit: int) -> bytes:
    return _number(1, kind) + _number(2, unit)


FORMATS: Dict[str, Callable[[Stacks], bytes]] = {"pprof": pprof, "speedscope": speedscope, "folded": folded}


def main(arguments: List[str]) -> int:
    """Reads, converts, writes; what goes wrong is one line on standard error."""
    form, moment, record, output = arguments
    try:
        document = FORMATS[form](read(record, moment))
        with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(document)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
