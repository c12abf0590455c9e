"""Models and datasets are removed from disk, unless they are built in or something needs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ilab_jupyter import starter
from ilab_jupyter.errors import Conflict, NotFound
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.registry.removal import remove_dataset, remove_model


@pytest.fixture
def models(tmp_path: Path) -> Models:
    for name in ("baker", "org/hubs"):
        shutil.copytree(starter.FOLDER, tmp_path / "models" / name)
    return Models(tmp_path / "models")


def test_model_is_removed_with_its_bytes(models: Models) -> None:
    size = models.get("baker").size_bytes
    assert remove_model(models, "baker").size_bytes >= size
    assert [entry.name for entry in models.list()] == ["starter", "org/hubs"]
    remove_model(models, "org/hubs")
    assert list(models.root.iterdir()) == []
    with pytest.raises(NotFound):
        remove_model(models, "baker")


def test_built_in_model_is_not_removed(models: Models) -> None:
    with pytest.raises(Conflict, match="built in"):
        remove_model(models, "starter")
    assert (starter.FOLDER / "config.json").is_file()


def test_damaged_model_is_removed(models: Models) -> None:
    (models.root / "baker" / "model.safetensors").write_bytes(b"torn")
    remove_model(models, "baker")
    assert not (models.root / "baker").exists()


@pytest.mark.parametrize("name", ["..", "../models", "baker/../org", "", "/etc"])
def test_name_outside_the_registry_is_not_found(models: Models, name: str) -> None:
    with pytest.raises(NotFound):
        remove_model(models, name)
    with pytest.raises(NotFound):
        remove_dataset(Datasets(models.root), name)
    assert (models.root / "baker" / "config.json").is_file()


def test_link_in_the_registry_is_not_followed(models: Models, tmp_path: Path) -> None:
    outside = shutil.copytree(starter.FOLDER, tmp_path / "outside")
    (models.root / "linked").symlink_to(outside)
    with pytest.raises(NotFound):
        remove_model(models, "linked")
    assert (outside / "config.json").is_file()


def test_base_of_adapter_is_kept_until_adapter_is_removed(models: Models) -> None:
    adapter = models.root / "greeter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "baker"}))
    shutil.copyfile(starter.FOLDER / "model.safetensors", adapter / "adapter_model.safetensors")
    with pytest.raises(Conflict, match="adapter 'greeter' needs the model 'baker'"):
        remove_model(models, "baker")
    remove_model(models, "greeter")
    remove_model(models, "baker")


def test_datasets_are_removed_as_folder_and_as_file(tmp_path: Path) -> None:
    root = tmp_path / "datasets"
    (root / "run").mkdir(parents=True)
    (root / "run" / "messages_x.jsonl").write_text("{}\n")
    (root / "own.jsonl").write_text("{}\n")
    datasets = Datasets(root)
    assert remove_dataset(datasets, "run").size_bytes == 3
    remove_dataset(datasets, "own.jsonl")
    assert list(root.iterdir()) == []
