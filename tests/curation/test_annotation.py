"""Judging rows: each verdict is kept at once, outlives a crash, and becomes data that TRL trains on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unprocessable
from tests.curation.making import read, row, run_folder, write

ROWS = [
    row("Where are the bees?", "Behind the mill.", system="Be brief."),
    row("How deep is the well?", "Two ropes."),
    row("Whose boat is red?", "Selda's."),
    row("Whose boat is red?", "Maren's."),
    row("Who?", "I do not know."),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", ROWS)


def judged(file: Path) -> Any:
    """A session in which every kind of verdict stands."""
    annotations = Data.annotate(file)
    annotations.accept(0, by="maren")
    annotations.reject(1, better="Nine ropes.", by="maren", note="measured")
    annotations.accept(2)
    annotations.reject(3)
    annotations.skip(4)
    return annotations


def test_rows_come_one_after_the_other_until_all_are_judged(file: Path) -> None:
    with Data.annotate(file) as annotations:
        assert (len(annotations), annotations.progress.open) == (5, 5)
        seen = []
        for item in annotations:
            seen.append((item.row, item.system, item.question, item.answer))
            annotations.accept(item, by="maren")
        assert seen[:2] == [
            (1, "Be brief.", "Where are the bees?", "Behind the mill."),
            (2, "", "How deep is the well?", "Two ropes."),
        ]
        assert (annotations.next(), annotations.progress.accepted, len(list(annotations))) == (None, 5, 0)
        assert str(annotations.progress) == "5 of 5 rows judged: 5 accepted, 0 rejected, 0 skipped"


def test_session_continues_previous_one_and_verdict_can_change(file: Path) -> None:
    judged(file).close()
    with Data.annotate(file) as annotations:
        verdict = annotations[1].verdict
        assert verdict and (verdict.judgement, verdict.better, verdict.by) == (
            "rejected",
            "Nine ropes.",
            "maren",
        )
        assert verdict.note == "measured" and verdict.at.tzinfo is not None
        assert annotations.progress.open == 0
        annotations.undo(1)
        annotations.accept(3)
        assert [item.number for item in annotations] == [1]
    with Data.annotate(file) as annotations:
        assert [item.number for item in annotations] == [1]
        assert (annotations.progress.accepted, annotations.progress.skipped) == (3, 1)


def test_verdicts_belong_to_content_of_row(file: Path, tmp_path: Path) -> None:
    judged(file).close()
    write(file, [row("A new one?", "Yes."), *reversed(ROWS)])
    with Data.annotate(file) as annotations:
        assert [item.question for item in annotations] == ["A new one?"]


def test_every_verdict_that_was_answered_outlives_a_kill(file: Path) -> None:
    script = (
        "import sys, os, signal\nfrom ilab_jupyter.core import Data\n"
        f"annotations = Data.annotate({str(file)!r})\n"
        "for item in annotations:\n"
        "    annotations.reject(item, better='Better ' + item.question)\n"
        "    print(item.number, flush=True)\n"
        "    if item.number == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    with Data.annotate(file) as annotations:
        assert [item.number for item in annotations] == [3, 4]
        assert annotations[2].verdict and annotations[2].verdict.better == "Better Whose boat is red?"


@pytest.mark.parametrize("lost", [1, 5, 40, 200])
def test_a_line_that_a_crash_cut_off_is_taken_away(lost: int, file: Path) -> None:
    annotations = judged(file)
    annotations.close()
    whole = annotations.path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    annotations.path.write_bytes(whole[:-lost] if lost < len(last) else whole[: -len(last)] + last[:1])
    with Data.annotate(file) as again:
        assert [item.number for item in again] == [4]
        again.skip(4)
    assert len(read(annotations.path)) == 5


def test_file_that_is_not_session_is_unchanged(file: Path, tmp_path: Path) -> None:
    for content in ("my notes", "my notes\n", '{"row": "x"}\n', "\n"):
        notes = tmp_path / "notes.txt"
        notes.write_text(content)
        with pytest.raises(Unprocessable, match=r"notes\.txt, row 1: it is no verdict"):
            Data.annotate(file, notes)
        assert notes.read_text() == content
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl is the data"):
        Data.annotate(file, file)


def test_one_session_has_the_file_at_a_time(file: Path) -> None:
    first = Data.annotate(file)
    with pytest.raises(Conflict, match="Somebody is judging"):
        Data.annotate(file)
    first.close()
    with Data.annotate(file) as second:
        assert second.progress.open == 5
    with pytest.raises(Conflict, match="session is closed"):
        second.accept(0)


def test_rows_that_say_the_same_are_judged_once(tmp_path: Path) -> None:
    with Data.annotate(write(tmp_path / "a.jsonl", [ROWS[0], ROWS[0]])) as annotations:
        assert len(annotations) == 1


def test_what_cannot_be_judged_says_why(file: Path) -> None:
    with Data.annotate(file) as annotations:
        with pytest.raises(InvalidInput, match="There is no row 5"):
            annotations.accept(5)
        with pytest.raises(InvalidInput, match="better answer is the rejected one"):
            annotations.reject(1, better=" Two  ropes.")
        for better in ("  ", "half \ud800"):
            with pytest.raises(InvalidInput, match="cannot be learned"):
                annotations.reject(1, better=better)
        with pytest.raises(InvalidInput, match="better: String should have at most"):
            annotations.reject(1, better="x" * 1_000_001)
        with pytest.raises(Unprocessable, match="None of 0 judged rows gives a row for dpo"):
            annotations.export()
        with pytest.raises(InvalidInput, match="no format 'csv'"):
            annotations.export(format="csv")  # type: ignore[arg-type]
        assert annotations.progress.open == 5
    with pytest.raises(NotFound):
        Data.annotate("nothing-there")


def test_pair_is_better_answer_or_two_answers_to_prompt(file: Path) -> None:
    found = judged(file).export(format="dpo")
    assert (found.rows, found.judged) == (2, 4)
    well, boat = read(found.output)
    assert well == {
        "prompt": [{"role": "user", "content": "How deep is the well?"}],
        "chosen": [{"role": "assistant", "content": "Nine ropes."}],
        "rejected": [{"role": "assistant", "content": "Two ropes."}],
    }
    assert (boat["chosen"][0]["content"], boat["rejected"][0]["content"]) == ("Selda's.", "Maren's.")


def test_single_verdicts_are_unpaired_preferences_and_good_answers_are_messages(file: Path) -> None:
    annotations = judged(file)
    kto = read(annotations.export(format="kto").output)
    assert [(one["completion"][0]["content"], one["label"]) for one in kto] == [
        ("Behind the mill.", True),
        ("Two ropes.", False),
        ("Nine ropes.", True),
        ("Selda's.", True),
        ("Maren's.", False),
    ]
    assert kto[0]["prompt"][0] == {"role": "system", "content": "Be brief."}
    found = annotations.export(format="sft")
    assert Data.validate(found.output).ok
    answers = [one["messages"][-1]["content"] for one in read(found.output)]
    assert answers == ["Behind the mill.", "Nine ropes.", "Selda's."]
    with pytest.raises(Conflict):
        annotations.export(format="sft")
    assert annotations.export(format="sft", overwrite=True).rows == 3


def test_trl_takes_the_exported_data_as_conversational_preferences(file: Path, tmp_path: Path) -> None:
    from datasets import load_dataset  # type: ignore[import-untyped]
    from trl.data_utils import apply_chat_template, is_conversational

    from ilab_jupyter.registry import Models
    from ilab_jupyter.training import loading

    annotations = judged(file)
    tokenizer = loading.load_tokenizer(Models().resolve("starter"))
    for form, fields in {
        "dpo": ("prompt", "chosen", "rejected"),
        "kto": ("prompt", "completion", "label"),
    }.items():
        output = annotations.export(format=form).output
        data = load_dataset("json", data_files=output, split="train", cache_dir=str(tmp_path / "cache"))
        assert set(data.column_names) == set(fields)
        for one in data:
            assert is_conversational(one)
            made = apply_chat_template(one, tokenizer)
            assert all(isinstance(made[field], str) for field in fields if field != "label")
            assert one["prompt"][-1]["content"] in made["prompt"]


def test_verdicts_are_stored_outside_of_run_folder() -> None:
    folder = run_folder("run")
    with Data.annotate("run") as annotations:
        assert annotations.path == folder.parent / "run-annotations.ndjson"
        annotations.accept(0)
        assert Path(annotations.export(format="sft").output).parent == folder.parent
    assert [json.loads(line)["judgement"] for line in annotations.path.read_text().splitlines()] == [
        "accepted"
    ]


def test_text_of_row_is_escaped_on_page_and_terminal(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [row("<script>x</script>", "<img src=x onerror=y>\x1b[2J")])
    with Data.annotate(file) as annotations:
        annotations.reject(0, better="<b>better</b>")
        item = annotations[0]
    page = item._repr_html_()
    assert not [part for part in ("<script>", "<img", "<b>better") if part in page]
    assert "\x1b" not in str(item)
    assert "+ <b>better</b>" in str(item)


def test_read_only_folder_is_reported(file: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/none/state.ndjson")
    else:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        target = closed / "state.ndjson"
    from ilab_jupyter.errors import Unavailable

    with pytest.raises(Unavailable, match="cannot be written"):
        Data.annotate(file, target)
