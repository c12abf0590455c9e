"""The section `evaluate`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ilab_jupyter import paths
from ilab_jupyter.configuration.sections.section import PathText, Section

JUDGE = "prometheus-eval/prometheus-8x7b-v2.0"


def _results(benchmark: str) -> str:
    return str(Path(paths.internal_dir()) / "eval_data" / benchmark)


class DkBench(Section):
    """Questions of your own with reference answers."""

    input_questions: PathText | None = Field(
        default=None, description="JSONL file with user_input, reference and perhaps response in each line."
    )
    judge_model: str = Field(default="gpt-4o", description="Model that gives the marks.")
    output_dir: PathText = Field(
        default_factory=lambda: _results("dk_bench"), description="Where the results go."
    )
    output_file_formats: str = Field(
        default="jsonl", description="Of csv, jsonl and xlsx those that are wanted, with commas between them."
    )


class Mmlu(Section):
    """Multiple choice in many fields."""

    batch_size: int | str = Field(default="auto", description="Questions at a time; auto finds what fits.")
    few_shots: int = Field(default=5, ge=0, description="Solved questions shown before each.")


class MmluBranch(Section):
    """Multiple choice on the documents of a taxonomy."""

    tasks_dir: PathText = Field(
        default_factory=lambda: str(paths.datasets_dir()), description="Folder of the tasks."
    )


class MtBench(Section):
    """Conversations of two turns."""

    judge_model: PathText = Field(default=JUDGE, description="Model that gives the marks.")
    max_workers: int | str = Field(default="auto", description="Requests at the same time.")
    output_dir: PathText = Field(
        default_factory=lambda: _results("mt_bench"), description="Where the results go."
    )


class MtBenchBranch(Section):
    """The questions of a taxonomy's branch."""

    judge_model: PathText = Field(default=JUDGE, description="Model that gives the marks.")
    output_dir: PathText = Field(
        default_factory=lambda: _results("mt_bench_branch"), description="Where the results go."
    )
    taxonomy_path: PathText = Field(
        default_factory=lambda: str(paths.taxonomy_dir()), description="Folder of the taxonomy."
    )


class Evaluate(Section):
    """Benchmarks."""

    base_branch: str | None = Field(default=None, description="Branch of the taxonomy to compare with.")
    base_model: PathText = Field(
        default="instructlab/granite-7b-lab", description="Model to compare with, in both branch benchmarks."
    )
    branch: str | None = Field(default=None, description="Branch of the taxonomy with what is new.")
    dk_bench: DkBench = Field(default_factory=DkBench, description="Questions of your own.")
    gpus: int | None = Field(default=None, description="GPUs to use.")
    mmlu: Mmlu = Field(default_factory=Mmlu, description="Multiple choice in many fields.")
    mmlu_branch: MmluBranch = Field(
        default_factory=MmluBranch, description="Multiple choice on a taxonomy's documents."
    )
    model: PathText | None = Field(default=None, description="Model to evaluate.")
    mt_bench: MtBench = Field(default_factory=MtBench, description="Conversations of two turns.")
    mt_bench_branch: MtBenchBranch = Field(
        default_factory=MtBenchBranch, description="The questions of a taxonomy's branch."
    )
    system_prompt: str | None = Field(default=None, description="System prompt in DK-Bench.")
    temperature: float = Field(default=0.0, ge=0, le=1, description="Temperature in DK-Bench.")
