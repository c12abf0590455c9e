"""Settings of an evaluation: judge and benchmark. Cheap to import from any interface."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ilab_jupyter.engine import Device
from ilab_jupyter.secret_names import check_api_key_name
from ilab_jupyter.synthesis.settings import TeacherSettings

Benchmark = Literal["mt_bench", "mt_bench_branch", "mmlu", "mmlu_branch", "dk_bench"]
JUDGED: tuple[Benchmark, ...] = ("mt_bench", "mt_bench_branch", "dk_bench")


class Section(BaseModel):
    """A section of settings. Frozen; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgeSettings(Section):
    """The judge: the model at `url`, or, without a URL, a local `model` served during the evaluation.

    The API key is not part of the settings; it is read from the environment variable `api_key_env`.
    """

    url: str | None = Field(
        default=None, description="Base URL ending in /v1 of an OpenAI-compatible server."
    )
    model: str | None = Field(
        default=None,
        description="With a url the model's name there (the first one listed where None); without one a "
        "registry name or model folder.",
    )
    api_key_env: str = Field(default="ILAB_JUDGE_API_KEY", pattern=r"^[A-Z][A-Z0-9_]{0,63}$")
    timeout: float = Field(default=300.0, gt=0, le=3600, description="Seconds for one answer.")

    @field_validator("api_key_env")
    @classmethod
    def _check_api_key_env(cls, name: str) -> str:
        return check_api_key_name(name)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return None if url is None else TeacherSettings(kind="openai", url=url).url

    @model_validator(mode="after")
    def _check_given(self) -> JudgeSettings:
        if self.url is None and self.model is None:
            raise ValueError("give the url of a judge, or the model that is to judge")
        return self


def short_judge(value: Any) -> Any:
    """Expand a string, the URL or the model of a judge, into the fields of `JudgeSettings`."""
    if isinstance(value, str):
        return {"url": value} if "://" in value else {"model": value}
    return value


class EvaluationSettings(Section):
    """All settings of an evaluation. A field names the benchmarks that use it, unless all do."""

    benchmark: Benchmark
    model: str = Field(default="starter", description="Registry name, model folder or hub id.")
    judge: JudgeSettings | None = Field(default=None, description="For mt_bench, mt_bench_branch, dk_bench.")
    output_dir: str | None = Field(default=None, description="Folder of results; InstructLab's where None.")
    device: Device = "auto"
    max_workers: int = Field(default=8, ge=1, le=32, description="Concurrent questions.")
    max_tokens: int = Field(default=1024, ge=1, le=65_536, description="Upper bound of one answer.")
    questions: int | None = Field(
        default=None, ge=1, description="The first so many questions of mt_bench only, for a quick look."
    )
    taxonomy_path: str | None = Field(default=None, description="mt_bench_branch: the taxonomy's repository.")
    branch: str = Field(default="HEAD", description="mt_bench_branch: the revision that gives the questions.")
    base_model: str | None = Field(
        default=None, description="mt_bench_branch, mmlu_branch: the model to compare with."
    )
    base_branch: str | None = Field(
        default=None, description="mt_bench_branch: its revision; `branch` where None."
    )
    tasks: list[str] = Field(default_factory=list, description="mmlu: the subjects; all where empty.")
    few_shots: int = Field(default=5, ge=0, le=100, description="mmlu, mmlu_branch: worked examples.")
    batch_size: int = Field(default=8, ge=1, le=1024, description="mmlu, mmlu_branch.")
    data: str | None = Field(
        default=None, description="mmlu: a folder with its subjects; the hub's copy where None."
    )
    tasks_dir: str | None = Field(default=None, description="mmlu_branch: a node_datasets folder.")
    system_prompt: str | None = Field(
        default=None, max_length=100_000, description="dk_bench: InstructLab's own where None."
    )
    temperature: float = Field(default=0.0, ge=0, le=1, description="dk_bench: of the model's answers.")
    input_questions: str | None = Field(
        default=None, description="dk_bench: JSONL with user_input, reference and, if at hand, response."
    )

    @field_validator("judge", mode="before")
    @classmethod
    def _short_judge(cls, value: Any) -> Any:
        return short_judge(value)

    @model_validator(mode="after")
    def _check_needs(self) -> EvaluationSettings:
        needs = {
            "mt_bench_branch": "taxonomy_path",
            "mmlu_branch": "tasks_dir",
            "dk_bench": "input_questions",
        }
        needed = needs.get(self.benchmark)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"{self.benchmark} needs {needed}")
        if self.base_branch is not None and self.base_model is None:
            raise ValueError("base_branch needs base_model, the model that answers its questions")
        if self.benchmark in JUDGED and self.judge is None:
            raise ValueError(f"{self.benchmark} needs a judge")
        return self
