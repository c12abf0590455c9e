"""A loss or a gradient that is no number: the training stops before it does harm."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.registry import Models

WORD = "zzzz"


@pytest.fixture
def spoilt(tiny: Path, tmp_path: Path) -> Path:
    """A model in which one word's embedding is no number, so that only a row with that word brings it up."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    folder = Path(shutil.copytree(tiny, tmp_path / "spoilt"))
    token = AutoTokenizer.from_pretrained(tiny)("z", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = math.nan
    model.save_pretrained(folder)
    return folder


def rows(pairs: Path, *, with_word_at: int) -> None:
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    lines = [row for row in lines if "z" not in json.dumps(row)]
    lines[with_word_at]["messages"][0]["content"] = WORD
    pairs.write_text("".join(json.dumps(row) + "\n" for row in lines))


def test_nan_loss_keeps_checkpoint_and_suggests_lower_rate(works: Any, spoilt: Path, pairs: Path) -> None:
    rows(pairs, with_word_at=1)
    job = works.ended(
        "train",
        **{"model": str(spoilt), "data": [str(pairs)], "batch_size": 1, "save_steps": 1, "epochs": 3},
        learning_rate=0.5,
    )
    assert (job.state, job.cause) == (JobState.FAILED, "nan_loss"), works.log(job)
    steps = [
        e.fields["step"] for e in works.jobs.events(job.id) if e.type == "progress" and "loss" in e.fields
    ]
    last = max(steps, default=0)
    assert job.message == f"The loss became nan after step {last}."
    assert "try 0.05, not 0.5" in job.hint and "--learning-rate 0.05" in job.remedy
    assert [entry.name for entry in Models().list() if not entry.builtin] == []
    if last:
        from safetensors.torch import load_file

        kept = load_file(paths.checkpoints_dir() / job.id / f"checkpoint-{last}" / "model.safetensors")
        assert all(weight.isfinite().all() for name, weight in kept.items() if "embed" not in name)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    works: Any, tiny: Path, pairs: Path, tmp_path: Path
) -> None:
    """Activations so large that the loss is still a number while the derivative of `gelu_new` is none."""
    from safetensors.torch import load_file, save_file

    base = Path(shutil.copytree(tiny, tmp_path / "large"))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu_new"}))
    weights = load_file(base / "model.safetensors")
    scales = {"gate_proj.weight": 1e22, "down_proj.weight": 1e-22}
    for name in weights:
        weights[name] *= next((scale for end, scale in scales.items() if name.endswith(end)), 1.0)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    job = works.ended("train", model=str(base), data=[str(pairs)], batch_size=8, save_steps=1, max_steps=3)
    assert (job.state, job.cause) == (JobState.FAILED, "nan_loss"), works.log(job)
    assert job.message.startswith("The gradient became nan after step 0"), job.message
    assert not (paths.checkpoints_dir() / job.id).exists(), "no step was whole, so there is no checkpoint"
    assert [entry.name for entry in Models().list() if not entry.builtin] == []
