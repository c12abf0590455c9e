"""Which datasets there are, which of their files are trained on, and what a look into one shows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.registry import Datasets

ROW = {
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
    "metadata": "{}",
}


def write(file: Path, rows: int = 2, row: object = ROW) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for _ in range(rows)))
    return file


@pytest.fixture
def run_folder() -> Path:
    """A generated run as instructlab-sdg leaves it."""
    folder = paths.datasets_dir() / "2026-11-20_153000"
    stamp = "2026-11-20T15_30_00"
    write(folder / f"skills_train_msgs_{stamp}.jsonl", 3)
    write(folder / f"knowledge_train_msgs_{stamp}.jsonl", 4)
    write(folder / f"messages_{stamp}.jsonl", 5)
    write(folder / f"train_{stamp}.jsonl", 6, {"system": "", "user": "", "assistant": ""})
    write(folder / f"test_{stamp}.jsonl", 7, {"system": "", "user": "", "assistant": ""})
    (folder / f"skills_recipe_{stamp}.yaml").write_text("datasets: []\n")
    write(folder / f"node_datasets_{stamp}" / "leaf.jsonl")
    (folder / "ilab-lineage.json").write_text('{"teacher": "embedded"}')
    return folder


def test_run_is_one_dataset_with_roles_and_row_counts(run_folder: Path) -> None:
    (entry,) = Datasets().list()
    assert entry.name == run_folder.name
    assert {file.role: file.rows for file in entry.files} == {
        "skills": 3,
        "knowledge": 4,
        "messages": 5,
        "train": 6,
        "test": 7,
    }
    assert entry.lineage == {"teacher": "embedded"}
    assert entry.size_bytes == sum(file.size_bytes for file in entry.files)


def test_training_takes_the_knowledge_and_skills_messages_of_a_run(run_folder: Path) -> None:
    for given in (run_folder.name, run_folder):
        assert [path.name.split("_")[0] for path in Datasets().resolve(given)] == ["knowledge", "skills"]


def test_an_empty_half_of_a_run_is_left_out(run_folder: Path) -> None:
    next(run_folder.glob("skills_train*")).write_text("")
    assert [path.name.split("_")[0] for path in Datasets().resolve(run_folder.name)] == ["knowledge"]
    next(run_folder.glob("knowledge_train*")).write_text("")
    with pytest.raises(Unprocessable, match="is empty"):
        Datasets().resolve(run_folder.name)


def test_user_files_and_folders_are_datasets(tmp_path: Path) -> None:
    write(paths.datasets_dir() / "mine.jsonl")
    write(paths.datasets_dir() / "folder" / "part.jsonl")
    assert {entry.name: entry.files[0].role for entry in Datasets().list()} == {
        "mine.jsonl": "messages",
        "folder": "messages",
    }
    assert Datasets().resolve("mine.jsonl") == [paths.datasets_dir() / "mine.jsonl"]
    elsewhere = write(tmp_path / "elsewhere.jsonl")
    assert Datasets().resolve(str(elsewhere)) == [elsewhere]


def test_rows_are_counted_again_only_when_the_file_changes() -> None:
    file = write(paths.datasets_dir() / "mine.jsonl", 2)
    assert Datasets().get("mine.jsonl").files[0].rows == 2
    with file.open("a") as stream:
        stream.write(json.dumps(ROW))
    assert Datasets().get("mine.jsonl").files[0].rows == 3


def test_what_is_no_training_data_says_why(run_folder: Path, tmp_path: Path) -> None:
    write(paths.datasets_dir() / "legacy" / "train_x.jsonl", 1, {"user": "", "assistant": ""})
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    for given, words in {
        str(next(run_folder.glob("*.yaml"))): "is a recipe",
        "legacy": "no messages to train on",
        str(tmp_path / "empty.jsonl"): "is empty",
        str(tmp_path / "table.parquet"): "no JSON Lines file",
    }.items():
        with pytest.raises(Unprocessable, match=words) as caught:
            Datasets().resolve(given)
        assert caught.value.hint


@pytest.mark.parametrize("given", ["", "none", "a\0b", "../datasets-secret", "x" * 100_000, "~nobody-here/x"])
def test_a_dataset_that_is_not_there_is_not_found(given: str) -> None:
    paths.datasets_dir().mkdir(parents=True)
    with pytest.raises(NotFound):
        Datasets().resolve(given)
    with pytest.raises(NotFound):
        Datasets().get(given)


def test_page_shows_rows_from_offset_and_problem_of_row() -> None:
    file = write(paths.datasets_dir() / "mine.jsonl", 2)
    with file.open("ab") as stream:
        stream.write(b'{"messages": \n\xff\xfe\n{"n": NaN}\n' + b"[" * 100_000 + b"\n")
        stream.write(b'"' + b"x" * 400_000 + b'"\n{"last": "<img onerror=x>"}\n')
    seen = Datasets().preview("mine.jsonl", "mine.jsonl", offset=1, limit=20)
    assert (seen.total, seen.offset) == (8, 1)
    assert seen.rows[0].value == ROW
    assert [row.number for row in seen.rows] == [2, 3, 4, 5, 6, 7, 8]
    assert [row.problem.split(" at ")[0].split(" (")[0] for row in seen.rows[1:6]] == [
        "not JSON",
        "not UTF-8",
        "not JSON",
        "nested too deeply",
        "longer than 262144 bytes",
    ]
    assert seen.rows[-1].value == {"last": "<img onerror=x>"}
    assert len(Datasets().preview("mine.jsonl", "mine.jsonl", limit=1).rows) == 1


@pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (0, 0), (0, 1001)])
def test_a_stretch_that_is_none_is_refused(offset: int, limit: int) -> None:
    write(paths.datasets_dir() / "mine.jsonl")
    with pytest.raises(InvalidInput):
        Datasets().preview("mine.jsonl", "mine.jsonl", offset=offset, limit=limit)


def test_nothing_outside_the_datasets_folder_is_shown(run_folder: Path, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.jsonl")
    root = paths.datasets_dir()
    write(root.parent / "datasets-secret" / "mine.jsonl")
    (root / "link.jsonl").symlink_to(secret)
    (root / "linked").symlink_to(tmp_path)
    (run_folder / "link.jsonl").symlink_to(secret)
    os.mkfifo(run_folder / "pipe.jsonl")
    assert [entry.name for entry in Datasets().list()] == [run_folder.name]
    assert "link.jsonl" not in {file.name for file in Datasets().get(run_folder.name).files}
    for name, file in [
        ("link.jsonl", "link.jsonl"),
        ("linked", "secret.jsonl"),
        (run_folder.name, "link.jsonl"),
        (run_folder.name, "pipe.jsonl"),
        (run_folder.name, "../../secret.jsonl"),
        (run_folder.name, str(secret)),
        ("../datasets-secret", "mine.jsonl"),
        ("..", "mine.jsonl"),
    ]:
        with pytest.raises(NotFound):
            Datasets().preview(name, file)
