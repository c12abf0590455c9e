"""A server extension for one test: tells from inside a server process which modules it has loaded."""

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


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "probe_extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    app.web_app.add_handlers(".*$", [(url_path_join(app.base_url, "probe/modules"), Modules)])
