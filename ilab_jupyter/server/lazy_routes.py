"""Adds the extension's routes at the first request for one of them, not when the server starts.

What the handlers import (the data models, the job engine) is a third of what a small Jupyter server holds in
memory, and most servers never call them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_server.utils import url_path_join
from tornado.routing import PathMatches, Router, Rule

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerWebApplication
    from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest


class LazyRoutes(Router):
    """Matches ilab/ and adds the real routes before the first request is routed to them."""

    # jupyter_server checks at start which verbs of a handler need a user; the real handlers are checked when
    # they are added.
    SUPPORTED_METHODS: Sequence[str] = ()

    def __init__(self, application: ServerWebApplication) -> None:
        self._application = application
        self._added = False

    @property
    def rule(self) -> Rule:
        """The rule to add when the server starts."""
        base: str = self._application.settings["base_url"]
        return Rule(PathMatches(url_path_join(base, r"/ilab(?:/.*)?")), self)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return None, so that routing continues with the routes that were added behind this rule."""
        if not self._added:
            from ilab_jupyter.server.openapi import document
            from ilab_jupyter.server.routes import handlers

            self._application.settings["ilab_openapi"] = document
            base: str = self._application.settings["base_url"]
            self._application.add_handlers(  # type: ignore[no-untyped-call]
                ".*$",
                [(url_path_join(base, pattern), handler, given) for pattern, handler, given in handlers()],
            )
            self._added = True
        return None
