"""A view on Django under its own threaded server: a signal receiver is connected by each request unless --fixed."""

import os
import sys

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.dispatch import Signal
from django.http import HttpResponse
from django.urls import path

settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="an example", USE_TZ=True)

order_placed = Signal()


def place_order(_request):
    """Places an order, and listens for it once more."""

    def on_order(**_):
        return None

    order_placed.connect(on_order, weak=False, dispatch_uid=None)
    if "--fixed" in sys.argv:
        order_placed.disconnect(on_order)
    return HttpResponse("placed")


urlpatterns = [path("", place_order)]
application = get_wsgi_application()

if __name__ == "__main__":
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

    class Handler(WSGIRequestHandler):
        def log_message(self, *_):
            """Says nothing."""

    server = ThreadedWSGIServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Handler)
    server.set_app(application)
    server.serve_forever()
