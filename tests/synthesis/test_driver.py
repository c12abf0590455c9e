"""Rows through a pipeline: what is kept apart, and blocks that are written for all rows at once."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from ilab_jupyter.core import Data
from ilab_jupyter.core.data import GenerateResult
from ilab_jupyter.errors import Conflict, NotFound, TeacherError, Unavailable, Unprocessable
from ilab_jupyter.synthesis.journal import Journal

KINDS = ("knowledge", "freeform_skills", "grounded_skills")


def generated(taxonomy: Path, folder: Path, url: str, reporter: Any, **more: Any) -> GenerateResult:
    data = Data(taxonomy, teacher=url, scale=2, output_dir=folder, name="made", **more)
    return data.generate_data(run_dir=folder / "run", reporter=reporter)


def answering(*texts: str, finish: str = "stop") -> Callable[[int, dict[str, Any]], Any]:
    """A script for the teacher's server: each question gets these texts in turn."""

    def script(number: int, body: dict[str, Any]) -> Any:
        choices = [
            {"index": index, "text": texts[index % len(texts)], "finish_reason": finish}
            for index in range(body.get("n", 1))
        ]
        return 200, {}, json.dumps({"choices": choices}).encode()

    return script


def pipeline_of(folder: Path, blocks: list[dict[str, Any]]) -> str:
    """A pipeline folder of one's own, the same blocks for each kind of leaf."""
    folder.mkdir()
    for kind in KINDS:
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump({"version": "1.0", "blocks": blocks}))
    return str(folder)


def asking(**settings: Any) -> dict[str, Any]:
    """instructlab-sdg's own block that asks a simple freeform question."""
    prompt = resources.files("instructlab.sdg.configs.skills") / "simple_generate_qa_freeform.yaml"
    config = {"config_path": str(prompt), "output_cols": ["output"], "gen_kwargs": {"n": 2, **settings}}
    return {"name": "ask", "type": "LLMBlock", "config": config}


@pytest.fixture
def one_skill(skills_only: Path) -> Path:
    shutil.rmtree(skills_only / "compositional_skills" / "grounded")
    return skills_only


