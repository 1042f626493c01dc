"""Checks the Python services of `examples/python`, leaky and fixed, with the frameworks they are written for.

    python python/bench/services.py [--into target/services] [NAME...]

Installs the frameworks of `examples/python/requirements.txt` into a virtual environment, starts each service under
`plimsoll check --url` and expects a leak with its holder from the leaky one, and none from the fixed one. The binary is
that of `PLIMSOLL_BINARY`. Exits with 1 if anything else is said.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "python"
#: Who holds what leaks; words of the command beside the interpreter's own; what the fixed twin is told.
SERVICES = {
    "fastapi-uvicorn": ("OPEN_CARTS", None),
    "flask-gunicorn": ("PAGE_TRAIL", {"PAGE_FIXED": "1"}),
    "django-wsgi": ("order_placed", None),
    "aiohttp-web": ("FOLLOW_UPS", None),
    "job-worker": ("JOB_RESULTS", None),
}


#: Beside the frameworks: what the tests of `plimsoll profile` need.
TOOLS = "memray>=1.17,<2\n"


def environment(folder: Path) -> Path:
    """The folder of programs of an environment that has the frameworks and tools."""
    wanted = (EXAMPLES / "requirements.txt").read_text() + TOOLS
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(EXAMPLES / "requirements.txt"), *TOOLS.split()], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(name: str, programs: Path, port: int, fixed: bool) -> list[str]:
    """How the service is started."""
    if name == "flask-gunicorn":
        listen = ["-w", "2", "-b", f"127.0.0.1:{port}", "--chdir", str(EXAMPLES / name)]
        return [str(programs / "gunicorn"), *listen, "server:app"]
    words = [str(programs / "python"), str(EXAMPLES / name / "server.py")]
    return [*words, "--fixed"] if fixed else words


def check(name: str, programs: Path, fixed: bool, more: list[str]) -> tuple[int, dict[str, object], str]:
    """What `plimsoll check` says: its code, its document, its words."""
    port = free_port()
    binary = os.environ.get("PLIMSOLL_BINARY", str(ROOT / "target" / "release" / "plimsoll"))
    told = SERVICES[name][1] if fixed else None
    kept = {**os.environ, "PORT": str(port), **(told or {})}
    arguments = [binary, "check", "--json", *more, "--url", f"http://127.0.0.1:{port}/", "--"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*arguments, *command(name, programs, port, fixed)],
            cwd=folder,
            env=kept,
            capture_output=True,
            text=True,
            timeout=900,
        )
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = {}
    return done.returncode, document, done.stdout[-1500:] + done.stderr[-1500:]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(SERVICES)} (all)")
    asked.add_argument("--into", default="target/services", help="where the frameworks are kept")
    given, more = asked.parse_known_args()
    programs = environment(Path(given.into).resolve())
    wrong = 0
    for name in given.names or SERVICES:
        holder = SERVICES[name][0]
        for fixed in (False, True):
            begun = time.monotonic()
            code, document, said = check(name, programs, fixed, more)
            named = holder in json.dumps(document.get("culprits", document))
            right = code == 0 if fixed else code == 1 and named
            wrong += not right
            outcome = {0: "no leak", 1: "leak", 3: "inconclusive"}.get(code, f"status {code}")
            twin = "fixed" if fixed else "leaky"
            held = "" if fixed else f", {holder} {'named' if named else 'NOT NAMED'}"
            print(f"{name} {twin}: {outcome}{held}, {time.monotonic() - begun:.0f} s{'' if right else '  WRONG'}")
            if not right:
                print(said)
            sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
