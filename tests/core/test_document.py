"""Each method that the SDK's design document lists does its work, on tiny models and local data."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import instructlab.core as core
from ilab_jupyter import durable, paths
from ilab_jupyter.core import RAG, Config, Data, Model, System, Taxonomy
from ilab_jupyter.progress import ConsoleReporter, Stopped
from tests.evaluation.conftest import judge_server, student
from tests.evaluation.test_choice import mmlu
from tests.evaluation.test_dk_bench import questions, scored
from tests.retrieval.conftest import embedding
from tests.support.models import STORIES

pytestmark = pytest.mark.slow

__all__ = ["embedding", "judge_server", "mmlu", "questions", "student"]

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"
LEAF = "compositional_skills/writing/packing_reminders/qna.yaml"
LISTED = (
    "Config.init", "Config.show", "Config.get", "Taxonomy.diff", "System.info", "Data.ingest",
    "Data.generate_data", "Model.serve", "Model.train_model", "Model.process_data", "Model.evaluate_mt_bench",
    "Model.evaluate_dk_bench", "Model.evaluate_mmlu_bench", "RAG.ingest", "RAG.convert",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """What the calls work on: a folder of the test's own, tiny models, questions, and who judges."""

    folder: Path
    student: Path
    embedding: Path
    mmlu: Path
    questions: Path
    judge: Callable[[Callable[[str], str]], Any]

    @property
    def rows(self) -> Path:
        turns = [{"role": "user", "content": "Who mends?"}, {"role": "assistant", "content": "Maren."}]
        file = self.folder / "rows.jsonl"
        file.write_text(json.dumps({"messages": turns}) + "\n")
        return file

    @property
    def documents(self) -> Path:
        folder = self.folder / "documents"
        folder.mkdir()
        (folder / "nets.md").write_text(f"# Harbour\n\n{STORIES[0]}\n")
        return folder


@pytest.fixture
def world(
    tmp_path: Path, student: Path, embedding: Path, mmlu: Path, questions: Path, judge_server: Any
) -> World:
    return World(tmp_path, student, embedding, mmlu, questions, judge_server)


def config_init(world: World) -> None:
    assert Config.init().path == paths.config_file() and paths.config_file().is_file()


def config_show(world: World) -> None:
    Config.init()
    assert "num_epochs:" in Config.show("train") and Config.show() == paths.config_file().read_text()


def config_get(world: World) -> None:
    Config.init().set("train.num_epochs", 4)
    assert Config.get("train.num_epochs") == 4 == Config.get("train")["num_epochs"]


def taxonomy_diff(world: World) -> None:
    leaf = Taxonomy.leaves(Taxonomy.init())[0]
    assert not Taxonomy.diff()
    with (paths.taxonomy_dir() / leaf).open("a") as file:
        file.write("# seen\n")
    assert Taxonomy.diff() == [leaf]


def system_info(world: World) -> None:
    text = str(System.info())
    assert "Python" in text or "python" in text


def data_ingest(world: World) -> None:
    result = Data().ingest(world.documents, world.folder / "read")
    assert [document.name for document in result.documents] == ["nets.md"] and not result.failures


def data_generate_data(world: World) -> None:
    taxonomy = world.folder / "taxonomy"
    (taxonomy / LEAF).parent.mkdir(parents=True)
    shutil.copyfile(SAMPLE / LEAF, taxonomy / LEAF)
    result = Data(taxonomy, scale=1).generate_data()
    assert result.rows and Path(result.files["skills"]).is_file()


def model_serve(world: World) -> None:
    class Reporter(ConsoleReporter):
        stopping = False

    reporter, position = Reporter(), world.folder / "endpoint.json"

    def serve() -> None:
        with pytest.raises(Stopped):
            Model(world.student).serve(device="cpu", endpoint_file=position, reporter=reporter)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while (endpoint := durable.read_json(position)) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert endpoint is not None
        address = f"http://{endpoint['host']}:{endpoint['port']}/v1/models"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {endpoint['key']}"})
        assert answer.status_code == 200 and answer.json()["data"]
    finally:
        reporter.stopping = True
        thread.join()


def model_train_model(world: World) -> None:
    arguments = {"method": "lora", "max_steps": 1, "name": "taught", "device": "cpu"}
    result = Model(world.student).train_model(training_args=arguments, data=world.rows)
    assert result.steps == 1 and Path(result.path).is_dir()


def model_process_data(world: World) -> None:
    result = Model(world.student).process_data(
        world.rows, world.folder / "tokens", max_seq_len=64, min_seq_len=2
    )
    assert result.examples == 1 and result.tokens > 1


def model_evaluate_mt_bench(world: World) -> None:
    judge = world.judge(lambda prompt: "[[7]]")
    result = Model(world.student).evaluate_mt_bench(judge=judge.url, questions=1, max_tokens=2, device="cpu")
    assert (result.score, len(judge.requests)) == (7, 2)


def model_evaluate_dk_bench(world: World) -> None:
    judge = world.judge(lambda prompt: scored(4))
    result = Model(world.student).evaluate_dk_bench(
        judge=judge.url, input_questions=world.questions, max_tokens=2, device="cpu"
    )
    assert result.score == 4


def model_evaluate_mmlu_bench(world: World) -> None:
    result = Model(world.student).evaluate_mmlu_bench(
        data=world.mmlu, tasks=["anatomy"], few_shots=0, device="cpu"
    )
    assert len(result.questions) == 6 and 0 <= result.score <= 1


def rag_ingest(world: World) -> None:
    rag = RAG(world.folder / "store", embedding_model=world.embedding)
    assert (
        rag.ingest(world.documents).added == 1 and "Maren" in rag.search("Who mends the nets?").hits[0].text
    )


def rag_convert(world: World) -> None:
    result = RAG().convert(world.documents, world.folder / "converted")
    assert not result.failures
    assert (
        json.loads((world.folder / "converted/nets.md.json").read_text())["schema_name"] == "DoclingDocument"
    )


CALLS: dict[str, Callable[[World], None]] = {
    name: globals()[name.replace(".", "_").lower()] for name in LISTED
}


@pytest.mark.parametrize("name", LISTED)
def test_each_method_of_the_documents_list_does_its_work(name: str, world: World) -> None:
    CALLS[name](world)


def test_both_names_of_the_sdk_give_the_same_classes() -> None:
    import instructlab.sdg

    assert instructlab.sdg.generate_data and "instructlab" not in str(
        getattr(instructlab, "__file__", None) or ""
    )
    for name in ("Config", "Taxonomy", "Data", "Model", "RAG", "System"):
        assert getattr(core, name) is getattr(__import__("ilab_jupyter.core", fromlist=[name]), name)
    assert Model.mt_bench is Model.evaluate_mt_bench
