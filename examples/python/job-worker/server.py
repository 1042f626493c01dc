"""A worker of the Celery kind: requests put jobs on a queue, a thread works them off; results are kept unless --fixed."""

import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JOB_RESULTS: dict = {}
FIXED = "--fixed" in sys.argv
jobs: queue.Queue = queue.Queue(maxsize=100)


def work_off() -> None:
    """Takes one job after the other, and keeps what came of it."""
    while True:
        number, done = jobs.get()
        JOB_RESULTS[number] = {"state": "done", "value": str(number) * 5}
        if FIXED:
            del JOB_RESULTS[number]
        done.set()


class Handler(BaseHTTPRequestHandler):
    """Accepts a job with each request and waits for it."""

    protocol_version = "HTTP/1.1"
    number = 0

    def do_GET(self) -> None:
        Handler.number += 1
        done = threading.Event()
        jobs.put((Handler.number, done))
        done.wait()
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    threading.Thread(target=work_off, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Handler).serve_forever()
