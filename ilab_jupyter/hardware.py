"""What this machine offers a job: processors, memory, disk, GPUs. Read without torch."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field

ENGINE_LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "instructlab-sdg")


class Facts(BaseModel):
    """Frozen facts of one look at the machine."""

    model_config = ConfigDict(frozen=True)


class Gpu(Facts):
    """One NVIDIA device as NVML sees it. Memory in bytes, use in percent."""

    index: int
    uuid: str
    name: str
    memory_total: int
    memory_used: int
    utilization: int | None = None


class Machine(Facts):
    """Memory and disk in bytes."""

    platform: str
    python: str
    cpus: int = Field(description="Processors this process may use.")
    memory_total: int
    memory_available: int
    disk_free: int = Field(description="In the folder of the state.")
    gpus: list[Gpu] = []
    gpu_message: str = Field(
        default="", description="Why there is no GPU, in words; empty where there is one."
    )
    libraries: dict[str, str | None] = Field(
        default_factory=dict,
        description="Version of each engine library in this interpreter, None where absent.",
    )


def look(folder: Path) -> Machine:
    """The machine now. `folder` says whose disk is meant; its nearest existing parent counts."""
    while not folder.exists():
        folder = folder.parent
    memory = psutil.virtual_memory()
    found, message = gpus()
    return Machine(
        platform=platform.platform(),
        python=platform.python_version(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_total=memory.total,
        memory_available=memory.available,
        disk_free=shutil.disk_usage(folder).free,
        gpus=found,
        gpu_message=message,
        libraries=versions(ENGINE_LIBRARIES),
    )


def versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """The version of each distribution in this interpreter, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def gpus() -> tuple[list[Gpu], str]:
    """The NVIDIA devices now, and why there are none, in words."""
    try:
        import pynvml  # type: ignore[import-untyped]
    except ImportError:
        return [], "nvidia-ml-py is not installed."
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"No NVIDIA GPU was found ({error}). Jobs run on the CPU."
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())], ""
    except pynvml.NVMLError as error:
        return [], f"The GPUs could not be read: {error}."
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        use: int | None = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:
        use = None
    return Gpu(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_total=int(memory.total),
        memory_used=int(memory.used),
        utilization=use,
    )
