"""Which models there are, how they are named and found, and what stays outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter import paths, starter
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError, Unprocessable
from ilab_jupyter.registry import Models

Make = Callable[..., Path]


def names(models: Models) -> list[str]:
    return [entry.name for entry in models.list() if not entry.builtin]


def test_a_folder_below_the_models_folder_is_a_model(make_model: Make) -> None:
    folder = make_model(paths.models_dir() / "small")
    (folder / "ilab-lineage.json").write_text('{"base": "starter", "seed": 7}')
    entry = Models().get("small")
    assert (entry.kind, entry.architecture, entry.parameters) == ("full", "LlamaForCausalLM", 32)
    assert entry.base == "starter"
    assert entry.lineage["seed"] == 7
    assert entry.size_bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert names(Models()) == ["small"]


def test_a_hub_download_is_listed_under_its_organisation(make_model: Make) -> None:
    folder = make_model(paths.models_dir() / "Some-Org" / "Model-1.5B")
    assert names(Models()) == ["Some-Org/Model-1.5B"]
    assert Models().resolve("Some-Org/Model-1.5B") == folder
    with pytest.raises(NotFound):
        Models().get("Some-Org")


def test_an_adapter_names_its_base(make_adapter: Make) -> None:
    make_adapter(paths.models_dir() / "tuned")
    entry = Models().get("tuned")
    assert (entry.kind, entry.base, entry.parameters) == ("adapter", "/models/base", 4)


def test_the_starter_is_listed_first_and_its_name_is_taken(make_model: Make) -> None:
    make_model(paths.models_dir() / "another")
    make_model(paths.models_dir() / "starter")
    listed = Models().list()
    assert (listed[0].name, listed[0].builtin) == ("starter", True)
    assert Models().resolve("starter") == starter.FOLDER
    assert Models().free_name("starter") == "starter-2"


def test_no_models_folder_is_no_models(tmp_path: Path) -> None:
    assert names(Models(tmp_path / "absent")) == []


def test_paths_and_hub_snapshots_are_models(
    make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "elsewhere")
    assert Models().resolve(folder) == folder
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    repository = tmp_path / "hf" / "hub" / "models--org--name"
    blobs = make_model(repository / "blobs")
    snapshot = repository / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    assert Models().resolve("org/name") == snapshot


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "..",
        ".",
        "",
        "a/../../outside",
        "small/",
        "/",
        "~",
        "~nobody-of-that-name/x",
        "a\0b",
        "..%2foutside",
        "a\\..\\outside",
        "-h",
        "x" * 300,
        "x" * 100_000,
        "name\nwith newline",
        "\N{RIGHT-TO-LEFT OVERRIDE}small",
        "small\N{COMBINING ACUTE ACCENT}",
    ],
)
def test_a_name_cannot_lead_out_of_the_models_folder(name: str, make_model: Make) -> None:
    root = paths.models_dir()
    make_model(root / "small")
    make_model(root.parent / "outside")
    with pytest.raises(NotFound):
        Models().get(name)


@pytest.mark.parametrize(
    "given", ["", "a\0b", "x" * 100_000, "~nobody-of-that-name/x", "no-such", "org/none"]
)
def test_what_is_no_model_resolves_to_a_clear_answer(given: str) -> None:
    with pytest.raises(NotFound) as caught:
        Models().resolve(given)
    assert caught.value.hint


def test_a_link_below_the_models_folder_is_not_followed(make_model: Make, tmp_path: Path) -> None:
    outside = make_model(tmp_path / "outside")
    root = paths.models_dir()
    root.mkdir(parents=True)
    (root / "linked").symlink_to(outside)
    inside = make_model(root / "inside")
    (inside / "model.safetensors").unlink()
    (inside / "model.safetensors").symlink_to(outside / "model.safetensors")
    assert names(Models()) == []
    with pytest.raises(NotFound):
        Models().get("linked")
    with pytest.raises(Unprocessable):
        Models().get("inside")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def pickle_only(suffix: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").rename(folder / f"weights{suffix}") and None


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))


def sharded(index: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove("config.json"), "config.json"),
        (remove("tokenizer.json"), "tokenizer.json"),
        (remove("model.safetensors"), "model.safetensors"),
        (pickle_only(".bin"), "is pickle only"),
        (pickle_only(".pt"), "is pickle only"),
        (pickle_only(".ckpt"), "is pickle only"),
        (replace("config.json", b"{not json"), "config.json of the model is not JSON"),
        (replace("config.json", b"[1]"), "not a JSON object"),
        (replace("config.json", b"[" * 100_000), "not JSON"),
        (replace("config.json", b'{"trust_remote_code": true}'), "brings its own code"),
        (
            replace("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["x.Y", null]}}'),
            "brings its own code",
        ),
        (own_code, "brings its own code"),
        (replace("model.safetensors", b""), "is torn"),
        (replace("model.safetensors", (2**63).to_bytes(8, "little") + b"{}"), "is torn"),
        (replace("model.safetensors", (4).to_bytes(8, "little") + b"nope"), "unreadable .* header"),
        (
            replace("model.safetensors", (7).to_bytes(8, "little") + b'{"a":1}'),
            "unreadable safetensors header",
        ),
        (sharded({"weight_map": {"a": "model-00002-of-00002.safetensors"}}), "model-00002-of-00002"),
        (sharded({"weight_map": {"a": "../../etc/passwd"}}), "has no"),
        (sharded({}), "names no files"),
    ],
)
def test_unusable_folder_reports_file_and_reason(
    change: Callable[[Path], None], words: str, make_model: Make
) -> None:
    change(make_model(paths.models_dir() / "broken"))
    with pytest.raises(Unprocessable, match=words) as caught:
        Models().resolve(paths.models_dir() / "broken")
    assert caught.value.hint
    assert names(Models()) == []


def test_a_torn_download_is_not_a_model(make_model: Make) -> None:
    folder = make_model(paths.models_dir() / "torn")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert names(Models()) == []
    with pytest.raises(Unprocessable, match="is torn"):
        Models().get("torn")


def test_shards_count_together(make_model: Make) -> None:
    folder = make_model(paths.models_dir() / "big")
    first = folder / "model-00001-of-00002.safetensors"
    (folder / "model.safetensors").rename(first)
    (folder / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert Models().get("big").parameters == 64


def test_file_instead_of_folder_is_refused_by_name(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(InvalidInput, match="GGUF"):
        Models().resolve(gguf)


def test_every_refusal_is_an_error_meant_for_a_person(make_model: Make) -> None:
    folder = make_model(paths.models_dir() / "odd")
    (folder / "ilab-lineage.json").write_text("[]")
    assert Models().get("odd").lineage == {}
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(PublicError):
        Models().get("odd")
