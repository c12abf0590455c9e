"""Hardware profiles: those of InstructLab, single GPUs and CPUs by their memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.configuration import training_memory
from ilab_jupyter.configuration.sections.generate import teacher_model
from ilab_jupyter.configuration.training_memory import Student, Way
from ilab_jupyter.hardware import Gpu, Machine

SEQUENCE = 4096
EPOCHS = 8


@dataclass(frozen=True)
class Profile:
    """Values for a kind of machine that override InstructLab's defaults, and the reasons.

    `values` maps dotted keys of config.yaml to values.
    """

    name: str
    summary: str
    values: Mapping[str, Any] = field(repr=False)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Servers:
    """A machine of InstructLab's own profiles with several accelerators of one family."""

    name: str
    family: str
    count: int
    batch: int
    tokens: int
    offload: bool
    pinned: bool
    skus: tuple[str, ...] = ()
    maker: str = "Nvidia"
    device: str = "cuda"

    @property
    def serving(self) -> int:
        """How many of them serve: of eight Nvidia GPUs four."""
        return self.count if self.maker == "Intel" else min(self.count, 4)


_A100 = ("SXM4 40GB", "PG509 200", "SXM4 80GB", "SXM 64GB", "80GB PCIe")
_H100 = ("80GB HBM3", "NVL", "PCIe")
_SERVERS = (
    _Servers("nvidia/a100/a100_x2", "A100", 2, 96, 60_000, True, True, _A100),
    _Servers("nvidia/a100/a100_x4", "A100", 4, 128, 54_000, False, False, _A100),
    _Servers("nvidia/a100/a100_x8", "A100", 8, 128, 60_000, True, False, _A100),
    _Servers("nvidia/h100/h100_x2", "H100", 2, 96, 60_000, True, True, _H100),
    _Servers("nvidia/h100/h100_x4", "H100", 4, 128, 54_000, False, False, _H100),
    _Servers("nvidia/h100/h100_x8", "H100", 8, 128, 60_000, True, False, _H100),
    _Servers("nvidia/l4/l4_x8", "L4", 8, 128, 30_000, True, True),
    _Servers("nvidia/l40s/l40s_x4", "L40s", 4, 128, 30_000, True, True),
    _Servers("nvidia/l40s/l40s_x8", "L40s", 8, 128, 30_000, True, True),
    _Servers("intel/gaudi/gaudi_3", "Gaudi", 8, 128, 60_000, False, False, ("3",), "Intel", "hpu"),
)

# Chip, and what its training gets in place of the defaults: Apple's larger chips train the whole model on the
# GPU, its smaller ones only adapt it.
_SMALL = {"train.pipeline": "simple", "train.num_epochs": 1}
_APPLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("M1 Max", {"train.device": "mps"}),
    ("M1 Ultra", {"train.device": "mps", "train.max_batch_len": 7_000}),
    ("M2", _SMALL),
    ("M2 Max", {"train.device": "mps"}),
    ("M2 Pro", _SMALL),
    ("M2 Ultra", {"train.device": "mps", "train.max_batch_len": 10_000, "train.effective_batch_size": 128}),
    ("M3", _SMALL),
    ("M3 Max", {"train.device": "mps"}),
    ("M3 Pro", _SMALL),
)

# Memory in GB, how a model is trained in it, rank of LoRA, longest example and tokens on the GPU at a time.
_GPUS: tuple[tuple[int, Way, int, int, int], ...] = (
    (8, "qlora", 8, 2_048, 2_048),
    (12, "qlora", 16, SEQUENCE, 4_096),
    (16, "qlora", 16, SEQUENCE, 8_192),
    (24, "lora", 16, SEQUENCE, 8_192),
    (32, "lora", 16, SEQUENCE, 16_384),
    (40, "lora", 32, SEQUENCE, 24_576),
    (48, "lora", 32, SEQUENCE, 32_768),
    (80, "lora", 64, SEQUENCE, 65_536),
    (141, "full", 0, SEQUENCE, 24_576),
)
_CPUS: tuple[tuple[int, Student, int, int], ...] = (
    (4, training_memory.SMOL_135M, 8, 1_024),
    (8, training_memory.SMOL_360M, 8, 1_024),
    (16, training_memory.SMOL_1_7B, 8, 1_024),
    (32, training_memory.GRANITE_2B, 16, 2_048),
    (64, training_memory.GRANITE_7B, 16, 2_048),
    (128, training_memory.GRANITE_7B, 16, SEQUENCE),
)
# A model of 7 billion parameters in 16 bits, and room for answers.
_VLLM_FROM = 24


def profiles() -> tuple[Profile, ...]:
    """Every profile, InstructLab's own first."""
    gpus = (_gpu(row) for row in _GPUS)
    cpus = (_cpu(row) for row in _CPUS)
    return (*map(_server, _SERVERS), *_laptops(), *gpus, *cpus)


