"""Notice on rows that a training would truncate. Of the engine, only tokenizers is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration import resolution, training_memory
from ilab_jupyter.errors import PublicError
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.training import lengths, loading, plan
from ilab_jupyter.training.lengths import Lengths
from ilab_jupyter.training.spec import Settings, TrainingArguments


def notice(model: str | None, arguments: Mapping[str, Any]) -> str:
    """One sentence on rows that are longer than `max_seq_length`, with a length that keeps all of them.

    Model and arguments that are not given are resolved as for a job. '' where no row is longer, and where the
    model or the data cannot be read yet.
    """
    try:
        configuration = resolution.load("train")
        model = model or str(resolution.model(configuration).arguments["model"])
        given = TrainingArguments.model_validate(
            resolution.training(model, arguments, configuration).arguments
        )
        folder = Models().resolve(model)
        roles = model_profile.read(folder).dataset_roles
        files = [file for item in given.data for file in Datasets().resolve(item, roles)]
        settings = plan.expected_settings(model, given)
        found = lengths.measure(files, folder, settings.max_seq_length)
    except (PublicError, ValidationError, OSError, ValueError):
        return ""  # the job reports what is wrong with them
    return _sentence(found, settings, folder) if found is not None and found.longer else ""


def _sentence(found: Lengths, settings: Settings, folder: Path) -> str:
    longest = loading.max_positions(folder)
    wanted = found.longest if longest is None else min(found.longest, longest)
    read = "" if found.whole else f" (of the first {found.rows:,} rows)"
    said = (
        f"{found.longer:,} of {found.rows:,} rows are longer than max_seq_length={found.limit} and are "
        f"cut{read}; {found.unanswered:,} of them keep no answer and are left out."
    )
    if wanted <= found.limit:
        return f"{said} The model takes no more than {longest} tokens: shorten the rows."
    memory = _memory(folder, settings, wanted)
    remedy = (
        f" max_seq_length={wanted} keeps all of them"
        if wanted == found.longest
        else (f" max_seq_length={wanted}, the most that the model takes, keeps more of them")
    )
    return f"{said}{remedy}{memory}."


def _memory(folder: Path, settings: Settings, tokens: int) -> str:
    student = _student(folder)
    if student is None:
        return ""
    totals = [
        training_memory.estimate(
            student,
            settings.method,
            settings.lora_rank or 0,
            settings.batch_size * length,
            on_gpu=settings.device == "cuda",
        ).total
        for length in (tokens, settings.max_seq_length)
    ]
    return f" and takes about {totals[0] / 1e9:.1f} GB of memory instead of {totals[1] / 1e9:.1f} GB"


def _student(folder: Path) -> training_memory.Student | None:
    """The sizes of the model in a folder; None where its config.json does not have them."""
    config = json.loads((folder / "config.json").read_bytes())
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    sizes = [text.get(name) for name in names]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    layers, hidden, intermediate, vocabulary = sizes
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    each = 4 if str(text.get("dtype") or config.get("torch_dtype")) == "float32" else 2
    return training_memory.Student(folder.name, weights / each, layers, hidden, intermediate, vocabulary)
