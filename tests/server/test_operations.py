"""The queue, attempts, the audit, health and metrics over HTTP, and the same through the client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.auth import IdentityProvider, User
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from ilab_jupyter.client.remote import RemoteJobs
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound
from tests.server.in_process import Server
from tests.support.waiting import until_async

AUDIT = "https://schema.ilab-jupyter.org/audit/v1"


@pytest.fixture
def remote(server: Any) -> RemoteJobs:
    return RemoteJobs(server.url, server.token)


class OwnServer:
    """For tests with settings of their own, or that break the server."""

    @pytest.fixture
    def server(self, own_server: Server) -> Server:
        return own_server


class TestTheQueue(OwnServer):
    @pytest.fixture
    def ilab_config(self) -> dict[str, Any]:
        return {"slots": {"batch": 1}}

    async def test_queued_jobs_are_listed_moved_and_paused(self, server: Any, remote: RemoteJobs) -> None:
        first = await server.submit("sleep:60")
        waiting = [await server.submit("print:x") for _ in range(3)]
        state = (await server.http.get("ilab/api/queue")).json()
        assert state["paused"] is False and state["slots"]["batch"] == 1
        assert (await remote.queue()).waiting == waiting
        job = (await server.http.get(f"ilab/api/jobs/{waiting[1]}")).json()
        assert job["position"] == 2 and job["pending_reason"]
        moved = await server.http.post(f"ilab/api/jobs/{waiting[2]}/move", json={"before": waiting[1]})
        assert moved.status_code == 202, moved.text
        assert (await remote.queue()).waiting == [waiting[0], waiting[2], waiting[1]]
        assert (await remote.reorder(waiting[1])).position == 1
        assert (await remote.queue()).waiting == [waiting[1], waiting[0], waiting[2]]
        with pytest.raises(Conflict):
            await remote.reorder(waiting[0], before=first)
        with pytest.raises(NotFound):
            await remote.reorder("train-aaaaaaaa")
        refused = await server.http.post(f"ilab/api/jobs/{waiting[0]}/move", json={"behind": first})
        assert refused.status_code == 400 and "behind" in refused.json()["message"]

    async def test_a_paused_queue_starts_nothing_and_says_why(self, server: Any, remote: RemoteJobs) -> None:
        paused = await server.http.post("ilab/api/queue/pause", json={"reason": "the disk is exchanged"})
        assert paused.status_code == 200 and paused.json()["paused_reason"] == "the disk is exchanged"
        id = await server.submit("print:x")
        await asyncio.sleep(1.5)
        job = await remote.get(id)
        assert job.state == "QUEUED" and "the disk is exchanged" in (job.pending_reason or "")
        assert (await remote.unpause()).paused is False
        assert (await server.ended(id))["state"] == "SUCCEEDED"
        with pytest.raises(InvalidInput):
            await remote.pause("two\nlines")


async def test_attempts_tell_what_made_them_and_how_they_ended(server: Any, remote: RemoteJobs) -> None:
    id = await server.submit("first:30", "print:second time")
    await server.http.post(f"ilab/api/jobs/{id}/cancel")
    await server.ended(id)
    await server.http.post(f"ilab/api/jobs/{id}/resume")
    await server.ended(id)
    first, second = await remote.attempts(id)
    assert (first.n, first.state, first.why, first.cause) == (1, "CANCELLED", "submitted", "cancelled")
    assert (second.n, second.state, second.why) == (2, "SUCCEEDED", "resumed") and second.log_size > 0


class Ada(IdentityProvider):
    """Whoever has the token is Ada, as behind a Hub."""

    async def get_user(self, handler: Any) -> User | None:
        user = await super().get_user(handler)
        return User(username="ada", name="Ada") if user is not None else None


class TestTheAudit(OwnServer):
    @pytest.fixture
    def server_config(self) -> dict[str, Any]:
        return {"identity_provider_class": Ada}

    async def test_records_the_user_of_requests_and_emits_events(
        self, server: Any, remote: RemoteJobs
    ) -> None:
        url = server.url.replace("http", "ws", 1) + f"api/events/subscribe?token={server.token}"
        socket = await websocket_connect(url)
        id = await server.submit("sleep:60")
        await remote.cancel(id)
        assert (await server.http.get("ilab/api/jobs/train-aaaaaaaa")).status_code == 404
        async with httpx.AsyncClient(base_url=server.url) as stranger:
            assert (await stranger.get(f"ilab/api/jobs/{id}")).status_code == 403
        with pytest.raises(HTTPClientError):
            await websocket_connect(server.url.replace("http", "ws", 1) + "ilab/api/stream")
        payload: list[tuple[str, str, str]] = []
        while len(payload) < 5:
            event = json.loads(await asyncio.wait_for(socket.read_message(), 15))
            if event["schema_id"] == AUDIT and event["target"] != "queue":
                payload.append((event["actor"], event["action"], event["target"]))
        socket.close()
        assert sorted(payload) == [
            ("", "refused", f"GET ilab/api/jobs/{id}"),
            ("", "refused", "GET ilab/api/stream"),
            ("ada", "cancel", id),
            ("ada", "refused", "GET ilab/api/jobs/train-aaaaaaaa"),
            ("ada", "submit", id),
        ]
        entries = [entry for entry in await remote.audit() if entry.target == id]
        assert [(entry.actor, entry.action) for entry in entries] == [("ada", "submit"), ("ada", "cancel")]
        assert await remote.audit(after=entries[-1].seq) == []
        settings = [entry.actor for entry in await remote.audit() if entry.action == "configure"]
        assert set(settings) == {"ilab-jupyter"}, "settings of the administrator are not a request"


async def test_shared_token_acts_as_the_owner_of_jobs(server: Any, remote: RemoteJobs) -> None:
    id = await server.submit("print:x")
    owner = (await remote.get(id)).owner
    assert [entry.actor for entry in await remote.audit() if entry.target == id] == [owner]


class TestHealthOfAWorkingServer:
    async def test_every_health_check_is_named_and_fast(self, server: Any) -> None:
        answer = await server.http.get("ilab/api/health")
        health = answer.json()
        assert answer.status_code == 200, health
        assert {check["name"]: check["ok"] for check in health["checks"]} == {
            **{"store": True, "disk": True, "file_system": True, "queue": True},
            **{"supervisors": True, "engine": True, "gpus": True},
        }
        assert health["status"] == "ok"
        times = []
        for _ in range(20):
            began = time.monotonic()
            await server.http.get("ilab/api/health")
            times.append(time.monotonic() - began)
        assert sorted(times)[10] < 0.1


class TestHealth(OwnServer):
    async def test_killed_supervisor_is_reported(self, server: Any) -> None:
        id = await server.submit("sleep:60")

        async def running() -> bool:
            return bool(await server.state(id) == "RUNNING")

        await until_async(running)
        # The monitor would find out within a second, so it is stopped.
        await server.app.web_app.settings["ilab"].monitor.stop()
        jobs = await server.app.web_app.settings["ilab"].jobs()
        jobs._background.stop()
        record = json.loads((jobs.folder(id) / "attempts/1/supervisor.json").read_text())
        guardian = int(Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guardian, signal.SIGKILL)
        os.kill(record["pid"], signal.SIGKILL)

        async def degraded() -> Any:
            payload = (await server.http.get("ilab/api/health")).json()
            return payload if payload["status"] == "degraded" else None

        payload = await until_async(degraded)
        assert payload["code"] == "supervisors" and id in payload["message"]

    async def test_queue_without_scheduler_is_failing(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ilab_jupyter.jobs import health

        services = server.app.web_app.settings["ilab"]
        await server.ended(await server.submit("print:x"))
        jobs = await services.jobs()
        await services.monitor.stop()
        jobs.configure(slots={"batch": 0})
        await server.submit("print:x")
        assert (await server.http.get("ilab/api/health")).status_code == 200
        jobs._background.stop()
        monkeypatch.setattr(health, "STALLED_SECONDS", 0.0)
        answer = await server.http.get("ilab/api/health")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_stalled")
        assert "1 job" in answer.json()["message"]

    async def test_process_that_holds_the_queue_lock_is_named(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ilab_jupyter.jobs import health
        from ilab_jupyter.jobs.attempt.lock import locked
        from ilab_jupyter.jobs.queue import turns

        services = server.app.web_app.settings["ilab"]
        await server.ended(await server.submit("print:x"))
        jobs = await services.jobs()
        await services.monitor.stop()
        monkeypatch.setattr(health, "LONG_TURN_SECONDS", 0.2)
        with locked(jobs.state.turn_lock, 5):
            turns.note(jobs.state)
            await asyncio.sleep(0.5)
            answer = await server.http.get("ilab/api/health")
        assert (answer.status_code, answer.json()["code"]) == (200, "queue_held")
        assert f"process {os.getpid()}" in answer.json()["message"]

    async def test_hanging_disk_is_reported_and_blocks_only_one_thread(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ilab_jupyter.jobs import health

        await server.http.get("ilab/api/health")
        requests: list[float] = []

        def hang(path: Path) -> None:
            requests.append(time.monotonic())
            time.sleep(6)

        monkeypatch.setattr(health, "free_bytes", hang)
        began = time.monotonic()
        answers = await asyncio.gather(*(server.http.get("ilab/api/health") for _ in range(5)))
        assert time.monotonic() - began < 3
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "too_slow")}
        assert len(requests) == 1


class TestInterpreterWithoutEngine(OwnServer):
    @pytest.fixture
    def quick_python(self, tmp_path: Path) -> Path:
        path = tmp_path / "bare-python"
        path.write_text("#!/bin/sh\necho torch,trl\n")
        path.chmod(0o755)
        return path

    async def test_missing_libraries_are_reported(self, server: Any) -> None:
        answer = await server.http.get("ilab/api/health")
        health = answer.json()
        assert (answer.status_code, health["status"], health["code"]) == (200, "degraded", "engine_missing")
        assert "torch, trl" in health["message"] and "pip install" in health["hint"]


async def test_unwritable_store_is_a_503_without_a_path(own_server: Any, tmp_path: Path) -> None:
    await own_server.ended(await own_server.submit("print:x"))
    jobs = await own_server.app.web_app.settings["ilab"].jobs()
    database = jobs.state.database
    database.rename(database.with_name("moved.db"))
    answer = await own_server.http.get("ilab/api/health")
    payload = answer.json()
    assert (answer.status_code, payload["status"], payload["code"]) == (503, "failing", "store_damaged")
    assert payload["hint"] and str(tmp_path) not in answer.text
    database.with_name("moved.db").rename(database)
    assert (await own_server.http.get("ilab/api/health")).status_code == 200


async def test_metrics_are_prometheus_text_and_never_go_back(own_server: Any) -> None:
    def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    done = [await own_server.submit("print:x") for _ in range(3)]
    failed = await own_server.submit("fail:no")
    for id in [*done, failed]:
        await own_server.ended(id)
    answer = await own_server.http.get("ilab/api/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    first = read(answer.text)
    kind = ("kind", "train")
    assert first["ilab_jobs", (("cause", ""), kind, ("state", "SUCCEEDED"))] == 3
    assert first["ilab_jobs", (("cause", "requested"), kind, ("state", "FAILED"))] == 1
    assert first["ilab_queue_wait_seconds_count", (kind,)] == 4
    assert first["ilab_job_seconds_count", (kind, ("state", "SUCCEEDED"))] == 3
    assert first["ilab_job_seconds_bucket", (kind, ("le", "+Inf"), ("state", "FAILED"))] == 1
    assert first["ilab_queue_waiting", (("queue", "batch"),)] == 0
    assert first["ilab_streams_open", ()] == 0 and first["ilab_turn_seconds_count", ()] > 0
    live = await own_server.submit("lines:100", "sleep:60")

    async def logged() -> bool:
        return read((await own_server.http.get("ilab/api/metrics")).text)["ilab_log_bytes", ()] > 0

    await until_async(logged)
    await own_server.http.post(f"ilab/api/jobs/{live}/cancel")
    await own_server.ended(live)
    await own_server.http.post(f"ilab/api/jobs/{failed}/resume")
    await own_server.ended(failed)
    second = read((await own_server.http.get("ilab/api/metrics")).text)
    counters = [key for key in first if re.search(r"_(bucket|count|sum)$", key[0])]
    assert counters and all(second[key] >= first[key] for key in counters)
    assert second["ilab_job_seconds_count", (kind, ("state", "FAILED"))] == 2
    assert second["ilab_job_seconds_count", (kind, ("state", "CANCELLED"))] == 1
    assert second["ilab_queue_wait_seconds_count", (kind,)] == 5