def choose(machine: Machine, processor: str = "", memory_limit: int | None = None) -> Profile:
    """Choose the profile for a machine, with the reasons.

    `processor` is the name of its CPU; `memory_limit` the bytes that this process may use, where that is less
    than the machine has.
    """
    if machine.gpus:
        return _for_gpus(machine.gpus, machine, memory_limit)
    chip = re.fullmatch(r"apple (m\d+( \w+)?)", processor.lower())
    if chip:
        found = next((one for one in _laptops() if one.summary.lower() == processor.lower()), None)
        if found is not None:
            return replace(found, reasons=(f"InstructLab has a profile for {processor}.",))
    return _for_cpu(machine, memory_limit, machine.gpu_message or "There is no GPU.")


def _for_gpus(gpus: list[Gpu], machine: Machine, limit: int | None) -> Profile:
    names = sorted({gpu.name for gpu in gpus})
    smallest = min(gpu.memory_total for gpu in gpus)
    seen = f"{len(gpus)} x {' and '.join(names)}, {smallest / 1e9:.0f} GB each"
    known = _named(gpus)
    if known is not None:
        server = _server(known)
        reason = f"{seen}: InstructLab has a profile for exactly this."
        if known.family == "A100" and known.count == 8 and smallest < 50e9:
            less = {**server.values, "train.max_batch_len": 10_000}
            return replace(
                server, values=less, reasons=(reason, "With 40 GB each, fewer tokens at a time: 10,000.")
            )
        return replace(server, reasons=(reason,))
    row = next((row for row in reversed(_GPUS) if row[0] * 1e9 <= smallest), None)
    if row is None:
        return _for_cpu(
            machine, limit, f"{seen}: too little for a model of 7 billion parameters, even quantized."
        )
    profile = _gpu(row)
    if len(gpus) == 1:
        return replace(profile, reasons=(f"{seen}.", *profile.reasons))
    several = {
        **profile.values,
        "metadata.gpu_count": len(gpus),
        "train.nproc_per_node": len(gpus),
        "evaluate.gpus": len(gpus),
    }
    reason = f"{seen}: InstructLab has no profile for this, so each GPU is used as a single one would be."
    return replace(profile, values=several, reasons=(reason, *profile.reasons))


def _named(gpus: list[Gpu]) -> _Servers | None:
    for row in _SERVERS:
        family = re.compile(rf"\b{row.family}\b", re.IGNORECASE)
        if row.count == len(gpus) and all(family.search(gpu.name) for gpu in gpus):
            return row
    return None


def _for_cpu(machine: Machine, limit: int | None, because: str) -> Profile:
    memory = min(machine.memory_total, limit or machine.memory_total)
    row = next((row for row in reversed(_CPUS) if row[0] * 1e9 <= memory), _CPUS[0])
    profile = _cpu(row)
    what = "memory of this machine" if memory == machine.memory_total else "memory that this process may use"
    return replace(profile, reasons=(because, f"{memory / 1e9:.0f} GB {what}.", *profile.reasons))


