"""Repeats ``operation(i)`` of a module in rounds: what ``plimsoll check --module`` starts in place of a service.

Its arguments are the socket where it is told how many operations to do, and the module. The conversation is that of
``node/host.mjs``: commands are lines of words, answers lines of JSON, on a descriptor of its own, so that standard
output stays the module's. What the process keeps is what the module keeps: nothing here grows with the operations.

A module with a coroutine function among ``setup``, ``operation`` and ``teardown`` runs in one event loop from its setup
to its end; any other runs without one, so that its operations may start loops of their own.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import socket
import sys
import time
import traceback
from typing import Any, Awaitable, Callable, Dict, List, NoReturn, Optional

_TURN_S = 0.05
_KINDS = 16
_KIND_LENGTH = 160

# Taken before the module can replace them.
_monotonic = time.monotonic


def _brief(error: BaseException) -> str:
    """The first line of an error."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return text.split("\n")[0][:_KIND_LENGTH]


class _Host:
    def __init__(self, connection: socket.socket, path: str) -> None:
        self._connection = connection
        self._path = path
        self._unread = b""
        self._operation: Callable[[int], Any] = lambda index: None
        self._setup: Optional[Callable[[], Any]] = None
        self._teardown: Optional[Callable[[], Any]] = None
        # Index of the next operation: unique over all rounds.
        self._next = 0
        self._left = 0
        self._errors: Dict[str, int] = {}
        self._is_ending = False
        self._printed = False

    # -- talking

    def _say(self, **message: Any) -> None:
        self._connection.sendall(json.dumps(message).encode("ascii") + b"\n")

    def _lines(self, flags: int = 0) -> List[str]:
        """What arrived; waits for it unless the flags say otherwise. Ends the process when nobody is there any more."""
        try:
            piece = self._connection.recv(256, flags)
        except BlockingIOError:
            return []
        if not piece:
            os._exit(1)
        *lines, self._unread = (self._unread + piece).split(b"\n")
        return [line.decode("ascii") for line in lines]

    # -- loading

    def load(self) -> None:
        """Imports the module and takes its functions, or says what is wrong with it and ends."""
        folder, file = os.path.split(self._path)
        name = os.path.splitext(file)[0]
        if not name.isidentifier() or name in sys.modules:
            # A module of the standard library keeps its name.
            name = "operation_module"
        # As if the module had been started by itself.
        if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
            sys.path[0] = folder
        sys.argv[:] = [self._path]
        spec = importlib.util.spec_from_file_location(name, self._path)
        if spec is None or spec.loader is None:
            self._fail("is no file that Python imports")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            self._fail(f"cannot be loaded: {_brief(error)}", error)
        found = {part: getattr(module, part, None) for part in ("operation", "setup", "teardown")}
        for part, value in found.items():
            if value is not None and not callable(value):
                self._fail(f"has a `{part}` that is no function")
        if found["operation"] is None:
            functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
            self._fail(f"has no `operation`; functions there: {', '.join(functions) or 'none'}")
        self._operation, self._setup, self._teardown = found["operation"], found["setup"], found["teardown"]

    def _fail(self, why: str, error: Optional[BaseException] = None) -> NoReturn:
        self._say(failed=why)
        if error is not None:
            self._show(error)
        # What the module left running keeps nobody waiting.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def _show(self, error: BaseException) -> None:
        """Prints the error as Python would, from the module's first line on."""
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != self._path:
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)

    def _count(self, error: Exception, index: int) -> None:
        kind = re.sub(r"\d+", "#", _brief(error))
        if kind not in self._errors and len(self._errors) >= _KINDS:
            kind = "other errors"
        self._errors[kind] = self._errors.get(kind, 0) + 1
        if not self._printed:
            self._printed = True
            print(f"operation {index} failed, the first to do so:", file=sys.stderr)
            self._show(error)

    # -- rounds without an event loop

    def converse(self) -> None:
        """Does what it is told until it is ended."""
        try:
            if self._setup is not None:
                self._setup()
        except Exception as error:
            self._fail(f"failed in its setup(): {_brief(error)}", error)
        self._say(ready=True)
        while not self._is_ending:
            for line in self._lines():
                verb, *numbers = line.split(" ")
                if verb == "run":
                    self._round(int(numbers[0]))
                else:
                    self._glance(line)
        ended = None
        try:
            if self._teardown is not None:
                self._teardown()
        except Exception as error:
            ended = _brief(error)
        self._say(ended=ended)
        self._rest()

    def _round(self, operations: int) -> None:
        self._left, self._errors = operations, {}
        turned = _monotonic()
        while self._left > 0:
            self._left -= 1
            index = self._next
            self._next += 1
            try:
                result = self._operation(index)
                if inspect.isawaitable(result):
                    getattr(result, "close", lambda: None)()
                    raise TypeError("operation returned an awaitable: write it as `async def`")
            except Exception as error:
                self._count(error, index)
            if _monotonic() - turned >= _TURN_S:
                for line in self._lines(socket.MSG_DONTWAIT):
                    self._glance(line)
                turned = _monotonic()
        # The last result is nobody's.
        result = None
        self._say(done=operations, errors=self._errors)

    def _glance(self, line: str) -> None:
        if line == "where":
            self._say(at=self._next)
        elif line == "end":
            self._is_ending = True
            self._left = 0

    # -- rounds in one event loop

    def is_async(self) -> bool:
        """Whether the module needs a loop."""
        return any(map(inspect.iscoroutinefunction, (self._setup, self._operation, self._teardown)))

    async def converse_async(self) -> None:
        """The same in an event loop, which goes on turning between the rounds."""
        import asyncio

        try:
            if self._setup is not None:
                await _settled(self._setup())
        except Exception as error:
            self._fail(f"failed in its setup(): {_brief(error)}", error)
        self._connection.setblocking(False)
        told: asyncio.Queue[str] = asyncio.Queue()
        flying: Dict[int, int] = {}

        def arrived() -> None:
            for line in self._lines():
                if line == "where":
                    self._say(at=min(flying.values(), default=self._next))
                else:
                    self._glance(line)
                    told.put_nowait(line)

        asyncio.get_running_loop().add_reader(self._connection.fileno(), arrived)
        self._say(ready=True)
        while True:
            verb, *numbers = (await told.get()).split(" ")
            if verb == "end":
                break
            self._left, self._errors = int(numbers[0]), {}
            lanes = range(min(self._left, int(numbers[1])))
            await asyncio.gather(*(self._lane(lane, flying, asyncio.sleep) for lane in lanes))
            self._say(done=int(numbers[0]), errors=self._errors)
        ended = None
        try:
            if self._teardown is not None:
                await _settled(self._teardown())
        except Exception as error:
            ended = _brief(error)
        self._say(ended=ended)
        self._rest()

    async def _lane(self, lane: int, flying: Dict[int, int], sleep: Callable[[float], Awaitable[None]]) -> None:
        turned = _monotonic()
        while self._left > 0:
            self._left -= 1
            index = self._next
            self._next += 1
            flying[lane] = index
            try:
                await _settled(self._operation(index))
            except Exception as error:
                self._count(error, index)
            # An operation that never waits would keep the loop from turning.
            if _monotonic() - turned >= _TURN_S:
                await sleep(0)
                turned = _monotonic()
        flying.pop(lane, None)

    def _rest(self) -> None:
        """Waits to be ended by whoever started this process: it is looked at once more before."""
        while True:
            time.sleep(3600)


async def _settled(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


def main() -> None:
    """Connects, loads, and does what it is told."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    host = _Host(connection, os.path.abspath(sys.argv[2]))
    host.load()
    if host.is_async():
        import asyncio

        asyncio.run(host.converse_async())
    else:
        host.converse()


if __name__ == "__main__":
    main()
