"""A model folder becomes a model that answers: safetensors only, local files only, no code of the folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilab_jupyter import engine
from ilab_jupyter.errors import NotFound, PublicError, Unprocessable, out_of_memory_cause
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry import profile
from ilab_jupyter.registry.models import STARTER, Models

LIBRARIES = ("torch", "transformers", "peft")
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")


@dataclass(frozen=True)
class Defaults:
    """What a request that leaves a field out gets. Temperature 0 is greedy decoding."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int | None = None


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode and its tokenizer. `positions`: tokens of prompt and answer together."""

    model: Any
    tokenizer: Any
    device: str
    positions: int
    end_ids: frozenset[int]
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def chats(self) -> bool:
        """Whether there is a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))


def load(folder: Path, *, device: str = "auto") -> Loaded:
    """The model or LoRA adapter in `folder`, ready to answer. `device` is auto, cpu or cuda.

    NotFound: no such folder. Unprocessable: pickled weights, code of its own, no tokenizer, a damaged file,
    an adapter whose base is missing or does not fit. Unavailable: no CUDA device, or no engine libraries.
    """
    engine.require("Serving", *LIBRARIES)
    with engine.importing():
        position = engine.choose_device(device)
    facts = model_folder.inspect(folder, follow_links=True)
    adapter = facts.kind == "adapter"
    base = _base(folder, facts.base) if adapter else folder
    home = folder if any((folder / name).is_file() for name in TOKENIZER_FILES) else base
    try:
        model, tokenizer = _read(base, home, folder if adapter else None)
    except Exception as error:
        if out_of_memory_cause(error) is not None:
            raise
        # Whatever a damaged file makes the libraries raise, it is the folder that has to change.
        raise Unprocessable(
            f"The model in {folder.name!r} cannot be loaded: {_short(error, folder, base)}",
            "Check that the folder is complete, and that an adapter belongs to its base model.",
        ) from error
    model.to(position).eval()
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=position,
        positions=_positions(model, tokenizer),
        end_ids=frozenset(end for end in [*ends, tokenizer.eos_token_id] if end is not None),
        defaults=_defaults(folder, base, model.generation_config),
    )


@engine.importing()
def _read(base: Path, home: Path, adapter: Path | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as library_log

    # A drawn bar would only fill the log with control characters.
    library_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer: Any = AutoTokenizer.from_pretrained(str(home), **local)
    model: Any = AutoModelForCausalLM.from_pretrained(str(base), use_safetensors=True, dtype="auto", **local)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    return model, tokenizer


def _base(adapter: Path, given: str | None) -> Path:
    models = Models()
    try:
        return models.resolve(given or "")
    except NotFound:
        # The shipped starter moves with the environment that it is installed in.
        starter = models.resolve(STARTER)
        if given and Path(given).parts[-3:] == starter.parts[-3:]:
            return starter
        raise Unprocessable(
            f"The base model of the adapter {adapter.name!r} is not where the adapter says.",
            "Put the base model back, or correct base_model_name_or_path in adapter_config.json.",
        ) from None


def _positions(model: Any, tokenizer: Any) -> int:
    text = model.config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    # A tokenizer without a limit of its own says some 10**30.
    known = [size for size in (limit, tokenizer.model_max_length) if size and size < 10**9]
    return int(min(known)) if known else 2048


def _defaults(folder: Path, base: Path, config: Any) -> Defaults:
    for home in (folder, base):
        if (home / profile.PROFILE).is_file():
            own = profile.read(home).generation
            return Defaults(
                temperature=0.0 if own.temperature is None else own.temperature,
                top_p=own.top_p or 1.0,
                max_tokens=own.max_tokens,
            )
    if not config.do_sample:
        return Defaults()
    return Defaults(
        temperature=1.0 if config.temperature is None else min(2.0, max(0.0, float(config.temperature))),
        top_p=float(config.top_p or 1.0),
    )


def _short(error: Exception, *folders: Path) -> str:
    """The first line of a library's error, without the places where files lie."""
    if isinstance(error, PublicError):
        return error.message
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for folder in folders:
        line = line.replace(str(folder), folder.name)
    return line[:300]
