"""Settings of a generation. Light: every interface may import it."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ilab_jupyter.registry.names import NEW_NAME
from ilab_jupyter.secret_names import check_api_key_name


class TeacherSettings(BaseModel):
    """Which teacher answers. The key is never here: it comes from the environment variable that `api_key_env`
    names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["embedded", "openai"] = Field(
        default="embedded", description="`openai` is any OpenAI-compatible URL."
    )
    url: str | None = Field(default=None, description="Base URL ending in /v1; needed for `openai`.")
    model: str | None = Field(
        default=None, description="Model name at that URL; the first one listed where None."
    )
    api_key_env: str = Field(default="ILAB_TEACHER_API_KEY", pattern=r"^[A-Z][A-Z0-9_]{0,63}$")
    timeout: float = Field(
        default=120.0, gt=0, le=3600, description="Seconds without any text from the teacher."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=16,
        le=1_048_576,
        description="Most tokens of one answer. Where None the pipeline's own, and at most 1,024 for one "
        "question with its answer.",
    )
    max_retries: int = Field(default=3, ge=0, le=20)
    endpoint: Literal["auto", "chat"] = Field(
        default="auto",
        description="`auto` prefers completions, which take many prompts at once; `chat` never asks them.",
    )

    @field_validator("api_key_env")
    @classmethod
    def _check_api_key_env(cls, name: str) -> str:
        return check_api_key_name(name)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an address such as http://127.0.0.1:8000/v1")
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "put the key into the environment variable that api_key_env names, not into the address"
            )
        if parts.query or parts.fragment:
            raise ValueError("give the address without a query")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_kind(self) -> TeacherSettings:
        if self.kind == "openai" and self.url is None:
            raise ValueError("the openai teacher needs a url")
        if self.kind == "embedded" and self.url is not None:
            raise ValueError("a teacher with a url is of kind openai")
        return self


class Settings(BaseModel):
    """Everything that decides the rows of a dataset, and where they go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taxonomy_path: str = Field(
        description="Folder with compositional_skills/ and knowledge/, or one qna.yaml."
    )
    taxonomy_base: str = Field(
        default="empty", description="Git revision to compare with; `empty` takes every leaf."
    )
    pipeline: str = Field(
        default="simple", description="`simple`, `full`, `llama`, or the path of a pipeline folder."
    )
    teacher: TeacherSettings = TeacherSettings()
    scale: int = Field(
        default=30, ge=1, le=1000, description="Instructions per seed example (`simple` only)."
    )
    output_dir: str | None = Field(default=None, description="Folder of datasets; InstructLab's where None.")
    name: str | None = Field(
        default=None,
        pattern=f"^{NEW_NAME.pattern}$",
        description="Folder name below it; the date where None.",
    )
    batch_size: int = Field(
        default=8, ge=0, le=512, description="Samples among which duplicates are dropped; 0 for a whole leaf."
    )
    num_workers: int = Field(
        default=256, ge=1, le=1024, description="Most requests in flight; fewer where more are no faster."
    )
    system_prompt: str | None = Field(default=None, max_length=10_000)
    documents: dict[str, str] = Field(
        default_factory=dict, description="Repository URL -> local folder, for documents without network."
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="Of the choices made while mixing.")

    @field_validator("teacher", mode="before")
    @classmethod
    def _short_teacher(cls, value: Any) -> Any:
        """A URL or the word `embedded` says enough."""
        if value is None or value == "embedded":
            return TeacherSettings()
        if isinstance(value, str):
            return {"kind": "openai", "url": value}
        return value
