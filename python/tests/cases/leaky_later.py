"""More operations that leak, by somebody who had not read the engine, after its thresholds were frozen.

As in `leaky.py`; besides, ALSO names holders that are as right as the one in the table (a structure of the library that
is the true container), and `# also: NAME` marks lines as right as the site.
"""

import array
import asyncio
import atexit
import collections
import concurrent.futures
import contextlib
import contextvars
import ctypes
import functools
import gc
import itertools
import linecache
import logging
import logging.handlers
import mmap
import os
import pickle
import queue
import sqlite3
import sys
import tempfile
import threading
import types
import warnings
import weakref
from unittest import mock

#: name -> (operation, part of the holder's name or None where nobody in Python holds it)
CASES = {}
#: name -> other parts of a holder's name that are right as well (None: "nobody" is right as well)
ALSO = {}


def case(holder, *also):
    def add(operation):
        CASES[operation.__name__] = (operation, holder)
        ALSO[operation.__name__] = also
        return operation

    return add


_number = [0]


def fresh():
    """A number that was never used."""
    _number[0] += 1
    return _number[0]


# A signal with weak receivers: the receivers die, their references stay in the list.


class Signal:
    def __init__(self):
        self.receivers = []

    def connect(self, receiver):
        self.receivers.append((id(receiver), weakref.WeakMethod(receiver)))  # site

    def send(self, **named):
        return [ref()(**named) for _, ref in self.receivers if ref() is not None]


order_saved = Signal()


class OrderView:
    def __init__(self):
        order_saved.connect(self.on_saved)

    def on_saved(self, **named):
        return named


@case("receivers", "order_saved")
def dead_signal_receivers():
    OrderView()


# A weak dictionary whose value refers to its key.


class Document:
    def __init__(self, text):
        self.text = text


METADATA = weakref.WeakKeyDictionary()


@case("METADATA")
def weak_key_held_by_its_value():
    document = Document(f"document {fresh()}")  # also: weak_key_held_by_its_value
    METADATA[document] = {"source": document, "words": document.text.split()}  # site


# A context variable that is set and never reset: each value keeps the token, which keeps the value before.


class Span:
    def __init__(self, name):
        self.name = name  # also: context_token_chain
        self.token = CURRENT_SPAN.set(self)  # also: context_token_chain


CURRENT_SPAN = contextvars.ContextVar("current_span", default=None)


@case("CURRENT_SPAN", "current_span", "Span", "Context")
def context_token_chain():
    Span(f"span {fresh()}")  # site


# A context variable per call: the context keeps every variable and its value.


@case("Context", "context")
def context_variable_per_call():
    flag = contextvars.ContextVar(f"flag_{fresh()}")  # site
    flag.set(True)


# Exit handlers.


def remove_quietly(path):
    with contextlib.suppress(OSError):
        os.unlink(path)


@case("atexit")
def exit_handlers():
    path = f"/nonexistent/scratch-{fresh()}"
    atexit.register(remove_quietly, path)  # site


# The registry of warnings that were shown, in the globals of the module that warns.

logging.captureWarnings(True)
logging.getLogger("py.warnings").addHandler(logging.NullHandler())
logging.getLogger("py.warnings").propagate = False
warnings.filterwarnings("default", message="slow query")


@case("__warningregistry__")
def warning_registry():
    warnings.warn(f"slow query number {fresh()}", UserWarning, stacklevel=1)  # site


# Generic functions: an implementation for a class made in the test.


@functools.singledispatch
def to_json(value):
    raise TypeError(value)


@case("to_json", "registry", "singledispatch")
def dispatch_registrations():
    class Payload:  # site
        pass

    to_json.register(Payload, repr)
    to_json(Payload())


# Modules loaded from text.


@case("sys.modules", "modules")
def generated_modules():
    module = types.ModuleType(f"generated_plugin_{fresh()}")  # site
    exec("NAME = 'plugin'\ndef run():\n    return NAME\n", module.__dict__)  # also: generated_modules
    sys.modules[module.__name__] = module
    module.run()  # also: generated_modules


# A logger for each job.


@case("loggerDict", "logging.root", "manager")
def logger_per_job():
    logger = logging.getLogger(f"fresh_jobs.{fresh()}")  # site
    logger.debug("started")


# What a worker's thread keeps for itself.

WORKERS = concurrent.futures.ThreadPoolExecutor(max_workers=1)
WORKER_STATE = threading.local()


def serve(number):
    if not hasattr(WORKER_STATE, "served"):
        WORKER_STATE.served = {}
    WORKER_STATE.served[number] = f"answer to {number}"  # site


@case("WORKER_STATE", "served")
def thread_local_of_a_worker():
    WORKERS.submit(serve, fresh()).result()


# A local variable of a thread that runs for ever.

INBOX, ANSWERS = queue.Queue(), queue.Queue()
CONSUMER = []


def consume():
    processed = []
    while True:
        message = INBOX.get()
        processed.append({"id": message})  # site
        ANSWERS.put(len(processed))


@case("processed", "consume")
def local_of_a_running_thread():
    if not CONSUMER:
        CONSUMER.append(threading.Thread(target=consume, daemon=True))
        CONSUMER[0].start()
    INBOX.put(fresh())
    ANSWERS.get()


# Timers: a thread each, and on a loop.


@case("threading", "_active")
def timer_not_cancelled():
    timer = threading.Timer(3600, print, ["too late"])  # site
    timer.daemon = True
    timer.start()  # also: timer_not_cancelled


TIMEOUTS = asyncio.new_event_loop()


@case("_scheduled", "TIMEOUTS")
def call_later_not_cancelled():
    TIMEOUTS.call_later(3600, print, "request timed out", fresh())  # site


