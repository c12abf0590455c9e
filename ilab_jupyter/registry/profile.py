"""What a model folder may say of itself in `ilab-profile.json`: how to train it, how to sample from it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter.errors import Unprocessable, wrong_field
from ilab_jupyter.registry.entries import Role
from ilab_jupyter.registry.names import PART

PROFILE = "ilab-profile.json"
MAX_BYTES = 1_000_000


class Section(BaseModel):
    """Frozen; a name that is not known is an error, so that a typing mistake does not pass for a setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tuning(Section):
    """Training settings; None leaves the general default."""

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    epochs: float | None = Field(default=None, gt=0, le=1000)
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    max_seq_length: int | None = Field(default=None, ge=16, le=1_048_576)
    warmup_steps: int | None = Field(default=None, ge=0)
    lora_rank: int | None = Field(default=None, ge=1, le=1024)
    lora_alpha: int | None = Field(default=None, ge=1, le=4096)


class Generation(Section):
    """Sampling settings where a request names none."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)


class Replay(Section):
    """Conversations mixed into each training, so that the model keeps what it could do."""

    file: str = Field(
        default="ilab-replay.jsonl", pattern=f"^{PART.pattern}$", description="Beside the profile."
    )
    rows: int | None = Field(default=None, ge=1, description="The first so many; all where None.")


class Profile(Section):
    """What `ilab-profile.json` may hold."""

    full: Tuning = Tuning()
    lora: Tuning = Tuning()
    generation: Generation = Generation()
    replay: Replay | None = None
    dataset_roles: tuple[Role, ...] = Field(
        default=("skills", "knowledge"),
        min_length=1,
        description="Which files of a generated dataset suit this model where the whole is named.",
    )


def read(folder: Path) -> Profile:
    """The profile of a model folder, empty where it carries none; Unprocessable names a wrong field."""
    file = folder / PROFILE
    if not file.is_file():
        return Profile()
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    try:
        return Profile.model_validate_json(raw[:MAX_BYTES])
    except ValidationError as error:
        raise Unprocessable(
            f"{PROFILE} of the model is wrong: {wrong_field(error.errors()[0])}.",
            "Correct the file or remove it.",
        ) from None
