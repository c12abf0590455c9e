"""Of rows that say the same, the first stays; nothing that says something else is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.curation.similarity import PERMUTATIONS, Buckets, bands
from ilab_jupyter.curation.text import jaccard, shingles, words
from ilab_jupyter.errors import Conflict, InvalidInput, Unprocessable
from tests.curation.making import questions, read, row, run_folder, write

DOCUMENT = " ".join(f"word{position}" for position in range(300)) + ".\n\n"
LONG = "The ferry leaves from the old harbour after the second bell on every day but Sunday in winter"


def test_first_of_equal_rows_stays_and_report_names_duplicates(tmp_path: Path) -> None:
    rows = [
        row("Where are bees?", "Behind the mill."),
        row("Who?", "Maren."),
        row("Where  are\nbees?", "Behind the mill. "),
    ]
    file = write(tmp_path / "a.jsonl", rows)
    before = file.read_bytes()
    found = Data.dedup(file)
    assert (found.rows, found.kept, found.exact, found.near) == (3, 2, 1, 0)
    assert Path(found.output) == tmp_path / "a-dedup.jsonl"
    assert Path(found.output).read_bytes() == b"".join(before.splitlines(keepends=True)[:2])
    (told,) = read(found.report)
    assert (told["kind"], told["row"], told["kept_row"], told["score"]) == ("exact", 3, 1, 1.0)
    assert file.read_bytes() == before


def test_threshold_decides_which_rows_are_near_duplicates(tmp_path: Path) -> None:
    changed = LONG.replace("Sunday", "Monday")
    file = write(tmp_path / "a.jsonl", [row("When does it go?", LONG), row("When does it go?", changed)])
    score = jaccard(shingles(words(LONG), 3), shingles(words(changed), 3))
    assert 0.5 < score < 0.8
    assert Data.dedup(file, tmp_path / "1.jsonl").kept == 2
    found = Data.dedup(file, tmp_path / "2.jsonl", threshold=score - 0.01)
    assert (found.kept, found.near, found.duplicates[0].score) == (1, 1, round(score, 4))


def test_case_and_punctuation_count_for_exact_duplicates_only(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("Shout: hello!", "HELLO"), row("shout hello", "hello")])
    assert Data.dedup(file, tmp_path / "1.jsonl", threshold=None).kept == 2
    assert Data.dedup(file, tmp_path / "2.jsonl").near == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (row(DOCUMENT + "Who built it?", "Masons."), row(DOCUMENT + "When was it built?", "In spring.")),
        (row("Who built the tower?", LONG), row("Why did they leave?", LONG)),
        (
            row("Is this kind: you are great\n\nYes or no?", "Yes"),
            row("Is this kind: go away\n\nYes or no?", "Yes"),
        ),
        (row(f"{LONG} and it costs 12 coins?", "Yes"), row(f"{LONG} and it costs 13 coins?", "Yes")),
        (row("Who?", "Maren."), row("Who?", "Maren.", unmask=True)),
        (row("蜂はどこにいますか", "水車の裏です"), row("船はどこにいますか", "港にあります")),
    ],
    ids=[
        "another question to one document",
        "another question",
        "another context",
        "other numbers",
        "unmask",
        "kana",
    ],
)
def test_rows_that_say_something_else_are_both_kept(
    one: dict[str, object], other: dict[str, object], tmp_path: Path
) -> None:
    assert Data.dedup(write(tmp_path / "a.jsonl", [one, other])).kept == 2


def test_near_rows_are_found_in_any_script(tmp_path: Path) -> None:
    japanese = "水車の裏で蜂を飼っている人は誰ですかと彼女は毎年春に尋ねました"
    file = write(tmp_path / "a.jsonl", [row(japanese, "マレン。"), row(japanese + "。", "マレン")])
    assert Data.dedup(file).near == 1


def test_nearly_all_near_pairs_of_many_rows_are_found(tmp_path: Path) -> None:
    """Against the comparison of every pair, which is the definition."""
    chance = random.Random(7)
    vocabulary = [f"w{chr(97 + position % 26)}{chr(97 + position // 26)}" for position in range(400)]
    originals = [[chance.choice(vocabulary) for _ in range(40)] for _ in range(120)]
    rows = [row("Tell it", " ".join(told)) for told in originals]
    for told in originals:
        copy = list(told)
        copy[chance.randrange(40)] = "changed"
        rows.append(row("Tell it", " ".join(copy)))
    sets = [shingles(words(one["messages"][1]["content"]), 3) for one in rows]
    expected = sum(
        any(jaccard(sets[later], sets[earlier]) >= 0.8 for earlier in range(later))
        for later in range(len(rows))
    )
    found = Data.dedup(write(tmp_path / "a.jsonl", rows))
    assert expected == 120
    assert found.near >= 0.9 * expected
    assert found.kept + found.near == len(rows)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_the_bands_find_nine_of_ten_pairs_at_any_threshold(threshold: float) -> None:
    number, width = bands(threshold)
    assert number * width <= PERMUTATIONS
    assert 1 - (1 - threshold**width) ** number >= 0.9


def test_buckets_give_each_candidate_once_and_strangers_seldom() -> None:
    buckets = Buckets(0.8)
    same = shingles(words(LONG), 3)
    for _ in range(3):
        buckets.add(buckets.keys(same))
    buckets.add(buckets.keys(shingles(words("something else entirely is said in this one"), 3)))
    assert sorted(buckets.candidates(buckets.keys(same))) == [0, 1, 2]
    assert list(buckets.candidates(buckets.keys(same, equal="other"))) == []


def test_run_is_deduplicated_across_files_into_new_dataset() -> None:
    folder = run_folder("run")
    write(folder / "skills_train_msgs_U.jsonl", [row("Who mends nets?", "Maren mends the nets.")])
    found = Data.dedup("run")
    assert Path(found.output) == folder.parent / "run-dedup.jsonl"
    assert questions(found.output) == ["Who mends nets?", "Rhyme with tree?", "Rhyme with log?"]
    assert Data.validate("run-dedup.jsonl").rows == 3
    # one file of the run: its result does not lie in the run, where training would read it too
    assert Path(Data.dedup(folder / "skills_train_msgs_T.jsonl").output).parent == folder.parent


def test_fields_and_bytes_of_a_row_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    turns = '[{"role":"user","content":"ä"},{"role":"assistant","content":"\\u00e4"}]'
    line = f'{{"id":7,  "messages":{turns}, "n": 1.50}}'
    file.write_text(f"{line}\r\n\n{line}\n", "utf-8")
    found = Data.dedup(file)
    assert Path(found.output).read_text("utf-8") == line + "\n"
    assert found.duplicates[0].row == 3


def test_overwriting_needs_argument_and_never_replaces_input(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("a", "b")])
    with pytest.raises(InvalidInput, match="is what is read"):
        Data.dedup(file, file, overwrite=True)
    Data.dedup(file)
    with pytest.raises(Conflict, match="exists already"):
        Data.dedup(file)
    assert Data.dedup(file, overwrite=True).kept == 1
    assert questions(file) == ["a"]


def test_a_wrong_row_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("a", "b"), {"messages": []}])
    with pytest.raises(Unprocessable, match=r"a\.jsonl, row 2"):
        Data.dedup(file)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["a.jsonl"]


@pytest.mark.parametrize("threshold", [0, -1, 1.1, float("nan")])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: float, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no similarity"):
        Data.dedup(write(tmp_path / "a.jsonl", [row("a", "b")]), threshold=threshold)


def test_the_page_shows_rows_as_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    found = Data.dedup(write(tmp_path / "a.jsonl", [row(evil, evil), row(evil, evil)]))
    assert found.exact == 1
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert json.loads(found.model_dump_json())["kept"] == 1
