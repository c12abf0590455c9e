"""What a model folder must be before anything loads it: safetensors, a tokenizer, no code of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.registry import jsonl, limits, weights
from ilab_jupyter.registry.names import PART, is_plain_file

LINEAGE = "ilab-lineage.json"
MAX_JSON = 10_000_000
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
OWN_CODE = ("auto_map", "trust_remote_code")


@dataclass(frozen=True)
class Facts:
    """What a valid model or adapter folder says about itself."""

    kind: Literal["full", "adapter"]
    architecture: str
    parameters: int
    size_bytes: int
    base: str | None
    files: tuple[str, ...]


def is_candidate(folder: Path) -> bool:
    """True where the folder looks like a model or an adapter at all."""
    return is_plain_file(folder / "config.json") or is_plain_file(folder / "adapter_config.json")


def inspect(folder: Path, *, follow_links: bool) -> Facts:
    """The facts of a model folder; NotFound where there is none, Unprocessable where it is no safe one.

    With `follow_links` false a file that is a symbolic link does not count, so a folder that others may name
    cannot lead to files elsewhere; the hub's cache consists of links and needs it true.
    """
    if not folder.exists():
        raise NotFound(f"There is no model folder {folder.name!r}.", "See `%ilab models` for what there is.")
    if not folder.is_dir():
        raise _not_a_folder(folder)
    files = {
        entry.name: entry.stat().st_size
        for entry in sorted(folder.iterdir())
        if (entry.is_file() if follow_links else is_plain_file(entry))
    }
    adapter = "adapter_config.json" in files
    config_name = "adapter_config.json" if adapter else "config.json"
    if config_name not in files:
        raise _lacks(
            folder,
            config_name,
            "Give a folder with config.json, tokenizer.json and the weights as safetensors.",
        )
    config = read_json(folder / config_name)
    base, architecture = _named(config, config_name, adapter)
    if (unfit := limits.patterns(config) if adapter else limits.size(config)) is not None:
        raise Unprocessable(
            f"{config_name} of the model {folder.name!r} cannot be used: {unfit}.",
            "Copy the file of the original model again.",
        )
    if not adapter:
        if not any(all(name in files for name in choice) for choice in TOKENIZERS):
            raise _lacks(folder, "tokenizer.json", "Copy the tokenizer's files of the base model into it.")
        for name in ("config.json", "tokenizer_config.json"):
            if name in files:
                _refuse_own_code(folder, name)
    names = _weight_files(folder, files, "adapter_model.safetensors" if adapter else "model.safetensors")
    return Facts(
        kind="adapter" if adapter else "full",
        architecture=architecture,
        parameters=sum(weights.parameters(folder / name) for name in names),
        size_bytes=sum(files.values()),
        base=base,
        files=tuple(names),
    )


def _named(config: dict[str, Any], file: str, adapter: bool) -> tuple[str | None, str]:
    """The base model of an adapter and the architecture of a model; Unprocessable where one is not text."""
    if adapter:
        base = config.get("base_model_name_or_path")
        if base is not None and not isinstance(base, str):
            raise Unprocessable(f"base_model_name_or_path in {file} of the model is not text.", weights.AGAIN)
        return base or None, ""
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    first = config.get("model_type", "") if first is None else first
    if not isinstance(first, str):
        raise Unprocessable(f"The architecture in {file} of the model is not text.", weights.AGAIN)
    return None, first


def read_json(file: Path, *, constants: bool = True) -> dict[str, Any]:
    """A JSON object of bounded size; Unprocessable names the file.

    `constants` lets NaN and infinities pass: the configuration of some architectures (Mamba) has them.
    """
    with file.open("rb") as stream:
        raw = stream.read(MAX_JSON + 1)
    try:
        if len(raw) > MAX_JSON:
            raise jsonl.BadLine(f"larger than {MAX_JSON:,} bytes")
        value = jsonl.parse_for_answer(raw, constants=constants)
    except jsonl.BadLine as error:
        said = str(error) if str(error).startswith("not JSON") else f"not JSON that can be used: {error}"
        raise Unprocessable(f"{file.name} of the model is {said}.", weights.AGAIN) from None
    if not isinstance(value, dict):
        raise Unprocessable(f"{file.name} of the model is not a JSON object.", weights.AGAIN)
    return value


def lineage(folder: Path) -> dict[str, Any]:
    """The content of `ilab-lineage.json`, empty where there is none or it cannot be read."""
    return read_lineage(folder)[0]


def read_lineage(folder: Path) -> tuple[dict[str, Any], str]:
    """The content of `ilab-lineage.json`, and why it cannot be read; both empty where there is none."""
    file = folder / LINEAGE
    if not is_plain_file(file):
        return {}, ""
    try:
        return read_json(file, constants=False), ""
    except Unprocessable as error:
        return {}, error.message
    except OSError as error:
        return {}, f"{LINEAGE} cannot be read: {error.strerror}."


def _refuse_own_code(folder: Path, name: str) -> None:
    config = read_json(folder / name)
    for key in OWN_CODE:
        if config.get(key):
            raise Unprocessable(
                f"The model {folder.name!r} brings its own code ({key} in {name}), which is never run here.",
                "Choose a model whose architecture is part of the transformers library.",
            )


def _weight_files(folder: Path, files: dict[str, int], single: str) -> list[str]:
    index = f"{single}.index.json"
    if single in files:
        return [single]
    if index in files:
        shards = read_json(folder / index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise Unprocessable(f"{index} of the model names no files.", weights.AGAIN)
        names = sorted({str(name) for name in shards.values()})
        for name in names:
            if not PART.fullmatch(name) or name not in files:
                raise _lacks(folder, name[:128], weights.AGAIN)
        return names
    pickles = sorted(name for name in files if Path(name).suffix.lower() in PICKLES)
    if pickles:
        raise Unprocessable(
            f"The model {folder.name!r} is pickle only ({pickles[0]}); loading a pickle can run any code.",
            "Get its safetensors version, or save it again with safe_serialization where you trust it.",
        )
    raise _lacks(folder, single, "Download the model's weights in safetensors form.")


def _lacks(folder: Path, name: str, hint: str) -> Unprocessable:
    return Unprocessable(f"The model folder {folder.name!r} has no {name}.", hint)


def _not_a_folder(path: Path) -> InvalidInput:
    if path.suffix.lower() == ".gguf":
        return InvalidInput(
            f"{path.name} is a GGUF file, which can be neither trained nor served here.",
            "Name a folder with the model's safetensors files.",
        )
    return InvalidInput(f"{path.name} is a file.", "Name the model's folder.")
