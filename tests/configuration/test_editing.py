"""Changing one value leaves all other bytes of the file unchanged."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml as yaml_1_1
from hypothesis import given, settings
from hypothesis import strategies as st

from ilab_jupyter.configuration import editing, keys
from ilab_jupyter.configuration.document import Document
from ilab_jupyter.core import Config
from ilab_jupyter.errors import Conflict, InvalidInput

UPSTREAM = Path(__file__).with_name("config.yaml")


def difference(before: str, after: str) -> list[str]:
    """The lines that are gone, with -, and those that are new, with +."""
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


ONE_LINE: dict[str, tuple[Any, str]] = {
    "train.num_epochs": (3, "  num_epochs: 3             # 10 was too many"),
    "train.device": ("cpu", "  device: cpu"),
    "train.additional_args.learning_rate": (0.0001, "    learning_rate: 0.0001     # the paper's"),
    "train.additional_args.our_own_switch": ("off", "    our_own_switch: 'off'"),
    "train.is_padding_free": (False, "  is_padding_free: false"),
    "chat.context": ("cli_helper", "  context: cli_helper          # or cli_helper"),
    "chat.max_tokens": (256, "  max_tokens: 256"),
    "chat.session": ("/srv/a session.yaml", "  session: /srv/a session.yaml"),
    "chat.temperature": (1.0, "  temperature: 1.0"),
    "evaluate.base_model": ("ours", '  base_model: "ours"   # in double quotes, for no reason'),
    "evaluate.dk_bench.judge_model": ("it's ours", "    judge_model: 'it''s ours'"),
    "evaluate.dk_bench.input_questions": ("q.jsonl", "    input_questions: q.jsonl"),
    "evaluate.mmlu.few_shots": (0, "  mmlu: {batch_size: auto, few_shots: 0}"),
    "evaluate.mmlu.batch_size": (16, "  mmlu: {batch_size: 16, few_shots: 5}"),
    "general.log_format": ("%(message)s", '  log_format: "%(message)s"'),
    "generate.teacher.model_path": ("/srv/other", "    model_path: /srv/other"),
    "generate.teacher.vllm.vllm_args": (["--dtype", "auto"], "      vllm_args: [--dtype, auto]"),
    "physics.room": ("B 114", "  room: B 114"),
    "physics.__proto__.polluted": (True, "  __proto__: {polluted: true}"),
}


@pytest.mark.parametrize("key", ONE_LINE)
def test_one_value_is_one_line(key: str) -> None:
    value, line = ONE_LINE[key]
    before = UPSTREAM.read_text(encoding="utf-8")
    after = keys.changed(Document.parse(before), key, value).text
    changed = difference(before, after)
    assert len(changed) == 2 and changed[1] == f"+{line}"
    assert Config(Document.parse(after).contents).get(key) == value


def test_rewriting_every_value_leaves_file_unchanged() -> None:
    """What is read and written back says the same, and touches at most its own line."""
    document = Document.read(UPSTREAM.read_bytes())
    assert document.encoded() == UPSTREAM.read_bytes()
    config = Config.load(UPSTREAM)
    for key in ONE_LINE:
        again = keys.changed(document, key, config[key])
        assert again.contents == document.contents
        assert len(difference(document.text, again.text)) in (0, 2)


def test_lists_keep_their_form() -> None:
    before = "a:\n- x\n- y   # why\nb: [1, 2]\nc:\n  - z\n\n# d\nd: 1\n"
    document = Document.parse(before)
    assert editing.changed(document, ["a"], ["p", "q", "r"]).text == before.replace(
        "- x\n- y", "- p\n- q\n- r"
    )
    assert editing.changed(document, ["b"], [3]).text == before.replace("[1, 2]", "[3]")
    assert editing.changed(document, ["c"], []).text == before.replace("c:\n  - z", "c: []")


def test_new_key_is_appended_to_its_section() -> None:
    before = "# top\ntrain:\n  device: cpu # here\n  # a remark\n\n# on serving\nserve: {backend: vllm}\n"
    document = Document.parse(before)
    at_home = keys.changed(document, "train.num_epochs", 3).text
    assert difference(before, at_home) == ["+  num_epochs: 3"]
    assert at_home.split("\n")[3] == "  num_epochs: 3"
    within = keys.changed(document, "serve.server.port", 9).text
    assert difference(before, within)[1] == "+serve: {backend: vllm, server: {port: 9}}"
    section = keys.changed(document, "rag.retriever.top_k", 9).text
    assert difference(before, section) == ["+rag:", "+  retriever:", "+    top_k: 9"]


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a remark", "---\n", "{}\n", "train:\n", "train: ~ # none\n"]
)
def test_first_value_is_added_to_empty_file(text: str) -> None:
    after = keys.changed(Document.parse(text), "train.num_epochs", 3).text
    assert Config(Document.parse(after).contents)["train.num_epochs"] == 3
    assert ("remark" in text) == ("remark" in after) and ("none" in text) == ("# none" in after)


def test_multi_line_text_is_replaced_by_one_line() -> None:
    before = "chat:\n  context: |\n    one\n    two\n\n  # on the model\n  model: >-\n    a\n    b\nrag: {}\n"
    document = Document.parse(before)
    after = keys.changed(document, "chat.context", "default").text
    assert after == before.replace("|\n    one\n    two", "default")
    assert keys.changed(document, "chat.model", "m").text == before.replace(">-\n    a\n    b", "m")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("generate: {model: &m a}\nchat: {model: *m}\n", "generate.model"),
        ("generate:\n  teacher: &t {model_path: a}\nserve: *t\n", "serve.model_path"),
        ("serve: &s\n  model_path: a\ngenerate:\n  teacher: *s\n", "serve.model_path"),
    ],
)
def test_value_shared_by_alias_is_not_changed(text: str, key: str) -> None:
    with pytest.raises(Conflict, match="tied to other values"):
        keys.changed(Document.parse(text), key, "b")


def test_alias_and_merge_are_replaced_by_own_value() -> None:
    alias = "generate: {model: &m a}\nchat:\n  model: *m  # the same\n"
    assert keys.changed(Document.parse(alias), "chat.model", "b").text == alias.replace("*m", "b")
    merge = "generate:\n  teacher: &t\n    model_path: a\nserve:\n  <<: *t\n  backend: vllm\n"
    after = keys.changed(Document.parse(merge), "serve.model_path", "b")
    assert after.text == f"{merge}  model_path: b\n"
    assert (
        after.contents["serve"]["model_path"] == "b"
        and after.contents["generate"]["teacher"]["model_path"] == "a"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encoding_and_line_ends_are_kept(encoding: str, newline: str) -> None:
    text = newline.join(["# größer", "train:", "  num_epochs: 3  # drei", "chat:", "  context: ä", ""])
    document = Document.read(text.encode(encoding))
    assert document.encoded() == text.encode(encoding)
    changed = keys.changed(document, "train.num_epochs", 4)
    added = keys.changed(changed, "train.device", "cuda")
    expected = text.replace("epochs: 3  # drei", f"epochs: 4  # drei{newline}  device: cuda")
    assert added.encoded() == expected.encode(encoding)


def test_invalid_value_is_refused_with_the_reason() -> None:
    document = Document.read(UPSTREAM.read_bytes())
    for key, value, said in (
        ("train.num_epochs", 0, "greater than 0"),
        ("train.num_epochs", None, "valid integer"),
        ("train.additional_args.learning_rate", float("nan"), "finite"),
        ("train", 3, "is a section"),
        ("train.num_epochs", object(), "cannot be written"),
        ("train.num_epoch", 3, "no key"),
        ("train.num_epochs.x", 3, "no key"),
        ("", 3, "no key"),
    ):
        with pytest.raises(InvalidInput, match=said):
            keys.changed(document, key, value)


def test_a_number_given_as_text_is_written_as_a_number() -> None:
    changed = keys.changed(Document.read(UPSTREAM.read_bytes()), "train.num_epochs", "12")
    assert changed.contents["train"]["num_epochs"] == 12


SMALL = "# ours\nphysics:\n  room: B 113   # upstairs\n  floor: {number: 1}\ntrain:\n  num_epochs: 8\n"
small = Document.parse(SMALL)
texts = st.text(max_size=40).filter(lambda text: text.isprintable() or "\n" in text or "\t" in text)
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values = scalars | st.lists(scalars, max_size=4) | st.dictionaries(texts, scalars, max_size=3)
names = st.sampled_from(["room", "floor", "__proto__", "on", "1", "a: b", "- x", "#"])


@settings(max_examples=200, deadline=None)
@given(name=names, value=values)
def test_get_returns_the_value_that_was_set(name: str, value: Any) -> None:
    """Any value at any key comes back the same, in YAML 1.1 too, and nothing else has changed."""
    document = small
    changed = editing.changed(document, ["physics", name], value)
    assert changed.contents["physics"][name] == value
    assert {**changed.contents, "physics": document.contents["physics"]} == document.contents
    assert {**changed.contents["physics"], name: None} == {**document.contents["physics"], name: None}
    assert yaml_1_1.safe_load(changed.text)["physics"][name] == value


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["room", "floor"]), scalars), min_size=1, max_size=5))
def test_undoing_many_changes_restores_the_file(moves: list[tuple[str, Any]]) -> None:
    first = Document.parse(SMALL.replace("{number: 1}", "ground"))
    document = first
    for name, value in moves:
        document = editing.changed(document, ["physics", name], value)
    for name in ("room", "floor"):
        document = editing.changed(document, ["physics", name], first.contents["physics"][name])
    assert document.contents == first.contents
    assert document.text.replace("'", "").replace('"', "") == first.text
