"""What is counted inside this process, cheaply: bytes in live blocks, descriptors, threads, unfinished tasks.

`live_bytes` is exact: what CPython's own allocator has handed out (its statistics are printed into a buffer of ours)
plus what the C allocator has. Readings go into a preallocated array, so that the record itself never grows: an engine
that keeps two blocks per reading finds its first leak in itself. What this platform cannot tell is a gap with a reason
and never a zero.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import threading
from array import array
from typing import Any, Callable, Dict, List, Optional, Tuple

#: Counters in the order of a reading.
NAMES: Tuple[str, ...] = ("live_bytes", "descriptors", "threads", "tasks", "objects")
LIVE_BYTES, DESCRIPTORS, THREADS, TASKS, OBJECTS = range(5)
WIDTH = len(NAMES)

_STATISTICS_BYTES = 64 * 1024
_MARK = b"bytes in allocated blocks"
_RESERVED = b"bytes/arena"


def _nothing() -> None:
    pass


#: Empties the interpreter's cache of attribute lookups. Each of its 4,096 entries keeps the name that was looked up:
#: names made at run time (`getattr(self, "visit_" + kind)`) fill it over hundreds of calls, and that looks like a leak.
forget_lookups: Callable[[], None] = getattr(sys, "_clear_internal_caches", getattr(sys, "_clear_type_cache", _nothing))


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _symbol(library: Any, name: str) -> Any:
    try:
        return getattr(library, name)
    except AttributeError:
        return None


class PythonHeap:
    """Bytes in blocks of CPython's small-object allocator, by the statistics it prints about itself.

    None of the numbers is reachable otherwise. They are printed into memory of ours by a C stream, so nothing of the
    program's standard error is touched. `ctypes.pythonapi` holds the interpreter lock during the call.
    """

    def __init__(self) -> None:
        self.gap: Optional[str] = None
        self._stream: Any = None
        libc = ctypes.CDLL(None)
        self._print = _symbol(ctypes.pythonapi, "_PyObject_DebugMallocStats")
        parts = [_symbol(libc, name) for name in ("fmemopen", "rewind", "fflush")]
        if self._print is None or None in parts:
            self.gap = "this interpreter does not tell what its allocator holds"
            return
        self._print.argtypes = [ctypes.c_void_p]
        fmemopen, self._rewind, self._flush = parts
        fmemopen.restype = ctypes.c_void_p
        fmemopen.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        self._rewind.argtypes = [ctypes.c_void_p]
        self._flush.argtypes = [ctypes.c_void_p]
        self._buffer = ctypes.create_string_buffer(_STATISTICS_BYTES)
        self._stream = fmemopen(self._buffer, _STATISTICS_BYTES, b"w")
        if self.read() is None:
            # Other allocators (PYTHONMALLOC=malloc) print nothing: then everything is in the C allocator's own figure.
            self._stream = None
            if sys.getallocatedblocks() > 0:
                self.gap = "the allocator's statistics could not be read"

    def read(self) -> Optional[int]:
        """Bytes in allocated blocks; None where nobody tells."""
        if not self._stream:
            return None
        self._rewind(self._stream)
        self._print(self._stream)
        self._flush(self._stream)
        return self._figure(_MARK)

    def total(self) -> Optional[int]:
        """Bytes that the allocator had reserved at the last reading."""
        return self._figure(_RESERVED) if self._stream else None

    def _figure(self, mark: bytes) -> Optional[int]:
        text = self._buffer.raw
        at = text.find(mark)
        if at < 0:
            return None
        start = text.find(b"=", at) + 1
        try:
            return int(text[start : text.find(b"\n", start)].replace(b",", b""))
        except ValueError:
            return None


class NativeHeap:
    """Bytes in use in the C allocator: glibc's figure, or that of the allocator preloaded in its place."""

    def __init__(self) -> None:
        self.gap: Optional[str] = None
        self.source = ""
        self._read: Optional[Callable[[], int]] = None
        self._info: Any = None
        libc = ctypes.CDLL(None)
        if _symbol(libc, "mallctl") is not None:
            self.source, self._read = "jemalloc", self._jemalloc(libc)
        elif _symbol(libc, "mi_process_info") is not None:
            self.source, self._read = "mimalloc", self._mimalloc(libc)
        elif _symbol(libc, "mallinfo2") is not None:
            self.source, self._read = "glibc", self._glibc(libc)
            if self._read() == 0:
                # An allocator that replaced malloc leaves glibc's own figures at zero.
                self._read = None
        if self._read is None:
            self.gap = "native not counted: this C library tells nothing about its heap (no mallinfo2)"

    def _glibc(self, libc: Any) -> Callable[[], int]:
        call = libc.mallinfo2
        call.restype = _Mallinfo2
        call.argtypes = []
        self._info = call

        def read() -> int:
            info = call()
            return int(info.uordblks) + int(info.hblkhd)

        return read

    @staticmethod
    def _jemalloc(libc: Any) -> Callable[[], int]:
        mallctl = libc.mallctl
        mallctl.argtypes = [
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
        ]
        epoch = ctypes.c_uint64(1)
        value = ctypes.c_size_t(0)
        size = ctypes.c_size_t(ctypes.sizeof(value))

        def read() -> int:
            # jemalloc answers from a snapshot that is renewed by writing to `epoch`.
            mallctl(b"epoch", None, None, ctypes.byref(epoch), ctypes.sizeof(epoch))
            if mallctl(b"stats.allocated", ctypes.byref(value), ctypes.byref(size), None, 0) != 0:
                return 0
            return int(value.value)

        return read

    @staticmethod
    def _mimalloc(libc: Any) -> Callable[[], int]:
        info = libc.mi_process_info
        cells = [ctypes.c_size_t(0) for _ in range(8)]
        pointers = [ctypes.byref(cell) for cell in cells]

        def read() -> int:
            # elapsed, user, system, current RSS, peak RSS, current commit, peak commit, page faults.
            info(*pointers)
            return int(cells[5].value)

        return read

    def read(self) -> Optional[int]:
        """Bytes in use; None where nobody tells."""
        return self._read() if self._read is not None else None

    def free(self) -> Optional[int]:
        """Bytes that the allocator keeps for later; None where nobody tells."""
        return int(self._info().fordblks) if self._info is not None else None


