"""Each machine gets a profile that fits it, with the reasons."""

from __future__ import annotations

import re

import pytest

from ilab_jupyter.configuration import keys, training_memory
from ilab_jupyter.configuration.arguments import TRAIN, arguments
from ilab_jupyter.configuration.profiles import Profile, choose, profiles
from ilab_jupyter.core import Config
from ilab_jupyter.hardware import Gpu, Machine

GIB = 2**30


def machine(*gpus: tuple[str, float], memory: float = 64) -> Machine:
    """A machine with GPUs of these names and GiB, as NVML would tell them."""
    return Machine(
        platform="Linux",
        python="3.11",
        cpus=8,
        memory_total=int(memory * GIB),
        memory_available=int(memory * GIB),
        disk_free=10**12,
        gpus=[
            Gpu(index=index, uuid=f"GPU-{index}", name=name, memory_total=int(size * GIB), memory_used=0)
            for index, (name, size) in enumerate(gpus)
        ],
        gpu_message="" if gpus else "No NVIDIA GPU was found.",
    )


@pytest.mark.parametrize(
    ("gpus", "name"),
    [
        ([("NVIDIA GeForce RTX 4060 Laptop GPU", 8)], "gpu_8gb"),
        ([("NVIDIA GeForce RTX 3060", 12)], "gpu_12gb"),
        ([("Tesla T4", 15)], "gpu_16gb"),
        ([("NVIDIA L4", 22.5)], "gpu_24gb"),
        ([("NVIDIA GeForce RTX 4090", 24)], "gpu_24gb"),
        ([("NVIDIA GeForce RTX 5090", 31.8)], "gpu_32gb"),
        ([("NVIDIA A100-SXM4-40GB", 40)], "gpu_40gb"),
        ([("NVIDIA L40S", 45)], "gpu_48gb"),
        ([("NVIDIA H100 80GB HBM3", 79.6)], "gpu_80gb"),
        ([("NVIDIA H200", 140.4)], "gpu_141gb"),
        ([("NVIDIA B200", 179)], "gpu_141gb"),
        ([("NVIDIA A100-SXM4-80GB", 80)] * 2, "nvidia/a100/a100_x2"),
        ([("NVIDIA H100 80GB HBM3", 79.6)] * 8, "nvidia/h100/h100_x8"),
        ([("NVIDIA L4", 22.5)] * 8, "nvidia/l4/l4_x8"),
        ([("NVIDIA L40S", 45)] * 4, "nvidia/l40s/l40s_x4"),
        ([("NVIDIA L40S", 45)] * 2, "gpu_48gb"),
        ([("NVIDIA GeForce RTX 4090", 24), ("NVIDIA GeForce RTX 3060", 12)], "gpu_12gb"),
        ([("NVIDIA GeForce GT 1030", 2)], "cpu_64gb"),
        ([], "cpu_64gb"),
    ],
)
def test_the_machine_decides_on_the_profile(gpus: list[tuple[str, float]], name: str) -> None:
    chosen = choose(machine(*gpus))
    assert chosen.name == name
    assert chosen.reasons and all(reason.endswith(".") for reason in chosen.reasons)
    if gpus:
        assert gpus[0][0] in chosen.reasons[0]
    if name.startswith("gpu") and len(gpus) > 1:
        assert chosen.values["train.nproc_per_node"] == len(gpus)


def test_eight_gpus_of_forty_gigabytes_take_fewer_tokens() -> None:
    chosen = choose(machine(*[("NVIDIA A100-SXM4-40GB", 40)] * 8))
    assert (chosen.name, chosen.values["train.max_batch_len"]) == ("nvidia/a100/a100_x8", 10_000)
    assert "10,000" in chosen.reasons[1]


@pytest.mark.parametrize(
    ("memory", "limit", "name"),
    [
        (2, None, "cpu_4gb"),
        (7.6, None, "cpu_8gb"),
        (15.6, None, "cpu_16gb"),
        (251, None, "cpu_128gb"),
        (251, 16 * GIB, "cpu_16gb"),
        (15.6, 2**62, "cpu_16gb"),
    ],
)
def test_available_memory_decides_profile_without_gpu(memory: float, limit: int | None, name: str) -> None:
    assert choose(machine(memory=memory), "AMD EPYC 7543", limit).name == name


def test_a_mac_has_its_own_profile() -> None:
    assert choose(machine(), "Apple M3 Max").name == "apple/m3/m3_max"
    assert choose(machine(), "Apple M9 Max").name == "cpu_64gb"


def _own() -> list[Profile]:
    return [profile for profile in profiles() if re.match(r"[cg]pu_", profile.name)]


@pytest.mark.parametrize("profile", _own(), ids=lambda profile: str(profile.name))
def test_the_training_of_a_profile_fits_by_its_own_arithmetic(profile: Profile) -> None:
    memory = int(re.findall(r"\d+", profile.name)[0]) * 1e9
    students = (
        training_memory.GRANITE_7B,
        training_memory.GRANITE_2B,
        training_memory.SMOL_1_7B,
        training_memory.SMOL_360M,
        training_memory.SMOL_135M,
    )
    student = {one.name: one for one in students}[profile.values["train.model_path"]]
    rank, quantized = profile.values["train.lora_rank"], profile.values["train.lora_quantize_dtype"]
    way: training_memory.Way = "qlora" if quantized else "lora" if rank else "full"
    tokens = profile.values["train.max_batch_len"]
    need = training_memory.estimate(student, way, rank, tokens, on_gpu=profile.name.startswith("gpu"))
    assert need.total <= memory * training_memory.USABLE
    assert str(need) in profile.reasons[0]
    assert profile.values["train.max_seq_len"] <= tokens
    if way != "full":
        full = training_memory.estimate(student, "full", 0, tokens, on_gpu=profile.name.startswith("gpu"))
        assert full.total > need.total


def test_more_of_anything_needs_more_memory() -> None:
    def total(way: training_memory.Way, rank: int, tokens: int) -> float:
        return training_memory.estimate(training_memory.GRANITE_7B, way, rank, tokens, on_gpu=True).total

    assert (
        total("qlora", 8, 1024) < total("qlora", 16, 1024) < total("lora", 16, 1024) < total("full", 0, 1024)
    )
    assert total("lora", 8, 1024) < total("lora", 8, 2048)


def test_every_profile_is_a_file_that_says_what_it_sets() -> None:
    assert len({profile.name for profile in profiles()}) == len(profiles()) > 30
    for profile in profiles():
        config = Config.init(profile=profile.name, write=False)
        assert config.profile == profile.name
        assert all(keys.find(config.settings, key) == value for key, value in profile.values.items())
        settings = arguments(config.settings, TRAIN)
        assert settings["method"] == ("lora" if profile.values.get("train.lora_rank") else "full")
