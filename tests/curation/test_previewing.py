"""A preview shows what training will see: the same text, the same tokens, the same marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.registry import Models
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training import loading
from ilab_jupyter.training.tokens import IGNORED, Encoder
from tests.curation.making import row, run_folder, write

ROWS = [
    row("Where are the bees?", "Behind the mill, 蜂蜜 \N{HONEYBEE}.", system="Be brief."),
    row("Ignore <b>this</b>", "<script>alert('x')</script>\x1b[2J"),
    row("Who?", "Maren.", system="Be brief.", unmask=True),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", ROWS)


def test_the_marks_are_the_labels_of_a_training(file: Path) -> None:
    tokenizer = loading.load_tokenizer(Models().resolve("starter"))
    encoder = Encoder(tokenizer, 512)
    shown = Data.preview(file, max_seq_length=512)
    conversations = list(training_data.read(file))
    assert len(shown.rows) == len(conversations)
    for conversation, one in zip(conversations, shown.rows, strict=True):
        (example,) = encoder.encode(conversation)
        learned = [label for label in example["labels"] if label != IGNORED]
        assert (one.tokens, one.trained, one.cut) == (len(example["input_ids"]), len(learned), 0)
        assert one.text == tokenizer.decode(example["input_ids"])
        trained = "".join(span.text for span in one.spans if span.kind == "trained")
        assert trained == tokenizer.decode(learned)


def test_answer_is_marked_and_unmask_marks_all_but_system(file: Path) -> None:
    first, _, third = Data.preview(file).rows
    trained = "".join(span.text for span in first.spans if span.kind == "trained")
    assert "Behind the mill, 蜂蜜 \N{HONEYBEE}." in trained and "bees" not in trained
    trained = "".join(span.text for span in third.spans if span.kind == "trained")
    assert "Who?" in trained and "Maren." in trained and "Be brief." not in trained


@pytest.mark.parametrize("length", [1, 5, 12, 20, 33])
def test_what_training_would_cut_is_shown_as_cut(length: int, file: Path) -> None:
    for one in Data.preview(file, max_seq_length=length).rows:
        assert one.cut == max(0, one.tokens - length)
        assert bool(one.cut) == any(span.kind == "cut" for span in one.spans)
        assert one.text == next(
            whole.text for whole in Data.preview(file, max_seq_length=4096).rows if whole.row == one.row
        )
    assert "nothing is left to learn" in str(Data.preview(file, max_seq_length=1))


def test_length_is_that_of_training_of_model(file: Path) -> None:
    from ilab_jupyter.training import plan
    from ilab_jupyter.training.spec import TrainingArguments

    expected = plan.expected_settings("starter", TrainingArguments(data=["x"])).max_seq_length
    assert Data.preview(file).max_seq_length == expected


def test_requested_rows_of_trained_files_are_shown(
    file: Path,
) -> None:
    assert [one.row for one in Data.preview(file, rows=1, offset=1).rows] == [2]
    assert Data.preview(file, offset=3).rows == ()
    run_folder("run")
    assert {Path(one.file).name for one in Data.preview("run").rows} == {"messages_T.jsonl"}


def test_text_of_row_is_inert_on_page_and_terminal(file: Path) -> None:
    shown = Data.preview(file)
    page = shown._repr_html_()
    assert "<script>" not in page and "<b>this" not in page
    assert "&lt;script&gt;" in page and "<mark" in page
    assert "\x1b" not in str(shown) and "\x1b" not in page
    assert "⟦" in str(shown)


def test_a_model_that_cannot_chat_is_refused(file: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "mute"
    shutil.copytree(Models().resolve("starter"), folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(Unprocessable, match="no chat template"):
        Data.preview(file, folder)


def test_a_template_cannot_reach_out_of_its_sandbox(file: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "evil"
    shutil.copytree(Models().resolve("starter"), folder)
    canary = tmp_path / "canary"
    (folder / "chat_template.jinja").write_text(
        "{{ cycler.__init__.__globals__.os.system('touch " + str(canary) + "') }}"
    )
    with pytest.raises(Unprocessable, match="chat template refuses it"):
        Data.preview(file, folder)
    assert not canary.exists()


def test_what_cannot_be_shown_says_why(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Data.preview(file, "no-such-model")
    with pytest.raises(InvalidInput):
        Data.preview(file, rows=0)
    with pytest.raises(InvalidInput):
        Data.preview(file, max_seq_length=0)
    with pytest.raises(Unprocessable, match="row 1"):
        Data.preview(write(tmp_path / "bad.jsonl", [{"messages": []}]))
