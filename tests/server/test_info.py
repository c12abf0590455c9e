"""What the server says of itself, its machine, its jobs' kinds and its API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from ilab_jupyter import __version__
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.server.openapi import document
from ilab_jupyter.server.routes import ROUTES

VERBS = ("get", "post", "put", "patch", "delete")


async def test_info_health_and_system(server: Any) -> None:
    info = (await server.http.get("ilab/api/info")).json()
    assert info == {"name": "ilab-jupyter", "version": __version__, "api": 1}
    health = (await server.http.get("ilab/api/health")).json()
    assert health["live"] == 0 and {check["name"] for check in health["checks"]} >= {"store", "queue"}
    machine = (await server.http.get("ilab/api/system")).json()
    assert machine["cpus"] >= 1 and machine["memory_total"] > 0
    assert machine["gpus"] or machine["gpu_message"]


async def test_kinds_carry_the_schema_of_their_arguments(server: Any) -> None:
    kinds = {kind["name"]: kind for kind in (await server.http.get("ilab/api/kinds")).json()["kinds"]}
    assert set(kinds) == set(KINDS)
    assert kinds["train"]["arguments"]["properties"]["learning_rate"]
    assert all(kind["title"] and kind["summary"] and kind["examples"] for kind in kinds.values())
    assert kinds["model"]["positional"] == ["operation", "model"]


async def test_openapi_lists_exactly_the_routes_of_the_server(server: Any) -> None:
    payload = (await server.http.get("ilab/api/openapi.json")).json()
    served = {}
    for rule in server.app.web_app.default_router.rules:
        for inner in getattr(rule.target, "rules", []):
            pattern = getattr(inner.matcher, "regex", re.compile("")).pattern
            if "/ilab/" in pattern and not pattern.endswith("(?:/.*)?$"):
                served[pattern] = inner.target
    base = server.app.base_url.rstrip("/")
    assert {base + route.pattern + "$": route.handler for route in ROUTES} == served
    for route in ROUTES:
        documented_verbs = set(payload["paths"][f"/{route.path}"]) - {"parameters"}
        has = {
            verb
            for verb in VERBS
            if getattr(route.handler, verb).__qualname__.split(".")[0] != "RequestHandler"
        }
        assert documented_verbs == has, route.path
    assert payload["servers"] == [{"url": server.app.base_url}]


def test_the_document_is_whole() -> None:
    payload = document()
    assert payload["openapi"] == "3.1.0"
    text = json.dumps(payload)
    for reference in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert reference in payload["components"]["schemas"], reference
    ids = [
        operation["operationId"]
        for path in payload["paths"].values()
        for verb, operation in path.items()
        if verb != "parameters"
    ]
    assert len(ids) == len(set(ids))
    assert all(
        operation["summary"]
        for path in payload["paths"].values()
        for verb, operation in path.items()
        if verb != "parameters"
    )
    for name, path in payload["paths"].items():
        declared = {parameter["name"] for parameter in path.get("parameters", [])}
        assert declared == set(re.findall(r"\{(\w+)\}", name))


async def test_the_page_of_the_api_needs_nothing_from_elsewhere(server: Any) -> None:
    page = await server.http.get("ilab/api/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http:" not in page.text and "https:" not in page.text and "<script>" not in page.text
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = await server.http.get(f"http://127.0.0.1:{server.app.port}{path}")
        assert answer.status_code == 200 and len(answer.content) > 100, path
    for bad in ("index.html", "../__init__.py", "..%2f__init__.py", "%2fetc%2fpasswd", "swagger-ui.css.map"):
        answer = await server.http.get(f"ilab/api/docs/static/{bad}")
        assert answer.status_code == 404, bad


def test_importing_the_extension_loads_only_light_modules() -> None:
    script = (
        "import sys, jupyter_server.serverapp; before = set(sys.modules); import ilab_jupyter.server.app; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("['ilab_jupyter']", "['ilab_jupyter', 'jupyter_server']")
