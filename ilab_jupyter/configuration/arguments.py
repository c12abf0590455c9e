"""The argument for each key of config.yaml, and the reason for each key without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilab_jupyter.configuration.keys import FREE, closest
from ilab_jupyter.configuration.sections import Section, Settings, fields
from ilab_jupyter.display import Shown
from ilab_jupyter.registry import Datasets

# Examples on a device at a time where the file says only how many make a step.
_BATCH = 8


@dataclass(frozen=True)
class Unused(Shown):
    """A key, or a section, of the file that has no effect here, and the reason."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True)
class Row:
    """`key` of the file becomes `argument` with the result of `value`; None leaves the argument's default."""

    key: str
    argument: str
    value: Callable[[Settings], Any]


def _unchanged(key: str) -> Callable[[Settings], Any]:
    def value(settings: Settings) -> Any:
        found: Any = settings
        for name in key.split("."):
            found = getattr(found, name)
        return found

    return value


def _row(key: str, argument: str, value: Callable[[Settings], Any] | None = None) -> Row:
    return Row(key, argument, value or _unchanged(key))


def _batch_size(settings: Settings) -> int:
    """Examples on the device at a time: as many of maximum length as fit into `max_batch_len` tokens."""
    train = settings.train
    fit = train.max_batch_len // train.max_seq_len if is_set(settings, "train.max_batch_len") else _BATCH
    return max(1, min(fit, train.effective_batch_size, 4096))


def _accumulation(settings: Settings) -> int:
    return min(4096, math.ceil(settings.train.effective_batch_size / _batch_size(settings)))