def test_truncated_answer_is_stored_with_its_row(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    whole, cut = answering("What is it? It is this."), answering("What is it? It is th", finish="length")
    server = teacher_server("lists", lambda number, body: (cut if number == 1 else whole)(number, body))
    result = generated(one_skill, tmp_path, server.url, recorder())
    assert result.rejected["cut"] == 2 and sum(result.rejected.values()) == 2
    assert result.rejected_file is not None
    for line in Path(result.rejected_file).read_text().splitlines():
        entry = json.loads(line)
        assert (entry["reason"], entry["block"]) == ("cut", "gen_skill_freeform")
        assert entry["answer"] == "What is it? It is th"
        assert entry["row"]["seed_question"]
    assert 'It is th"' not in Path(result.files["messages"]).read_text()


@pytest.mark.parametrize("text", [["a", "b"], 7, {"type": "text"}])
def test_answer_that_is_not_text_ends_generation(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any, text: Any
) -> None:
    server = teacher_server("single", answering(text))
    with pytest.raises(TeacherError, match="nonsense") as caught:
        generated(one_skill, tmp_path, server.url, recorder())
    assert caught.value.cause == "teacher_bad_answer"


def test_an_answer_that_cannot_be_kept_ends_the_generation(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(Unavailable, match="no space left"):
        generated(one_skill, tmp_path, teacher_server("lists").url, recorder())


def test_folder_with_foreign_files_is_not_run_folder(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    mine = tmp_path / "run/build/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear to me")
    with pytest.raises(Conflict, match="'build', which is not of a generation"):
        generated(one_skill, tmp_path, teacher_server("lists").url, recorder())
    assert mine.read_text() == "dear to me"


def test_two_generations_do_not_share_a_run_folder(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    def second(number: int, body: dict[str, Any]) -> Any:
        with pytest.raises(Conflict, match="Another generation"):
            generated(one_skill, tmp_path, "embedded", recorder())
        refused.append(number)

    refused: list[int] = []
    generated(one_skill, tmp_path, teacher_server("lists", second).url, recorder())
    assert refused


def test_answers_without_tags_end_with_clear_error(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    server = teacher_server("lists", answering("Here are some questions for you!"))
    with pytest.raises(Unprocessable, match="6 lacked their tags") as caught:
        generated(one_skill, tmp_path, server.url, recorder(), pipeline="full")
    assert caught.value.cause == "no_rows"


def test_the_pipeline_with_three_summaries_gives_rows_of_each(
    sample: Path, tmp_path: Path, recorder: Any
) -> None:
    leaf = sample / "knowledge/transport/railways/brindle_fell/qna.yaml"
    taxonomy = tmp_path / "taxonomy"
    shutil.copytree(sample / "documents", taxonomy / "documents")
    (taxonomy / "knowledge/railway").mkdir(parents=True)
    shutil.copy(leaf, taxonomy / "knowledge/railway")
    result = Data(taxonomy, pipeline="llama", output_dir=tmp_path, name="llama").generate_data(
        run_dir=tmp_path / "run", reporter=recorder()
    )
    [file] = Path(result.path).glob("generated_*/*.jsonl")
    kinds = {json.loads(line)["dataset_type"] for line in file.read_text().splitlines()}
    assert "base_document" in kinds and len(kinds) >= 2


@pytest.fixture
def own_block() -> Iterator[list[int]]:
    """A block of one's own, which wants all rows at once and asks the teacher itself."""
    from datasets import Dataset  # type: ignore[import-untyped]
    from instructlab.sdg.blocks.block import Block
    from instructlab.sdg.registry import BlockRegistry

    registry: Any = BlockRegistry
    seen: list[int] = []

    @registry.register("LongestFirstBlock")
    class LongestFirstBlock(Block):  # type: ignore[misc]
        def generate(self, samples: Any) -> Any:
            seen.append(len(samples))
            made = self.ctx.client.completions.create(prompt=["one", "two"], n=1, temperature=0)
            texts = [choice.text for choice in made.choices]
            rows = sorted(samples, key=lambda row: -len(row["output"]))
            return Dataset.from_list([{**row, "said": " ".join(texts)} for row in rows])

    yield seen
    del registry.get_registry()["LongestFirstBlock"]


def test_custom_block_gets_all_rows_and_can_call_teacher(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any, own_block: list[int]
) -> None:
    blocks = [asking(temperature=0.7), {"name": "sort", "type": "LongestFirstBlock", "config": {}}]
    server = teacher_server("lists", answering("What? This.", "And what is that? That."))
    pipeline = pipeline_of(tmp_path / "pipeline", blocks)
    result = generated(one_skill, tmp_path, server.url, recorder(), pipeline=pipeline, batch_size=2)
    assert own_block == [2, 2] * 3, "three batches of two samples, each with four rows taken by twos"
    [file] = Path(result.path).glob("generated_*/*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 12 and all(row["said"] == "What? This. What? This." for row in rows)


def test_a_failure_in_a_block_names_the_block(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    wrong = {"name": "pick", "type": "RenameColumnsBlock", "config": {"columns": {}}}
    server = teacher_server("lists", answering("What? This."))
    pipeline = pipeline_of(tmp_path / "pipeline", [asking(temperature=0), wrong])
    with pytest.raises(Unprocessable, match="pick") as caught:
        generated(one_skill, tmp_path, server.url, recorder(), pipeline=pipeline)
    assert caught.value.cause == "pipeline_failed"
    assert not server.requests


def test_a_slow_row_holds_up_no_other_row(
    teacher_server: Any, one_skill: Path, tmp_path: Path, recorder: Any
) -> None:
    """The first question to be judged waits for another one of its batch to be two blocks further."""
    first, further = threading.Semaphore(1), threading.Event()
    waited: list[bool] = []

    def script(number: int, body: dict[str, Any]) -> Any:
        if "[Start of Score]" not in body["prompt"]:
            if "[Start of Response]" in body["prompt"]:
                further.set()
        elif first.acquire(blocking=False):
            waited.append(further.wait(60))
        return None

    server = teacher_server("lists", script)
    result = generated(one_skill, tmp_path, server.url, recorder(), pipeline="full")
    assert waited == [True] and result.rows > 0


def test_a_result_is_a_table(skills_only: Path, tmp_path: Path, recorder: Any) -> None:
    result = Data(skills_only, scale=1, output_dir=tmp_path, name="made").generate_data(
        run_dir=tmp_path / "run", reporter=recorder()
    )
    table = result.to_dataframe()
    assert list(table.columns) == ["role", "user", "assistant", "system"]
    assert len(table) == sum(result.rows_per_file[role] for role in ("skills",))
    assert len(result.to_dataframe("messages")) == result.rows_per_file["messages"]
    with pytest.raises(NotFound, match="knowledge"):
        result.to_dataframe("knowledge")
    page = result.model_copy(update={"dataset": "<b>", "rows_per_leaf": {"<script>": 3}})._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;b&gt;" in page
    assert result.tokens == {"prompt": 0, "answer": 0}, "the embedded teacher costs none"
