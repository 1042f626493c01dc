"""Operations that leak, each with the holder a person would name and the line (`# site`) that is to blame."""

import asyncio
import ctypes
import functools
import io
import logging
import os
import queue
import socket
import threading
import weakref
import zlib

#: name -> (operation, part of the holder's name or None where nobody in Python holds it)
CASES = {}


def case(holder):
    def add(operation):
        CASES[operation.__name__] = (operation, holder)
        return operation

    return add


_number = [0]


def fresh():
    """A number that was never used."""
    _number[0] += 1
    return _number[0]


ROWS = []


@case("ROWS")
def list_of_nothing():
    ROWS.append(None)  # site


BY_NAME = {}


@case("BY_NAME")
def dict_of_strings():
    BY_NAME[f"name {fresh()}"] = "value " * 20  # site


SEEN = set()


@case("SEEN")
def set_of_numbers():
    SEEN.add(1_000_000 + fresh())  # site


class Registry:
    entries = []  # noqa: RUF012 (as people write it)

    def register(self, entry):
        self.entries.append(entry)


@case("Registry.entries")
def class_attribute():
    Registry().register([0] * 10)  # site


def make_counter():
    history = []

    def count():
        history.append(str(fresh()))  # site

    return count


closure_count = make_counter()


@case("history")
def closure_cell():
    closure_count()


def remember(thing, memory=[]):  # noqa: B006 (this is the leak)
    memory.append(thing)


@case("memory")
def default_argument():
    remember(object())  # site


@functools.lru_cache(maxsize=None)  # noqa: UP033 (the longer way is the usual one)
def square(number):
    return [number] * 3  # site


@case("lru_cache of leaky.square")
def endless_cache():
    square(fresh())


_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.strdup.restype = ctypes.c_void_p


@case(None)
def native_block():
    _libc.malloc(300)  # site


@case(None)
def native_string():
    _libc.strdup(b"a string that nobody frees")  # site


AUDIT = logging.getLogger("cases.audit")
AUDIT.propagate = False


@case("handlers")
def logger_handler():
    AUDIT.addHandler(logging.NullHandler())  # site


LOOP = asyncio.new_event_loop()
PENDING = set()


async def wait_for_ever():
    await LOOP.create_future()


@case("PENDING")
def pending_task():
    async def start():
        PENDING.add(LOOP.create_task(wait_for_ever()))  # site

    LOOP.run_until_complete(start())


FILES = []


@case("FILES")
def open_file():
    FILES.append(open("/dev/null"))  # site


@case(None)
def raw_descriptor():
    os.open("/dev/null", os.O_RDONLY)  # site


TEXT = bytearray()


@case("TEXT")
def byte_array():
    TEXT.extend(b"one more line of the log\n")  # site


GATE = threading.Lock()
GATE.acquire()


@case("threading")
def endless_thread():
    threading.Thread(target=GATE.acquire, daemon=True).start()  # site


LOCAL = threading.local()
LOCAL.trail = []


@case("LOCAL")
def thread_local():
    LOCAL.trail.append((fresh(), "step"))  # site


class Node:
    __slots__ = ("following",)

    def __init__(self, following):
        self.following = following


class Chain:
    head = None


@case("Chain.head")
def linked_list():
    Chain.head = Node(Chain.head)  # site


FAILURES = []


@case("FAILURES")
def kept_tracebacks():
    try:
        raise ValueError(fresh())  # site
    except ValueError as error:
        FAILURES.append(error)


def accumulate():
    lines = []
    while True:
        lines.append((yield))


SINK = accumulate()
next(SINK)


@case("lines")
def generator_frame():
    SINK.send(f"line {fresh()}")  # site


class Resource:
    pass


KEEPER = Resource()


@case("finalize")
def finalizer_registry():
    weakref.finalize(KEEPER, print, fresh())  # site


class Bus:
    def __init__(self):
        self.listeners = {"change": []}

    def subscribe(self, listener):
        self.listeners["change"].append(listener)


BUS = Bus()


@case("BUS.listeners['change']")
def event_listener():
    BUS.subscribe(lambda: None)  # site


JOBS = queue.Queue()


@case("JOBS")
def queue_build_up():
    JOBS.put({"job": fresh()})  # site


CONNECTIONS = []


@case("CONNECTIONS")
def open_sockets():
    CONNECTIONS.append(socket.socketpair())  # site


class Session:
    pass


SESSION = Session()


@case("SESSION")
def attributes():
    setattr(SESSION, f"field_{fresh()}", 1)  # site


STATS = {"by_id": {}}


@case("STATS['by_id']")
def untracked_inner_dict():
    STATS["by_id"][fresh()] = 1.5  # site


BUFFER = io.StringIO()


@case("BUFFER")
def string_buffer():
    BUFFER.write("another line of text that stays\n")  # site


STREAMS = []


@case("STREAMS")
def native_owned():
    STREAMS.append(zlib.compressobj(1, zlib.DEFLATED, -9, 1))  # site


# A tuple that is replaced by a longer one: no container gains an entry, its name does.


class Journal:
    entries: tuple = ()


JOURNAL = Journal()


@case("JOURNAL.entries")
def replaced_by_a_longer_one():
    JOURNAL.entries = (*JOURNAL.entries, object())  # site


# A weak dictionary whose values are, or refer to, their own keys: behind a closure, where it has no name of a module's.


def cached(make):
    wrappers = weakref.WeakKeyDictionary()

    def wrapped(stream):
        if stream not in wrappers:
            wrappers[stream] = make(stream)  # site
        return wrappers[stream]

    return wrapped


as_written = cached(lambda stream: stream)


@case("closure cell `wrappers`")
def weak_keys_that_are_their_values():
    as_written(io.TextIOWrapper(io.BytesIO()))


class Plugin:
    def __init__(self):
        self.state = weakref.WeakKeyDictionary()


class Session:
    def __init__(self, request):
        self.origin = {"request": request}


PLUGIN = Plugin()


@case("PLUGIN.state (WeakKeyDictionary)")
def weak_keys_that_their_values_lead_to():
    request = Resource()
    PLUGIN.state[request] = Session(request)  # site


# A weak dictionary that only mirrors what a list holds, though its values lead there as well.

REQUESTS = []
SESSIONS = weakref.WeakKeyDictionary()


class Tab:
    def __init__(self):
        self.requests = REQUESTS


@case("REQUESTS")
def weak_keys_held_elsewhere():
    request = Resource()
    REQUESTS.append(request)  # site
    SESSIONS[request] = [Tab(), "history " * 20]
