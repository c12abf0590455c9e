"""The OpenAI requests that pass to a served model: the fields known here and no others, within bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ilab_jupyter.server.wire import Answer, Request

MAX_CHOICES = 8  # as the serving process: tests/server/test_contract.py compares both

Text = Annotated[str, StringConstraints(max_length=4_000_000)]
Nothing = Annotated[list[Any], Field(max_length=0)] | None
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class TextPart(Request):
    """A piece of a message. Pictures and files are refused: nothing here reads a URL."""

    type: Literal["text"]
    text: Text


class Message(Request):
    """One turn of a conversation. An answer may be sent back as it came, with its empty fields."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(max_length=1000)] | None = None
    name: str | None = Field(default=None, max_length=128)
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None
    annotations: Nothing = None


class StreamOptions(Request):
    """Options of the last chunk of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(Request):
    """Free text, or any JSON object; a grammar or a schema of the caller's is refused."""

    type: Literal["text", "json_object"]


class Sampling(Request):
    """Fields of both kinds of request. The serving process rejects what it does not support."""

    model: str = Field(min_length=1, max_length=512)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_048_576)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = Field(default=None, max_length=300)
    logprobs: bool | int | None = None
    user: str | None = Field(default=None, max_length=512)


class ChatRequest(Sampling):
    """POST ilab/v1/chat/completions"""

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_048_576)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    store: bool | None = None
    service_tier: str | None = Field(default=None, max_length=64)
    safety_identifier: str | None = Field(default=None, max_length=512)
    prompt_cache_key: str | None = Field(default=None, max_length=512)
    parallel_tool_calls: bool | None = None
    tool_choice: Literal["none", "auto"] | None = None
    tools: Nothing = None


class CompletionRequest(Sampling):
    """POST ilab/v1/completions"""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    best_of: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    echo: bool | None = None


class ServedModel(Answer):
    """A model that answers now."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "ilab"


class ServedModelList(Answer):
    """GET ilab/v1/models"""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class OpenAIError(Answer):
    """An error in OpenAI's form."""

    error: dict[str, Any]
