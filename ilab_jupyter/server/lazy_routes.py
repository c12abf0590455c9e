"""Hangs the extension's routes when the first request for one of them comes, not when the server starts.

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
    """Stands at ilab/ and lets every request pass on to the real routes, which it hangs before the first."""

    # jupyter_server checks at start which verbs of a handler need a user; the real handlers are checked when
    # they are hung.
    SUPPORTED_METHODS: Sequence[str] = ()

    def __init__(self, application: ServerWebApplication) -> None:
        self._application = application
        self._hung = False

    @property
    def rule(self) -> Rule:
        """What to hang at the server's start."""
        base: str = self._application.settings["base_url"]
        return Rule(PathMatches(url_path_join(base, r"/ilab(?:/.*)?")), self)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Never one of its own: the search goes on, and finds what has just been hung behind this rule."""
        if not self._hung:
            from ilab_jupyter.server.openapi import document
            from ilab_jupyter.server.routes import handlers

            self._application.settings["ilab_openapi"] = document
            base: str = self._application.settings["base_url"]
            self._application.add_handlers(  # type: ignore[no-untyped-call]
                ".*$",
                [(url_path_join(base, pattern), handler, given) for pattern, handler, given in handlers()],
            )
            self._hung = True
        return None
