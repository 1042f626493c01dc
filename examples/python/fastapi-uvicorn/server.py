"""A small shop on FastAPI: carts are opened by every request and, unless --fixed, never closed."""

import os
import sys

from fastapi import FastAPI

app = FastAPI()


class ShoppingCart:
    """What a visitor has picked so far."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lines = [number] * 24


OPEN_CARTS: dict = {}
FIXED = os.environ.get("SHOP_FIXED") == "1"
visits = 0


@app.get("/")
async def visit() -> dict:
    global visits
    visits += 1
    OPEN_CARTS[visits] = ShoppingCart(visits)
    if FIXED:
        del OPEN_CARTS[visits]
    return {"status": "open"}


if __name__ == "__main__":
    import uvicorn

    FIXED = FIXED or "--fixed" in sys.argv
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")), log_level="warning")
