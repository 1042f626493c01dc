"""Operations that do not leak, however they look at first: what fills, what is kept once, what is let go late."""

import asyncio
import collections
import concurrent.futures
import datetime
import decimal
import functools
import gc
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref

#: name -> operation
CASES = {}
#: Cases that leak on some versions of CPython, and are then expected to be found.
LEAKS_ON = {"interning": [(3, 12)]}


def case(operation):
    CASES[operation.__name__] = operation
    return operation


_number = [0]


def fresh():
    _number[0] += 1
    return _number[0]


@case
def nothing():
    pass


@functools.lru_cache(maxsize=700)
def looked_up(number):
    return [number]


@case
def bounded_cache():
    looked_up(fresh())


@case
def lazy_import():
    import statistics

    statistics.mean([1, 2, 3])


SINGLETON = {}


@case
def lazy_singleton():
    if "table" not in SINGLETON:
        SINGLETON["table"] = [object() for _ in range(100_000)]


RECENT = collections.deque(maxlen=1000)


@case
def ring_buffer():
    RECENT.append(str(fresh()))


POOL = []


@case
def descriptor_pool():
    if len(POOL) < 20:
        POOL.append(os.open("/dev/null", os.O_RDONLY))
    os.read(POOL[fresh() % len(POOL)], 1)


@case
def interning():
    sys.intern(f"a name that dies {fresh()}")


LOG = logging.getLogger("cases.clean")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


@case
def logs():
    LOG.warning("request %d", fresh())


@case
def regular_expressions():
    re.compile(f"a{fresh()}b")


@case
def free_lists():
    [(float(n), (n, n), [n], {n: n}) for n in range(50)]


@case
def cycles():
    a, b = [], []
    a.append(b)
    b.append(a)


class Finalised:
    def __init__(self):
        self.me = self

    def __del__(self):
        self.me = None


@case
def cycles_with_finalisers():
    Finalised()


SLOTS = {}


@case
def saturating_map():
    SLOTS[fresh() % 3000] = object()


@case
def joined_threads():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


@case
def closed_files():
    with open("/dev/null") as file:
        file.read()


@case
def event_loops():
    asyncio.run(asyncio.sleep(0))


@case
def exceptions():
    try:
        raise KeyError(fresh())
    except KeyError as error:
        str(error)


@case
def generators():
    sum(n for n in range(20))


@case
def warned():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn(f"number {fresh()}", stacklevel=1)


@case
def large_and_gone():
    bytearray(20_000_000)


class Value:
    pass


BY_ID = weakref.WeakValueDictionary()


@case
def weak_values():
    BY_ID[fresh()] = Value()


OF_VALUE = weakref.WeakKeyDictionary()


@case
def weak_keys():
    value = Value()
    OF_VALUE[value] = {"of": weakref.ref(value), "number": fresh()}


BATCH = []


@case
def batches():
    BATCH.append(f"row {fresh()}")
    if len(BATCH) >= 900:
        BATCH.clear()


@case
def serialising():
    json.loads(json.dumps({"a": [1, 2, {"b": fresh()}]}))


@case
def dates_and_decimals():
    datetime.datetime.strptime("2026-01-02", "%Y-%m-%d")
    decimal.Decimal(fresh()) / decimal.Decimal(7)


EXECUTOR = concurrent.futures.ThreadPoolExecutor(max_workers=4)


@case
def thread_pool():
    EXECUTOR.submit(int, "7").result()


@case
def temporary_files():
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")


@case
def child_processes():
    subprocess.run(["true"], check=True)


@case
def collector_called():
    gc.collect(0)


@case
def grows_then_shrinks():
    rows = [[n] for n in range(500)]
    rows.clear()
