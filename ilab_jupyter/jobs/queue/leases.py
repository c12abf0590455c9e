"""The machine that jobs share: its GPUs as NVML sees them or an administrator names them, memory and disk."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.device import Device, Lease
from ilab_jupyter.jobs.queue.order import Machine, Need
from ilab_jupyter.jobs.store.rows import Store

if TYPE_CHECKING:
    from ilab_jupyter.jobs.record import Resources

_MOST = 64
_FRESH_SECONDS = 5.0
# Without one of these no driver is loaded, and NVML need not even be imported.
_DRIVER = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
# With which CUDA_VISIBLE_DEVICES begins where it hides every device.
_NONE = ("", "-1", "NoDevFiles")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_lock = threading.Lock()
_seen: tuple[float, tuple[Device, ...]] | None = None


def check_devices(devices: Sequence[Device]) -> str:
    """What the setting `devices` holds; InvalidInput where they cannot be told apart or have no memory."""
    names = [device.uuid for device in devices]
    if len(set(names)) != len(names) or len(names) > _MOST:
        raise InvalidInput(
            f"Devices are at most {_MOST}, each with a UUID of its own.", "See `nvidia-smi -L`."
        )
    for device in devices:
        if not (device.uuid.isascii() and device.uuid.isprintable() and 0 < len(device.uuid) <= 128):
            raise InvalidInput(f"{device.uuid[:80]!r} is no UUID of a device.", "See `nvidia-smi -L`.")
        if "," in device.uuid or device.memory_total <= 0:
            raise InvalidInput(
                f"The device {device.uuid[:80]!r} needs a UUID without comma, and its memory in bytes.",
                "See `nvidia-smi --query-gpu=uuid,memory.total --format=csv`.",
            )
    return json.dumps([asdict(device) for device in devices])


def declared(setting: str) -> tuple[Device, ...] | None:
    """The devices of the setting; None where an administrator has named none and NVML is to be asked."""
    if not setting:
        return None
    try:
        return tuple(
            Device(
                uuid=str(one["uuid"]), name=str(one.get("name", "")), memory_total=int(one["memory_total"])
            )
            for one in json.loads(setting)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def devices(setting: str) -> tuple[Device, ...]:
    """The GPUs that jobs may have. What NVML says is kept for a few seconds."""
    global _seen
    if (named := declared(setting)) is not None:
        return named
    with _lock:
        if _seen is None or time.monotonic() - _seen[0] > _FRESH_SECONDS:
            found = _visible(_ask_nvml())
            # A driver that fails for a moment must not make jobs start as on a machine without GPUs.
            _seen = (time.monotonic(), found or (_seen[1] if _seen is not None else ()))
        return _seen[1]


def _ask_nvml() -> tuple[Device, ...]:
    if os.name == "posix" and not any(path.exists() for path in _DRIVER):
        return ()
    from ilab_jupyter import hardware

    found, _ = hardware.gpus()
    return tuple(Device(uuid=gpu.uuid, name=gpu.name, memory_total=gpu.memory_total) for gpu in found)


def _visible(found: tuple[Device, ...]) -> tuple[Device, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves to us, by number or UUID, up to the first that is none of them.

    One that leaves us nothing says what our own jobs want, not that there is nothing: every process turns the
    queue for all, and another's job that it started without a lease would share a device with a third. Parts
    of a device (MIG) cannot be leased: where they are named there is none.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return found
    left = []
    for word in (word.strip() for word in chosen.split(",")):
        named = [
            device
            for index, device in enumerate(found)
            if word == str(index) or (len(word) > 4 and device.uuid.startswith(word))
        ]
        if len(named) != 1:
            if word.startswith("MIG-"):
                return ()
            break
        left += named
    return tuple(dict.fromkeys(left)) or found


def as_chosen(asked: Resources) -> Resources:
    """What a job asks for; no GPU where it does not say and its submitter hides them all from programs."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return asked.model_copy(update={"gpus": 0}) if asked.gpus is None and first in _NONE else asked


def visible(mine: Sequence[Lease], spec: Mapping[str, Any], setting: str) -> str | None:
    """CUDA_VISIBLE_DEVICES of a job with these leases; None leaves what its submitter had.

    Without a lease it sees no GPU where it asked for none, or where an administrator says which there are.
    """
    if mine:
        return ",".join(sorted(lease.device for lease in mine))
    none = (spec.get("resources") or {}).get("gpus") == 0 or declared(setting) is not None
    return "" if none else None


def machine(state: Path, gpus: tuple[Device, ...]) -> Machine:
    """What this machine, or the container in which we are, has for all jobs together."""
    import psutil

    memory = min([int(psutil.virtual_memory().total), *_limits()])
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    disk = shutil.disk_usage(state)
    return Machine(gpus, cpus, memory, disk.total, disk.free)


def check_possible(store: Store, asked: Resources) -> None:
    """InvalidInput where this machine can never give what a job asks for."""
    need = Need.of(asked.model_dump())
    if need == Need():
        return
    gpus = devices(store.setting("devices", "")) if need.gpus or need.gpu_memory else ()
    if why := machine(store.state.path, gpus).impossible(need):
        raise InvalidInput(why, "Ask for less, or submit it where there is more.")


def _limits() -> list[int]:
    found = []
    for path in _LIMITS:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # another cgroup version, or `max`
            continue
    return found
