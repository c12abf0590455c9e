"""The value of each argument of a job, and the recorded source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.client.connect import connect
from ilab_jupyter.configuration import resolution
from ilab_jupyter.configuration.resolution import ARGUMENT, CONFIG, INIT, PROFILE, Configuration
from ilab_jupyter.core import Config, Model
from ilab_jupyter.errors import Conflict, InvalidInput, Unprocessable
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds import remedies
from ilab_jupyter.kinds.catalog import job_spec

ROW = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Berta."}]}


@pytest.fixture
def jobs() -> Iterator[SyncJobs]:
    """A service whose queue is paused: a job that it accepts stays queued."""
    service = connect()
    jobs = SyncJobs(service)
    jobs.pause("test")
    yield jobs
    service.close()  # type: ignore[attr-defined]


@pytest.fixture
def data() -> str:
    """A dataset in the registry."""
    file = paths.datasets_dir() / "bread" / "messages_bread.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(ROW) + "\n")
    return "bread"


@pytest.fixture
def plain(language_models: Path) -> str:
    """A model without a training profile, under the name `plain`."""
    shutil.copytree(language_models / "chat/tiny", paths.models_dir() / "plain")
    return "plain"


def queued(jobs: SyncJobs, kind: str, **arguments: Any) -> Job:
    return jobs.get(jobs.submit(job_spec(kind, arguments)).id)


def found(job: Job, name: str) -> tuple[Any, str | None]:
    """Value and source of an argument; a default has no source."""
    return job.spec.arguments[name], job.spec.sources.get(name)


def test_changed_key_wins_over_profile_and_loses_to_argument(jobs: SyncJobs, data: str) -> None:
    Config.init(profile="cpu_16gb").set("train.num_epochs", 1)
    job = queued(jobs, "train", data=[data])
    assert found(job, "epochs") == (1.0, CONFIG)
    assert found(job, "learning_rate") == (0.005, PROFILE)
    assert found(job, "save_steps") == (125, INIT)
    assert found(job, "seed") == (42, None) and found(job, "data") == (["bread"], ARGUMENT)
    assert found(queued(jobs, "train", data=[data], epochs=3), "epochs") == (3.0, ARGUMENT)


def test_init_leaves_training_of_starter_as_its_profile_says(jobs: SyncJobs, data: str) -> None:
    before = queued(jobs, "train", data=[data]).spec.arguments
    Config.init(profile="gpu_8gb")
    after = queued(jobs, "train", data=[data]).spec.arguments
    assert {name for name in after if after[name] != before[name]} == {"save_steps"}


def test_hardware_values_apply_to_model_without_profile(jobs: SyncJobs, data: str, plain: str) -> None:
    Config.init(profile="cpu_16gb")
    job = queued(jobs, "train", data=[data], model=plain)
    assert found(job, "method") == ("lora", INIT) and found(job, "lora_rank") == (8, INIT)
    assert found(job, "learning_rate") == (2e-4, INIT) and found(job, "epochs") == (8.0, INIT)
    full = queued(jobs, "train", data=[data], model=plain, method="full")
    assert found(full, "learning_rate") == (2e-5, None) and found(full, "lora_rank") == (None, None)


def test_model_of_init_falls_back_to_starter_with_notice(jobs: SyncJobs, data: str, plain: str) -> None:
    config = Config.init(profile="cpu_16gb")
    job = jobs.submit(job_spec("train", {"data": [data]}))
    assert job.spec.arguments["model"] == "starter"
    assert any("train.model_path" in warning and "not on this machine" in warning for warning in job.warnings)
    config.set("train.model_path", plain)
    assert found(queued(jobs, "train", data=[data]), "model") == ("plain", CONFIG)
    assert Model(configuration=Config.init(profile="cpu_16gb", write=False)).student_model == "starter"


def test_model_of_init_is_trained_where_it_exists(jobs: SyncJobs, data: str, language_models: Path) -> None:
    name = Config.init(profile="cpu_16gb")["train.model_path"]
    shutil.copytree(language_models / "chat/tiny", paths.models_dir() / name)
    assert found(queued(jobs, "train", data=[data]), "model") == (name, INIT)


def test_data_path_of_config_wins_over_newest_dataset(jobs: SyncJobs, data: str, tmp_path: Path) -> None:
    assert found(queued(jobs, "train"), "data") == (["bread"], "newest dataset")
    rows = tmp_path / "mine.jsonl"
    rows.write_text(json.dumps(ROW) + "\n")
    Config.init().set("train.data_path", rows)
    assert found(queued(jobs, "train"), "data") == ([str(rows)], CONFIG)


def test_train_without_any_data_is_refused(jobs: SyncJobs) -> None:
    with pytest.raises(InvalidInput, match="no data to train on"):
        queued(jobs, "train")


def test_other_kinds_take_changed_keys_only(jobs: SyncJobs) -> None:
    config = Config.init()
    paths.taxonomy_dir().mkdir(parents=True, exist_ok=True)
    generate = {"taxonomy_path": str(paths.taxonomy_dir())}
    assert found(queued(jobs, "generate", **generate), "pipeline")[1] is None
    config.set("generate.sdg_scale_factor", 7)
    config.set("serve.server.port", 8123)
    config.set("rag.document_store.collection_name", "optics")
    assert found(queued(jobs, "generate", **generate), "scale") == (7, CONFIG)
    assert found(queued(jobs, "serve", model="starter"), "port") == (8123, CONFIG)
    assert found(queued(jobs, "rag"), "collection") == ("optics", CONFIG)
    config.set("evaluate.mt_bench.judge_model", "starter")
    judge, source = found(queued(jobs, "evaluate", benchmark="mt_bench"), "judge")
    assert (judge["model"], source) == ("starter", CONFIG)


def test_configured_cpu_reserves_no_gpu(jobs: SyncJobs, data: str) -> None:
    Config.init(profile="gpu_8gb").set("train.device", "cpu")
    assert queued(jobs, "train", data=[data]).spec.resources.gpus == 0


def test_same_key_gives_same_job_after_configuration_changed(jobs: SyncJobs, data: str) -> None:
    spec = job_spec("train", {"data": [data]})
    first = jobs.submit(spec, key="once")
    Config.init().set("train.num_epochs", 2)
    assert jobs.submit(spec, key="once").id == first.id
    with pytest.raises(Conflict):
        jobs.submit(job_spec("train", {"data": [data], "epochs": 5}), key="once")


def test_remedy_names_given_arguments_only(jobs: SyncJobs, data: str) -> None:
    Config.init().set("train.effective_batch_size", 4)
    spec = queued(jobs, "train", data=[data], epochs=2).spec
    command = remedies.remedy("gpu_out_of_memory", "train", spec.arguments, "train-a", spec.sources)
    assert command.startswith("train bread --epochs 2 --batch-size")
    assert "--learning-rate" not in command


def test_damaged_configuration_refuses_jobs_that_use_it(jobs: SyncJobs, data: str) -> None:
    Config.init()
    record = paths.config_file().with_name("config.yaml.init.json")
    text = record.read_text()
    record.write_text("{")
    with pytest.raises(Unprocessable, match="damaged") as caught:
        queued(jobs, "train", data=[data])
    assert caught.value.cause == "bad_config"
    record.write_text(text)
    paths.config_file().write_text("train:\n  num_epochs: none\n")
    with pytest.raises(Unprocessable, match="line 2"):
        queued(jobs, "train", data=[data])


def trained(given: dict[str, Any], config: dict[str, Any], model: str = "none/such") -> dict[str, Any]:
    configuration = Configuration(Config({"train": config}).settings)
    return resolution.training(model, given, configuration).arguments


@pytest.mark.parametrize(
    ("given", "config", "expected"),
    [
        ({}, {"effective_batch_size": 64}, {"batch_size": 8, "gradient_accumulation_steps": 8}),
        (
            {"batch_size": 4},
            {"effective_batch_size": 64},
            {"batch_size": 4, "gradient_accumulation_steps": 16},
        ),
        ({"batch_size": 64}, {"effective_batch_size": 64}, {"gradient_accumulation_steps": 1}),
        ({"lora_rank": 4}, {"lora_rank": 8, "additional_args": {"lora_alpha": 64}}, {"lora_alpha": None}),
        ({"method": "full"}, {"lora_rank": 8}, {"method": "full", "lora_rank": None}),
        ({"lora_rank": 4}, {"lora_rank": 0}, {"method": "lora", "lora_rank": 4}),
    ],
)
def test_arguments_that_belong_together_stay_together(
    given: dict[str, Any], config: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = trained(given, config)
    assert {name: values.get(name) for name in expected} == expected
