"""Base of all handlers: authorization, reading of bodies within a limit, and error responses."""

from __future__ import annotations

import json
import math
import re
import uuid
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar
from urllib.parse import unquote_plus

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from pydantic import BaseModel, ValidationError
from tornado import web
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from ilab_jupyter.display import safe
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError, TooLarge
from ilab_jupyter.jobs.actor import act_as
from ilab_jupyter.kinds.catalog import describe
from ilab_jupyter.server.audit import REFUSALS
from ilab_jupyter.server.wire import Problem

if TYPE_CHECKING:
    from ilab_jupyter.server.services import Services

AUTH_RESOURCE = "ilab"
MAX_BODY = 1024 * 1024
MOST_READ = 256 * 1024 * 1024

# Of Jupyter's own: the token, the protection against forged requests. A cache buster is a number.
_IGNORED_ARGUMENTS = frozenset({"token", "_xsrf", "_", "no_track_activity"})
# An absolute path of at least two components; not the end of a URL or of a relative path.
_PATH = re.compile(r"(?<![\w.:/~\]-])/(?:[^\s/'\",;:()<>]+/)+[^\s/'\",;:()<>]*")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

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
    """Base of requests and sockets: gives them an id and records refusals in the audit."""

    auth_resource = AUTH_RESOURCE

    @cached_property
    def request_id(self) -> str:
        """The id that the client sent in X-Request-Id, where it is valid; else a new one."""
        given = self.request.headers.get("X-Request-Id", "")
        return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

    def set_default_headers(self) -> None:
        """Send the id of the request with every response."""
        super().set_default_headers()
        self.set_header("X-Request-Id", self.request_id)

    @property
    def services(self) -> Services:
        """The services of this server."""
        services: Services = self.settings["ilab"]
        return services

    def problem(self, status: int, error: BaseException | None) -> Problem:
        """The error as a client may see it: without paths of this server."""
        found = describe_error(status, error, self.request_id)
        clean = {name: self._without_paths(getattr(found, name)) for name in ("code", "message", "hint")}
        return found.model_copy(update=clean)

    def _without_paths(self, text: str) -> str:
        """The text without the server's own paths; those that the request itself names stay."""
        text = safe(text.replace(str(self.services.state_dir), "[state folder]"))
        named = self._request_text()

        def shorter(match: re.Match[str]) -> str:
            path = match.group()
            return path if path.rstrip("./") in named else f"[...]/{path.rstrip('/').rpartition('/')[2]}"

        return _PATH.sub(shorter, text)

    def _request_text(self) -> str:
        """What the client has sent."""
        return unquote_plus(self.request.uri or "")

    def on_finish(self) -> None:
        """Record a refused request in the audit."""
        super().on_finish()
        if self.get_status() in REFUSALS:
            path = self.request.path.removeprefix(self.base_url)
            verb, address = str(self.request.method), str(self.request.remote_ip)
            self.services.audit.refused(_name(self.current_user), verb, path, self.get_status(), address)