def _descriptor_reader() -> Optional[Callable[[], int]]:
    try:
        # From Linux 6.2 on their number is the folder's size, and is told as fast for a thousand as for ten.
        if os.stat("/proc/self/fd").st_size > 0:
            return lambda: os.stat("/proc/self/fd").st_size
    except OSError:
        pass
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            # Listing opens one descriptor more, every time alike.
            return lambda folder=folder: len(os.listdir(folder)) - 1  # type: ignore[misc]
    return None


def unfinished_tasks() -> int:
    """asyncio tasks of all loops that are not done. Counts nothing where asyncio was never imported."""
    module = sys.modules.get("asyncio.tasks")
    if module is None:
        return 0
    count = 0
    # The registries are private and differ between versions; a version without them counts by `objects` alone.
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):
        registry = getattr(module, name, None)
        if registry is None:
            continue
        try:
            count += sum(1 for task in list(registry) if not task.done())
        except (RuntimeError, AttributeError):
            continue
    return count


class Counters:
    """Readings of this process, kept in an array that was there before the first of them."""

    def __init__(self, capacity: int = 128) -> None:
        self.python_heap = PythonHeap()
        self.native_heap = NativeHeap()
        self.gaps: List[str] = [gap for gap in (self.python_heap.gap, self.native_heap.gap) if gap]
        self._descriptors = _descriptor_reader()
        if self._descriptors is None:
            self.gaps.append("descriptors not counted: no /proc/self/fd and no /dev/fd")
        self.capacity = capacity
        self._cells = array("d", bytes(8 * WIDTH * capacity))
        self._ops = array("q", bytes(8 * capacity))
        self.rows = 0

    def live_bytes(self) -> Optional[int]:
        """Bytes in live blocks of both allocators; of the one that tells where the other does not."""
        python, native = self.python_heap.read(), self.native_heap.read()
        if python is None and native is None:
            # PyPy and others: the resident set is all there is, in pages.
            return None
        return (python or 0) + (native or 0)

    def restart(self) -> None:
        """Forgets all readings."""
        self.rows = 0

    def read(self, operations: int, live: Optional[int] = None, objects: bool = True) -> None:
        """Takes a reading after `operations`. The caller has collected, may know the live bytes by other means, and may
        have no use for the number of objects, which is the dearest of what is left.
        """
        if self.rows >= self.capacity:
            raise IndexError("more readings than the record was made for")
        at = self.rows * WIDTH
        cells = self._cells
        if live is None:
            live = self.live_bytes()
        cells[at + LIVE_BYTES] = float("nan") if live is None else live
        cells[at + DESCRIPTORS] = self._descriptors() if self._descriptors is not None else float("nan")
        cells[at + THREADS] = threading.active_count()
        cells[at + TASKS] = unfinished_tasks()
        cells[at + OBJECTS] = len(gc.get_objects()) if objects else float("nan")
        self._ops[self.rows] = operations
        self.rows += 1

    def value(self, row: int, counter: int) -> float:
        """One cell."""
        return self._cells[row * WIDTH + counter]

    def operations(self, row: int) -> int:
        """Operations done before the reading."""
        return self._ops[row]

    def growth(self, counter: int, rows: int) -> Tuple[float, int]:
        """How much a counter grew over the last `rows` rounds, and in how many operations."""
        first, last = max(self.rows - 1 - rows, 0), self.rows - 1
        return (
            self.value(last, counter) - self.value(first, counter),
            self._ops[last] - self._ops[first],
        )

    def column(self, counter: int) -> List[float]:
        """A counter's readings."""
        return [self.value(row, counter) for row in range(self.rows)]

    def all_operations(self) -> List[int]:
        """Operations at each reading."""
        return list(self._ops[: self.rows])


def resident_bytes() -> Optional[int]:
    """Resident set of this process, for guards only; None where the kernel does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


def descriptor_limit() -> Optional[int]:
    """How many descriptors this process may open; None if unlimited."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else int(soft)


def implementation_gap() -> Optional[str]:
    """Why nothing can be counted on this interpreter, if nothing can."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not supported: Plimsoll counts with CPython's own allocator figures"
    return None


def descriptor_targets() -> Dict[str, int]:
    """Open descriptors by what they lead to, digits folded so that sockets and pipes are one kind each."""
    found: Dict[str, int] = {}
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        kind = target.split(":", 1)[0] if ":[" in target else target
        found[kind] = found.get(kind, 0) + 1
    return found
