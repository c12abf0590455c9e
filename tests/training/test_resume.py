"""A stopped, killed or damaged training resumes from its last complete checkpoint, or reports the reason."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import Models
from ilab_jupyter.training.run import train
from ilab_jupyter.training.spec import TrainingArguments, TrainResult
from tests.support.events import EventRecorder, stop_after
from tests.support.training import write_pairs

pytestmark = pytest.mark.slow

STEPS = 12
METHODS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora", "lora_dropout": 0.1},
}
WEIGHTS = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}


def run(
    model: Path, data: Path, reporter: Any, *, job: str = "job1", resume: bool = False, **arguments: Any
) -> TrainResult:
    values = {"learning_rate": 1e-2, "batch_size": 4, "device": "cpu", "max_steps": STEPS, "save_steps": 3}
    given = TrainingArguments.model_validate({"data": [str(data)], **values, **arguments})
    return train(model.name, model, given, job_id=job, resume=resume, reporter=reporter)


def checkpoints(job: str = "job1") -> list[str]:
    return sorted(path.name for path in (paths.checkpoints_dir() / job).glob("checkpoint-*"))


@dataclass(frozen=True)
class Uninterrupted:
    """What a training of all steps without a stop reports and leaves."""

    losses: dict[int, float]
    weights: bytes


@dataclass(frozen=True)
class Interrupted:
    """The checkpoints of a training that was stopped after step 4, and the losses until then."""

    losses: dict[int, float]
    checkpoints: Path


def own_data_folders(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Checkpoints and models below `folder`."""
    patch.setenv("XDG_DATA_HOME", str(folder / "data"))
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight pairs as messages JSONL, for the trainings that the tests of this module share."""
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl")


@pytest.fixture(scope="module")
def uninterrupted(
    one_thread: None, tiny: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Uninterrupted]:
    """Train once for each method, in a data folder of its own."""

    @cache
    def trained(method: str) -> Uninterrupted:
        recorded = EventRecorder()
        with pytest.MonkeyPatch.context() as patch:
            own_data_folders(patch, tmp_path_factory.mktemp("uninterrupted"))
            result = run(tiny, data, recorded, **METHODS[method])
            assert not (paths.checkpoints_dir() / "job1").exists()
        return Uninterrupted(recorded.losses, (Path(result.path) / WEIGHTS[method]).read_bytes())

    return trained


@pytest.fixture(scope="module")
def interrupted(
    one_thread: None, tiny: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Interrupted]:
    """Train once for each method until the stop after step 4."""

    @cache
    def stopped(method: str) -> Interrupted:
        recorded = EventRecorder(stop_at=stop_after(4))
        with pytest.MonkeyPatch.context() as patch:
            own_data_folders(patch, tmp_path_factory.mktemp("interrupted"))
            with pytest.raises(Stopped):
                run(tiny, data, recorded, **METHODS[method])
            assert checkpoints() == ["checkpoint-3", "checkpoint-5"]
            assert not [entry for entry in Models().list() if not entry.builtin]
            return Interrupted(recorded.losses, paths.checkpoints_dir() / "job1")

    return stopped


@pytest.mark.parametrize("method", ["full", "lora"])
def test_stopped_training_resumes_to_the_same_weights(
    method: str,
    uninterrupted: Callable[[str], Uninterrupted],
    interrupted: Callable[[str], Interrupted],
    tiny: Path,
    data: Path,
    recorder: Any,
) -> None:
    expected, first, second = uninterrupted(method), interrupted(method), recorder()
    shutil.copytree(first.checkpoints, paths.checkpoints_dir() / "job1")
    result = run(tiny, data, second, resume=True, name="parts", **METHODS[method])
    assert (result.resumed_from, result.steps) == (5, STEPS)
    assert list(second.losses) == list(range(6, STEPS + 1))
    assert {**first.losses, **second.losses} == expected.losses
    assert (Path(result.path) / WEIGHTS[method]).read_bytes() == expected.weights
    assert not (paths.checkpoints_dir() / "job1").exists()


SCRIPT = """
import os, signal, sys
from pathlib import Path
from ilab_jupyter.kinds import environment
environment.prepare()
import torch
torch.set_num_threads(1)
from ilab_jupyter.progress import ConsoleReporter
from ilab_jupyter.training.run import train
from ilab_jupyter.training.spec import TrainingArguments

class Deadly(ConsoleReporter):
    def progress(self, step, total, **metrics):
        if step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

model, data = map(Path, sys.argv[1:])
train("tiny", model, TrainingArguments(data=[str(data)], learning_rate=1e-2, batch_size=4, device="cpu",
      max_steps=12, save_steps=3), job_id="job1", resume=False, reporter=Deadly())