@web.stream_request_body
class IlabHandler(Audited, APIHandler):
    """Base of request handlers. Reads the body in chunks, and keeps no more than the limit in memory."""

    max_body = MAX_BODY
    # By verb, from the table of routes: the names that a query may have. None where any is let through.
    query_names: ClassVar[dict[str, frozenset[str]] | None] = None

    def initialize(self) -> None:
        """Start with an empty body."""
        self._body = bytearray()
        self._body_size = 0

    async def prepare(self) -> None:  # type: ignore[override]
        """Reject a request without a user, also for a method that the handler does not have."""
        await super().prepare()
        if not self.current_user and self.request.method != "OPTIONS":
            raise web.HTTPError(403)
        act_as(_name(self.current_user))
        self._check_query()
        announced = self.request.headers.get("Content-Length", "")
        if re.fullmatch(r"[0-9]{1,19}", announced) and int(announced) > MOST_READ:
            self._refuse_size()
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.set_max_body_size(MOST_READ)

    def _check_query(self) -> None:
        """Raise InvalidInput for a query argument that this route does not have."""
        known = (self.query_names or {}).get((self.request.method or "").lower())
        if known is None:
            return
        for name in self.request.query_arguments:
            if name not in known | _IGNORED_ARGUMENTS and not re.fullmatch(r"[0-9]+", name):
                raise InvalidInput(
                    f"There is no query argument {name[:80]!r} here.",
                    f"Use {', '.join(sorted(known))}." if known else "This route takes none.",
                )

    def data_received(self, chunk: bytes) -> None:
        """Keep a chunk of the body, up to `max_body`. The rest is read and dropped, up to MOST_READ: a client
        whose connection is closed while it sends never sees the error."""
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
            body = json.loads(
                bytes(self._body), parse_constant=_refuse_constant, parse_float=_number, parse_int=_integer
            )
        except (ValueError, RecursionError):
            raise InvalidInput("The body is not JSON.", "Send a JSON object.") from None
        if not isinstance(body, dict):
            raise InvalidInput("The body is not a JSON object.", "Send a JSON object.")
        return body

    def body_as(self, model: type[Model]) -> Model:
        """The body as `model`; InvalidInput names the field that is wrong, such as a text for a number."""
        body = self.json_body()
        try:
            return model.model_validate_json(json.dumps(body), strict=True)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                _validated(model, body)  # an unpaired surrogate: only this way its field is known
            raise _invalid(error) from None

    def query_as(self, model: type[Model]) -> Model:
        """The query's arguments that `model` knows; others (a token, a cache buster) are ignored."""
        given: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            if values := self.get_query_arguments(name):
                many = str(field.annotation).startswith("tuple")
                given[name] = [part for value in values for part in value.split(",")] if many else values[-1]
        return _validated(model, given)

    def answer(self, value: BaseModel, status: int = 200) -> None:
        """Finish with `value` as JSON."""
        self.set_status(status)
        self.finish(value.model_dump_json())

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error response; a PublicError has its own status."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        super().send_error(error.status if isinstance(error, PublicError) else status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a bug once, with its traceback and the id of the request; a PublicError is not logged."""
        if isinstance(value, PublicError):
            self.log.debug("%s %s: %s", self.request.method, self.request.path, value.message)
        elif isinstance(value, web.HTTPError):
            super().log_exception(typ, value, tb)
        elif not isinstance(value, StreamClosedError):
            self.log.error(
                "Uncaught exception in request %s: %s %s",
                self.request_id,
                self.request.method,
                self.request.path,
                exc_info=(typ, value, tb),
            )

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """Send the response, with `Connection: close` where the body was not read, so that the client does
        not use the connection again."""
        if not self._headers_written and not self.request._body_future.done():
            self.set_header("Connection", "close")
        return super().finish(*args, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a Problem."""
        self.set_error_headers(status_code)
        error = (kwargs.get("exc_info") or (None, None))[1]
        self.finish(self.problem(status_code, error).model_dump_json())

    def set_error_headers(self, status_code: int) -> None:
        """Set Retry-After for 429, and Allow for 405."""
        if status_code == 429:
            self.set_header("Retry-After", "10")
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.verbs()))

    def verbs(self) -> list[str]:
        """The methods of this route."""
        return [
            verb
            for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
            if getattr(type(self), verb.lower()) is not web.RequestHandler._unimplemented_method
        ]

    def _request_text(self) -> str:
        return f"{super()._request_text()} {bytes(self._body).decode(errors='replace')}"


def _name(user: Any) -> str:
    """The name of the user; empty for the shared token, which acts as the jobs' owner."""
    username, shown = str(getattr(user, "username", "") or ""), str(getattr(user, "name", "") or "")
    nameless = re.fullmatch(r"[0-9a-f]{32}", username) and shown.startswith("Anonymous ")
    return "" if nameless else username


def describe_error(status: int, error: BaseException | None, request_id: str) -> Problem:
    """The body of an error. Text of an exception that is not a PublicError never leaves the server."""
    if isinstance(error, PublicError):
        status, code, message, hint = error.status, error.cause, error.message[:2000], error.hint
    elif status in _PLAIN:
        code, message, hint = _PLAIN[status]
    elif status < 500:
        code, message, hint = "invalid", f"{HTTPStatus(status).phrase}.", ""
    else:
        code, message = "internal", "The server failed because of a bug."
        hint = f"Report it with the lines of the Jupyter server's log about request {request_id}."
    return Problem(status=status, code=code, message=message, hint=hint, request_id=request_id)


def _validated(model: type[Model], given: dict[str, Any]) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidInput:
    return InvalidInput(describe(error)[:2000], "See the fields in ilab/api/docs.")


def _number(digits: str) -> float | int:
    """A number with a fraction. For JSON Schema 2.0 is an integer, and some clients write integers so."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:40]} is out of range")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _integer(digits: str) -> int:
    if len(digits) > 100:
        raise ValueError("an integer of more than 100 digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class UnknownHandler(IlabHandler):
    """Any other address below ilab/api."""

    _track_activity = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Raise NotFound for every method, after the usual authorization."""
        await super().prepare()
        if self.request.method != "OPTIONS":
            raise NotFound("There is nothing at this address.", "See the addresses in ilab/api/docs.")
