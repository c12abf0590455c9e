"""Arguments of Data, and what it refuses before the engine is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from ilab_jupyter.kinds.catalog import job_spec

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"


def test_a_teacher_is_embedded_or_an_address_or_its_fields() -> None:
    assert Data(SAMPLE).settings.teacher.kind == "embedded"
    assert Data(SAMPLE, teacher="embedded").settings.teacher.kind == "embedded"
    teacher = Data(SAMPLE, teacher="http://127.0.0.1:8000/v1/").settings.teacher
    assert (teacher.kind, teacher.url) == ("openai", "http://127.0.0.1:8000/v1")
    assert (
        Data(SAMPLE, teacher={"kind": "openai", "url": "http://x/v1", "model": "m"}).settings.teacher.model
        == "m"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"scale": 0}, "scale"),
        ({"scal": 3}, "scal"),
        ({"teacher": {"kind": "openai"}}, "teacher"),
        ({"teacher": "ftp://x"}, "url"),
        ({"name": "../up"}, "name"),
        ({"batch_size": 10_000}, "batch_size"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Data(SAMPLE, **arguments)  # type: ignore[arg-type]


def test_the_generate_job_takes_the_same_arguments() -> None:
    arguments = job_spec(
        "generate", {"taxonomy_path": str(SAMPLE), "scale": 3, "teacher": {"kind": "embedded"}}
    ).arguments
    assert Data.from_spec(arguments).settings == Data(SAMPLE, scale=3).settings
    with pytest.raises(InvalidInput, match="api_key_env"):
        job_spec("generate", {"taxonomy_path": "x", "teacher": {"api_key_env": "sk-123"}})


def test_invalid_taxonomy_is_refused_before_engine_loads(tmp_path: Path) -> None:
    leaf = tmp_path / "compositional_skills" / "a" / "qna.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text("version: 3\ncreated_by: me\nseed_examples: []\n")
    script = (
        "import sys\n"
        "from ilab_jupyter.core.data import Data\n"
        "from ilab_jupyter.errors import Unprocessable\n"
        "try:\n"
        f"    Data({str(tmp_path)!r}).generate_data(run_dir={str(tmp_path / 'run')!r})\n"
        "except Unprocessable as error:\n"
        "    print(error)\n"
        "assert not {'torch', 'datasets', 'pandas', 'instructlab.sdg'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compositional_skills/a/qna.yaml:1: task_description is missing (1 more)." in done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, "blocks: [", "blocks: []\n"])
def test_unknown_pipeline_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        for name in ("knowledge.yaml", "freeform_skills.yaml", "grounded_skills.yaml"):
            (tmp_path / name).write_text(content)
    with pytest.raises(Unprocessable) as caught:
        Data(SAMPLE, pipeline=str(tmp_path)).generate_data(run_dir=tmp_path / "run")
    assert caught.value.cause == "bad_pipeline"


def test_chosen_output_folder_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "data" / "taken").mkdir(parents=True)
    with pytest.raises(Conflict, match="taken"):
        Data(SAMPLE, output_dir=tmp_path / "data", name="taken").generate_data(run_dir=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "thesis").is_dir()


def test_unwritable_output_folder_is_reported_before_generation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    data = Data(SAMPLE, output_dir=tmp_path / "file", teacher="http://127.0.0.1:9/v1")
    with pytest.raises(Unavailable, match=r"No dataset can be written into .*file"):
        data.generate_data(run_dir=tmp_path / "run")
