"""Keys of config.yaml become arguments, or are listed with the reason."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.configuration.arguments import (
    DATA,
    EVALUATE,
    MODEL,
    OBEYED,
    SERVE,
    STORE,
    TRAIN,
    Row,
    arguments,
)
from ilab_jupyter.configuration.sections import Settings, fields
from ilab_jupyter.core import RAG, Config, Data, Model
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.evaluation.settings import EvaluationSettings
from ilab_jupyter.synthesis.settings import Settings as GenerationSettings
from ilab_jupyter.training.spec import TrainingArguments

UPSTREAM = Path(__file__).with_name("config.yaml")


def train(**values: Any) -> dict[str, Any]:
    return arguments(Config({"train": values}).settings, TRAIN)


def test_defaults_of_instructlab_are_not_arguments() -> None:
    for rows in (DATA, MODEL, TRAIN, SERVE, STORE, *EVALUATE.values()):
        assert arguments(Config().settings, rows) == {}
    assert Config().unused() == ()


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        (DATA, set(GenerationSettings.model_fields)),
        (MODEL, set(inspect.signature(Model).parameters)),
        (TRAIN, set(TrainingArguments.model_fields)),
        (SERVE, set(inspect.signature(Model.serve).parameters)),
        (STORE, set(inspect.signature(RAG).parameters)),
        *((rows, set(EvaluationSettings.model_fields)) for rows in EVALUATE.values()),
    ],
    ids=["Data", "Model", "train_model", "serve", "RAG", *EVALUATE],
)
def test_each_row_maps_an_existing_key_to_an_existing_argument(
    rows: tuple[Row, ...], known: set[str]
) -> None:
    keys = {key for key, _ in fields(Settings())}
    assert {row.key for row in rows} <= keys and {row.argument for row in rows} <= known


def test_training_keys_become_arguments() -> None:
    assert train(num_epochs=3, max_seq_len=512, device="cuda:1") == {
        "epochs": 3,
        "max_seq_length": 512,
        "device": "cuda",
    }
    trainer = {
        "learning_rate": 1e-4,
        "warmup_steps": 7,
        "random_seed": 5,
        "lora_alpha": 32,
        "lora_dropout": 0.2,
    }
    whole = {"method": "full", "learning_rate": 1e-4, "warmup_steps": 7, "seed": 5}
    assert train(lora_rank=0, additional_args=trainer) == whole
    adapted = {**whole, "method": "lora", "lora_rank": 8, "lora_alpha": 32, "lora_dropout": 0.2}
    assert train(lora_rank=8, additional_args=trainer) == adapted
    assert "device" not in train(device="mps")


@pytest.mark.parametrize(
    ("values", "batch", "steps"),
    [
        ({"max_batch_len": 8192, "max_seq_len": 4096, "effective_batch_size": 32}, 2, 16),
        ({"max_batch_len": 8192, "max_seq_len": 4096, "effective_batch_size": 1}, 1, 1),
        ({"max_batch_len": 1000, "max_seq_len": 4096, "effective_batch_size": 3}, 1, 3),
        ({"effective_batch_size": 64}, 8, 8),
        ({"effective_batch_size": 20}, 8, 3),
    ],
)
def test_effective_batch_size_is_the_examples_of_a_step(
    values: dict[str, int], batch: int, steps: int
) -> None:
    found = train(**values)
    assert (found["batch_size"], found["gradient_accumulation_steps"]) == (batch, steps)


def test_complete_file_gives_valid_training_arguments(tmp_path: Path) -> None:
    given = {**arguments(Config.load(UPSTREAM).settings, TRAIN), "data": ["x.jsonl"]}
    checked = TrainingArguments.model_validate(given)
    assert (checked.method, checked.epochs, checked.batch_size, checked.seed) == ("full", 8, 13, 42)


def test_evaluation_keys_become_arguments(tmp_path: Path) -> None:
    settings = Config.load(UPSTREAM).settings
    found = {benchmark: arguments(settings, rows) for benchmark, rows in EVALUATE.items()}
    where = "/srv/physics"
    judge = "prometheus-eval/prometheus-8x7b-v2.0"
    assert found["mt_bench"] == {"judge": judge, "output_dir": f"{where}/eval/mt_bench"}
    assert found["mt_bench_branch"] == {
        "judge": judge,
        "output_dir": f"{where}/eval/mt_bench_branch",
        "taxonomy_path": f"{where}/taxonomy",
    }
    assert found["mmlu"] == {"few_shots": 5}
    assert found["mmlu_branch"] == {"few_shots": 5, "tasks_dir": f"{where}/datasets"}
    assert found["dk_bench"] == {
        "judge": "gpt-4o",
        "output_dir": f"{where}/eval/dk_bench",
        "system_prompt": "You answer questions on optics, and on nothing else.",
        "temperature": 0.0,
    }
    numbers = {"mmlu": {"batch_size": 4}, "mt_bench": {"max_workers": 64}, "branch": "mine"}
    settings = Config({"evaluate": numbers}).settings
    assert arguments(settings, EVALUATE["mmlu"]) == {"batch_size": 4}
    assert arguments(settings, EVALUATE["mt_bench_branch"]) == {"max_workers": 32, "branch": "mine"}


def test_newest_tasks_in_folder_of_datasets_are_evaluated(tmp_path: Path) -> None:
    settings = Config({"evaluate": {"mmlu_branch": {"tasks_dir": str(tmp_path)}}}).settings
    for name, when in {"b/node_datasets_1": 200, "a/node_datasets_2": 300, "node_datasets_0": 100}.items():
        (tmp_path / name).mkdir(parents=True)
        os.utime(tmp_path / name, (when, when))
    found = arguments(settings, EVALUATE["mmlu_branch"])
    assert found == {"tasks_dir": str(tmp_path / "a/node_datasets_2")}


def test_newest_run_in_folder_of_datasets_is_trained_on(tmp_path: Path) -> None:
    assert "data" not in train(data_path=str(tmp_path))
    for name, when in {"b_older": 200, "a_newest": 300, "c_oldest": 100}.items():
        run = tmp_path / name
        run.mkdir()
        (run / "skills_train_msgs_x.jsonl").write_text('{"messages": []}\n')
        os.utime(run, (when, when))
    assert train(data_path=str(tmp_path))["data"] == [str(tmp_path / "a_newest")]
    file = tmp_path / "mine.jsonl"
    assert train(data_path=str(file))["data"] == [str(file)]


def test_arguments_override_configuration_of_data() -> None:
    values = {"generate": {"pipeline": "full", "sdg_scale_factor": 12, "taxonomy_path": "~/t"}}
    configured = Data(configuration=values).settings
    assert (configured.pipeline, configured.scale, configured.taxonomy_path) == (
        "full",
        12,
        str(Path.home() / "t"),
    )
    given = Data(configuration=Config(values), pipeline="simple", taxonomy_path="/x").settings
    assert (given.pipeline, given.scale, given.taxonomy_path) == ("simple", 12, "/x")
    plain = Data().settings
    assert (plain.pipeline, plain.scale, plain.taxonomy_base) == ("simple", 30, "empty")


def test_arguments_override_configuration_of_model_and_rag() -> None:
    config = Config.load(UPSTREAM)
    assert Model(configuration=UPSTREAM).student_model == "/srv/models/instructlab/granite-7b-lab"
    assert Model("starter", configuration=config).student_model == Model().student_model == "starter"
    store = RAG(configuration=config)
    assert (store.uri, store.collection, store.top_k) == ("/srv/physics/embeddings.db", "optics", 5)
    other = RAG(configuration=config, collection="acoustics", top_k=1)
    assert (other.uri, other.collection, other.top_k) == ("/srv/physics/embeddings.db", "acoustics", 1)
    assert RAG().collection == "ilab"


def test_invalid_configuration_is_refused() -> None:
    for wrong in (3, ["train"], True):
        with pytest.raises(InvalidInput, match="configuration is of type"):
            Model(configuration=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="num_epochs"):
        Model(configuration={"train": {"num_epochs": 0}})


def test_keys_without_effect_are_listed_with_the_reason() -> None:
    config = Config.load(UPSTREAM)
    found = {unused.key: unused.reason for unused in config.unused()}
    assert "no such key" in found["physics"]
    assert "no such argument" in found["train.additional_args"]
    assert "one device" in found["train.nproc_per_node"] and "address" in found["generate.teacher"]
    assert not {row.key for row in OBEYED} & found.keys()
    assert "version" not in found and "metadata" not in found


def test_misspelled_key_is_reported_with_the_closest_one() -> None:
    (unused,) = Config({"train": {"num_epoch": 3}}).unused()
    assert str(unused) == "train.num_epoch: InstructLab has no such key; did you mean train.num_epochs?"


def test_every_key_has_an_effect_or_a_reason() -> None:
    """A file that sets every key to something else than nothing leaves none of them unexplained."""
    config = Config.init(write=False)
    explained = (
        {unused.key for unused in config.unused()} | {row.key for row in OBEYED} | {"version", "metadata"}
    )
    for key, value in fields(config.settings):
        is_used = value not in (None, False, "", [])
        assert not is_used or any(key == name or key.startswith(name) for name in explained), key
