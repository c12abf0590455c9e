"""Models come from a hub and go to one, over its real client and a real socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Model
from ilab_jupyter.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PublicError,
    Unavailable,
    Unprocessable,
)
from ilab_jupyter.models.hub import Offer
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import Models

WEIGHTS = "model.safetensors"


def test_size_and_licence_are_shown_before_anything_is_fetched(hub: Any) -> None:
    offer = Model.describe("org/Tiny.1")
    assert (offer.license, offer.gated) == ("apache-2.0", False)
    assert offer.size_bytes == sum(file.size_bytes for file in offer.files) > len(hub.files[WEIGHTS])
    assert {"pytorch_model.bin", "modeling.py"} <= set(offer.left_out)
    shown: list[Offer] = []

    def no(offer: Offer) -> bool:
        shown.append(offer)
        return False

    with pytest.raises(Stopped):
        Model.download("org/Tiny.1", confirm=no)
    assert shown == [offer] and not any("/resolve/" in path for _, path, _ in hub.requests)


def test_download_is_registered_model_with_origin(hub: Any) -> None:
    entry = Model.download("org/Tiny.1", name="mine")
    assert entry == Models().get("mine") and entry.lineage["license"] == "apache-2.0"
    assert entry.lineage["hub"]["repository"] == "org/Tiny.1" and len(entry.lineage["hub"]["commit"]) == 40
    folder = Path(entry.path)
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert not {"pytorch_model.bin", "modeling.py", ".cache"} & {file.name for file in folder.iterdir()}
    assert Model.download("org/Tiny.1").name == "tiny.1"
    with pytest.raises(Conflict):
        Model.download("org/Tiny.1", name="mine")


def gets(hub: Any, name: str) -> list[str]:
    """The Range of each request for a file; empty for a whole one."""
    return [asked for command, path, asked in hub.requests if command == "GET" and path.endswith(f"/{name}")]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client writes small pieces, as this model is small, and does not wait between its tries."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)


@pytest.mark.usefixtures("impatient")
def test_interrupted_download_continues_at_its_byte(hub: Any) -> None:
    hub.cut, hub.cuts = WEIGHTS, 2
    entry = Model.download("org/tiny", name="mine")
    assert (Path(entry.path) / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    first, *others = gets(hub, WEIGHTS)
    assert first == "" and len(others) == 2 and all(asked.startswith("bytes=") for asked in others)


@pytest.mark.usefixtures("impatient")
def test_failed_download_continues_with_missing_files(hub: Any) -> None:
    hub.cut, hub.cuts = WEIGHTS, 1000
    with pytest.raises(Unavailable, match="hub cannot be reached"):
        Model.download("org/tiny", name="mine")
    assert "mine" not in [entry.name for entry in Models().list()] and gets(hub, "config.json")
    hub.cuts = 0
    hub.requests.clear()
    entry = Model.download("org/tiny", name="mine")
    assert (Path(entry.path) / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert gets(hub, WEIGHTS) and not gets(hub, "config.json")
    assert not any(paths.models_dir().glob(".downloads/*"))


@pytest.mark.parametrize(
    ("status", "code", "error", "cause"),
    [
        (404, "RepoNotFound", NotFound, "model_missing"),
        (403, "GatedRepo", Forbidden, "model_gated"),
        (503, "", Unavailable, "hub_unreachable"),
    ],
)
def test_what_a_hub_refuses_is_explained(
    hub: Any, status: int, code: str, error: type[PublicError], cause: str
) -> None:
    hub.refuse = (status, code)
    with pytest.raises(error) as caught:
        Model.download("org/tiny")
    assert caught.value.cause == cause and caught.value.hint


@pytest.mark.parametrize("id", ["tiny", "../etc/passwd", "org/", "https://host/org/name", "-h/x", "a/b/c"])
def test_an_id_that_is_none_never_reaches_the_hub(hub: Any, id: str) -> None:
    with pytest.raises(PublicError):
        Model.download(id)
    with pytest.raises(InvalidInput):
        Model.download("org/name", revision="../../x")
    assert not hub.requests


def test_a_model_of_pickles_only_is_refused(hub: Any) -> None:
    hub.files = {name: data for name, data in hub.files.items() if name != WEIGHTS}
    with pytest.raises(Unprocessable, match="no safetensors"):
        Model.download("org/tiny")


def test_a_folder_becomes_a_model_too(tiny: Path, tmp_path: Path) -> None:
    entry = Model.download(tiny, output_dir=tmp_path / "elsewhere")
    assert entry.path == str(tmp_path / "elsewhere" / "tiny") and Path(entry.path, WEIGHTS).is_file()


def test_offline_it_is_said_that_the_hub_cannot_be_reached() -> None:
    with pytest.raises(Unavailable, match="hub cannot be reached"):
        Model.download("org/tiny")


def test_upload_has_model_card_and_no_secrets(
    hub: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_words_of_a_secret")
    lineage = {
        "base": "org/tiny",
        "base_path": "/home/somebody/private",
        "license": "mit",
        "dataset": {"files": ["/home/somebody/rows.jsonl"], "sha256": "ab12"},
        "settings": {"method": "full", "epochs": 3, "learning_rate": 1e-3},
        "libraries": {"torch": "2"},
    }
    Models().publish(tiny, "taught", lineage)
    done = Model("taught").upload("me/taught")
    assert (done.repository, done.commit) == ("me/taught", "0123456789abcdef0123456789abcdef01234567")
    assert hub.tokens == {"Bearer hf_words_of_a_secret"}
    assert hub.received[WEIGHTS] == (tiny / WEIGHTS).read_bytes()
    card = hub.received["README.md"].decode()
    assert "base_model: org/tiny" in card and "license: mit" in card and "| Method | full |" in card
    sent = b"".join(hub.received.values())
    assert (
        b"somebody" not in sent
        and b"words_of_a_secret" not in sent
        and "ilab-lineage.json" not in hub.received
    )
    assert "words_of_a_secret" not in "".join(capfd.readouterr())


def test_an_upload_that_is_not_allowed_is_explained(hub: Any, tiny: Path) -> None:
    with pytest.raises(Forbidden, match="may not write"):
        hub.refuse = (403, "")
        Model(tiny).upload("me/taught")
    with pytest.raises(InvalidInput):
        Model(tiny).upload("no id")


@pytest.mark.parametrize("id", ["org/a--b", "org/a..b", "org/name.git", f"org/{'a' * 100}"])
def test_id_refused_by_hub_is_reported(hub: Any, id: str, tiny: Path) -> None:
    for ask in (lambda: Model.describe(id), lambda: Model(id).chat("Who?"), lambda: Model(tiny).upload(id)):
        with pytest.raises(InvalidInput, match="no id of a model"):
            ask()


def test_what_is_here_already_needs_no_room_again(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ilab_jupyter.models import hub as fetching

    usage = fetching.shutil.disk_usage
    offer = Model.describe("org/tiny")
    free = offer.size_bytes + fetching.disk.MARGIN - 1
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage(path)._replace(free=free))
    with pytest.raises(Unavailable, match="more, and"):
        Model.download("org/tiny")
    parts = Models().root / fetching.PARTS / f"org--tiny--{offer.commit}"
    parts.mkdir(parents=True)
    (parts / WEIGHTS).write_bytes(hub.files[WEIGHTS])
    assert Model.download("org/tiny").name == "tiny"