"""


def test_killed_training_resumes_from_its_last_complete_checkpoint(
    uninterrupted: Callable[[str], Uninterrupted], tiny: Path, data: Path, recorder: Any
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny), str(data)], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoints() == ["checkpoint-3", "checkpoint-6"]
    folder = paths.checkpoints_dir() / "job1"
    # What a kill or a power loss in the middle of writing leaves: an unsealed folder, a file cut short.
    shutil.copytree(folder / "checkpoint-6", folder / "checkpoint-7")
    (folder / "checkpoint-7" / "ilab-complete.json").unlink()
    os.truncate(folder / "checkpoint-6" / "optimizer.pt", 1000)
    recorded = recorder()
    result = run(tiny, data, recorded, resume=True)
    assert result.resumed_from == 3
    expected = uninterrupted("full").losses
    assert recorded.losses == {step: loss for step, loss in expected.items() if step > 3}


def test_resuming_without_a_checkpoint_starts_from_the_beginning(
    tiny: Path, pairs: Path, recorder: Any
) -> None:
    result = run(tiny, pairs, recorder(), resume=True, max_steps=2)
    assert (result.resumed_from, result.steps) == (None, 2)


def test_resuming_needs_a_job(tiny: Path, pairs: Path, recorder: Any) -> None:
    given = TrainingArguments(data=[str(pairs)])
    with pytest.raises(InvalidInput, match="job id"):
        train("tiny", tiny, given, job_id=None, resume=True, reporter=recorder())


@pytest.fixture
def stopped(interrupted: Callable[[str], Interrupted]) -> Path:
    """The checkpoints of a training that was stopped after step 4, as those of a job of this test."""
    folder = paths.checkpoints_dir() / "job1"
    return Path(shutil.copytree(interrupted("full").checkpoints, folder))


def test_other_settings_other_data_or_another_base_are_refused(
    stopped: Path, tiny: Path, data: Path, recorder: Any, tmp_path: Path
) -> None:
    with pytest.raises(Conflict, match="settings changed") as caught:
        run(tiny, data, recorder(), resume=True, learning_rate=2e-2)
    assert caught.value.cause == "checkpoint_mismatch"
    other = tmp_path / "other.jsonl"
    other.write_text(data.read_text().replace("nine", "ten"))
    with pytest.raises(Conflict, match="data changed"):
        run(tiny, other, recorder(), resume=True)
    moved = shutil.copytree(tiny, tmp_path / "tiny")
    with pytest.raises(Conflict, match="base changed"):
        run(moved, data, recorder(), resume=True)
    assert checkpoints() == ["checkpoint-3", "checkpoint-5"]


def test_how_often_it_logs_and_saves_may_change(stopped: Path, tiny: Path, data: Path, recorder: Any) -> None:
    result = run(tiny, data, recorder(), resume=True, save_steps=100, logging_steps=2, name="late")
    assert result.resumed_from == 5


def test_new_training_keeps_checkpoints_of_others(
    stopped: Path, tiny: Path, data: Path, recorder: Any
) -> None:
    with pytest.raises(Conflict, match="Resume it"):
        run(tiny, data, recorder())
    assert checkpoints() == ["checkpoint-3", "checkpoint-5"]


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_checkpoint_that_hides_code_is_not_run(
    name: str, stopped: Path, tiny: Path, data: Path, recorder: Any, tmp_path: Path
) -> None:
    import torch

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(canary), "w")

    file = stopped / "checkpoint-5" / name
    torch.save({"evil": Evil()}, file)
    seal = stopped / "checkpoint-5" / "ilab-complete.json"
    seal.write_text(json.dumps({**json.loads(seal.read_text()), name: file.stat().st_size}))
    with pytest.raises(Unprocessable, match="changed or damaged") as caught:
        run(tiny, data, recorder(), resume=True)
    assert caught.value.cause == "bad_checkpoint"
    assert not canary.exists()


def test_job_with_published_model_is_not_trained_again(tiny: Path, pairs: Path, recorder: Any) -> None:
    result = run(tiny, pairs, recorder(), max_steps=2)
    recorded = recorder()
    assert run(tiny, pairs, recorded, resume=True, max_steps=2) == result
    assert recorded.events == []
    assert len([entry for entry in Models().list() if not entry.builtin]) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of its own with 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs a right that this user does not have")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_that_fills_up_keeps_complete_checkpoints(
    tiny: Path, pairs: Path, recorder: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(small_disk))

    def fill(event: tuple[Any, ...]) -> bool:
        if event[:2] == ("progress", 4):
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            (small_disk / "ballast").write_bytes(bytes(free - 100_000))
        return False

    with pytest.raises(Unavailable) as caught:
        run(tiny, pairs, recorder(stop_at=fill))
    assert caught.value.cause == "disk_full"
    assert "checkpoint-3" in checkpoints()
    with pytest.raises(Unavailable, match=r"needs .* of disk"):
        run(tiny, pairs, recorder(), resume=True)
    (small_disk / "ballast").unlink()
    assert run(tiny, pairs, recorder(), resume=True).resumed_from == 3
