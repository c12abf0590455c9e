"""The door of the server: who may ask, the form of errors, and the routes that need no generation."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from http.client import responses
from typing import Any

from tornado.web import HTTPError, RequestHandler

from ilab_jupyter.serving.engine import Engine, Ticket
from ilab_jupyter.serving.schema import ApiError, model_card

RETRY_AFTER = "10"


@dataclass
class Service:
    """What the handlers share.

    `active` holds the requests whose answers are not finished; `busy` the same from the moment they are let
    in. `last_use` is when the last of these came or went. Requests are refused once it is `leaving`.
    """

    engine: Engine
    name: str
    key: str
    hosts: frozenset[str]
    max_tokens: int
    created: int = field(default_factory=lambda: int(time.time()))
    active: set[Handler] = field(default_factory=set)
    busy: set[Handler] = field(default_factory=set)
    last_use: float = field(default_factory=time.monotonic)
    leaving: bool = False

    def idle(self, seconds: float) -> bool:
        """Whether no request is active, and there was none for so many seconds."""
        return not self.busy and not self.active and time.monotonic() - self.last_use >= seconds


class Handler(RequestHandler):
    """The checks and the error form that all routes share."""

    service: Service
    tickets: list[Ticket]

    def initialize(self, service: Service) -> None:
        """Takes what the handlers share."""
        self.service = service
        self.tickets = []

    def prepare(self) -> None:
        """Refuses a foreign Host, which a browser tricked by DNS would send, and a wrong key."""
        if self.request.headers.get("Host", "") not in self.service.hosts:
            raise ApiError(403, "This server answers on its loopback address only.", code="wrong_host")
        given = self.request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.service.key}".encode()):
            raise ApiError(401, "The API key is missing or wrong.", code="invalid_api_key")
        if self.request.method == "POST":
            if self.service.leaving:
                raise ApiError(
                    503,
                    "This model has just made room for a waiting job. It loads again once there is a place.",
                    code="preempted",
                )
            self.service.busy.add(self)
            self.service.last_use = time.monotonic()

    def on_finish(self) -> None:
        """From now on the model may be idle."""
        if self in self.service.busy:
            self.service.busy.discard(self)
            self.service.last_use = time.monotonic()

    def set_default_headers(self) -> None:
        """Answers are not cached."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Refusals are no news; anything else keeps its traceback in the job's log."""
        if not isinstance(value, ApiError):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """OpenAI's error body for whatever went wrong."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if not isinstance(error, ApiError):
            known = isinstance(error, HTTPError)
            message = responses.get(status_code, "Error") if known else "The server failed; see its log."
            error = ApiError(
                status_code, f"{message.rstrip('.')}.", code="http_error" if known else "internal"
            )
        self.set_status(error.status)
        if error.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        elif error.status == 503:
            self.set_header("Retry-After", RETRY_AFTER)
        self.finish(error.body())

    def on_connection_close(self) -> None:
        """A client that left wants no more tokens."""
        for ticket in self.tickets:
            ticket.cancel()

    def check_model(self, name: str) -> None:
        """ApiError 404 for any name but the served one."""
        if name != self.service.name:
            raise ApiError(
                404,
                f"There is no model {name[:128]!r} here; {self.service.name!r} is.",
                param="model",
                code="model_not_found",
            )


class Unknown(Handler):
    """Everything that is not a route."""

    def prepare(self) -> None:
        """Says so after the same checks."""
        super().prepare()
        raise ApiError(404, "There is no such URL here.", code="unknown_url")


class Health(Handler):
    """Whether the model answers."""

    def get(self) -> None:
        """The name of the model that is ready."""
        self.finish({"status": "ok", "model": self.service.name})


class Models(Handler):
    """The list of one."""

    def get(self) -> None:
        """OpenAI's list."""
        self.finish({"object": "list", "data": [model_card(self.service.name, self.service.created)]})


class OneModel(Handler):
    """A model by name."""

    def get(self, name: str) -> None:
        """Its card."""
        self.check_model(name)
        self.finish(model_card(self.service.name, self.service.created))
