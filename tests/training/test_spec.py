"""Precedence of argument, model profile and general default."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ilab_jupyter.core import Model
from ilab_jupyter.registry.profile import Profile
from ilab_jupyter.training.spec import TrainingArguments, resolve_settings

PROFILE = Profile.model_validate(
    {"full": {"learning_rate": 0.005, "epochs": 25}, "lora": {"lora_rank": 32}, "replay": {"rows": 3}}
)


def settled(profile: Profile = PROFILE, length: int | None = 512, **arguments: Any) -> dict[str, Any]:
    return resolve_settings(TrainingArguments(data=["x"], **arguments), profile, length).model_dump()


def test_a_model_without_a_profile_gets_the_general_defaults() -> None:
    full = settled(Profile())
    assert (full["learning_rate"], full["epochs"], full["batch_size"]) == (2e-5, 3, 8)
    assert (full["lora_rank"], full["lora_alpha"]) == (None, None)
    lora = settled(Profile(), method="lora")
    assert (lora["learning_rate"], lora["lora_rank"], lora["lora_alpha"]) == (2e-4, 16, 32)


def test_argument_overrides_profile_and_profile_overrides_default() -> None:
    assert settled()["learning_rate"] == 0.005
    assert settled(learning_rate=1e-3)["learning_rate"] == 1e-3
    assert settled(method="lora")["lora_alpha"] == 64
    assert settled(method="lora", lora_alpha=8)["lora_alpha"] == 8
    assert settled()["replay"]["rows"] == 3


@pytest.mark.parametrize(
    ("model", "argument", "length"), [(512, None, 512), (4096, None, 1024), (None, None, 1024)]
)
def test_no_sequence_is_longer_than_the_model_was_made_for(
    model: int | None, argument: int | None, length: int
) -> None:
    assert settled(length=model, max_seq_length=argument)["max_seq_length"] == length
    assert settled(length=128, max_seq_length=4096)["max_seq_length"] == 128


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_dir": "/elsewhere"},
        {"deepspeed": "/etc/x"},
        {"trust_remote_code": True},
        {"resume_from_checkpoint": "/evil"},
        {"report_to": "wandb"},
        {"optim_args": "x"},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
        {"learning_rate": -1},
        {"epochs": -1},
        {"batch_size": 10**9},
        {"name": "../x"},
        {"data": []},
        {"seed": -1},
        {"method": "qlora"},
    ],
)
def test_unknown_and_invalid_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingArguments.model_validate({"data": ["x"], **wrong})


@pytest.mark.parametrize(
    "argument", [{"lora_rank": 4}, {"lora_rank": "4"}, {"lora_alpha": 8}, {"lora_dropout": 0.1}]
)
def test_lora_argument_without_method_means_lora(argument: dict[str, Any]) -> None:
    assert TrainingArguments.model_validate({"data": ["x"], **argument}).method == "lora"


@pytest.mark.parametrize("argument", [{}, {"lora_rank": 0}, {"lora_rank": None}, {"lora_dropout": 0.0}])
def test_no_lora_argument_means_full_training(argument: dict[str, Any]) -> None:
    assert TrainingArguments.model_validate({"data": ["x"], **argument}).method == "full"


def test_lora_argument_is_refused_beside_full_training() -> None:
    with pytest.raises(ValidationError, match="lora_rank belongs to the method lora"):
        TrainingArguments.model_validate({"data": ["x"], "method": "full", "lora_rank": 4})


@pytest.mark.parametrize(
    ("configured", "given", "method", "rank"),
    [
        ({"lora_rank": 8}, {}, "lora", 8),
        ({"lora_rank": 8}, {"method": "full"}, "full", None),
        ({"lora_rank": 8}, {"lora_rank": 0}, "full", None),
        ({"lora_rank": 0}, {"lora_rank": 4}, "lora", 4),
        ({"lora_rank": 8}, {"lora_rank": 4}, "lora", 4),
    ],
)
def test_given_method_wins_over_the_configured_one(
    configured: dict[str, Any], given: dict[str, Any], method: str, rank: int | None
) -> None:
    model = Model("starter", configuration={"train": configured})
    found = model._arguments(given, ["rows.jsonl"])
    assert (found.method, found.lora_rank) == (method, rank)
