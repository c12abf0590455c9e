"""Who may do what: every address and verb, without a token, without leave, with only a cookie."""

from __future__ import annotations

import re
from typing import Any

import httpx

from ilab_jupyter.server.routes import ROUTES
from tests.server.in_process import PROBLEM

# A cookie's user is let in as well, so these go through a client that has no token and no cookie.
VERBS = ("get", "post", "put", "patch", "delete", "head")
ACTIONS = {"get": "read", "post": "write", "patch": "write", "delete": "write"}


def addresses() -> list[tuple[str, str, bool]]:
    """(verb, address, known) of every route with every verb, and of unknown routes."""
    known = [
        (verb, re.sub(r"\{\w+\}", "some-name", route.path), verb in route.verbs)
        for route in ROUTES
        for verb in VERBS
        if route.path != "ilab/api/stream"
    ]
    unknown = [
        (verb, path, False) for verb in VERBS for path in ("ilab/api", "ilab/api/x/y", "ilab/v1", "ilab/v1/x")
    ]
    return known + unknown


async def test_nothing_answers_without_a_token(server: Any) -> None:
    async with httpx.AsyncClient(base_url=server.url) as stranger:
        for verb, path, _ in addresses():
            for headers in (
                {},
                {"Authorization": "token wrong"},
                {"Authorization": "Bearer wrong"},
                {"Cookie": "x=y"},
            ):
                answer = await stranger.request(verb, path, headers=headers)
                assert answer.status_code in (401, 403), (verb, path, headers, answer.status_code)
                if verb != "head":
                    assert "error" in answer.json() or set(answer.json()) == PROBLEM
        answer = await stranger.get("ilab/api/info?token=wrong")
        assert answer.status_code == 403


async def test_every_verb_asks_whether_this_user_may(server: Any, recorder: Any) -> None:
    recorder.allow = False
    for verb, path, known in addresses():
        if not known:
            continue
        recorder.requests.clear()
        answer = await server.http.request(verb, path)
        assert answer.status_code == 403, (verb, path, answer.status_code)
        assert [(action, resource) for action, resource, _ in recorder.requests] == [
            (ACTIONS[verb], "ilab")
        ], (
            verb,
            path,
        )


async def test_a_cookie_alone_writes_nothing(server: Any) -> None:
    """A foreign page can make a browser send its cookie, but not the header."""
    signed_in = await server.http.get("ilab/api/docs")
    cookies = dict(signed_in.cookies)
    assert "_xsrf" in cookies
    before = await server.job_ids()
    async with httpx.AsyncClient(base_url=server.url, cookies=cookies) as browser:
        body = {"kind": "train", "arguments": {"data": ["print:x"]}}
        for verb, path, known in addresses():
            if known and verb != "get":
                refused = await browser.request(verb, path, json=body)
                assert refused.status_code == 403, (verb, path, refused.status_code)
        assert (await browser.get("ilab/api/jobs")).status_code in (200, 403)
        xsrf = {"X-XSRFToken": cookies["_xsrf"]}
        foreign = await browser.post(
            "ilab/api/jobs", json=body, headers={**xsrf, "Origin": "http://evil.example"}
        )
        assert foreign.status_code in (403, 404)
        assert await server.job_ids() == before
        accepted = await browser.post("ilab/api/jobs", json=body, headers=xsrf)
        assert accepted.status_code == 202


async def test_both_spellings_of_a_token_are_accepted_without_a_cookie(server: Any) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        for scheme in ("token", "Bearer"):
            body = {"kind": "train", "arguments": {"data": ["print:x"]}}
            headers = {"Authorization": f"{scheme} {server.token}"}
            assert (await client.post("ilab/api/jobs", json=body, headers=headers)).status_code == 202


async def test_unknown_route_is_404_and_unknown_method_405(server: Any) -> None:
    for path in ("ilab/api", "ilab/api/", "ilab/api/nothing", "ilab/api/jobs/x/y/z", "ilab/api/../api/x"):
        answer = await server.http.get(path)
        assert answer.status_code == 404 and answer.json()["code"] == "not_found", path
        assert answer.headers["Connection"] == "close", "it answered before reading the body, and hangs up"
    answer = await server.http.get("ilab/v1/embeddings")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
    answer = await server.http.delete("ilab/api/jobs")
    assert answer.status_code == 405 and answer.json()["code"] == "method_not_allowed"


async def test_unexpected_exception_is_hidden_and_logged_once(
    own_server: Any, monkeypatch: Any, caplog: Any
) -> None:
    from ilab_jupyter.server import machine

    def broken(folder: Any) -> None:
        raise RuntimeError("secret detail in /very/private/place")

    monkeypatch.setattr(machine, "look", broken)
    caplog.clear()
    answer = await own_server.http.get("ilab/api/system")
    assert answer.status_code == 500 and answer.json()["code"] == "internal"
    assert "private" not in answer.text
    request_id = answer.json()["request_id"]
    assert sum(request_id in record.getMessage() for record in caplog.records if record.exc_info) == 1
    assert sum("secret detail" in (record.exc_text or "") for record in caplog.records) <= 1
    assert sum(record.exc_info is not None for record in caplog.records) == 1
