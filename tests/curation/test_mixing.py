"""A mix holds what its recipe asks for, row by row what instructlab-sdg would have drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import engine
from ilab_jupyter.core import Data
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unprocessable
from tests.curation.making import questions, read, row, write


def many(start: int, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        row(f"Question {position}?", f"Answer {position}.", id=f"row-{position}", unmask=False, **fields)
        for position in range(start, start + count)
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Three datasets: whole, a number of rows, a share of them; with what instructlab-sdg has to arrange."""
    folder = tmp_path / "run"
    write(
        folder / "node_datasets_T" / "whole.jsonl",
        many(0, 7, metadata='{"domain": "birds"}', seed_question="q"),
    )
    write(folder / "node_datasets_T" / "number.jsonl", many(100, 11, metadata="{}", leaf_node_path="a_b"))
    prompted = [
        row(f"P{position}?", "A.", system="old", id=str(position), metadata="{}", unmask=True)
        for position in range(9)
    ]
    prompted[4]["messages"][1]["content"] = ""
    write(folder / "share.jsonl", prompted)
    file = folder / "skills_recipe_T.yaml"
    file.write_text(
        "datasets:\n"
        "- path: node_datasets_T/whole.jsonl\n  sampling_size: 1.0\n"
        "- path: node_datasets_T/number.jsonl\n  sampling_size: 30\n"
        "- path: share.jsonl\n  sampling_size: 0.7\n"
        "metadata:\n  sys_prompt: Be brief.\n"
    )
    return file


def arranged(rows: list[Any]) -> list[Any]:
    return [{**one, "metadata": json.loads(one["metadata"])} for one in rows]


def test_a_recipe_gives_what_instructlab_sdg_gives_row_by_row(recipe: Path, tmp_path: Path) -> None:
    engine.hide_unfit_torchvision()
    from instructlab.sdg import mix_datasets

    mix_datasets(str(recipe), str(tmp_path / "theirs.jsonl"), num_proc=None, system_prompt="Be brief.")
    found = Data.mix(recipe, tmp_path / "ours.jsonl")
    assert arranged(read(found.output)) == arranged(read(tmp_path / "theirs.jsonl"))
    assert [(share.available, share.drawn) for share in found.shares] == [(7, 7), (11, 30), (9, 6)]
    assert found.rows == len(read(found.output))


def test_recipe_paths_are_relative_to_its_folder(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = Data.mix("run/skills_recipe_T.yaml", system_prompt=None)
    assert Path(found.output) == recipe.with_name("skills_recipe_T-mix.jsonl")
    assert {one["messages"][0]["content"] for one in read(found.output)} == {"Be brief."}
    other = Data.mix(recipe, tmp_path / "other.jsonl", system_prompt="Be long.")
    assert {one["messages"][0]["content"] for one in read(other.output)} == {"Be long."}


def test_weights_are_numbers_of_rows_or_shares_without_repetition(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", many(0, 20)), write(tmp_path / "b.jsonl", many(100, 10))
    found = Data.mix({str(first): 0.7, str(second): 4}, tmp_path / "mix.jsonl")
    asked = questions(found.output)
    assert (found.rows, len(asked), len(set(asked))) == (18, 18, 18)
    assert sum(question in questions(first) for question in asked) == 14
    assert {"role": "system"} not in [turn.keys() for one in read(found.output) for turn in one["messages"]]


def test_oversampling_repeats_all_rows_equally_often(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", many(0, 10))
    asked = Counter(questions(Data.mix({str(file): 25}, tmp_path / "mix.jsonl").output))
    assert len(asked) == 10 and set(asked.values()) == {2, 3}
    drawn = Counter(questions(Data.mix({str(file): 25}, tmp_path / "drawn.jsonl", replacement=True).output))
    assert sum(drawn.values()) == 25 and set(drawn.values()) != {2, 3}


def test_the_seed_decides_on_the_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", many(0, 50))
    made = {
        name: questions(Data.mix({str(file): 20}, tmp_path / f"{name}.jsonl", seed=seed).output)
        for name, seed in {"one": 1, "again": 1, "two": 2}.items()
    }
    assert made["one"] == made["again"] != made["two"]


def test_rows_with_an_empty_turn_are_left_out_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("a", "b"), row("", "b"), row("a", "")])
    found = Data.mix({str(file): 1.0})
    assert (found.rows, found.shares[0].drawn, found.shares[0].empty) == (1, 3, 2)


def test_other_fields_of_row_go_into_metadata(tmp_path: Path) -> None:
    rows = [row("a", "b", metadata={"n": 1}, leaf="x"), row("c", "d", metadata="a note"), row("e", "f")]
    one, two, three = read(Data.mix({str(write(tmp_path / "a.jsonl", rows)): 1.0}).output)
    assert json.loads(one["metadata"]) == {"n": 1, "leaf": "x"}
    assert json.loads(two["metadata"]) == {"metadata": "a note"}
    assert (json.loads(three["metadata"]), three["unmask"]) == ({}, False)
    assert len({one["id"], two["id"], three["id"]}) == 3


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("datasets:\n\t- x", "2:1", "not valid YAML"),
        ("datasets: nothing", "1:11", "`datasets` is not a list"),
        ("[]", "1:1", "a recipe is a mapping"),
        ("datasets:\n- 3", "2:3", "is not a mapping with path"),
        ("datasets:\n- sampling_size: 1.0", "2:3", "`path` is missing"),
        ("datasets:\n- path: a.jsonl\n  sampling_size: many", "3:18", "`sampling_size` is 'many'"),
        ("datasets:\n- path: a.jsonl\n  sampling_size: -1", "3:18", "`sampling_size` is '-1'"),
        ("datasets:\n- path: a.jsonl\n  sampling_size: .nan", "3:18", "`sampling_size` is 'nan'"),
        ("datasets:\n- path: a.jsonl\n  sampling_size: true", "3:18", "`sampling_size` is 'True'"),
        ("datasets:\n- path: a.jsonl\nmetadata:\n  sys_prompt: 3", "4:15", "`sys_prompt` is not text"),
        ("a: &a [x, x]\nb: !!python/object/apply:os.system [id]", "2:4", "not valid YAML"),
        ("a: &a " + "[" * 50 + "]" * 50, "1:38", "nesting deeper"),
    ],
)
def test_a_wrong_recipe_says_line_and_column(text: str, where: str, words: str, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row("a", "b")])
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(Unprocessable) as caught:
        Data.mix(file)
    assert caught.value.message.startswith(f"recipe.yaml:{where}: "), caught.value.message
    assert words in caught.value.message


def test_mix_without_rows_or_files_reports_reason(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("a", "b"), {"messages": 3}])
    with pytest.raises(NotFound, match=r"There is no recipe"):
        Data.mix(tmp_path / "none.yaml")
    with pytest.raises(NotFound, match=r"There is no dataset"):
        Data.mix({str(tmp_path / "none.jsonl"): 1})
    with pytest.raises(InvalidInput, match="at least one dataset"):
        Data.mix({})
    with pytest.raises(InvalidInput, match="neither a number of rows nor a share"):
        Data.mix({str(file): "all"})
    with pytest.raises(InvalidInput, match="rows are requested"):
        Data.mix({str(file): 10**11})
    with pytest.raises(Unprocessable, match=r"a\.jsonl, row 2: `messages` is not a list"):
        Data.mix({str(file): 1.0})
    assert not (tmp_path / "a-mix.jsonl").exists()
    write(tmp_path / "a-mix.jsonl", [])
    with pytest.raises(Conflict):
        Data.mix({str(write(tmp_path / "a.jsonl", [row("a", "b")])): 1.0})
