"""What this machine offers a job: processors, memory, disk, GPUs. Read without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import Shown, html

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


class Category(Facts):
    """Facts of one kind, by name, in words. `problem` says why they are missing."""

    name: str
    facts: dict[str, str] = {}
    problem: str = ""


class Inventory(Shown, Machine):
    """The machine and, by category, all that is worth telling when something does not work."""

    categories: list[Category] = []

    def __str__(self) -> str:
        width = max((len(name) for category in self.categories for name in category.facts), default=0)
        blocks = []
        for category in self.categories:
            lines = [f"  {name:<{width}}  {value}" for name, value in category.facts.items()]
            blocks.append(
                "\n".join([category.name, *lines, *([f"  {category.problem}"] * bool(category.problem))])
            )
        return "\n".join(blocks)

    def _repr_html_(self) -> str:
        rows = []
        for category in self.categories:
            rows.append(f"<tr><th colspan=2 style='text-align: left'>{html(category.name)}</th></tr>")
            rows += [_html_row(html(name), value) for name, value in category.facts.items()]
            rows += [_html_row("", category.problem)] * bool(category.problem)
        return f"<table>{''.join(rows)}</table>"


def look(folder: Path) -> Machine:
    """The machine now. `folder` says whose disk is meant; its nearest existing parent counts."""
    while not os.access(folder, os.F_OK):
        folder = folder.parent
    memory = psutil.virtual_memory()
    found, message = gpus()
    return Machine(
        platform=platform.platform(),
        python=platform.python_version(),
        cpus=_processors(),
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


def processor() -> str:
    """The name of the processor, such as `Apple M3 Max`; empty where nothing tells."""
    if platform.system() == "Darwin":
        completed = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return completed.stdout.strip()
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def memory_limit() -> int | None:
    """The bytes that this process's control group may use, where that is less than the machine has."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limit = int((Path("/sys/fs/cgroup") / name).read_text())
            return limit if limit < psutil.virtual_memory().total else None
    return None


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


def _html_row(name: str, value: str) -> str:
    left = "style='text-align: left'"
    return f"<tr><td {left}>{name}</td><td {left}>{html(value)}</td></tr>"


def take_inventory(folder: Path) -> Inventory:
    """`look`, and the categories of `ilab system info`; one that cannot be read says why, and stops no other.

    Nothing of the engine is imported: what its libraries can do is read from their metadata, GPUs from NVML.
    """
    machine = look(folder)
    looks: dict[str, Callable[[], dict[str, str]]] = {
        "Platform": _platform,
        "InstructLab": _instructlab,
        "Torch": _torch,
        "GPUs": lambda: _gpus(machine),
        "Memory": _memory,
        "Disk": lambda: {str(folder): f"{_gib(machine.disk_free)} free"},
        "Libraries": lambda: {name: found or "not installed" for name, found in machine.libraries.items()},
    }
    found = [_category(name, read) for name, read in looks.items()]
    return Inventory(**dict(machine), categories=found)


def _category(name: str, read: Callable[[], dict[str, str]]) -> Category:
    try:
        return Category(name=name, facts=read())
    except Exception as error:  # of whatever kind: the other categories are still worth telling
        return Category(name=name, problem=str(error) or type(error).__name__)


def _platform() -> dict[str, str]:
    facts = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": processor(),
        "processors for this process": str(_processors()),
        "python": f"{sys.version.split()[0]}, {sys.executable}",
    }
    with suppress(OSError):
        facts["release"] = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return {name: value for name, value in facts.items() if value}


def _instructlab() -> dict[str, str]:
    names = {found.metadata["Name"]: found.version for found in distributions()}
    ours = {
        name: names[name] for name in sorted(filter(None, names)) if name.startswith(("instructlab", "ilab"))
    }
    if not ours:
        raise LookupError("Nothing of InstructLab is installed in this Python.")
    return ours


def _torch() -> dict[str, str]:
    names = (
        "torch",
        "triton",
        "nvidia-cuda-runtime",
        "nvidia-cuda-runtime-cu12",
        "intel-extension-for-pytorch",
    )
    found = {name: version for name, version in versions(names).items() if version}
    if "torch" not in found:
        raise LookupError("torch is not installed in this Python: pip install 'ilab-jupyter[engine]'.")
    return {**found, "made for": "CPU" if found["torch"].endswith("+cpu") else "GPU and CPU"}


def _gpus(machine: Machine) -> dict[str, str]:
    if not machine.gpus:
        raise LookupError(machine.gpu_message)
    return {
        f"{gpu.index}": f"{gpu.name}, {_gib(gpu.memory_used)} of {_gib(gpu.memory_total)} used, {gpu.uuid}"
        for gpu in machine.gpus
    }


def _memory() -> dict[str, str]:
    memory, limit = psutil.virtual_memory(), memory_limit()
    facts = {"total": _gib(memory.total), "available": _gib(memory.available), "used": _gib(memory.used)}
    return {**facts, **({"this process may use": _gib(limit)} if limit else {})}


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
