"""One damaged model or dataset is listed with its reason and hides no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.registry.entries import ModelEntry

Make = Callable[..., Path]


def header(text: str) -> bytes:
    """A safetensors file with this text as its header and no data."""
    raw = text.encode()
    return len(raw).to_bytes(8, "little") + raw


def listed(name: str) -> ModelEntry:
    """The entry of one model, after every entry was written as JSON, as the server does."""
    entries = Models().list(damaged=True)
    assert "whole" in [entry.name for entry in entries if not entry.problem]
    assert all(entry.model_dump_json() for entry in entries)
    return next(entry for entry in entries if entry.name == name)


@pytest.mark.parametrize(
    "lineage",
    [
        '{"base": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"loss": NaN}',
        '{"loss": 1e999}',
        '{"a": ' * 300 + "1" + "}" * 300,
        "[" * 100_000,
        '{"seed": ' + "9" * 5000 + "}",
        "[]",
        "\ufeff{}",
    ],
)
def test_model_with_damaged_lineage_is_listed_with_reason(make_model: Make, lineage: str) -> None:
    make_model(paths.models_dir() / "whole")
    folder = make_model(paths.models_dir() / "damaged")
    (folder / "ilab-lineage.json").write_text(lineage, "utf-8")
    entry = listed("damaged")
    assert "ilab-lineage.json" in entry.problem
    assert (entry.lineage, entry.parameters) == ({}, 32)
    assert Models().resolve("damaged") == folder


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["\ud800"]},
        {"architectures": [{"a": 1}]},
        {"architectures": None, "model_type": "\udc00"},
        {"extra": "\ud800"},
        {"architectures": [7]},
    ],
)
def test_model_with_damaged_configuration_is_listed_with_reason(
    make_model: Make, config: dict[str, object]
) -> None:
    make_model(paths.models_dir() / "whole")
    folder = make_model(paths.models_dir() / "damaged")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    assert "config.json" in listed("damaged").problem
    assert "damaged" not in [entry.name for entry in Models().list()]
    with pytest.raises(Unprocessable, match=r"config\.json"):
        Models().resolve("damaged")


@pytest.mark.parametrize(
    "shape",
    ["[Infinity]", "[NaN]", "[1e400]", "[-1]", '["4"]', "[true]", "4", "[[4]]", "[0.5]", "[9e9]"],
)
def test_model_with_impossible_shape_is_listed_with_reason(make_model: Make, shape: str) -> None:
    make_model(paths.models_dir() / "whole")
    folder = make_model(paths.models_dir() / "damaged")
    (folder / "model.safetensors").write_bytes(
        header(f'{{"w": {{"dtype": "F32", "shape": {shape}, "data_offsets": [0, 0]}}}}')
    )
    assert "model.safetensors" in listed("damaged").problem


def test_adapter_with_damaged_base_is_listed_with_reason(make_model: Make, make_adapter: Make) -> None:
    make_model(paths.models_dir() / "whole")
    make_adapter(paths.models_dir() / "damaged", base_model_name_or_path="\ud800")
    entry = listed("damaged")
    assert entry.kind == "adapter" and "surrogate" in entry.problem


def test_configuration_with_infinity_is_accepted(make_model: Make) -> None:
    make_model(paths.models_dir() / "mamba", time_step_limit=[0.0, float("inf")])
    assert Models().get("mamba").problem == ""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"\\ud800"', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
        ('{"a": ["\\uDFFF"]}', "surrogate"),
        ("[" * 300 + "]" * 300, "nested"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested"),
        ("[" * 100_000, "nested"),
        ("1e999", "out of range"),
        ('{"a": -1e999}', "out of range"),
        ('{"a": Infinity}', "Infinity"),
        ("9" * 5000, "digits"),
    ],
)
def test_row_that_cannot_be_sent_has_problem(row: str, reason: str) -> None:
    paths.datasets_dir().mkdir(parents=True)
    lines = ['{"a": 1}', row, '{"b": "\\ud83d\\ude00"}', "[" * 100 + "]" * 100, "1" + "0" * 400]
    (paths.datasets_dir() / "mine.jsonl").write_text("\n".join(lines) + "\n")
    found = Datasets().preview("mine.jsonl", "mine.jsonl")
    assert [bool(one.problem) for one in found.rows] == [False, True, False, False, False]
    assert reason in found.rows[1].problem
    assert json.loads(found.model_dump_json())["rows"][2]["value"] == {"b": "\U0001f600"}
    assert Datasets().list()[0].files[0].rows == 5


def test_dataset_with_damaged_lineage_hides_no_other() -> None:
    for name in ("one", "two"):
        (paths.datasets_dir() / name).mkdir(parents=True)
        (paths.datasets_dir() / name / "messages_a.jsonl").write_text('{"messages": []}\n')
    (paths.datasets_dir() / "two" / "ilab-lineage.json").write_text('{"teacher": "\\ud800"}')
    found = {entry.name: entry for entry in Datasets().list()}
    assert all(entry.model_dump_json() for entry in found.values())
    assert found["one"].problem == "" and "surrogate" in found["two"].problem


def test_unreadable_dataset_file_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (paths.datasets_dir() / name).mkdir(parents=True)
        (paths.datasets_dir() / name / "messages_a.jsonl").write_text('{"messages": []}\n')
    unreadable = paths.datasets_dir() / "two" / "messages_a.jsonl"
    opened = Path.open

    def refuse(path: Path, *args: object, **more: object) -> object:
        # The tests may run as root, who may read any file.
        if path == unreadable:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refuse)
    found = {entry.name: entry for entry in Datasets().list()}
    assert found["two"].problem == "messages_a.jsonl: It cannot be read: Permission denied."
    newest = Datasets().newest()
    assert newest is not None and newest.name == "one"
