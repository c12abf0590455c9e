"""The OpenAI API as this server speaks it: what a request may hold, how an answer and an error look. Light.

Fields that change nothing are accepted; one that asks for what this server cannot do is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ilab_jupyter.errors import PublicError

MAX_CHOICES = 8
MAX_PROMPTS = 64
MAX_STOPS = 16


class ApiError(PublicError):
    """An error in OpenAI's form. `param` names the field at fault, `code` is machine-readable."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str = "invalid_request"
    ) -> None:
        super().__init__(message, cause=code)
        self.status = status
        self.param = param

    def body(self) -> dict[str, Any]:
        """The wire form."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
        fallback = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {
                "message": self.message,
                "type": kinds.get(self.status, fallback),
                "param": self.param,
                "code": self.cause,
            }
        }


def _text(value: Any) -> Any:
    """A turn's content as one string; parts that are not text are refused."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return value
    parts = []
    for part in value:
        if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
            raise ValueError("only text parts are supported")
        if not isinstance(part["text"], str):
            raise ValueError("the text of a part must be a string")
        parts.append(part["text"])
    return "".join(parts)


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


def _nothing(value: Any) -> Any:
    """Accepts what means 'off': absent, null, false, zero, empty."""
    if value is None or value == 0 or value in ("", [], {}):
        return None
    raise ValueError("is not supported by this server")


Off = Annotated[None, BeforeValidator(_nothing)]
Stops = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=256)]],
    BeforeValidator(_several),
    Field(max_length=MAX_STOPS),
]


class Wire(BaseModel):
    """Strict types, no NaN, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Message(Wire):
    """One turn. `developer` is today's name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]
    name: str | None = Field(default=None, max_length=256)
    refusal: Off = None
    tool_calls: Off = None
    function_call: Off = None
    audio: Off = None
    annotations: Off = None


class StreamOptions(Wire):
    """`include_usage` sends a last chunk with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class ResponseFormat(Wire):
    """Free text only."""

    type: Literal["text"]


class Request(Wire):
    """What chat/completions and completions have in common. None takes the model's own default."""

    model: str = Field(max_length=512)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Stops = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_048_576)
    user: str | None = Field(default=None, max_length=512)
    presence_penalty: Off = None
    frequency_penalty: Off = None
    logit_bias: Off = None
    logprobs: Off = None


class ChatRequest(Request):
    """Body of chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_048_576)
    response_format: ResponseFormat | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["none", "auto"] | None = None
    top_logprobs: Off = None
    tools: Off = None
    functions: Off = None


class CompletionRequest(Request):
    """Body of completions: one prompt or several, as text."""

    prompt: Annotated[list[str], BeforeValidator(_several), Field(min_length=1, max_length=MAX_PROMPTS)]
    best_of: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    echo: Off = None
    suffix: Off = None


Body = TypeVar("Body", bound=Request)


def parse(kind: type[Body], body: bytes) -> Body:
    """The request in `body`; ApiError 400 names the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = "is not a field that this server knows"
        where = f"{param[:100]}: " if param else ""
        raise ApiError(400, f"{where}{reason}.", param=param and param[:100]) from None


class Usage(BaseModel):
    """Token counts; `total_tokens` is their sum."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int
    completion_tokens: int

    def to_dict(self) -> dict[str, int]:
        """The wire form."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def model_card(name: str, created: int) -> dict[str, Any]:
    """One entry of `models`."""
    return {"id": name, "object": "model", "created": created, "owned_by": "ilab-jupyter"}