def _save_steps(settings: Settings) -> int | None:
    """Steps between checkpoints; None where InstructLab's 0 asks for no checkpoints by samples."""
    samples = settings.train.save_samples
    return max(1, samples // settings.train.effective_batch_size) if samples else None


def _lora(argument: Callable[[Settings], Any]) -> Callable[[Settings], Any]:
    return lambda settings: argument(settings) if settings.train.lora_rank else None


def _data(settings: Settings) -> list[str] | None:
    """The file or folder, or the newest dataset in the folder of all; None where there is no dataset."""
    path = Path(settings.train.data_path)
    datasets = Datasets(path).list() if path.is_dir() else []
    runs = [entry for entry in datasets if Path(entry.path).is_dir()]
    if runs:
        return [runs[0].path]
    return [str(path)] if datasets or not path.is_dir() else None


def _number(key: str) -> Callable[[Settings], Any]:
    """A number of the file; None for `auto`, which leaves the argument's default."""
    found = _unchanged(key)
    return lambda settings: value if isinstance(value := found(settings), int) else None


def _workers(settings: Settings) -> int | None:
    workers = _number("evaluate.mt_bench.max_workers")(settings)
    return None if workers is None else max(1, min(workers, 32))


def _tasks(settings: Settings) -> str:
    """The folder of the tasks, or the newest one in a folder of datasets."""
    path = Path(settings.evaluate.mmlu_branch.tasks_dir)
    found = [*path.glob("node_datasets_*"), *path.glob("*/node_datasets_*")]
    return str(max(found, key=lambda folder: folder.stat().st_mtime, default=path))


# Data(...)
DATA = (
    _row("generate.taxonomy_path", "taxonomy_path"),
    _row("generate.taxonomy_base", "taxonomy_base"),
    _row("generate.pipeline", "pipeline"),
    _row("generate.sdg_scale_factor", "scale"),
    _row("generate.output_dir", "output_dir"),
    _row("generate.batch_size", "batch_size"),
)
# Model(...)
MODEL = (_row("train.model_path", "student_model"),)
# Model.train_model(...)
TRAIN = (
    _row("train.data_path", "data", _data),
    _row("train.lora_rank", "method", lambda settings: "lora" if settings.train.lora_rank else "full"),
    _row("train.lora_rank", "lora_rank", lambda settings: settings.train.lora_rank or None),
    _row("train.num_epochs", "epochs"),
    _row("train.max_seq_len", "max_seq_length"),
    _row("train.max_batch_len", "batch_size", _batch_size),
    _row("train.effective_batch_size", "batch_size", _batch_size),
    _row("train.effective_batch_size", "gradient_accumulation_steps", _accumulation),
    _row("train.save_samples", "save_steps", _save_steps),
    _row(
        "train.device",
        "device",
        lambda settings: {"cpu": "cpu", "cuda": "cuda"}.get(settings.train.device.partition(":")[0]),
    ),
    _row("train.additional_args.learning_rate", "learning_rate"),
    _row("train.additional_args.warmup_steps", "warmup_steps"),
    _row("train.additional_args.random_seed", "seed"),
    _row(
        "train.additional_args.lora_alpha",
        "lora_alpha",
        _lora(lambda settings: max(1, round(settings.train.additional_args.lora_alpha))),
    ),
    _row(
        "train.additional_args.lora_dropout",
        "lora_dropout",
        _lora(lambda settings: settings.train.additional_args.lora_dropout),
    ),
)
# Model.serve(...)
SERVE = (_row("serve.server.port", "port"),)
# Model.evaluate_*(...), by benchmark
_CHOICE = (
    _row("evaluate.mmlu.few_shots", "few_shots"),
    _row("evaluate.mmlu.batch_size", "batch_size", _number("evaluate.mmlu.batch_size")),
)
EVALUATE = {
    "mt_bench": (
        _row("evaluate.mt_bench.judge_model", "judge"),
        _row("evaluate.mt_bench.max_workers", "max_workers", _workers),
        _row("evaluate.mt_bench.output_dir", "output_dir"),
    ),
    "mt_bench_branch": (
        _row("evaluate.mt_bench_branch.judge_model", "judge"),
        _row("evaluate.mt_bench.max_workers", "max_workers", _workers),
        _row("evaluate.mt_bench_branch.output_dir", "output_dir"),
        _row("evaluate.mt_bench_branch.taxonomy_path", "taxonomy_path"),
        _row("evaluate.branch", "branch"),
    ),
    "mmlu": _CHOICE,
    "mmlu_branch": (*_CHOICE, _row("evaluate.mmlu_branch.tasks_dir", "tasks_dir", _tasks)),
    "dk_bench": (
        _row("evaluate.dk_bench.judge_model", "judge"),
        _row("evaluate.dk_bench.input_questions", "input_questions"),
        _row("evaluate.dk_bench.output_dir", "output_dir"),
        _row("evaluate.system_prompt", "system_prompt"),
        _row("evaluate.temperature", "temperature"),
    ),
}
# RAG(...)
STORE = (
    _row("rag.document_store.uri", "uri"),
    _row("rag.document_store.collection_name", "collection"),
    _row("rag.embedding_model.embedding_model_path", "embedding_model"),
    _row("rag.retriever.top_k", "top_k"),
)

OBEYED = (*DATA, *MODEL, *TRAIN, *SERVE, *(row for rows in EVALUATE.values() for row in rows), *STORE)

# Sections that describe the file itself.
_DESCRIPTIVE = ("version", "metadata")

_ONE_GPU = "a training here runs in one process, on one device"
_PHASES = "training in two phases is not supported; train the resulting model a second time"
_NOT_HERE = {
    "chat": "a chat takes its arguments from the call",
    "evaluate.base_branch": "a call names the model to compare with, and its branch",
    "evaluate.base_model": "a call names the model to compare with",
    "evaluate.dk_bench.output_file_formats": "results are kept as JSON and JSONL",
    "evaluate.gpus": "a model is evaluated on one device",
    "evaluate.model": "Model evaluates the model that it was made with, or a call's model_path",
    "general": "logs are kept by job, with all their lines",
    "generate.chunk_word_count": "documents are cut by the teacher's tokens, as instructlab-sdg does too",
    "generate.max_num_tokens": "the pipeline says how long an answer may be",
    "generate.model": "a teacher is named with its address: Data(teacher=...)",
    "generate.num_cpus": "as many requests are in flight as make the teacher faster: Data(num_workers=...)",
    "generate.teacher": "no teacher is started from the file: give its address, Data(teacher=...)",
    "models": "models are found by name in the registry, by folder, or by their name on the hub",
    "rag.convert": "RAG.convert takes its arguments from the call",
    "rag.enabled": "RAG.answer answers from documents",
    "serve.backend": "a model is served by this project's own engine",
    "serve.chat_template": "the model's own chat template is used",
    "serve.llama_cpp": "a model is served by this project's own engine",
    "serve.model_path": "Model serves the model that it was made with",
    "serve.server": "a model listens on this machine only, and its length is its own",
    "serve.vllm": "a model is served by this project's own engine",
    "train.additional_args": "the trainer here has no such argument",
    "train.checkpoint_at_epoch": "checkpoints are saved by steps, and after the last epoch",
    "train.ckpt_output_dir": "checkpoints are stored with their job",
    "train.data_output_dir": "tokenized data is not kept",
    "train.deepspeed_cpu_offload_optimizer": _ONE_GPU,
    "train.disable_flash_attn": "the attention that the GPU supports is chosen automatically",
    "train.distributed_backend": _ONE_GPU,
    "train.fsdp_cpu_offload_optimizer": _ONE_GPU,
    "train.is_padding_free": "batches are padded",
    "train.lora_quantize_dtype": "frozen weights are kept in 16 bits on a GPU, in 32 on a CPU",
    "train.nproc_per_node": _ONE_GPU,
    "train.phased": _PHASES,
    "train.pipeline": "the same training loop runs on a GPU and on a CPU",
    "train.training_journal": _PHASES,
}


def arguments(settings: Settings, rows: tuple[Row, ...]) -> dict[str, Any]:
    """The keyword arguments for the keys that are set; defaults of InstructLab are left out."""
    found = {row.argument: row.value(settings) for row in rows if is_set(settings, row.key)}
    return {name: value for name, value in found.items() if value is not None}


def unused(settings: Settings) -> tuple[Unused, ...]:
    """The keys that are set and have no effect, in the file's order; a section of such keys counts once."""
    return tuple(dict.fromkeys(_unused(settings)))


def is_set(settings: Section, key: str) -> bool:
    """True where the file itself gives a value for `key`."""
    name, _, rest = key.partition(".")
    if name not in settings.model_fields_set:
        return False
    inner = getattr(settings, name)
    return not rest or (isinstance(inner, Section) and is_set(inner, rest))


def _unused(settings: Settings) -> Iterator[Unused]:
    obeyed = {row.key for row in OBEYED}
    known = {key for key, _ in fields(Settings())}
    for key, value in fields(settings):
        if key in obeyed or key.split(".")[0] in _DESCRIPTIVE or not is_set(settings, key):
            continue
        if key not in known and not key.startswith(FREE):
            meant = closest(key, known)
            hint = f"; did you mean {meant[0]}?" if meant else ""
            yield Unused(key, f"InstructLab has no such key{hint}")
        elif value not in (None, False, "", []):
            above = max((name for name in _NOT_HERE if key.startswith(name)), key=len)
            yield Unused(above, _NOT_HERE[above])
