"""The SDK's Model and the train task, on a real tiny model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Model
from ilab_jupyter.core.model import TrainingArguments
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError
from ilab_jupyter.kinds import catalog, environment, train
from ilab_jupyter.kinds.context import Context
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import Models

pytestmark = pytest.mark.slow

ROWS = [("Who mends the nets?", "Maren."), ("Which door is green?", "The baker's.")]
FAST = {"max_steps": 2, "batch_size": 2, "learning_rate": 1e-3, "device": "cpu"}


@pytest.fixture
def tiny(language_models: Path) -> Path:
    """A real model in the registry, under the name `tiny`."""
    environment.prepare()
    return Path(shutil.copytree(language_models / "chat/tiny", paths.models_dir() / "tiny"))


@pytest.fixture
def dataset() -> Path:
    """A dataset in the registry, under the name `pairs.jsonl`."""
    file = paths.datasets_dir() / "pairs.jsonl"
    file.parent.mkdir(parents=True)
    roles = ("user", "assistant")
    rows = [[{"role": role, "content": text} for role, text in zip(roles, row, strict=True)] for row in ROWS]
    file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return file


def test_model_and_data_are_found_by_registry_name(tiny: Path, dataset: Path) -> None:
    result = Model("tiny").train_model({**FAST, "name": "taught"}, data="pairs.jsonl")
    assert (result.model, result.base, result.steps, result.examples) == ("taught", "tiny", 2, 2)
    assert Models().get("taught").base == "tiny"
    assert str(result).startswith("taught: ") and repr(Model(result)) == f"Model({result.path!r})"
    again = Model(student_model="taught").train_model(TrainingArguments(data=[str(dataset)], **FAST))
    assert again.model.startswith("taught-")


def test_the_configuration_gives_arguments_that_a_call_may_override(tiny: Path, dataset: Path) -> None:
    trainer = {"learning_rate": 1e-3, "random_seed": 5}
    configured = {"train": {"device": "cpu", "num_epochs": 3, "max_seq_len": 64, "additional_args": trainer}}
    result = Model(tiny, configuration=configured).train_model({"epochs": 1}, data=[dataset])
    lineage = Models().get(result.model).lineage
    assert (result.epochs, lineage["seed"], lineage["settings"]["learning_rate"]) == (1, 5, 1e-3)
    assert lineage["settings"]["max_seq_length"] == 64


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"data": ["x.jsonl"], "learning_rate": -1}, "learning_rate"),
        ({"data": ["x.jsonl"], "output_dir": "/elsewhere"}, "output_dir"),
        ({"data": []}, "data"),
        ({}, "data"),
        ({"data": ["x.jsonl"], "epochs": float("nan")}, "epochs"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Model("starter").train_model(arguments)


@pytest.mark.parametrize("name", ["no-such-model", "../tiny", "/no/such/folder"])
def test_missing_model_is_reported_before_engine_loads(name: str) -> None:
    with pytest.raises(NotFound):
        Model(name).train_model(data=["x.jsonl"])
    with pytest.raises(NotFound):
        Model(name).serve()


def test_hub_model_without_network_is_reported() -> None:
    with pytest.raises(PublicError, match="hub cannot be reached") as caught:
        Model("some-org/some-model").train_model(data=["x.jsonl"])
    assert caught.value.cause == "hub_unreachable"


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    script = (
        "import sys, ilab_jupyter.core.model, ilab_jupyter.kinds.train;"
        "print([name for name in ('torch', 'transformers', 'numpy', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Silent:
    """A reporter that asks to stop after the first step of its first use."""

    def __init__(self, stop: bool) -> None:
        self.stop, self.stopping, self.steps = stop, False, list[int]()

    def phase(self, name: str, message: str = "") -> None: ...

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        self.steps.append(step)
        self.stopping = self.stop

    def artifact(self, kind: str, name: str, path: Path) -> None: ...

    def warning(self, message: str, hint: str = "") -> None: ...

    def event(self, type: str, **fields: Any) -> None: ...


def test_the_second_attempt_of_a_train_job_continues_the_first(
    tiny: Path, dataset: Path, tmp_path: Path
) -> None:
    job = catalog.job_spec("train", {"model": "tiny", "data": ["pairs.jsonl"], **FAST, "max_steps": 4})
    spec = train.TrainSpec.model_validate(job.arguments)
    first, second = Silent(stop=True), Silent(stop=False)
    with pytest.raises(Stopped):
        train.run(spec, Context("0199aabbccdd", 1, tmp_path, first))
    result = train.run(spec, Context("0199aabbccdd", 2, tmp_path, second))
    assert (first.steps, second.steps) == ([1, 2], [3, 4])
    assert (result["model"], result["resumed_from"], result["steps"]) == ("tiny-aabbccdd", 2, 4)
    assert json.loads(json.dumps(result)) == result


def test_a_train_job_names_the_argument_that_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="lora_rank"):
        catalog.job_spec("train", {"data": ["x"], "lora_rank": -1})


@pytest.mark.parametrize("port", [-1, 65_536])
def test_invalid_port_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match="There is no port"):
        Model("starter").serve(port=port)
