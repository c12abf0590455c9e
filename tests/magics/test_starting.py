"""Commands that start a job resolve paths, models, datasets and secrets in the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.errors import PublicError
from ilab_jupyter.magics.failure import CommandError


def started(shell: InteractiveShell, cell: str) -> dict[str, Any]:
    """The arguments of the job that a cell starts."""
    outcome = shell.run_cell(cell, store_history=False)
    outcome.raise_error()
    assert isinstance(outcome.result, JobHandle)
    arguments: dict[str, Any] = outcome.result.job.spec.arguments
    return arguments


def refused(shell: InteractiveShell, cell: str) -> PublicError:
    with pytest.raises(CommandError) as stopped:
        shell.run_cell(cell, store_history=False).raise_error()
    return stopped.value.error


@pytest.fixture
def page(shell: InteractiveShell) -> Path:
    page = Path("page.md").absolute()
    page.write_text("# A page\n\nWith a line.\n")
    return page


def test_document_paths_are_relative_to_the_kernel(shell: InteractiveShell, page: Path) -> None:
    arguments = started(shell, "%ilab ingest page.md --chunk-tokens 64 --output-dir made --as-knowledge")
    assert arguments["documents"] == [str(page)] and arguments["chunk_tokens"] == 64
    assert arguments["output_dir"] == str(page.parent / "made") and arguments["as_knowledge"] is True
    assert started(shell, "%%ilab ingest\ndocuments: page.md")["documents"] == [str(page)]
    assert "nothing.md" in refused(shell, "%ilab ingest nothing.md").message
    assert refused(shell, "%ilab ingest").hint


def test_rag_resolves_documents_store_and_embedder(shell: InteractiveShell, page: Path) -> None:
    Path("embedder").mkdir()
    arguments = started(shell, "%ilab rag page.md --uri store --embedding-model embedder --prune")
    assert arguments["input_dir"] == str(page) and arguments["uri"] == str(page.parent / "store")
    assert arguments["embedding_model"] == str(page.parent / "embedder") and arguments["prune"] is True
    assert started(shell, "%ilab rag --embedding-model org/name")["embedding_model"] == "org/name"


def test_evaluate_resolves_model_judge_and_key(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILAB_JUDGE_API_KEY", "a-secret")
    arguments = started(
        shell, "%ilab evaluate mt_bench starter --judge http://127.0.0.1:9/v1 --judge-model big --questions 2"
    )
    assert (arguments["benchmark"], arguments["model"], arguments["questions"]) == ("mt_bench", "starter", 2)
    assert arguments["judge"]["url"] == "http://127.0.0.1:9/v1" and arguments["judge"]["model"] == "big"
    assert "a-secret" not in repr(arguments)
    judged = started(shell, "%ilab evaluate mt_bench --judge starter")["judge"]
    assert (judged["url"], judged["model"]) == (None, "starter")
    subjects = started(shell, "%ilab evaluate mmlu --tasks anatomy --tasks virology --data .")
    assert subjects["tasks"] == ["anatomy", "virology"] and subjects["data"] == str(Path.cwd())
    assert "judge" in refused(shell, "%ilab evaluate mt_bench").message
    assert "mt_bench" in refused(shell, "%ilab evaluate guessing").message


def test_curate_resolves_data_and_output(shell: InteractiveShell) -> None:
    here = Path.cwd()
    arguments = started(shell, "%ilab curate dedup data.jsonl --output clean.jsonl --threshold 0.9")
    assert (arguments["operation"], arguments["data"]) == ("dedup", [str(here / "data.jsonl")])
    assert (arguments["output"], arguments["threshold"]) == (str(here / "clean.jsonl"), 0.9)
    leaks = started(shell, "%ilab curate leakage data.jsonl --evaluation data.jsonl --no-drop")
    assert leaks["evaluation"] == leaks["data"] and leaks["drop"] is False
    assert "evaluation" in refused(shell, "%ilab curate leakage data.jsonl").message
    assert refused(shell, "%ilab curate").hint


def test_model_operations_resolve_their_arguments(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret_of_this_kernel")
    arguments = started(shell, "%ilab model download org/name --name mine --revision v1")
    assert (arguments["operation"], arguments["model"], arguments["name"]) == ("download", "org/name", "mine")
    assert arguments["revision"] == "v1" and "hf_a_secret" not in repr(arguments)
    Path("adapter").mkdir()
    merged = started(shell, "%%ilab model merge adapter\noutput_dir: out")
    assert merged["model"] == str(Path("adapter").absolute())
    assert merged["output_dir"] == str(Path("out").absolute())
    sent = started(shell, "%ilab model upload starter --repository me/mine --no-private")
    assert (sent["repository"], sent["private"]) == ("me/mine", False)
    assert "repository" in refused(shell, "%ilab model upload starter").message
    assert "download" in refused(shell, "%ilab model burn starter").message
    assert refused(shell, "%ilab model").hint
