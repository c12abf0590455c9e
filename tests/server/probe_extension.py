"""A server extension for tests: tells which modules a server has loaded, and lets an idle one stop."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web


class Modules(APIHandler):
    auth_resource = "probe"

    @web.authenticated
    @authorized
    def get(self) -> None:
        self.finish(json.dumps({"pid": os.getpid(), "modules": sorted(sys.modules)}))


class Idle(APIHandler):
    """Does now what the server does by itself every minute: stop where there was no activity."""

    auth_resource = "probe"
    _track_activity = False

    @web.authenticated
    @authorized
    def post(self) -> None:
        self.settings["serverapp"].shutdown_no_activity()
        self.finish("{}")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "probe_extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    routes = {"probe/modules": Modules, "probe/idle": Idle}
    app.web_app.add_handlers(
        ".*$", [(url_path_join(app.base_url, path), handler) for path, handler in routes.items()]
    )
