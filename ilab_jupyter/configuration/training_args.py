"""The arguments of instructlab-training, by its own names, as the arguments of a training here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration.arguments import TRAIN, arguments
from ilab_jupyter.configuration.sections import Settings
from ilab_jupyter.configuration.sections.train import Train
from ilab_jupyter.errors import InvalidInput, wrong_field

# The fields of its TrainingArgs that have another name here, or a part of one.
_RENAMED = {"random_seed": "seed", "adamw_weight_decay": "weight_decay"}
_LORA = {"rank": "lora_rank", "alpha": "lora_alpha", "dropout": "lora_dropout"}
# Those that the section `train` of config.yaml has too: they become the same arguments.
_SECTION = frozenset(
    {"num_epochs", "max_seq_len", "max_batch_len", "effective_batch_size", "save_samples", "data_path"}
)
# Those that state what is done here in any case.
_ALWAYS = frozenset({"process_data", "accelerate_full_state_at_epoch"})
# Those without a counterpart. `model_path` is the caller's to apply.
_WITHOUT = frozenset(
    {
        "adamw_betas", "adamw_eps", "callbacks", "chat_tmpl_path", "checkpoint_at_epoch", "ckpt_output_dir",
        "data_output_dir", "data_process_num_cpu_procs", "deepspeed_options", "disable_flash_attn",
        "distributed_backend", "fsdp_options", "is_padding_free", "keep_last_checkpoint_only", "log_level",
        "mlflow_experiment_name", "mlflow_run_name", "mlflow_tracking_uri", "mock_data", "mock_data_len",
        "on_demand_checkpointing", "pretraining_config", "tensorboard_log_dir", "trust_remote_code",
        "use_dolomite", "use_legacy_tmpl", "use_liger", "validation_frequency", "validation_split",
        "wandb_entity", "wandb_project", "wandb_run_name",
    }
)  # fmt: skip
_MEANING = {
    "num_epochs": ("epochs",),
    "max_seq_len": ("max_seq_length",),
    "max_batch_len": ("batch_size",),
    "effective_batch_size": ("batch_size", "gradient_accumulation_steps"),
    "save_samples": ("save_steps",),
    "data_path": ("data",),
    "lora": ("method", *_LORA.values()),
    **{name: (ours,) for name, ours in _RENAMED.items()},
}


@dataclass(frozen=True)
class Translated:
    """Arguments by our names, the base model where one was named, and the names without a counterpart."""

    arguments: dict[str, Any]
    model: str | None = None
    unsupported: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """One sentence on the names without a counterpart; '' where there are none."""
        if not self.unsupported:
            return ""
        return f"These arguments of instructlab-training have no effect here: {', '.join(self.unsupported)}."


def is_training_args(given: object) -> bool:
    """Whether this is a TrainingArgs of instructlab-training, which need not be installed here."""
    return all(hasattr(given, name) for name in ("model_dump", "num_epochs", "effective_batch_size"))


def from_object(given: Any) -> dict[str, Any]:
    """The fields that were set in a TrainingArgs; without `lora` it asks for full training."""
    fields: dict[str, Any] = given.model_dump(mode="json", exclude_unset=True)
    return {**fields, "lora": fields.get("lora")}


def translate(given: Mapping[str, Any]) -> Translated:
    """The arguments by our names; names that instructlab-training has not are passed on unchanged.

    InvalidInput for a value that does not fit, and for an argument that is given by both of its names.
    """
    found = {name: value for name, value in given.items() if not _is_upstream(name)}
    for name in given:
        if both := [ours for ours in _MEANING.get(name, ()) if ours in found]:
            raise InvalidInput(f"{name} and {both[0]} set the same argument.", "Give one of them.")
    section = {name: given[name] for name in _SECTION if given.get(name) is not None}
    try:
        settings = Settings(train=Train.model_validate(section))
    except ValidationError as error:
        raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "Give another value.") from None
    found |= arguments(settings, TRAIN)
    found |= {ours: given[name] for name, ours in _RENAMED.items() if given.get(name) is not None}
    unsupported = [name for name in given if name in _WITHOUT and _asks(given[name])]
    if "lora" in given:
        lora, left = _lora(given["lora"])
        found |= lora
        unsupported += left
    model = given.get("model_path")
    return Translated(found, None if model is None else str(model), tuple(unsupported))


def _is_upstream(name: str) -> bool:
    return name in _MEANING or name in _WITHOUT or name in _ALWAYS or name == "model_path"


def _lora(given: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments for the options of LoRA, and the options without a counterpart."""
    if given is None:
        return {"method": "full"}, []
    if hasattr(given, "model_dump"):
        given = given.model_dump(mode="json")
    if not isinstance(given, Mapping):
        raise InvalidInput(
            f"lora is of type {type(given).__name__}.", 'Give a mapping, such as {"rank": 4, "alpha": 32}.'
        )
    if given.get("rank") == 0:
        return {"method": "full"}, []
    found = {ours: given[name] for name, ours in _LORA.items() if given.get(name) is not None}
    left = [f"lora.{name}" for name, value in given.items() if name not in _LORA and _asks(value)]
    return {"method": "lora", **found}, left


def _asks(value: Any) -> bool:
    """Whether a value asks for something; of nested options, whether any of them does."""
    if isinstance(value, Mapping):
        return any(_asks(inner) for inner in value.values())
    return bool(value) and str(value) not in ("none", "None")
