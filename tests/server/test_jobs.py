"""Jobs over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from ilab_jupyter.core import Config
from tests.server.in_process import PROBLEM


async def test_submitted_job_runs_and_reports_its_result(server: Any) -> None:
    answer = await server.http.post(
        "ilab/api/jobs",
        json={"kind": "train", "arguments": {"data": ["print:hello", "step:1/1"]}, "name": "Greeting"},
    )
    assert answer.status_code == 202
    job = await server.ended(answer.json()["id"])
    assert (job["state"], job["name"], job["result"]) == ("SUCCEEDED", "Greeting", {"done": 2})
    assert job["spec"]["arguments"]["method"] == "full"  # the defaults are filled in


async def test_config_set_reaches_job_and_source_is_in_answer(own_server: Any) -> None:
    Config.init().set("train.num_epochs", 1)
    answer = await own_server.http.post(
        "ilab/api/jobs", json={"kind": "train", "arguments": {"data": ["print:hello"]}}
    )
    job = await own_server.ended(answer.json()["id"])
    assert (job["spec"]["arguments"]["epochs"], job["spec"]["sources"]["epochs"]) == (1, "config.yaml")


async def test_the_list_is_paged_by_cursor_and_filtered(own_server: Any) -> None:
    ids = [await own_server.submit(f"print:{number}", name=f"number {number}") for number in range(3)]
    first = (await own_server.http.get("ilab/api/jobs", params={"limit": 2})).json()
    second = (
        await own_server.http.get("ilab/api/jobs", params={"limit": 2, "cursor": first["cursor"]})
    ).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["cursor"] is None
    by_name = (await own_server.http.get("ilab/api/jobs", params={"text": "number 1"})).json()["jobs"]
    assert [job["id"] for job in by_name] == [ids[1]]
    for id in ids:
        await own_server.ended(id)
    done = (
        await own_server.http.get("ilab/api/jobs?state=SUCCEEDED,FAILED&state=CANCELLED&kind=train")
    ).json()
    assert len(done["jobs"]) == 3
    assert (await own_server.http.get("ilab/api/jobs?kind=serve")).json()["jobs"] == []


async def test_idempotency_key_returns_same_job_or_conflict(server: Any) -> None:
    body = {"kind": "train", "arguments": {"data": ["print:once"]}}
    answers = await asyncio.gather(
        *(server.http.post("ilab/api/jobs", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(5)),
        server.http.post("ilab/api/jobs", json={**body, "key": "k1"}),
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = {"kind": "train", "arguments": {"data": ["print:twice"]}, "key": "k1"}
    answer = await server.http.post("ilab/api/jobs", json=other)
    assert answer.status_code == 409 and answer.json()["code"] == "conflict"


async def test_cancel_is_idempotent_and_resume_makes_a_second_attempt(server: Any) -> None:
    id = await server.submit("first:30", "print:second time")
    for _ in range(2):
        assert (await server.http.post(f"ilab/api/jobs/{id}/cancel")).status_code == 202
    assert (await server.ended(id))["state"] == "CANCELLED"
    resumed = await server.http.post(f"ilab/api/jobs/{id}/resume")
    assert resumed.status_code == 202 and resumed.json()["attempt"] == 2
    job = await server.ended(id)
    assert (job["state"], job["attempt"]) == ("SUCCEEDED", 2)
    again = await server.http.post(f"ilab/api/jobs/{id}/resume")
    assert again.status_code == 409


async def test_a_failed_job_says_what_its_worker_said(server: Any) -> None:
    job = await server.ended(await server.submit("fail:The soup is cold."))
    assert (job["state"], job["cause"], job["message"]) == ("FAILED", "requested", "The soup is cold.")


async def test_secrets_reach_the_worker_and_no_answer(server: Any) -> None:
    id = await server.submit("print:x", secrets={"ILAB_TEACHER_API_KEY": "s3cr3t-value"})
    await server.ended(id)
    for path in ("", "/events", "/log"):
        assert "s3cr3t-value" not in (await server.http.get(f"ilab/api/jobs/{id}{path}")).text
    refused = await server.http.post(
        "ilab/api/jobs",
        json={"kind": "train", "arguments": {"data": ["print:x"]}, "secrets": {"LD_PRELOAD": "s3cr3t-value"}},
    )
    assert refused.status_code == 400 and "s3cr3t-value" not in refused.text


TRAIN = {"data": ["print:x"]}

BAD_BODIES: list[tuple[str, Any, str]] = [
    ("not JSON", b"{", "JSON"),
    ("no body", b"", "JSON"),
    ("a list", b"[]", "object"),
    ("bad UTF-8", b'{"kind": "\xff"}', "JSON"),
    ("NaN", b'{"kind": "train", "priority": NaN}', "JSON"),
    ("nested 100,000 deep", b"[" * 100_000, "JSON"),
    ("a number of 10,000 digits", b'{"priority": ' + b"9" * 10_000 + b"}", "JSON"),
    ("no kind", {}, "kind"),
    ("an unknown kind", {"kind": "cook"}, "cook"),
    ("markup as kind", {"kind": "<img onerror=x>"}, "kind"),
    ("an unknown field", {"kind": "train", "arguments": TRAIN, "owner": "root"}, "owner"),
    ("an unknown argument", {"kind": "train", "arguments": {**TRAIN, "output_dir": "/etc"}}, "output_dir"),
    (
        "remote code",
        {"kind": "train", "arguments": {**TRAIN, "trust_remote_code": True}},
        "trust_remote_code",
    ),
    ("a negative rate", {"kind": "train", "arguments": {**TRAIN, "learning_rate": -1}}, "learning_rate"),
    ("epochs as text", {"kind": "train", "arguments": {**TRAIN, "epochs": "many"}}, "epochs"),
    ("no data", {"kind": "train", "arguments": {"data": []}}, "data"),
    ("a bad model name", {"kind": "train", "arguments": {**TRAIN, "name": "../x"}}, "name"),
    ("a name of 100,000 letters", {"kind": "train", "arguments": TRAIN, "name": "x" * 100_000}, "name"),
    ("priority 10^9", {"kind": "train", "arguments": TRAIN, "priority": 10**9}, "priority"),
    ("an empty key", {"kind": "train", "arguments": TRAIN, "key": ""}, "key"),
    ("arguments as text", {"kind": "train", "arguments": "data"}, "arguments"),
    ("a surrogate", b'{"kind": "train", "arguments": {"data": ["x"]}, "name": "\\ud800"}', "name"),
]


async def test_invalid_body_error_names_the_field(server: Any) -> None:
    before = await server.job_ids()
    for what, body, named in BAD_BODIES:
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = await server.http.post("ilab/api/jobs", **sent)
        assert answer.status_code in (400, 422), (what, answer.text)
        problem = answer.json()
        assert set(problem) == PROBLEM, what
        assert named in problem["message"] and problem["hint"], (what, problem)
        assert not server.discloses_path(answer.text) and len(answer.text) < 5000, what
    assert await server.job_ids() == before


BAD_IDS = [
    "nothing-aaaaaaaa", "../x", "..%2fx", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%252e%252e%252f", "~", "-h",
    "%00",    "a;b", "$(id)", "%0a", "<img onerror=x>", "x" * 300, "CON", "\u202egpj", "%ff",
    "file:%2f%2f%2fetc%2fpasswd", "train-AAAAAAAA",
]  # fmt: skip


async def test_invalid_job_id_is_not_found_on_every_route(server: Any) -> None:
    id = await server.submit()
    await server.ended(id)
    for bad in BAD_IDS:
        for method, path in [
            ("GET", ""),
            ("GET", "/log"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/resume"),
        ]:
            answer = await server.http.request(method, f"ilab/api/jobs/{bad}{path}")
            assert answer.status_code in (400, 404), (bad, path, answer.status_code)
            assert set(answer.json()) == PROBLEM, (bad, path)
            assert not server.discloses_path(answer.text) and len(answer.text) < 1000, bad


BAD_QUESTIONS = [
    "state=ASLEEP",
    "limit=0",
    "limit=501",
    "limit=x",
    "limit=1e9",
    "cursor=made-up",
    "text=" + "x" * 300,
]


async def test_a_bad_question_for_the_list_is_refused(server: Any) -> None:
    for query in BAD_QUESTIONS:
        answer = await server.http.get(f"ilab/api/jobs?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["code"] == "invalid", query


async def test_what_is_unknown_to_the_api_passes_in_a_query(server: Any) -> None:
    """A token or a cache buster is not the API's business."""
    assert (await server.http.get("ilab/api/jobs?1718000000&no_track_activity=1")).status_code == 200


async def test_too_large_body_is_rejected_before_it_is_read(server: Any) -> None:
    answer = await server.http.post("ilab/api/jobs", content=b" " * (2 * 1024 * 1024))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"

    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    chunked = await server.http.post("ilab/api/jobs", content=pieces())
    assert chunked.status_code == 413