# Answers that never come.


class Client:
    def __init__(self, loop):
        self.loop = loop
        self.waiters = {}

    def request(self, identity):
        self.waiters[identity] = future = self.loop.create_future()  # site
        return future


CLIENT = Client(TIMEOUTS)


@case("waiters", "CLIENT")
def futures_never_answered():
    CLIENT.request(fresh())


# SQLite: connections that stay, and rows inside one connection.

BY_TENANT = {}


@case("BY_TENANT")
def open_databases():
    connection = sqlite3.connect(":memory:")  # site
    connection.execute("create table item (name text)")
    BY_TENANT[fresh()] = connection


AUDIT_DB = []


@case(None, "AUDIT_DB")
def rows_in_memory():
    if not AUDIT_DB:
        AUDIT_DB.append(sqlite3.connect(":memory:", isolation_level=None))
        AUDIT_DB[0].execute("create table audit (id integer, text text)")
    AUDIT_DB[0].execute("insert into audit values (?, ?)", (fresh(), "x" * 300))  # site


# Callbacks made for C.

COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
CALLBACKS = []


@case("CALLBACKS")
def callbacks_for_c():
    CALLBACKS.append(COMPARE(lambda a, b: 0))  # site


# One attribute, and behind it a chain of causes with their tracebacks.


class Uploader:
    last_error = None

    @classmethod
    def upload(cls, number):
        try:
            raise ConnectionError(f"upload {number} failed") from cls.last_error  # site
        except ConnectionError as error:
            cls.last_error = error


@case("last_error", "Uploader")
def chain_of_causes():
    Uploader.upload(fresh())  # also: chain_of_causes


# Overrides that are pushed and never popped.


class Settings:
    current = collections.ChainMap({"debug": False})  # noqa: RUF012 (as people write it)


@case("Settings.current", "maps")
def layers_of_settings():
    Settings.current = Settings.current.new_child({"debug": True})  # site


# Growth inside one object.

LATENCIES = array.array("d")


@case("LATENCIES")
def array_of_numbers():
    LATENCIES.extend([0.5, 0.25, 1.5, 2.5, 3.5, 4.5])  # site


# Native memory.

SHARED_PAGES = {}


@case("SHARED_PAGES")
def anonymous_maps():
    page = mmap.mmap(-1, 16384)  # site
    page.write(b"\1" * 16384)
    SHARED_PAGES[fresh()] = page


_libc = ctypes.CDLL(None)
_libc.regcomp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]


@case(None)
def native_regex_never_freed():
    compiled = ctypes.create_string_buffer(64)
    _libc.regcomp(compiled, b"^[a-c]+x$", 1)  # site


# Descriptors.


@case(None)
def temporary_descriptor():
    _, path = tempfile.mkstemp()  # site
    os.unlink(path)


# Generators that were begun and not finished.

CURSORS = {}


def pages(first):
    page = first
    while True:
        yield page
        page += 1


@case("CURSORS")
def suspended_generators():
    cursor = pages(fresh())  # site
    next(cursor)
    CURSORS[fresh()] = cursor


# A debugging flag of the collector that was left on.


class Parent:
    def __init__(self):
        self.child = Child(self)  # also: collector_saves_all


class Child:
    def __init__(self, parent):
        self.parent = parent  # also: collector_saves_all


@case("gc.garbage", "garbage")
def collector_saves_all():
    gc.set_debug(gc.DEBUG_SAVEALL)
    Parent()  # site


# The other half of a `tee`, which nobody reads.


def lines():
    while True:
        yield f"line {fresh()} of the stream, with some more text"  # site


READ, UNREAD = itertools.tee(lines())


@case("UNREAD", "tee")
def stream_read_on_one_side():
    next(READ)


# Reading a default dictionary fills it.

SUBSCRIBERS = collections.defaultdict(list)


@case("SUBSCRIBERS")
def default_dict_only_read():
    for subscriber in SUBSCRIBERS[f"topic/{fresh()}"]:  # site
        subscriber()


# A pickler that is kept remembers all it has seen.


class Nowhere:
    def write(self, data):
        return len(data)


PICKLER = pickle.Pickler(Nowhere(), protocol=4)


@case("PICKLER", None)
def pickler_memo():
    PICKLER.dump({"id": fresh(), "tags": ["a", "b"]})  # site


# A mock at module level remembers its calls.

MAILER = mock.Mock()


@case("MAILER", "mock_calls", "call_args_list", "method_calls")
def calls_of_a_mock():
    MAILER.send(to=f"user{fresh()}@example.org")  # site


# An exit stack of the application, entered by every call.

RESOURCES = contextlib.ExitStack()


@case("RESOURCES", "_exit_callbacks")
def exit_stack_of_the_application():
    RESOURCES.enter_context(contextlib.suppress(KeyError))  # site


# Source text of generated functions, for tracebacks (as attrs and others do).


@case("linecache.cache", "cache")
def generated_source():
    text = f"def generated(): return {fresh()}\n"
    name = f"<generated function {fresh()}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)  # site


# A search path that every set-up lengthens.


@case("sys.path", "path")
def search_path():
    sys.path.append(os.path.join(os.path.dirname(__file__), "vendored"))  # site


# Log records that wait for a flush.

WAITING = logging.handlers.MemoryHandler(100_000_000, flushLevel=logging.CRITICAL, target=logging.NullHandler())
REQUESTS = logging.getLogger("fresh_requests")
REQUESTS.propagate = False
REQUESTS.setLevel(logging.INFO)
REQUESTS.addHandler(WAITING)


@case("buffer", "WAITING")
def log_records_waiting():
    REQUESTS.info("GET /orders/%d", fresh())  # site
