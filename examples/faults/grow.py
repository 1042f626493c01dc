"""Grows by RATE bytes of resident memory per second, for judging on time alone.

RATE        bytes per second (default 1048576)
BASE_MB     resident from the start (default 16)
LIFETIME_S  ends itself after so long, status 0 (default 600)
--flat      allocates the same and lets it go again: the healthy twin
"""

import os
import sys
import time

PAGE = 4096
PIECE = 4 * PAGE
STEP_S = 0.05


def touched(size: int) -> bytearray:
    """`size` bytes that are really resident: every page is written."""
    block = bytearray(size)
    for offset in range(0, size, PAGE):
        block[offset] = 1
    return block


def main() -> None:
    rate = float(os.environ.get("RATE", "1048576"))
    end = time.monotonic() + float(os.environ.get("LIFETIME_S", "600"))
    base = touched(int(float(os.environ.get("BASE_MB", "16")) * 1024 * 1024))
    flat = "--flat" in sys.argv[1:]
    kept = []
    print(f"pid {os.getpid()}: {len(base)} bytes, {'flat' if flat else f'growing by {rate:.0f} bytes/s'}", flush=True)
    begun = time.monotonic()
    pieces = 0
    while (now := time.monotonic()) < end:
        # By the clock and not by the step, so that the rate holds on a busy machine too; in pieces of one size, so that
        # the twin that lets them go has the same peak however late it is woken.
        while pieces * PIECE < rate * (now - begun):
            piece = touched(PIECE)
            pieces += 1
            if not flat:
                kept.append(piece)
        time.sleep(STEP_S)


main()
