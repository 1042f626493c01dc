"""A page on Flask that is served by prefork workers: each request leaves its trail unless PAGE_FIXED=1."""

import os

from flask import Flask, request

app = Flask(__name__)
PAGE_TRAIL: list = []
FIXED = os.environ.get("PAGE_FIXED") == "1"


@app.get("/")
def page() -> str:
    PAGE_TRAIL.append({"agent": request.headers.get("User-Agent"), "number": len(PAGE_TRAIL)})
    if FIXED:
        PAGE_TRAIL.clear()
    return "page"
