"""Fetching, merging, converting and sending a model as jobs: the same calls, in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput, Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.kinds.context import Context
from ilab_jupyter.kinds.model import ModelSpec
from ilab_jupyter.kinds.model import run as run_model
from ilab_jupyter.progress import ConsoleReporter
from ilab_jupyter.registry import Models

pytestmark = pytest.mark.slow


@pytest.fixture
def run(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a `model` job, which reaches the hub of the test, to its end."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    jobs = SyncJobs(LocalJobs())

    def end(*, secrets: dict[str, str] | None = None, **arguments: Any) -> Job:
        job = jobs.submit(job_spec("model", arguments), secrets=secrets)
        assert list(jobs.watch(job.id))[-1].type == "end"
        end.log = jobs.logs(job.id).text  # type: ignore[attr-defined]
        return jobs.get(job.id)

    return end


def test_download_reports_size_and_licence_and_is_registered(run: Any) -> None:
    job = run(operation="download", model="org/Tiny.1", name="mine")
    assert job.state is JobState.SUCCEEDED, job.message
    assert "license apache-2.0" in run.log
    assert job.result["model"] == "mine" == Models().get("mine").name
    assert job.progress.step == job.progress.total > 0
    again = run(operation="download", model="org/Tiny.1", name="mine")
    assert (again.state, again.cause) == (JobState.FAILED, "conflict")
    assert again.remedy == "model download org/Tiny.1 --name mine-2"


def test_gated_model_is_reported_with_cause(run: Any, hub: Any) -> None:
    hub.refuse = 403, "GatedRepo"
    job = run(operation="download", model="org/tiny")
    assert (job.state, job.cause) == (JobState.FAILED, "model_gated")
    assert job.remedy == f"resume {job.id}"


def test_adapter_is_merged_and_uploaded_with_key_of_caller(
    run: Any, hub: Any, language_models: Path, tmp_path: Path
) -> None:
    adapter = language_models / "adapter/lora"
    merged = run(operation="merge", model=str(adapter), name="whole", output_dir=str(tmp_path / "out"))
    assert merged.state is JobState.SUCCEEDED, merged.message
    assert merged.result["model"] == str(tmp_path / "out/whole")
    sent = run(
        operation="upload",
        model=merged.result["model"],
        repository="me/taught",
        secrets={"HF_TOKEN": "hf_secret_of_the_caller"},
    )
    assert sent.state is JobState.SUCCEEDED, sent.message
    assert "model.safetensors" in hub.received and "Bearer hf_secret_of_the_caller" in hub.tokens
    assert "hf_secret" not in sent.model_dump_json() + run.log


def test_job_killed_after_publishing_reuses_its_model(
    hub: Any, language_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    adapter = language_models / "adapter/lora"

    class Reporter(ConsoleReporter):
        def artifact(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt  # as a kill: nothing is told after this

    for operation, model in {"download": "org/tiny", "merge": str(adapter)}.items():
        spec = ModelSpec(operation=operation, model=model)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            run_model(spec, Context(f"model-{operation}", 1, tmp_path, Reporter()))
        before = [entry.name for entry in Models().list()]
        again = run_model(spec, Context(f"model-{operation}", 2, tmp_path, ConsoleReporter()))
        assert [entry.name for entry in Models().list()] == before and again["model"] in before


def test_conversion_without_llama_cpp_names_the_hint(tiny: Path, tmp_path: Path) -> None:
    spec = ModelSpec(operation="convert", model=str(tiny))
    with pytest.raises(Unavailable) as caught:
        run_model(spec, Context("model-convert", 1, tmp_path, ConsoleReporter()))
    assert "llama.cpp" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"operation": "burn", "model": "a"}, "operation"),
        ({"operation": "merge", "model": ""}, "model"),
        ({"operation": "upload", "model": "a"}, "needs a repository"),
    ],
)
def test_a_wrong_argument_is_refused_before_there_is_a_job(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        job_spec("model", arguments)
