"""The probe as it is loaded into real processes: golden transcripts, and that nobody notices it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from probe_hub import DEADLINE_S, Hub

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPTS = sorted((ROOT / "testdata" / "probe").glob("*.jsonl"))
SKIPPED = {"s", "gc", "drop", "gap", "schema"}


@pytest.fixture
def hub(tmp_path):
    hub = Hub(tmp_path)
    yield hub
    hub.stop()


#: A subject that waits for words and answers each.
ECHO = "import sys\nfor line in sys.stdin:\n    print(line.strip(), flush=True)"


def ask(child, word):
    child.stdin.write(word + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def match(actual, expected, where):
    """As the folder's README says."""
    if isinstance(expected, str) and expected.startswith("<"):
        kind = expected[1:-1]
        if kind == "token":
            assert actual == Hub.token, where
        else:
            types = {"number": (int, float), "string": str, "boolean": bool, "array": list}
            assert isinstance(actual, types[kind]), where
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for i, item in enumerate(expected):
            match(actual[i], item, f"{where}[{i}]")
    elif isinstance(expected, dict):
        if "<contains>" in expected:
            assert set(expected["<contains>"]) <= set(actual), where
            return
        for key, value in expected.items():
            match(actual[key], value, f"{where}.{key}")
    else:
        assert actual == expected, where


@pytest.mark.parametrize("file", TRANSCRIPTS, ids=lambda path: path.stem)
def test_golden_transcripts(hub, file):
    _, *steps = [json.loads(line) for line in file.read_text().splitlines()]
    child = hub.spawn(["-c", ECHO])
    peer = hub.peer()
    for number, step in enumerate(steps, 1):
        where = f"step {number}"
        if "probe" in step:
            wanted = step["probe"]
            message = peer.next(lambda m, wanted=wanted: m["type"] == wanted["type"] or m["type"] not in SKIPPED)
            assert message is not None, f"{where}: the connection closed"
            match(message, wanted, where)
        elif "hub" in step:
            peer.send(*(step["hub"] if isinstance(step["hub"], list) else [step["hub"]]))
        elif "raw" in step:
            peer.connection.sendall(bytes.fromhex(step["raw"]))
        else:
            assert peer.next(lambda m: False) is None
    assert ask(child, "alive") == "alive"
    out, err = child.communicate()
    assert (out, err) == ("", "")


def test_transcripts_are_there():
    assert len(TRANSCRIPTS) >= 10


