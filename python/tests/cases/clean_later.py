"""More operations that do not leak, by somebody who had not read the engine, after its thresholds were frozen.

As in `clean.py`; LATE names those that are level only after more than 100 calls, with the call from which on they are.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import contextvars
import ctypes
import dataclasses
import decimal
import functools
import gc
import heapq
import importlib
import io
import logging
import logging.config
import mmap
import random
import sqlite3
import struct
import tempfile
import threading
import time
import weakref
import zoneinfo
from unittest import mock

#: name -> operation
CASES = {}
#: Cases that leak on some versions of CPython, and are then expected to be found.
LEAKS_ON = {"pointer_types": [(3, 9), (3, 10), (3, 11), (3, 12), (3, 13)]}
#: name -> about the call from which on it is level
LATE = {}


def case(operation):
    CASES[operation.__name__] = operation
    return operation


_number = [0]


def fresh():
    _number[0] += 1
    return _number[0]


RANDOM = random.Random(20261130)


# One import in each of the first calls.

FORMATS = [
    "csv",
    "netrc",
    "plistlib",
    "wave",
    "configparser",
    "quopri",
    "mailbox",
    "html.parser",
    "colorsys",
    "tabnanny",
    "sched",
    "bdb",
]


@case
def one_import_after_another():
    importlib.import_module(FORMATS[fresh() % len(FORMATS)])


# `functools.lru_cache` on a method, which keeps the last 128 objects.

LATE["cached_method"] = 128


class Report:
    def __init__(self, number):
        self.rows = [float(number)] * 500

    @functools.lru_cache(maxsize=128)  # noqa: B019
    def total(self):
        return sum(self.rows)


@case
def cached_method():
    Report(fresh()).total()


# A hand-made LRU with values of random size.

LATE["least_recently_used"] = 510  # 250 entries; integers up to 256 cost nothing; random sizes swing on by ±30 KB
THUMBNAILS = collections.OrderedDict()


@case
def least_recently_used():
    THUMBNAILS[fresh()] = bytes(RANDOM.randrange(100, 4000))
    if len(THUMBNAILS) > 250:
        THUMBNAILS.popitem(last=False)


# Entries that expire.

LATE["entries_that_expire"] = 560  # 300 entries; integers up to 256 cost nothing
TOKENS, DEADLINES = {}, []


@case
def entries_that_expire():
    now = fresh()
    TOKENS[f"token {now}"] = {"user": now}
    heapq.heappush(DEADLINES, (now + 300, f"token {now}"))
    while DEADLINES[0][0] <= now:
        del TOKENS[heapq.heappop(DEADLINES)[1]]


# A text buffer that is flushed at 32 KB.

LATE["flushed_at_a_size"] = 683  # a saw-tooth with this period and 32 KB of height
OUTGOING = [io.StringIO()]


@case
def flushed_at_a_size():
    OUTGOING[0].write("a line of forty-eight characters in the buffer\n\n")
    if OUTGOING[0].tell() > 32768:
        OUTGOING[0] = io.StringIO()


# A set of live connections that swings, in a dictionary that is resized on the way.

LIVE = {}


@case
def swinging_population():
    for _ in range(20):
        if LIVE and RANDOM.random() < len(LIVE) / 400:
            LIVE.pop(next(iter(LIVE)))
        else:
            LIVE[fresh()] = object()


# A pool from which a random number of objects is taken, and given back.

IDLE = []


@case
def pool_of_objects():
    taken = [IDLE.pop() if IDLE else bytearray(2048) for _ in range(RANDOM.randrange(1, 30))]
    IDLE.extend(taken[: 24 - len(IDLE)])


# Work buffers of random size.


@case
def random_work_buffers():
    buffers = [bytearray(int(2 ** RANDOM.uniform(4, 20))) for _ in range(5)]
    sum(map(len, buffers))


# A buffer that is as large as the largest request so far, in powers of two.

SCRATCH = [bytearray(1)]


@case
def scratch_buffer():
    wanted = RANDOM.randrange(1, 300_000)
    if len(SCRATCH[0]) < wanted:
        SCRATCH[0] = bytearray(1 << wanted.bit_length())
    memoryview(SCRATCH[0])[:wanted].release()


# The format cache of `struct`.


@case
def struct_formats():
    size = fresh() % 700 + 1
    struct.pack(f"<{size}sI", b"x" * size, 7)


# Decimal contexts.


@case
def decimal_contexts():
    with decimal.localcontext() as context:
        context.prec = fresh() % 200 + 5
        (decimal.Decimal(2).sqrt() / 3).exp()


# Time zones: a strong cache of eight and a weak one.

ZONES = [
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Rome",
    "Europe/Oslo",
    "Europe/Riga",
    "Europe/Sofia",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Dubai",
    "Asia/Tehran",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Dhaka",
    "Asia/Bangkok",
    "Asia/Manila",
    "Africa/Cairo",
    "Africa/Lagos",
    "Africa/Nairobi",
    "America/Denver",
    "America/Bogota",
    "America/Lima",
    "America/Chicago",
    "America/Halifax",
    "Australia/Perth",
    "Pacific/Fiji",
    "UTC",
]

LATE["time_zones"] = 6000  # free lists fill between full collections: some 400 blocks, and ever slower


@case
def time_zones():
    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError):
        zoneinfo.ZoneInfo(ZONES[fresh() % len(ZONES)])


# Mocks that live as long as the test: each is a class of its own.


class Gateway:
    def charge(self, amount):
        raise ConnectionError(amount)


@case
def mocks_patched_in():
    with mock.patch.object(Gateway, "charge", return_value="ok") as charge:
        Gateway().charge(fresh())
    charge.assert_called_once()


# Classes made in the test, registered with an abstract class (which knows them weakly).

LATE["local_classes"] = 700  # and one step of 0.5 MB near call 2500 on 3.11 (a table of interned names that is resized)


@case
def local_classes():
    @dataclasses.dataclass
    class Row:
        name: str
        value: int = 0

    collections.abc.Sized.register(Row)
    isinstance(Row("a"), collections.abc.Sized)


# Tokens given back.

TENANT = contextvars.ContextVar("tenant", default=None)


@case
def context_variable_reset():
    token = TENANT.set(f"tenant {fresh()}")
    contextvars.copy_context().run(TENANT.set, "inner")
    TENANT.reset(token)


# A table in SQLite that is kept at 200 rows.

LATE["rows_pruned"] = 200
EVENTS = []


@case
def rows_pruned():
    if not EVENTS:
        EVENTS.append(sqlite3.connect(":memory:", isolation_level=None))
        EVENTS[0].execute("create table event (id integer primary key, text text)")
    number = fresh()
    EVENTS[0].execute("insert into event values (?, ?)", (number, "x" * 300))
    EVENTS[0].execute("delete from event where id <= ?", (number - 200,))


@case
def databases_closed():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table item (name text)")
        connection.execute("insert into item values ('a')")


# Logging set up anew by each test.

LATE["logging_configured"] = 8000  # blocks by 700 (3.9: 4000); the C allocator creeps on: 0.5 B a call after 16,000


@case
def logging_configured():
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"memory": {"class": "logging.handlers.MemoryHandler", "capacity": 10}},
            "loggers": {"fresh_configured": {"handlers": ["memory"], "level": "INFO", "propagate": False}},
        }
    )
    logging.getLogger("fresh_configured").info("hello %d", fresh())


# The default executor of a loop that lives, warming up.

SERVER = asyncio.new_event_loop()

LATE["default_executor"] = 8000  # threads by call 12; then free lists and allocator: 0.6 B a call from 16,000 to 24,000


@case
def default_executor():
    async def serve():
        await asyncio.gather(*(SERVER.run_in_executor(None, time.sleep, 0.0002) for _ in range(8)))

    SERVER.run_until_complete(serve())


# Threads in a pool with an initialiser and a state each.

MINE = threading.local()


def warm_up():
    MINE.table = dict.fromkeys(range(2000))


SIX = concurrent.futures.ThreadPoolExecutor(max_workers=6, initializer=warm_up)


@case
def pool_with_initialiser():
    list(SIX.map(lambda number: time.sleep(MINE.table[number] or 0.0002), range(8)))


# The last five errors, with their tracebacks.

ERRORS = collections.deque(maxlen=5)


@case
def last_errors():
    try:
        {}[f"key {fresh()}"]
    except KeyError as error:
        ERRORS.append(error)


# Cycles while the collector is off, as timing code does it.


@case
def collector_off_for_a_while():
    gc.disable()
    try:
        for _ in range(20):
            node = {"name": "node"}
            node["self"] = node
    finally:
        gc.enable()


# Observers that are weak, and forgotten.

OBSERVERS = weakref.WeakSet()


class Widget:
    def __init__(self):
        OBSERVERS.add(self)
        weakref.finalize(self, int)


@case
def weak_observers():
    Widget()


# A string that is put together piece by piece.

LATE["text_put_together"] = 1500  # no blocks at all: 140 KB of the C allocator's fragments


@case
def text_put_together():
    text = ""
    for number in range(RANDOM.randrange(50, 400)):
        text += f"{number}, "


LATE["temporary_directories"] = 2000  # 400 blocks of free lists, on 3.13


@case
def temporary_directories():
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/note", "w") as file:
            file.write("x" * RANDOM.randrange(10_000))


@case
def maps_closed():
    with mmap.mmap(-1, 65536) as pages:
        pages.write(b"\1" * 65536)


# A table filled as far as it was asked for, and never farther than 90.

SQUARES = []


@case
def table_filled_when_asked():
    wanted = fresh() * 7 % 90
    while len(SQUARES) <= wanted:
        SQUARES.append({"square": len(SQUARES) ** 2})


# `ctypes.POINTER` keeps every type it was asked about, up to CPython 3.13; later versions keep it with the type.


@case
def pointer_types():
    class Point(ctypes.Structure):
        _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]

    ctypes.POINTER(Point)
