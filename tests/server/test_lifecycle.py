"""The extension's life: activity, events, a state folder that cannot be used, and the end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import websocket_connect

from tests.server.in_process import Server
from tests.support.waiting import until_async

EVENTS = "https://schema.ilab-jupyter.org/job_state/v1"


@pytest.fixture
def server(own_server: Server) -> Server:
    """Each test sees a server from its start on."""
    return own_server


async def test_only_running_jobs_count_as_activity(server: Any) -> None:
    settings = server.app.web_app.settings
    assert server.extension.current_activity() is None
    assert "ilab_last_activity" not in settings
    id = await server.submit("sleep:2")

    async def active() -> bool:
        return server.extension.current_activity() == [id]

    await until_async(active)
    assert (
        "ilab" in str(server.app.extension_manager.any_activity())
        or server.app.extension_manager.any_activity()
    )
    stamped = settings["ilab_last_activity"]
    assert server.app.web_app.last_activity() >= stamped

    async def idle() -> bool:
        return server.extension.current_activity() is None

    await until_async(idle)
    last = settings["ilab_last_activity"]
    await asyncio.sleep(1.5)
    assert settings["ilab_last_activity"] == last > stamped


async def test_a_page_that_only_looks_is_no_activity(server: Any) -> None:
    await server.http.get("ilab/api/kinds")
    settings = server.app.web_app.settings
    before = settings.get("api_last_activity")
    for path in ("ilab/api/jobs", "ilab/api/system", "ilab/api/health", "ilab/api/models", "ilab/v1/models"):
        assert (await server.http.get(path)).status_code == 200
    assert settings.get("api_last_activity") == before


class TestLifetimeLimit:
    """With no patience for jobs at all."""

    @pytest.fixture
    def ilab_config(self) -> dict[str, Any]:
        return {"keep_alive_hours": 0.0}

    async def test_beyond_the_cap_a_job_does_not_hold_the_server(self, server: Any) -> None:
        id = await server.submit("sleep:3")

        async def seen() -> bool:
            return [job.id for job in server.app.web_app.settings["ilab"].monitor.live] == [id]

        await until_async(seen)
        assert server.extension.current_activity() is None
        assert "ilab_last_activity" not in server.app.web_app.settings


async def test_state_change_events_reach_all_listeners_without_secrets(server: Any) -> None:
    url = server.url.replace("http", "ws", 1) + f"api/events/subscribe?token={server.token}"
    socket = await websocket_connect(url)
    id = await server.submit(
        "sleep:1.5", "fail:private words", name="private title", secrets={"A_KEY": "private key"}
    )
    payload: list[dict[str, Any]] = []
    while not payload or payload[-1]["state"] != "FAILED":
        event = json.loads(await asyncio.wait_for(socket.read_message(), 15))
        if event["schema_id"] == EVENTS:
            payload.append(event)
    assert {event["job"] for event in payload} == {id}
    states = [event["state"] for event in payload]
    assert states == sorted(set(states), key=["QUEUED", "STARTING", "RUNNING", "FAILED"].index)
    assert payload[-1]["cause"] == "requested"
    assert "private" not in json.dumps(payload)
    socket.close()


class TestUnusableStateFolder:
    @pytest.fixture
    def ilab_config(self, tmp_path: Path) -> dict[str, Any]:
        blocked = tmp_path / "blocked"
        blocked.write_text("a file, where a folder should be")
        return {"state_dir": str(blocked)}

    async def test_server_reports_unusable_state_folder_and_recovers(
        self, server: Any, tmp_path: Path, caplog: Any
    ) -> None:
        assert (await server.http.get("api/status")).status_code == 200
        assert (await server.http.get("ilab/api/info")).status_code == 200
        body = {"kind": "train", "arguments": {"data": ["print:x"]}}
        for method, path in [
            ("GET", "ilab/api/jobs"), ("GET", "ilab/api/health"), ("POST", "ilab/api/jobs"),
            ("GET", "ilab/api/jobs/train-aaaaaaaa"), ("GET", "ilab/api/deployments"),
            ("GET", "ilab/v1/models"),
        ]:  # fmt: skip
            answer = await server.http.request(method, path, json=body if method == "POST" else None)
            assert answer.status_code == 503, path
            payload = answer.json()
            assert payload["error"]["code"] if "error" in payload else payload["hint"], path
            assert str(tmp_path) not in answer.text, path
        assert any(str(tmp_path / "blocked") in record.getMessage() for record in caplog.records)
        (tmp_path / "blocked").unlink()
        job = await server.ended(await server.submit("print:works again"))
        assert job["state"] == "SUCCEEDED"


class TestInvalidSetting:
    @pytest.fixture
    def ilab_config(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return dict(request.param)

    @pytest.mark.parametrize(
        ("ilab_config", "words"),
        [
            ({"devices": [{"uuid": "GPU-a"}]}, "IlabApp.devices cannot be used: 0.memory_total:"),
            ({"devices": [{"uuid": "GPU-a", "memory_total": 0}]}, "'GPU-a' needs a UUID"),
            ({"slots": {"batch": 5000}}, "Slots must be numbers from 0 to 1000"),
        ],
        indirect=["ilab_config"],
    )
    async def test_invalid_setting_is_reported_as_configuration_error(self, server: Any, words: str) -> None:
        answer = await server.http.get("ilab/api/jobs")
        assert answer.status_code == 503 and answer.json()["code"] == "configuration"
        assert words in answer.json()["message"] and answer.json()["hint"]


async def test_server_shutdown_closes_streams_without_an_end_event(
    server: Any,
) -> None:
    id = await server.submit("sleep:20")
    socket = await server.websocket()
    await socket.write_message(json.dumps({"watch": id}))

    async def read() -> str:
        answer = await server.http.get(f"ilab/api/jobs/{id}/events", headers={"Accept": "text/event-stream"})
        return answer.text

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    await server.extension.stop_extension()
    text = await asyncio.wait_for(reading, 10)
    assert "event: state" in text and "event: end" not in text
    while await asyncio.wait_for(socket.read_message(), 10) is not None:
        pass
    assert socket.close_code == 4503
    assert await server.state(id) in ("STARTING", "RUNNING")
