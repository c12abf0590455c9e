"""The OpenAPI document, from the table of routes and the pydantic models."""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ilab_jupyter import __version__
from ilab_jupyter.server.openai_wire import OpenAIError
from ilab_jupyter.server.routes import ROUTES, Operation, Route
from ilab_jupyter.server.wire import Problem

# One event of a stream.
EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string"}, "event": {"type": "string"}, "id": {"type": "string"}},
    "required": ["data"],
}
REFERENCE = "#/components/schemas/{model}"


def document(base_url: str = "/") -> dict[str, Any]:
    """OpenAPI 3.1 of everything below `base_url`."""
    return {**_document(), "servers": [{"url": base_url}]}


@cache
def _document() -> dict[str, Any]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (Problem, "serialization"): None,
        (OpenAIError, "serialization"): None,
    }
    for route in ROUTES:
        for operation in route.verbs.values():
            if operation.answer is not None:
                wanted[operation.answer, "serialization"] = None
            if operation.body is not None:
                wanted[operation.body, "validation"] = None
    references, definitions = models_json_schema(list(wanted), ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ilab-jupyter",
            "version": __version__,
            "description": "The InstructLab workflow in Jupyter. Errors are `Problem` below ilab/api "
            "and `OpenAIError` below ilab/v1.",
        },
        "security": [{"token": []}],
        "paths": {f"/{route.path}": _path(route, references) for route in ROUTES},
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The Jupyter token. A browser's cookie works too, with X-XSRFToken.",
                }
            },
        },
    }


def _path(route: Route, references: dict[Any, Any]) -> dict[str, Any]:
    inside = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    described = {
        verb: _operation(route, verb, operation, references) for verb, operation in route.verbs.items()
    }
    return {**({"parameters": inside} if inside else {}), **described}


def _operation(route: Route, verb: str, operation: Operation, references: dict[Any, Any]) -> dict[str, Any]:
    text = (getattr(route.handler, verb).__doc__ or "").strip()
    error = references[OpenAIError if route.path.startswith("ilab/v1") else Problem, "serialization"]
    schema = references[operation.answer, "serialization"] if operation.answer is not None else {}
    content = {operation.media: {"schema": schema}}
    if operation.stream:
        content["text/event-stream"] = {"schema": EVENT}
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.status != HTTPStatus.SWITCHING_PROTOCOLS:
        success["content"] = content
    others: dict[str, Any] = {}
    for status, media in operation.others:
        answer = (
            success
            if status == operation.status
            else others.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": {}})
        )
        answer["content"][media] = {"schema": {"type": "string"}}
    described: dict[str, Any] = {
        "operationId": f"{verb}_{re.sub(r'[^a-z0-9]+', '_', route.path.removeprefix('ilab/')).strip('_')}",
        "tags": [route.path.split("/")[2]],
        "summary": text.split("\n")[0],
        "responses": {
            str(operation.status): success,
            **others,
            "default": {"description": "What went wrong", "content": {"application/json": {"schema": error}}},
        },
    }
    if operation.query is not None:
        described["parameters"] = list(_query(operation.query))
    if operation.body is not None:
        body = references[operation.body, "validation"]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return described


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=REFERENCE)
    shared = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inline(field, shared),
        }
        for name, field in schema["properties"].items()
    ]


def _inline(node: Any, shared: dict[str, Any]) -> Any:
    """`node` with what it refers to in its place: a query's few enumerations are not components."""
    if isinstance(node, list):
        return [_inline(part, shared) for part in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(shared[node["$ref"].rsplit("/", 1)[1]], shared)
    return {name: _inline(part, shared) for name, part in node.items()}