def _gpu(row: tuple[int, Way, int, int, int]) -> Profile:
    memory, way, rank, length, tokens = row
    student = training_memory.GRANITE_7B
    estimate = training_memory.estimate(student, way, rank, tokens, on_gpu=True)
    model = str(paths.models_dir() / student.name)
    serving = _vllm(1, model) if memory >= _VLLM_FROM else _llama_cpp()
    batch = max(1, tokens // length)
    return Profile(
        name=f"gpu_{memory}gb",
        summary=f"One GPU with {memory} GB",
        values={
            **serving,
            "train.pipeline": "accelerated",
            "train.device": "cuda",
            "train.model_path": student.name,
            "train.lora_rank": rank,
            "train.lora_quantize_dtype": "nf4" if way == "qlora" else None,
            "train.additional_args.lora_alpha": 2 * rank or 32,
            "train.additional_args.learning_rate": 2e-5 if way == "full" else 2e-4,
            "train.max_seq_len": length,
            "train.max_batch_len": tokens,
            "train.effective_batch_size": -(-32 // batch) * batch,
            "train.num_epochs": EPOCHS,
            "train.save_samples": 1000,
            "generate.taxonomy_base": "empty",
            "metadata.gpu_manufacturer": "Nvidia",
            "metadata.gpu_count": 1,
            "evaluate.gpus": 1,
        },
        reasons=(
            _why(way, student, rank, tokens, estimate, memory),
            *_unquantized(way, rank, tokens, memory),
        ),
    )


def _unquantized(way: Way, rank: int, tokens: int, memory: int) -> tuple[str, ...]:
    """A model that fits without the quantization of InstructLab's trainer."""
    if way != "qlora":
        return ()
    for student in (training_memory.GRANITE_2B, training_memory.SMOL_1_7B):
        estimate = training_memory.estimate(student, "lora", rank, tokens, on_gpu=True)
        if estimate.total <= memory * 1e9 * training_memory.USABLE:
            advice = "The trainer of this project does not quantize; train a smaller model: "
            return (f"{advice}{student.name} takes {estimate}.",)
    return ()


def _cpu(row: tuple[int, Student, int, int]) -> Profile:
    memory, student, rank, tokens = row
    estimate = training_memory.estimate(student, "lora", rank, tokens, on_gpu=False)
    return Profile(
        name=f"cpu_{memory}gb",
        summary=f"No GPU, {memory} GB of memory",
        values={
            **_llama_cpp(),
            "train.pipeline": "full",
            "train.device": "cpu",
            "train.model_path": student.name,
            "train.lora_rank": rank,
            "train.lora_quantize_dtype": None,
            "train.additional_args.lora_alpha": 2 * rank,
            "train.additional_args.learning_rate": 2e-4,
            "train.max_seq_len": tokens,
            "train.max_batch_len": tokens,
            "train.effective_batch_size": 8,
            "train.num_epochs": EPOCHS,
            "train.save_samples": 1000,
            "generate.taxonomy_base": "empty",
        },
        reasons=(_why("lora", student, rank, tokens, estimate, memory),),
    )


def _why(
    way: Way, student: Student, rank: int, tokens: int, estimate: training_memory.Estimate, memory: int
) -> str:
    how = {
        "full": "the whole model is trained",
        "lora": f"LoRA of rank {rank} is trained",
        "qlora": f"LoRA of rank {rank} is trained over weights of 4 bits",
    }[way]
    return f"{student.name}: {how}, {tokens:,} tokens at a time: {estimate}, of {memory} GB."


def _server(row: _Servers) -> Profile:
    model = str(paths.models_dir() / training_memory.GRANITE_7B.name)
    teacher = str(paths.models_dir() / "mistralai/Mixtral-8x7B-Instruct-v0.1")
    judge = str(paths.models_dir() / "prometheus-eval/prometheus-8x7b-v2.0")
    return Profile(
        name=row.name,
        summary=f"{row.count} x {row.maker} {row.family}",
        values={
            **_vllm(row.serving, model),
            "generate.model": teacher,
            "generate.taxonomy_base": "empty",
            "generate.teacher.backend": "vllm",
            "generate.teacher.model_path": teacher,
            "generate.teacher.vllm.gpus": row.serving,
            "generate.teacher.vllm.llm_family": "mixtral",
            "evaluate.base_model": model,
            "evaluate.gpus": row.serving,
            "evaluate.mt_bench.judge_model": judge,
            "train.pipeline": "accelerated",
            "train.device": row.device,
            "train.model_path": model,
            "train.nproc_per_node": row.count,
            "train.effective_batch_size": row.batch,
            "train.max_batch_len": row.tokens,
            "train.max_seq_len": SEQUENCE,
            "train.is_padding_free": True,
            "train.lora_rank": 0,
            "train.lora_quantize_dtype": None,
            "train.num_epochs": EPOCHS,
            "train.save_samples": 1000,
            "train.phased_phase1_num_epochs": 10,
            "train.phased_phase2_num_epochs": 10,
            "train.deepspeed_cpu_offload_optimizer": row.offload,
            "train.additional_args.deepspeed_cpu_offload_optimizer_pin_memory": row.pinned,
            "train.fsdp_cpu_offload_optimizer": row.device == "hpu",
            "metadata.gpu_manufacturer": row.maker,
            "metadata.gpu_family": row.family,
            "metadata.gpu_count": row.count,
            "metadata.gpu_sku": list(row.skus) or None,
        },
    )


def _laptops() -> tuple[Profile, ...]:
    model = str(paths.models_dir() / training_memory.GRANITE_7B.name)
    common = {
        **_llama_cpp(),
        "generate.taxonomy_base": "empty",
        "evaluate.base_model": model,
        "train.model_path": model,
        "train.num_epochs": EPOCHS,
    }
    apple = (
        Profile(
            name=f"apple/{chip.split()[0].lower()}/{chip.replace(' ', '_').lower()}",
            summary=f"Apple {chip}",
            values={**common, **values, "metadata.cpu_info": f"Apple {chip}"},
        )
        for chip, values in _APPLE
    )
    plain = (
        Profile(f"{maker.lower()}/cpu", f"{maker} CPU", {**common, "metadata.cpu_info": f"{maker} CPU"})
        for maker in ("AMD", "Intel")
    )
    return (*apple, *plain)


def _vllm(gpus: int, model: str) -> dict[str, Any]:
    return {
        "chat.model": model,
        "serve.backend": "vllm",
        "serve.chat_template": "auto",
        "serve.model_path": model,
        "serve.vllm.gpus": gpus,
        "serve.vllm.vllm_args": ["--tensor-parallel-size", str(gpus)],
    }


def _llama_cpp() -> dict[str, Any]:
    return {
        "serve.backend": "llama-cpp",
        "serve.chat_template": "auto",
        "generate.teacher.backend": "llama-cpp",
        "generate.teacher.chat_template": "tokenizer",
        "generate.teacher.llama_cpp.llm_family": "mixtral",
        "generate.teacher.model_path": teacher_model(),
    }
