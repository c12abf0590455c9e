"""Arguments of a training, their bounds and defaults, and the settings they become for a base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ilab_jupyter.display import Shown
from ilab_jupyter.engine import Device
from ilab_jupyter.registry.names import NEW_NAME
from ilab_jupyter.registry.profile import Profile, Replay, Tuning

Method = Literal["full", "lora"]
Data = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=4096)]],
    Field(max_length=1000, description="Messages JSONL files, or dataset names in the registry."),
]
_OF_LORA = {"lora_rank", "lora_alpha", "lora_dropout"}

# What suits most models of 1 to 10 billion parameters.
DEFAULTS: dict[Method, Tuning] = {
    "full": Tuning(learning_rate=2e-5, epochs=3, batch_size=8, max_seq_length=1024, warmup_steps=0),
    "lora": Tuning(
        learning_rate=2e-4, epochs=3, batch_size=8, max_seq_length=1024, warmup_steps=0, lora_rank=16
    ),
}


class TrainingArguments(BaseModel):
    """Arguments of a training. None takes the base model's own profile, or the general default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Data = Field(min_length=1)
    method: Method = "full"
    name: str | None = Field(
        default=None, pattern=f"^{NEW_NAME.pattern}$", description="Name of the new model in the registry."
    )
    epochs: float | None = Field(default=None, gt=0, le=1000)
    max_steps: int | None = Field(default=None, ge=1, le=10_000_000, description="Overrides `epochs`.")
    batch_size: int | None = Field(default=None, ge=1, le=4096, description="Examples per device and step.")
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=4096)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    warmup_steps: int | None = Field(default=None, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    max_seq_length: int | None = Field(default=None, ge=16, le=1_048_576, description="Tokens per example.")
    lora_rank: int | None = Field(default=None, ge=1, le=1024)
    lora_alpha: int | None = Field(default=None, ge=1, le=4096, description="2 x rank where None.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    save_steps: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    logging_steps: int = Field(default=1, ge=1)
    seed: int = Field(default=42, ge=0, lt=2**32)
    device: Device = "auto"

    @model_validator(mode="before")
    @classmethod
    def _method_of_rank(cls, values: Any) -> Any:
        """A LoRA rank without a method means LoRA, as in InstructLab; 0 means none."""
        if not isinstance(values, Mapping):
            return values
        given = {name for name, value in values.items() if value}
        if values.get("lora_rank") in (0, "0"):
            # Its method is stated, so that a configured rank does not make it LoRA again.
            values = {
                "method": "full",
                **{name: value for name, value in values.items() if name not in _OF_LORA},
            }
        elif "method" not in given and _OF_LORA & given:
            values = {**values, "method": "lora"}
        return values

    @model_validator(mode="after")
    def _rank_of_method(self) -> Self:
        unused = sorted(name for name in _OF_LORA if getattr(self, name) and self.method != "lora")
        if unused:
            raise ValueError(f"{unused[0]} belongs to the method lora, not to {self.method}")
        return self


class Settings(BaseModel):
    """The complete settings of a training, which the lineage of the trained model records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    epochs: float
    max_steps: int | None
    batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_seq_length: int
    lora_rank: int | None
    lora_alpha: int | None
    lora_dropout: float | None
    save_steps: int
    logging_steps: int
    seed: int
    device: Device
    replay: Replay | None = None

    def identity(self) -> dict[str, Any]:
        """The settings that determine the result; a checkpoint is resumed only with the same ones."""
        return self.model_dump(mode="json", exclude={"save_steps", "logging_steps", "device"})


def resolve_settings(
    arguments: TrainingArguments, profile: Profile, model_max_length: int | None
) -> Settings:
    """Fill in the model's profile, then general defaults; max_seq_length is bounded by the model's."""
    own = profile.lora if arguments.method == "lora" else profile.full
    general = DEFAULTS[arguments.method]

    def choose(name: str) -> Any:
        for source in (arguments, own, general):
            value = getattr(source, name)
            if value is not None:
                return value
        return None

    lora = arguments.method == "lora"
    length = int(choose("max_seq_length"))
    rank = int(choose("lora_rank")) if lora else None
    return Settings(
        method=arguments.method,
        epochs=choose("epochs"),
        max_steps=arguments.max_steps,
        batch_size=choose("batch_size"),
        gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        learning_rate=choose("learning_rate"),
        warmup_steps=choose("warmup_steps"),
        weight_decay=arguments.weight_decay,
        max_seq_length=min(length, model_max_length) if model_max_length else length,
        lora_rank=rank,
        lora_alpha=(choose("lora_alpha") or 2 * rank) if rank else None,
        lora_dropout=arguments.lora_dropout if lora else None,
        save_steps=arguments.save_steps,
        logging_steps=arguments.logging_steps,
        seed=arguments.seed,
        device=arguments.device,
        replay=profile.replay,
    )


class TrainResult(Shown, BaseModel):
    """The result of a training. It can be used as the path of the model's folder."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Name in the registry.")
    path: str
    method: Method
    base: str
    steps: int
    epochs: float
    final_loss: float | None = Field(description="Mean over the last epoch, in nats per answer token.")
    seconds: float = Field(description="Of this attempt.")
    tokens: int = Field(description="Tokens that this attempt trained on, padding left out.")
    examples: int
    truncated: int = Field(description="Examples cut at max_seq_length.")
    dropped: int = Field(description="Examples left out because no answer was left after the cut.")
    replay: int = Field(description="Examples of the model's own replay file among them.")
    files: list[str] = Field(description="The files that it was trained on.")
    dataset_hash: str = Field(description="SHA-256 over the training files' bytes.")
    resumed_from: int | None = Field(default=None, description="Step of the checkpoint that was continued.")

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        loss = "" if self.final_loss is None else f", loss {self.final_loss:.4g}"
        done = f"{self.examples:,} examples, {self.steps:,} steps{loss}, {self.seconds:,.1f} s"
        return f"{self.model}: {self.base}, trained ({self.method}) on {done}, in {self.path}"
