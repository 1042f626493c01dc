"""The hub as far as a probe can tell: for the tests of the probe, and for what measures it."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "python" / "src" / "plimsoll"
FILES = ("_counters.py", "_holders.py", "_probe.py", "_explain.py")
PLACE = "CONFIG = None"
DEADLINE_S = 60


def frame(message):
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "little") + b"\0" + body


class Peer:
    """One connected probe."""

    #: How long it may take to answer, in seconds.
    patience = DEADLINE_S

    def __init__(self, connection):
        self.connection = connection
        self.inbox = b""
        self.ids = 0
        self.kept = []

    def next(self, wanted=lambda message: True):
        """The next message that is wanted; None once the connection closed."""
        deadline = time.monotonic() + self.patience
        while True:
            for message in self.kept:
                if wanted(message):
                    self.kept.remove(message)
                    return message
            ready = select.select([self.connection], [], [], max(deadline - time.monotonic(), 0))[0]
            assert ready, "no message in time"
            try:
                piece = self.connection.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return None
            self.inbox += piece
            while len(self.inbox) >= 5:
                length = int.from_bytes(self.inbox[:4], "little")
                if len(self.inbox) < 5 + length:
                    break
                self.kept.append(json.loads(self.inbox[5 : 5 + length]))
                self.inbox = self.inbox[5 + length :]

    def send(self, *messages):
        self.connection.sendall(b"".join(map(frame, messages)))

    def call(self, op, args=None):
        self.ids += 1
        number = self.ids
        self.send({"type": "cmd", "id": number, "op": op, "args": args or {}, "deadline_ms": 60000})
        reply = self.next(lambda m: m["type"] == "reply" and m["id"] == number)
        assert "ok" in reply, reply
        return reply["ok"]


class Hub:
    """What the hub of the engine does, as far as a probe can tell."""

    token = "token-of-a-test"

    def __init__(self, folder):
        self.folder = folder / "carrier"
        package = self.folder / "_plimsoll_carrier"
        package.mkdir(parents=True)
        path = str(folder / "hub")
        config = {"socket": path, "token": self.token}
        source = (SOURCE / "_carrier.py").read_text()
        assert source.count(PLACE) == 1
        (self.folder / "sitecustomize.py").write_text(source.replace(PLACE, f"CONFIG = {config!r}"))
        for name in FILES:
            shutil.copy(SOURCE / name, package / name)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.listener.settimeout(DEADLINE_S)
        self.children = []

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "PYTEST"))}
        return {**kept, "PYTHONPATH": str(self.folder), **more}

    def spawn(self, arguments, python=sys.executable, env=None, probe=True):
        environment = env or self.environment()
        if not probe:
            environment.pop("PYTHONPATH", None)
        child = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.children.append(child)
        return child

    def peer(self):
        return Peer(self.listener.accept()[0])

    def greeted(self):
        peer = self.peer()
        return peer, peer.next()

    def stop(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        self.listener.close()
