"""Trainings of a tiny model: results, events and files."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.errors import Conflict, InvalidInput, PublicError, Unavailable, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import Models
from ilab_jupyter.training.run import train
from ilab_jupyter.training.spec import TrainingArguments, TrainResult

pytestmark = pytest.mark.slow

Ask = Callable[[Path, str], str]
FAST = {"learning_rate": 1e-2, "batch_size": 4, "device": "cpu"}


def run(
    model: Path, data: Path, reporter: Any, *, job: str = "job1", resume: bool = False, **arguments: Any
) -> TrainResult:
    given = TrainingArguments.model_validate({"data": [str(data)], **FAST, **arguments})
    return train(model.name, model, given, job_id=job, resume=resume, reporter=reporter)


def copy_of(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder))


def test_full_training_learns_pairs_and_publishes_complete_model(
    tiny: Path, pairs: Path, recorder: Any, ask: Ask
) -> None:
    recorded = recorder()
    result = run(tiny, pairs, recorded, epochs=60, save_steps=1000, name="beekeeper")
    assert (result.model, result.method, result.steps, result.examples) == ("beekeeper", "full", 120, 8)
    assert recorded.losses[1] > 3
    assert result.final_loss is not None
    assert result.final_loss < 0.2
    assert ask(Path(result.path), "How deep is the well?") == "The well is nine ropes deep."
    assert ask(tiny, "How deep is the well?") != "The well is nine ropes deep."
    entry = Models().get("beekeeper")
    assert (entry.kind, entry.base, entry.path) == ("full", "tiny", result.path)
    assert entry.parameters == Models().publish(tiny, "original", {}).parameters
    assert (Path(entry.path) / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert not (paths.checkpoints_dir() / "job1").exists()


def test_lora_training_publishes_an_adapter_on_an_absolute_base(
    tiny: Path, pairs: Path, recorder: Any, ask: Ask
) -> None:
    recorded = recorder()
    slow = {"epochs": 100, "learning_rate": 5e-3, "save_steps": 1000}
    result = run(tiny, pairs, recorded, method="lora", lora_rank=32, **slow)
    assert result.final_loss is not None
    assert result.final_loss < recorded.losses[1] - 1
    folder = Path(result.path)
    assert result.model == "tiny-job1"
    assert ask(folder, "Who mends the nets?") == "Maren mends the nets at dusk."
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny)
    assert (config["r"], config["lora_alpha"]) == (32, 64)
    assert not (folder / "model.safetensors").exists()
    assert (folder / "tokenizer.json").exists()
    assert Models().get(result.model).kind == "adapter"


def test_events_carry_phases_numbers_and_artifacts(tiny: Path, pairs: Path, recorder: Any) -> None:
    recorded = recorder()
    result = run(tiny, pairs, recorded, max_steps=5, save_steps=2, name="mine")
    assert [name for name, _ in recorded.of("phase")] == [
        "preparing",
        "loading",
        "preparing",
        "training",
        "saving",
    ]
    progress = recorded.of("progress")
    assert [(step, total) for step, total, _ in progress] == [(step, 5) for step in range(1, 6)]
    for _, _, metrics in progress:
        assert set(metrics) == {
            "epoch",
            "loss",
            "learning_rate",
            "grad_norm",
            "tokens_per_second",
            "eta_seconds",
        }
        assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
    assert [metrics["epoch"] for _, _, metrics in progress] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert progress[0][2]["learning_rate"] == pytest.approx(1e-2)
    assert progress[0][2]["grad_norm"] > 0
    assert progress[-1][2]["eta_seconds"] == 0
    assert [(kind, name) for kind, name, _ in recorded.of("artifact")] == [
        ("checkpoint", "checkpoint-2"),
        ("checkpoint", "checkpoint-4"),
        ("checkpoint", "checkpoint-5"),
        ("model", "mine"),
    ]
    assert result.tokens > 0


def test_lineage_has_base_data_settings_seed_and_libraries(tiny: Path, pairs: Path, recorder: Any) -> None:
    result = run(tiny, pairs, recorder(), max_steps=1, seed=7)
    lineage = Models().get(result.model).lineage
    assert (lineage["base"], lineage["base_path"], lineage["job"], lineage["seed"]) == (
        "tiny",
        str(tiny),
        "job1",
        7,
    )
    assert lineage["dataset"] == {"files": [str(pairs)], "rows": 8, "sha256": result.dataset_hash}
    assert lineage["settings"]["learning_rate"] == 1e-2
    assert {"torch", "transformers", "trl"} <= set(lineage["libraries"])
    assert lineage["result"]["model"] == result.model


def test_seed_determines_the_weights(tiny: Path, pairs: Path, recorder: Any) -> None:
    def weights(job: str, seed: int) -> bytes:
        result = run(tiny, pairs, recorder(), job=job, max_steps=3, seed=seed, method="lora")
        return (Path(result.path) / "adapter_model.safetensors").read_bytes()

    first = weights("a1", 1)
    assert weights("a2", 1) == first
    assert weights("a3", 2) != first


def test_profile_and_replay_are_applied_and_inherited(
    tiny: Path, pairs: Path, recorder: Any, tmp_path: Path
) -> None:
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}] * 5
    replay = "".join(json.dumps(row) + "\n" for row in rows)
    profile = {
        "full": {"epochs": 2, "learning_rate": 0.005},
        "replay": {"rows": 4},
        "generation": {"temperature": 0},
    }
    base = copy_of(tiny, tmp_path / "own")
    (base / "ilab-profile.json").write_text(json.dumps(profile))
    (base / "ilab-replay.jsonl").write_text(replay)
    given = TrainingArguments(data=[str(pairs)], device="cpu", batch_size=4)
    recorded = recorder()
    result = train("own", base, given, job_id="job1", resume=False, reporter=recorded)
    assert (result.examples, result.replay, result.steps) == (12, 4, 6)
    assert recorded.of("progress")[0][2]["learning_rate"] == pytest.approx(0.005)
    assert Models().get(result.model).lineage["replay"] == {"file": "ilab-replay.jsonl", "rows": 4}
    assert json.loads((Path(result.path) / "ilab-profile.json").read_text()) == profile
    assert (Path(result.path) / "ilab-replay.jsonl").read_text() == replay


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ('{"full": {"learning_rat": 1}}', "full.learning_rat"),
        ('{"full": {"learning_rate": Infinity}}', "full.learning_rate|Invalid JSON|Input"),
        ("{", "JSON"),
        ('{"replay": {"file": "../../secret.jsonl"}}', "replay.file"),
        ('{"replay": {}}', "not beside it"),
    ],
)
def test_a_wrong_profile_is_named(
    profile: str, words: str, tiny: Path, pairs: Path, recorder: Any, tmp_path: Path
) -> None:
    base = copy_of(tiny, tmp_path / "own")
    (base / "ilab-profile.json").write_text(profile)
    with pytest.raises(Unprocessable, match=words):
        run(base, pairs, recorder(), max_steps=1)


def test_long_examples_are_cut_and_counted_in_a_warning(tiny: Path, pairs: Path, recorder: Any) -> None:
    long = {"messages": [{"role": "user", "content": "bees " * 80}, {"role": "assistant", "content": "Yes."}]}
    with pairs.open("a") as stream:
        stream.write(json.dumps(long) + "\n")
    recorded = recorder()
    result = run(tiny, pairs, recorded, max_steps=1, max_seq_length=48)
    assert (result.examples, result.truncated, result.dropped) == (8, 1, 1)
    ((message, _),) = recorded.of("warning")
    assert message.startswith("1 examples are longer than max_seq_length=48 and were cut; 1 of them")
    pairs.write_text(json.dumps(long) + "\n")
    with pytest.raises(Unprocessable, match="No answer lies within the first 48 tokens"):
        run(tiny, pairs, recorder(), job="job2", max_steps=1, max_seq_length=48)


def test_a_row_that_the_models_template_refuses_is_named(
    tiny: Path, pairs: Path, recorder: Any, tmp_path: Path
) -> None:
    base = copy_of(tiny, tmp_path / "strict")
    (base / "chat_template.jinja").write_text("{{ raise_exception('turns must alternate') }}")
    with pytest.raises(Unprocessable, match=r"pairs\.jsonl, row 1: .*turns must alternate"):
        run(base, pairs, recorder(), max_steps=1)


def test_weights_are_saved_in_the_number_format_of_their_base(
    tiny: Path, pairs: Path, recorder: Any, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    base = copy_of(tiny, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(base)
    result = run(base, pairs, recorder(), max_steps=1)
    saved = load_file(Path(result.path) / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}


def test_nan_loss_ends_training_with_hint(tiny: Path, pairs: Path, recorder: Any, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base = copy_of(tiny, tmp_path / "broken")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Unprocessable, match="The loss became nan after step 0") as caught:
        run(base, pairs, recorder(), max_steps=3)
    assert caught.value.cause == "nan_loss"
    assert "learning_rate" in caught.value.hint
    assert [entry.name for entry in Models().list() if not entry.builtin] == []


def test_taken_name_is_refused_before_engine_loads(tiny: Path, pairs: Path, recorder: Any) -> None:
    Models().publish(tiny, "mine", {})
    recorded = recorder()
    with pytest.raises(Conflict, match="mine-2 is free"):
        run(tiny, pairs, recorded, name="mine")
    assert [name for name, _ in recorded.of("phase")] == ["preparing"]


def test_name_taken_during_training_keeps_the_result(tiny: Path, pairs: Path, recorder: Any) -> None:
    def take(event: tuple[Any, ...]) -> bool:
        if event[:2] == ("progress", 1):
            Models().publish(tiny, "mine", {})
        return False

    recorded = recorder(stop_at=take)
    result = run(tiny, pairs, recorded, name="mine", max_steps=2)
    assert result.model == "mine-2"
    assert "mine-2" in recorded.of("warning")[0][0]


def test_an_adapter_is_not_trained_further(tiny: Path, pairs: Path, recorder: Any) -> None:
    adapter = run(tiny, pairs, recorder(), method="lora", max_steps=1)
    with pytest.raises(Unprocessable, match="is an adapter"):
        run(Path(adapter.path), pairs, recorder(), job="job2")


def test_a_model_that_the_library_cannot_load_is_refused(
    tiny: Path, pairs: Path, recorder: Any, tmp_path: Path
) -> None:
    base = copy_of(tiny, tmp_path / "odd")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "model_type": "no-such-model"}))
    with pytest.raises(Unprocessable, match=r"(model|tokenizer) .*cannot be loaded"):
        run(base, pairs, recorder(), max_steps=1)
    assert not (paths.checkpoints_dir() / "job1").exists()


def test_missing_gpu_is_reported(tiny: Path, pairs: Path, recorder: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unavailable, match="No CUDA GPU"):
        run(tiny, pairs, recorder(), device="cuda")


@pytest.mark.parametrize("job", ["../x", "", "a/b", "a\0", "x" * 200])
def test_a_job_id_cannot_lead_out_of_the_checkpoints_folder(
    job: str, tiny: Path, pairs: Path, recorder: Any
) -> None:
    with pytest.raises(InvalidInput):
        run(tiny, pairs, recorder(), job=job)


def test_insufficient_disk_space_is_reported_before_training(tiny: Path, tmp_path: Path) -> None:
    from ilab_jupyter.training import disk

    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    need = disk.Need(checkpoint=free // 2, model=0)
    disk.check(need, 1, tmp_path / "not" / "there", tmp_path)
    with pytest.raises(Unavailable, match=r"needs [\d.]+ GB of disk .* [\d.]+ GB are free") as caught:
        disk.check(need, 9, tmp_path / "not" / "there", tmp_path)
    assert caught.value.cause == "disk_full"


def test_stopping_before_the_first_step_leaves_nothing(tiny: Path, pairs: Path, recorder: Any) -> None:
    recorded = recorder(stop_at=lambda event: event[:2] == ("phase", "loading"))
    with pytest.raises(Stopped):
        run(tiny, pairs, recorded)
    assert not (paths.checkpoints_dir() / "job1").exists()
    assert [entry.name for entry in Models().list() if not entry.builtin] == []


def test_only_public_errors_are_raised(tiny: Path, pairs: Path, recorder: Any) -> None:
    pairs.write_text('{"messages": []}\n')
    with pytest.raises(PublicError) as caught:
        run(tiny, pairs, recorder())
    assert caught.value.to_dict()["cause"] == "bad_data"