SCRIPTS = {
    "empty": "",
    "prints and exits": "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)",
    "exception": "raise ValueError('boom')",
    "os._exit": "import os\nos._exit(7)",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "atexit order": "import atexit\natexit.register(print, 'last')\nprint('first')",
    "threads at exit": "import threading\nprint(threading.active_count(), [t.name for t in threading.enumerate()])",
    "thread that outlives main": "import threading, time\nthreading.Thread(target=lambda: print('late')).start()",
    "path": "import sys\nprint(sys.path[1:])\nprint(sys.flags, sys.argv)",
    "customised": "import sys\nprint('sitecustomize' in sys.modules, [m for m in sys.modules if 'plimsoll' in m])",
    "collector": "import gc\nprint(gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() < 1000, gc.callbacks)",
    "tracing": "import tracemalloc, sys\nprint(tracemalloc.is_tracing(), sys.gettrace(), sys.getprofile())",
    "signals": "import signal\nprint([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)])",
    "fork": "import os\npid = os.fork()\nif pid == 0:\n    os._exit(5)\nprint(os.waitpid(pid, 0)[1] >> 8)",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_unchanged(hub, name):
    def run(probe):
        child = hub.spawn(["-c", SCRIPTS[name]], probe=probe)
        out, err = child.communicate(timeout=DEADLINE_S)
        return child.returncode, out.replace(str(hub.folder), ""), err

    with_probe, without = run(True), run(False)
    if name == "customised":
        assert with_probe[1].strip().endswith("[]")
        return
    assert with_probe == without


def test_a_hub_that_is_gone_changes_nothing(hub):
    hub.listener.close()
    child = hub.spawn(["-c", "print('done')"])
    assert child.communicate(timeout=DEADLINE_S) == ("done\n", "")
    assert child.returncode == 0


def test_a_hub_that_dies_leaves_the_subject_alone(hub):
    child = hub.spawn(["-c", ECHO])
    peer, _ = hub.greeted()
    peer.send({"type": "config", "hz": 100, "gc": False})
    peer.next(lambda m: m["type"] == "s")
    peer.connection.close()
    assert ask(child, "alive") == "alive"
    assert child.communicate(timeout=DEADLINE_S) == ("", "")


def test_a_hub_that_does_not_read_gets_drops(hub):
    child = hub.spawn(["-c", ECHO])
    peer, _ = hub.greeted()
    peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.send({"type": "config", "hz": 100, "gc": False})
    assert peer.next(lambda m: m["type"] == "s")
    assert ask(child, "alive") == "alive"


def test_children_say_hello_as_themselves(hub):
    source = (
        "import os, sys, subprocess, time\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    sys.stdin.readline()\n"
        "    os._exit(0)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.readline()'], stdin=subprocess.PIPE)\n"
        "print(os.getpid(), pid, child.pid, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    child = hub.spawn(["-c", source])
    pids = set()
    peers = []
    for _ in range(3):
        peer, hello = hub.greeted()
        peers.append(peer)
        pids.add(hello["pid"])
    assert pids == set(map(int, child.stdout.readline().split()))
    for peer in peers:
        assert peer.call("collect")["values"]["live_bytes"] > 0


def test_multiprocessing_by_both_methods(hub, tmp_path):
    script = tmp_path / "many.py"
    script.write_text(
        "import multiprocessing, os, sys\n"
        "def work(gate, out):\n    out.put(os.getpid())\n    gate.wait(60)\n"
        "if __name__ == '__main__':\n"
        "    told, alive = [], []\n"
        "    for method in ('fork', 'spawn'):\n"
        "        c = multiprocessing.get_context(method)\n"
        "        gate, out = c.Event(), c.Queue()\n"
        "        p = c.Process(target=work, args=(gate, out))\n"
        "        p.start()\n"
        "        told.append(out.get())\n"
        "        alive.append((p, gate))\n"
        "    print(*told, flush=True)\n"
        "    sys.stdin.readline()\n"
        "    for p, gate in alive:\n        gate.set()\n        p.join()\n"
    )
    child = hub.spawn([str(script)])
    told = set(map(int, child.stdout.readline().split()))
    seen = set()
    while not told <= seen:
        _, hello = hub.greeted()
        seen.add(hello["pid"])
    # A process need not have said hello before it ends, so both live until they have; they hold the pipes until then.
    child.communicate("\n", timeout=DEADLINE_S)


USER_SAID = "import sys, sitecustomize\nprint(sys.user_said, sitecustomize.__file__, flush=True)\nsys.stdin.readline()"


def test_a_sitecustomize_of_the_user_is_still_run(hub, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import sys\nsys.user_said = 'hello'\n")
    environment = hub.environment()
    environment["PYTHONPATH"] += os.pathsep + str(other)
    child = hub.spawn(["-c", USER_SAID], env=environment)
    hub.greeted()
    out, err = child.communicate("\n", timeout=DEADLINE_S)
    assert (out.split(), err) == (["hello", str(other / "sitecustomize.py")], "")


def test_modules_and_virtual_environments(hub, tmp_path):
    (tmp_path / "app.py").write_text(ECHO)
    environment = {**hub.environment(), "PYTHONPATH": f"{hub.folder}{os.pathsep}{tmp_path}"}
    hub.spawn(["-m", "app"], env=environment)
    assert hub.greeted()[1]["runtime"] == "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    hub.spawn(["-c", ECHO], python=str(tmp_path / "venv" / "bin" / "python"))
    assert hub.greeted()[1]["runtime"] == "python"


def test_isolated_mode_is_left_alone(hub):
    child = hub.spawn(["-I", "-c", "print('alone')"])
    assert child.communicate(timeout=DEADLINE_S) == ("alone\n", "")
    hub.listener.settimeout(0.1)
    with pytest.raises(TimeoutError if sys.version_info >= (3, 10) else socket.timeout):
        hub.peer()


def test_live_bytes_are_exact(hub):
    source = (
        "import sys\nkept = []\n"
        "for line in sys.stdin:\n    kept.append(bytearray(int(line)))\n    print('ok', flush=True)\n"
    )
    child = hub.spawn(["-c", source])
    peer, _ = hub.greeted()
    ask(child, "1000")
    peer.call("collect")
    before = peer.call("collect")["values"]["live_bytes"]
    for _ in range(50):
        ask(child, "100000")
    after = peer.call("collect")["values"]["live_bytes"]
    assert after - before == pytest.approx(50 * 100_057, rel=0.01)


def test_an_explanation_names_holder_type_and_line(hub, tmp_path):
    script = tmp_path / "service.py"
    script.write_text(
        "import sys\n"
        "class Session:\n    def __init__(self, n):\n        self.n = n\n        self.data = [0] * 50\n"
        "SESSIONS = {}\n"
        "def open_session():\n    SESSIONS[len(SESSIONS)] = Session(len(SESSIONS))\n"
        "for line in sys.stdin:\n"
        "    for _ in range(int(line)):\n        open_session()\n"
        "    print('ok', flush=True)\n"
    )
    child = hub.spawn([str(script)])
    peer, _ = hub.greeted()
    ask(child, "500")

    def census():
        rows = peer.call("census", {"scope": "resources"})["rows"]
        return {(row["family"], row["kind"]): row["count"] for row in rows}

    assert not any(family == "holders" for family, _ in census())
    peer.call("mark", {"mark": "explanation_start"})
    census()
    for total in (200, 400):
        ask(child, "200")
        rows = census()
        assert rows[("holders", "__main__.SESSIONS (dict) of Session")] == total
        assert total <= rows[("types", "Session")] <= total + 2
        assert rows[("allocated", f"{script}:5")] == pytest.approx(total * 456, rel=0.2)
    peer.call("mark", {"mark": "explanation_end"})
    assert not any(family == "holders" for family, _ in census())


def test_unfinished_tasks_by_coroutine(hub):
    source = (
        "import asyncio, sys\n"
        "async def wait_for_ever():\n    await asyncio.get_running_loop().create_future()\n"
        "async def main():\n"
        "    kept = [asyncio.create_task(wait_for_ever()) for _ in range(7)]\n"
        "    await asyncio.sleep(0)\n"
        "    print('ok', flush=True)\n"
        "    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)\n"
        "asyncio.run(main())\n"
    )
    child = hub.spawn(["-c", source])
    peer, _ = hub.greeted()
    assert child.stdout.readline() == "ok\n"
    rows = {(r["family"], r["kind"]): r["count"] for r in peer.call("census", {"scope": "resources"})["rows"]}
    assert rows[("tasks", "wait_for_ever")] == 7


def test_a_green_subject_is_observed_too(hub):
    pytest.importorskip("gevent")
    source = (
        "import gevent.monkey\ngevent.monkey.patch_all()\nimport gevent, sys\n"
        "print('ok', flush=True)\n"
        "gevent.sleep(0.01)\n"
        "sys.stdin.readline()\n"
    )
    child = hub.spawn(["-c", source])
    peer, _ = hub.greeted()
    assert child.stdout.readline() == "ok\n"
    assert peer.call("collect")["values"]["live_bytes"] > 0
    child.stdin.write("\n")
    child.stdin.flush()
    out, err = child.communicate(timeout=DEADLINE_S)
    assert (out, err, child.returncode) == ("", "", 0)


def test_a_subject_killed_while_it_collects(hub):
    child = hub.spawn(["-c", ECHO])
    peer, _ = hub.greeted()
    peer.send({"type": "cmd", "id": 1, "op": "collect", "args": {}, "deadline_ms": 1000})
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=DEADLINE_S)
    assert child.returncode == -signal.SIGTERM
