"""The load client beside wrk, and what it says of a standstill. See README.md."""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from socket import create_connection, socket

PAIRS = 5
REQUESTS = 100_000

NGINX = """worker_processes 1; daemon off; pid {dir}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "hello world"; }}
    location /json {{ default_type application/json; add_header Set-Cookie "sid=abc; Path=/"; return 200 '{{"ok":true,"n":7}}'; }}
  }}
}}
"""

# Answers in 1 ms, and stands still from the fifth to the sixth second after the first request.
STALLING = """
let begun = null;
require("http").createServer((request, response) => {
  const now = performance.now();
  begun ??= now;
  const at = now - begun;
  setTimeout(() => response.end("ok"), at >= 5000 && at < 6000 ? 6000 - at : 1);
}).listen(Number(process.env.PORT), "127.0.0.1");
"""

SCENARIO = """
[driver]
url = "http://127.0.0.1:{port}"
[[driver.step]]
url = "/json?id={{{{seq}}}}&r={{{{rand 1 99}}}}"
expect = {{ json = {{ "/ok" = true }} }}
"""


def free_port() -> int:
    with socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise


def cpu_of(command: list[str], cwd: str) -> tuple[float, str]:
    """CPU seconds of a command, and what it printed."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, cwd=cwd)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode()
    if child.returncode != 0:
        sys.exit(f"{command[0]} failed with {child.returncode}: {text}")
    return usage.ru_utime + usage.ru_stime, text


def main() -> None:
    binary = str(Path(sys.argv[1]).resolve())
    many = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    for tool in ("nginx", "wrk", "node"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not in PATH")
    with tempfile.TemporaryDirectory() as place:
        port = free_port()
        url = f"http://127.0.0.1:{port}/"
        config = Path(place, "nginx.conf")
        config.write_text(NGINX.format(dir=place, port=port))
        server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)

            def load(*flags: str) -> tuple[float, dict]:
                cpu, text = cpu_of([binary, "load", "--json", *flags], place)
                return cpu, json.loads(text)

            ours, theirs = [], []
            for _ in range(PAIRS):
                pair = ["wrk", "plimsoll"]
                random.shuffle(pair)
                for client in pair:
                    if client == "wrk":
                        cpu, text = cpu_of(["wrk", "-t1", "-c16", "-d4s", url], place)
                        done = re.search(r"(\d+) requests in", text)
                        theirs.append(cpu / int(done.group(1)) * 1e6)
                    else:
                        cpu, _ = load("-u", url, "-c", "16", "-n", str(REQUESTS))
                        ours.append(cpu / REQUESTS * 1e6)
            ratio = statistics.median(a / b for a, b in zip(ours, theirs))
            print(f"CPU per GET: {statistics.median(ours):.1f} us, wrk {statistics.median(theirs):.1f} us, median ratio {ratio:.2f}")

            for flags in (["-n", str(REQUESTS)], ["-n", str(many)]):
                _, run = load("-u", url, "-c", "16", *flags)
                print(f"RSS after {flags[1]} requests: {run['observer']['rss_peak']} B")
            for connections in ("1", "100", "1000"):
                _, run = load("-u", url, "-c", connections, "-n", str(REQUESTS))
                print(f"RSS with {connections} connections: {run['observer']['rss_peak']} B")
            for rate in ("1000", "5000"):
                _, run = load("-u", url, "--rate", rate, "-d", "5s")
                late = run["load"]["figures"]["lateness"]
                print(f"begun late at {rate}/s: p50 {late['p50_ns'] / 1e3:.0f} us, p99 {late['p99_ns'] / 1e3:.0f} us")

            Path(place, "plimsoll.toml").write_text(SCENARIO.format(port=port))
            cpu, _ = load("-c", "16", "-n", str(REQUESTS))
            print(f"CPU with template, JSON check, cookie: {cpu / REQUESTS * 1e6:.1f} us")
            Path(place, "plimsoll.toml").unlink()
        finally:
            server.terminate()
            server.wait()

        port = free_port()
        server = subprocess.Popen(["node", "-e", STALLING], env={**os.environ, "PORT": str(port)})
        try:
            wait_for(port)
            _, run = load("-u", f"http://127.0.0.1:{port}/", "--rate", "200", "-d", "10s")
            figures = run["load"]["figures"]
            shown = {name[:-3]: round(ns / 1e6, 1) for name, ns in figures["latency"].items()}
            print(f"standstill: sent {figures['sent']} of {figures['planned']}, ms {shown}")
        finally:
            server.terminate()
            server.wait()


main()
