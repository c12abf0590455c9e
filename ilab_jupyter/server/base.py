"""What every handler shares: who may call, how a body is read and bounded, and how an error is told."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from pydantic import BaseModel, ValidationError
from tornado import web
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from ilab_jupyter.errors import InvalidInput, NotFound, PublicError, TooLarge
from ilab_jupyter.jobs.actor import act_as
from ilab_jupyter.server.audit import REFUSALS
from ilab_jupyter.tasks.catalog import describe

if TYPE_CHECKING:
    from ilab_jupyter.server.services import Services

AUTH_RESOURCE = "ilab"
MAX_BODY = 1024 * 1024
MOST_READ = 256 * 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)

_PLAIN: dict[int, tuple[str, str, str]] = {
    400: ("invalid", "The request is malformed.", "Compare it with ilab/api/docs."),
    401: ("forbidden", "You are not signed in.", "Send the Jupyter token as `Authorization: token ...`."),
    403: ("forbidden", "You are not signed in, or not allowed to do this.",
          "Send the Jupyter token as `Authorization: token ...`; with a cookie, send X-XSRFToken too."),
    404: ("not_found", "There is nothing at this address.", "See the addresses in ilab/api/docs."),
    405: ("method_not_allowed", "This address has no such method.", "See the methods in ilab/api/docs."),
}  # fmt: skip


class Audited(JupyterHandler):
    """What a request and a socket share: whose room they enter, and that a refusal is told to the audit."""

    auth_resource = AUTH_RESOURCE

    @property
    def services(self) -> Services:
        """What this server works with."""
        services: Services = self.settings["ilab"]
        return services

    def on_finish(self) -> None:
        """What was refused is told to the audit."""
        super().on_finish()
        if self.get_status() in REFUSALS:
            path = self.request.path.removeprefix(self.base_url)
            verb, address = str(self.request.method), str(self.request.remote_ip)
            self.services.audit.refused(_name(self.current_user), verb, path, self.get_status(), address)


@web.stream_request_body
class IlabHandler(Audited, APIHandler):
    """Parses, calls, answers. The body arrives in pieces so that it can be refused before it is in memory."""

    max_body = MAX_BODY

    def initialize(self) -> None:
        """Nothing is read yet."""
        self._body = bytearray()
        self._body_size = 0

    async def prepare(self) -> None:  # type: ignore[override]
        """Nobody without a user gets past here, not even with a verb that the handler lacks."""
        await super().prepare()
        if not self.current_user and self.request.method != "OPTIONS":
            raise web.HTTPError(403)
        act_as(_name(self.current_user))
        announced = self.request.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > MOST_READ:
            self._refuse_size()
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.set_max_body_size(MOST_READ)

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, up to the limit. What is over it is read and dropped, up to a second one:
        a client that is cut off while it still sends never sees why."""
        self._body_size += len(chunk)
        if self._body_size <= self.max_body:
            self._body += chunk

    def _refuse_size(self) -> NoReturn:
        raise TooLarge(f"The body is larger than {self.max_body} bytes.", "Send less at once.")

    def json_body(self) -> dict[str, Any]:
        """The body as a JSON object; InvalidInput for anything else."""
        if self._body_size > self.max_body:
            self._refuse_size()
        try:
            body = json.loads(bytes(self._body), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise InvalidInput("The body is not JSON.", "Send a JSON object.") from None
        if not isinstance(body, dict):
            raise InvalidInput("The body is not a JSON object.", "Send a JSON object.")
        return body

    def body_as(self, model: type[Model]) -> Model:
        """The body as `model`; InvalidInput names the field that is wrong."""
        return _validated(model, self.json_body())

    def query_as(self, model: type[Model]) -> Model:
        """The query's arguments that `model` knows; others (a token, a cache buster) are not its business."""
        given: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            values = [value for value in self.get_query_arguments(name) if value != ""]
            if values:
                many = str(field.annotation).startswith("tuple")
                given[name] = [part for value in values for part in value.split(",")] if many else values[-1]
        return _validated(model, given)

    def answer(self, value: BaseModel, status: int = 200) -> None:
        """Finish with `value` as JSON."""
        self.set_status(status)
        self.finish(value.model_dump_json())

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """A PublicError brings its own status."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        super().send_error(error.status if isinstance(error, PublicError) else status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A bug once, with its traceback; an error meant for a person is no event for the log."""
        if isinstance(value, PublicError):
            self.log.debug("%s %s: %s", self.request.method, self.request.path, value.message)
        elif not isinstance(value, StreamClosedError):
            super().log_exception(typ, value, tb)

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """An answer given before the body was read ends the connection: a client that would use it again must
        know."""
        if not self._headers_written and not self.request._body_future.done():
            self.set_header("Connection", "close")
        return super().finish(*args, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One shape for every error: {cause, message, next_step}."""
        self.finish(json.dumps(self.told(status_code, **kwargs)))

    def told(self, status_code: int, **kwargs: Any) -> dict[str, str]:
        """What is said of the error. Where this server keeps its state is nobody's business but the log's."""
        said = problem(status_code, (kwargs.get("exc_info") or (None, None))[1])
        folder = str(self.services.state_dir)
        return {name: text.replace(folder, "[state folder]") for name, text in said.items()}


def _name(user: Any) -> str:
    """Who is signed in. A shared token tells nobody's name, and stands for the jobs' owner: empty."""
    username, shown = str(getattr(user, "username", "") or ""), str(getattr(user, "name", "") or "")
    nameless = re.fullmatch(r"[0-9a-f]{32}", username) and shown.startswith("Anonymous ")
    return "" if nameless else username


def problem(status: int, error: BaseException | None) -> dict[str, str]:
    """The body of an error. Text of an exception that is not a PublicError never leaves the server."""
    if isinstance(error, PublicError):
        return {"cause": error.cause, "message": error.message[:2000], "next_step": error.next_step}
    if status in _PLAIN:
        cause, message, next_step = _PLAIN[status]
    elif status < 500:
        cause, message, next_step = "invalid", f"{HTTPStatus(status).phrase}.", ""
    else:
        cause, message = "internal", "The server made a mistake."
        next_step = "The Jupyter server's log has the details; please report them."
    return {"cause": cause, "message": message, "next_step": next_step}


def _validated(model: type[Model], given: dict[str, Any]) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InvalidInput(describe(error)[:2000], "See the fields in ilab/api/docs.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class UnknownHandler(IlabHandler):
    """Any other address below ilab/api."""

    _track_activity = False

    async def prepare(self) -> None:  # type: ignore[override]
        """404 for every verb, after the same door as everywhere."""
        await super().prepare()
        if self.request.method != "OPTIONS":
            raise NotFound("There is nothing at this address.", "See the addresses in ilab/api/docs.")
