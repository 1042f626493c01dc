"""A service on aiohttp: each request starts a follow-up that waits for ever unless --fixed."""

import asyncio
import os
import sys

from aiohttp import web

FOLLOW_UPS: set = set()
FIXED = "--fixed" in sys.argv


async def follow_up_later() -> None:
    """Waits for an answer that does not come."""
    await asyncio.get_running_loop().create_future()


async def accept(_request: web.Request) -> web.Response:
    task = asyncio.create_task(follow_up_later())
    FOLLOW_UPS.add(task)
    task.add_done_callback(FOLLOW_UPS.discard)
    if FIXED:
        task.cancel()
    return web.Response(text="accepted")


app = web.Application()
app.add_routes([web.get("/", accept)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")), print=None, access_log=None)
