"""The arguments of instructlab-training, by its own names and as its own object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from ilab_jupyter.configuration.training_args import from_object, is_training_args, translate
from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput


class LoraOptions(BaseModel):
    """As instructlab-training declares it."""

    rank: int = 4
    alpha: int = 32
    dropout: float = 0.1
    target_modules: list[str] | None = None


class TrainingArgs(BaseModel):
    """The fields of instructlab-training's class that matter here."""

    model_config = ConfigDict(protected_namespaces=())

    model_path: str
    data_path: str
    ckpt_output_dir: str
    data_output_dir: str
    max_seq_len: int
    max_batch_len: int
    num_epochs: int = 1
    effective_batch_size: int
    save_samples: int = 0
    learning_rate: float
    warmup_steps: int = 0
    random_seed: int = 42
    is_padding_free: bool = False
    lora: LoraOptions | None = None


def given(**more: Any) -> TrainingArgs:
    return TrainingArgs.model_validate(
        {
            "model_path": "org/base",
            "data_path": "rows.jsonl",
            "ckpt_output_dir": "out",
            "data_output_dir": "tokens",
            "max_seq_len": 512,
            "max_batch_len": 2048,
            "effective_batch_size": 16,
            "learning_rate": 1e-5,
            **more,
        }
    )


def test_names_of_instructlab_become_arguments() -> None:
    found = translate({"num_epochs": 1, "effective_batch_size": 16, "random_seed": 7, "warmup_steps": 3})
    assert found.arguments == {
        "epochs": 1,
        "batch_size": 8,
        "gradient_accumulation_steps": 2,
        "seed": 7,
        "warmup_steps": 3,
    }
    assert found.warning == "" and found.model is None


def test_tokens_on_the_device_bound_the_batch_size() -> None:
    found = translate({"max_seq_len": 512, "max_batch_len": 2048, "effective_batch_size": 16})
    assert (found.arguments["batch_size"], found.arguments["gradient_accumulation_steps"]) == (4, 4)
    assert found.arguments["max_seq_length"] == 512


@pytest.mark.parametrize(
    ("lora", "expected"),
    [
        (
            {"rank": 4, "alpha": 32, "dropout": 0.1},
            {"method": "lora", "lora_rank": 4, "lora_alpha": 32, "lora_dropout": 0.1},
        ),
        ({"alpha": 8}, {"method": "lora", "lora_alpha": 8}),
        (LoraOptions(rank=2), {"method": "lora", "lora_rank": 2, "lora_alpha": 32, "lora_dropout": 0.1}),
        ({"rank": 0}, {"method": "full"}),
        (None, {"method": "full"}),
    ],
)
def test_options_of_lora_become_arguments(lora: Any, expected: dict[str, Any]) -> None:
    assert translate({"lora": lora}).arguments == expected


def test_training_args_object_is_translated_with_one_warning() -> None:
    assert is_training_args(given()) and not is_training_args({}) and not is_training_args("x")
    found = translate(from_object(given(save_samples=160)))
    assert found.model == "org/base" and found.arguments["data"] == ["rows.jsonl"]
    assert found.arguments["save_steps"] == 10 and found.arguments["method"] == "full"
    assert found.unsupported == ("ckpt_output_dir", "data_output_dir")
    assert "ckpt_output_dir, data_output_dir" in found.warning
    adapted = translate(from_object(given(lora=LoraOptions(target_modules=["q_proj"]), is_padding_free=True)))
    assert set(adapted.unsupported) >= {"is_padding_free", "lora.target_modules"}


def test_class_of_instructlab_training_is_recognized() -> None:
    from instructlab.training import config

    own = config.TrainingArgs(
        **given().model_dump(exclude={"lora"}), lora=config.LoraOptions(rank=2), distributed_backend="fsdp"
    )
    assert is_training_args(own)
    found = translate(from_object(own))
    assert (found.arguments["lora_rank"], found.arguments["learning_rate"]) == (2, 1e-5)
    assert "distributed_backend" in found.unsupported


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_epochs": 0}, "num_epochs"),
        ({"num_epochs": 1, "epochs": 2}, "num_epochs and epochs"),
        ({"effective_batch_size": "many"}, "effective_batch_size"),
        ({"lora": 4}, "lora is of type int"),
        ({"num_epoch": 1, "data": ["x"]}, "num_epoch"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Model("starter").train_model(arguments)
    with pytest.raises(InvalidInput, match="training_args is of type int"):
        Model("starter").train_model(3)


def test_documented_call_reaches_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ilab_jupyter.training import run

    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        run, "train", lambda base, folder, arguments, **more: seen.update(base=base, a=arguments)
    )
    Model("starter").train_model(
        training_args={"num_epochs": 1, "effective_batch_size": 16}, data=tmp_path / "rows.jsonl"
    )
    arguments = seen["a"]
    assert seen["base"] == "starter" and (arguments.epochs, arguments.batch_size) == (1, 8)
    assert arguments.gradient_accumulation_steps == 2 and arguments.learning_rate == 0.005
